"""What was said in sessions of people and of runs: kept when the CLI has deleted its file, searched, read."""
