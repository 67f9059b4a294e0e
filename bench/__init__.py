"""Measurements, each in one run beside its floor or peer. Not tests: nothing here fails on a slow machine."""
