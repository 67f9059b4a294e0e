"""Files in which CLIs keep what was said: which there are, and what in them is new."""
