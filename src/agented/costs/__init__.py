"""What was spent: read from the session files of the CLIs, counted once, priced, and kept."""
