"""Loopback doubles of what Agented talks to."""
