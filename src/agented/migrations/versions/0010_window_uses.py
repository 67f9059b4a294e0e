"""What runs take of accounts' windows, and budgets of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "window_uses",
        sa.Column("execution_id", sa.String(length=40), nullable=False),
        sa.Column("account_key", sa.String(length=120), nullable=False),
        sa.Column("window", sa.String(length=120), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("bot", sa.String(length=120), nullable=True),
        sa.Column("project_id", sa.String(length=40), nullable=False),
        sa.Column("micro_percent", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("execution_id", "account_key", "window", name=op.f("pk_window_uses")),
    )
    op.create_index(op.f("ix_window_uses_at"), "window_uses", ["at"])
    op.create_index(op.f("ix_window_uses_bot"), "window_uses", ["bot", "window"])
    op.create_index(op.f("ix_attempts_account_key"), "attempts", ["account_key", "ended_at"])
    op.add_column("budgets", sa.Column("window", sa.String(length=12), nullable=True))
    op.add_column("budgets", sa.Column("soft_percent", sa.String(length=40), nullable=True))
    op.add_column("budgets", sa.Column("hard_percent", sa.String(length=40), nullable=True))
