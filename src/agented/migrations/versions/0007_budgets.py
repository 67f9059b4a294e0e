"""Budgets, what was spent, and who was told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "budgets",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("scope", sa.String(length=12), nullable=False),
        sa.Column("target", sa.String(length=120), nullable=True),
        sa.Column("period", sa.String(length=8), nullable=False),
        sa.Column("soft_usd", sa.String(length=40), nullable=True),
        sa.Column("hard_usd", sa.String(length=40), nullable=True),
        sa.Column("on_hard", sa.String(length=8), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budgets")),
        sa.UniqueConstraint("name", name=op.f("uq_budgets_name")),
    )
    op.create_table(
        "spendings",
        sa.Column("execution_id", sa.String(length=40), nullable=False),
        sa.Column("account_key", sa.String(length=120), nullable=False),
        sa.Column("bot", sa.String(length=120), nullable=True),
        sa.Column("project_id", sa.String(length=40), nullable=False),
        sa.Column("micro_usd", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("execution_id", "account_key", name=op.f("pk_spendings")),
    )
    op.create_index(op.f("ix_spendings_at"), "spendings", ["at"])
    op.create_table(
        "budget_warnings",
        sa.Column("budget_id", sa.String(length=40), nullable=False),
        sa.Column("target", sa.String(length=120), nullable=False),
        sa.Column("level", sa.String(length=8), nullable=False),
        sa.Column("period_from", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("budget_id", "target", "level", name=op.f("pk_budget_warnings")),
    )
    op.add_column("executions", sa.Column("max_cost_usd", sa.String(length=40), nullable=True))
    op.add_column("executions", sa.Column("may_overspend", sa.Boolean(), nullable=False, server_default=sa.false()))
