"""Translators: one folder per AI CLI, each turning our task into its command and its output into our events."""
