"""The real CLIs, pinned for the tests."""
