"""Run one thing, record it, end it: the queue, the keeper that owns the process, what it printed, and what it meant."""
