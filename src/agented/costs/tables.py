"""The tables of the ledger. Amounts are whole picodollars; days are local ones at the time of collecting."""

from __future__ import annotations

import sqlalchemy as sa

from agented.kit.db import metadata

_Count = sa.BigInteger

cost_files = sa.Table(
    "cost_files",
    metadata,
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("size", _Count, nullable=False),
    sa.Column("mtime", _Count, nullable=False),
    sa.Column("inode", _Count, nullable=False),
    sa.Column("place", _Count, nullable=False),
    sa.Column("mark", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)

cost_messages = sa.Table(
    "cost_messages",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("part", sa.Text, primary_key=True),
    sa.Column("cell", _Count, nullable=False),
    sa.Column("rank", _Count, nullable=False),
    sa.Column("side", sa.SmallInteger, nullable=False),
    sa.Column("at", _Count, nullable=False),
    sa.Column("input", _Count, nullable=False),
    sa.Column("output", _Count, nullable=False),
    sa.Column("cache_read", _Count, nullable=False),
    sa.Column("cache_write", _Count, nullable=False),
    sa.Column("cache_write_1h", _Count, nullable=False),
    sa.Column("reasoning", _Count, nullable=False),
    sa.Column("beside", _Count, nullable=False),
    sa.Column("cost", _Count),
    sa.Column("own_cost", sa.SmallInteger, nullable=False),
    sqlite_with_rowid=False,
)

cost_cells = sa.Table(
    "cost_cells",
    metadata,
    sa.Column("id", _Count, primary_key=True, autoincrement=False),
    sa.Column("source", sa.String(60), nullable=False),
    sa.Column("account", sa.String(120), nullable=False),
    sa.Column("session", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("day", sa.String(10), nullable=False),
    sa.Column("fast", sa.SmallInteger, nullable=False),
    sa.Column("prices", sa.String(80), nullable=False),
    sa.Column("messages", _Count, nullable=False),
    sa.Column("unpriced", _Count, nullable=False),
    sa.Column("input", _Count, nullable=False),
    sa.Column("output", _Count, nullable=False),
    sa.Column("cache_read", _Count, nullable=False),
    sa.Column("cache_write", _Count, nullable=False),
    sa.Column("cache_write_1h", _Count, nullable=False),
    sa.Column("reasoning", _Count, nullable=False),
    sa.Column("cost", _Count, nullable=False),
)
sa.Index("ix_cost_cells_session", cost_cells.c.session)
sa.Index("ix_cost_cells_day", cost_cells.c.day)

cost_sessions = sa.Table(
    "cost_sessions",
    metadata,
    sa.Column("source", sa.String(60), primary_key=True),
    sa.Column("session", sa.Text, primary_key=True),
    sa.Column("workdir", sa.Text, nullable=False),
    sa.Column("first_at", _Count, nullable=False),
    sa.Column("last_at", _Count, nullable=False),
    sa.Column("execution", sa.String(40), nullable=False),
    sa.Column("bot", sa.String(40), nullable=False),
    sa.Column("project", sa.String(40), nullable=False),
    sa.Column("account", sa.String(120), nullable=False),
    sqlite_with_rowid=False,
)
sa.Index("ix_cost_sessions_execution", cost_sessions.c.execution)

cost_notes = sa.Table(
    "cost_notes",
    metadata,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)
