"""What is known of accounts' limits, its history, and who was told of a crossing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "limit_standings",
        sa.Column("account_key", sa.String(length=120), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("plan", sa.String(length=120), nullable=True),
        sa.Column("email", sa.String(length=320), nullable=True),
        sa.Column("windows", sa.JSON(), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=True),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("account_key", name=op.f("pk_limit_standings")),
    )
    op.create_table(
        "limit_points",
        sa.Column("account_key", sa.String(length=120), nullable=False),
        sa.Column("window", sa.String(length=120), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("used_percent", sa.Float(), nullable=False),
        sa.Column("resets_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("account_key", "window", "at", name=op.f("pk_limit_points")),
    )
    op.create_index(op.f("ix_limit_points_at"), "limit_points", ["at"])
    op.create_table(
        "limit_levels",
        sa.Column("account_key", sa.String(length=120), nullable=False),
        sa.Column("window", sa.String(length=120), nullable=False),
        sa.Column("level", sa.Float(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_key", "window", name=op.f("pk_limit_levels")),
    )
    op.add_column("accounts", sa.Column("disabled", sa.Boolean(), nullable=False, server_default=sa.false()))
