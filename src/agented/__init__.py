"""Runs AI coding CLIs as bots: queued durably, kept alive, watched live, delivered honestly."""
