"""Accounts that hit their walls, executions that wait for them, and why an account was chosen."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "account_walls",
        sa.Column("account_key", sa.String(length=120), nullable=False),
        sa.Column("window", sa.String(length=120), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=True),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("told", sa.Boolean(), nullable=False),
        sa.Column("noted_at", sa.BigInteger(), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("login", sa.String(length=64), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account_key", "window", name=op.f("pk_account_walls")),
    )
    op.create_index(op.f("ix_account_walls_until"), "account_walls", ["until"])
    for table in ("executions", "attempts"):
        op.add_column(table, sa.Column("account_key", sa.String(length=120), nullable=True))
        op.add_column(table, sa.Column("choice", sa.Text(), nullable=True))
    op.add_column("executions", sa.Column("on_limit", sa.String(length=8), nullable=False, server_default="wait"))
    op.add_column("executions", sa.Column("asked", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("workspaces", sa.Column("resting", sa.Boolean(), nullable=False, server_default=sa.false()))
