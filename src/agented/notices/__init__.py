"""Tells people and programs outside what happened: durable, signed, retried."""
