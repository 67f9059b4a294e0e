"""Signing in to an account with its CLI's own sign-in, in a terminal that people see."""
