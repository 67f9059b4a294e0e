"""The ledger of costs, and whose a session was."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_COUNTS = ("input", "output", "cache_read", "cache_write", "cache_write_1h", "reasoning")


def upgrade() -> None:
    op.create_table(
        "cost_files",
        sa.Column("path", sa.Text(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("size", "mtime", "inode", "place")),
        sa.Column("mark", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("path", name=op.f("pk_cost_files")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "cost_messages",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column("cell", sa.BigInteger(), nullable=False),
        sa.Column("rank", sa.BigInteger(), nullable=False),
        sa.Column("side", sa.SmallInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in (*_COUNTS, "beside")),
        sa.Column("cost", sa.BigInteger(), nullable=True),
        sa.Column("own_cost", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", "part", name=op.f("pk_cost_messages")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "cost_cells",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source", sa.String(length=60), nullable=False),
        sa.Column("account", sa.String(length=120), nullable=False),
        sa.Column("session", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("fast", sa.SmallInteger(), nullable=False),
        sa.Column("prices", sa.String(length=80), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("messages", "unpriced", *_COUNTS, "cost")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cost_cells")),
    )
    op.create_index(op.f("ix_cost_cells_session"), "cost_cells", ["session"])
    op.create_index(op.f("ix_cost_cells_day"), "cost_cells", ["day"])
    op.create_table(
        "cost_sessions",
        sa.Column("source", sa.String(length=60), nullable=False),
        sa.Column("session", sa.Text(), nullable=False),
        sa.Column("workdir", sa.Text(), nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("execution", sa.String(length=40), nullable=False),
        sa.Column("bot", sa.String(length=40), nullable=False),
        sa.Column("project", sa.String(length=40), nullable=False),
        sa.Column("account", sa.String(length=120), nullable=False),
        sa.PrimaryKeyConstraint("source", "session", name=op.f("pk_cost_sessions")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_cost_sessions_execution"), "cost_sessions", ["execution"])
    op.create_table(
        "cost_notes",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_cost_notes")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_attempts_session_id"), "attempts", ["session_id"])
