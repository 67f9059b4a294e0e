"""As whom executions run: accounts of AI CLIs, their homes, their environment and their logins."""
