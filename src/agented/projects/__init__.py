"""Where work happens: the repositories we know, and the worktree each execution gets of its own."""
