"""The schema's history: numbered, forward only, the same for SQLite and PostgreSQL."""
