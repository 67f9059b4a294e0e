"""Chains, turns and subjects of executions; events, schedules and results of bots."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    _executions()
    _bots()
    _results()


def _executions() -> None:
    for column in (
        sa.Column("chain", sa.JSON(), nullable=False, server_default="[]"),
        sa.Column("step", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("trust", sa.String(length=12), nullable=False, server_default="own"),
        sa.Column("fetch", sa.String(length=255), nullable=True),
        sa.Column("config_from", sa.String(length=255), nullable=True),
        sa.Column("subject", sa.String(length=255), nullable=True),
        sa.Column("most", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("most_per_subject", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("admitted", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("resume_at", sa.BigInteger(), nullable=True),
    ):
        op.add_column("executions", column)
    op.create_index("ix_executions_subject_id", "executions", ["subject", "id"])
    op.create_index("ix_executions_state_resume_at", "executions", ["state", "resume_at"])
    op.add_column("attempts", sa.Column("backend", sa.String(length=60), nullable=True))
    op.add_column("attempts", sa.Column("step", sa.Integer(), nullable=False, server_default="0"))


def _bots() -> None:
    op.add_column("bots", sa.Column("paused", sa.Text(), nullable=True))
    for column in (
        sa.Column("lane", sa.String(length=260), nullable=False, server_default=""),
        sa.Column("event", sa.String(length=60), nullable=True),
        sa.Column("checked", sa.JSON(), nullable=False, server_default="[]"),
    ):
        op.add_column("deliveries", column)
    for added in (
        sa.Column("trigger", sa.String(length=80), nullable=True),
        sa.Column("depth", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("about", sa.JSON(), nullable=False, server_default="{}"),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
    ):
        op.add_column("bot_runs", added)
    # What ran before this release is not seen to a second time.
    op.execute("UPDATE bot_runs SET closed_at = 0, outcome = 'done'")
    op.create_index("ix_bot_runs_closed_at_execution_id", "bot_runs", ["closed_at", "execution_id"])
    op.create_table(
        "repository_paces",
        sa.Column("repository", sa.String(length=260), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("repository", name=op.f("pk_repository_paces")),
    )
    op.create_table(
        "bot_schedules",
        sa.Column("bot_id", sa.String(length=40), nullable=False),
        sa.Column("trigger", sa.String(length=80), nullable=False),
        sa.Column("line", sa.String(length=200), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("bot_id", "trigger", name=op.f("pk_bot_schedules")),
    )


def _results() -> None:
    op.create_table(
        "bot_results",
        sa.Column("execution_id", sa.String(length=40), nullable=False),
        sa.Column("bot_id", sa.String(length=40), nullable=False),
        sa.Column("project_id", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("execution_id", name=op.f("pk_bot_results")),
    )
    op.create_index("ix_bot_results_project_id_execution_id", "bot_results", ["project_id", "execution_id"])
    op.create_index("ix_bot_results_bot_id_execution_id", "bot_results", ["bot_id", "execution_id"])
    op.create_table(
        "bot_comments",
        sa.Column("bot_id", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("comment_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("bot_id", "subject", name=op.f("pk_bot_comments")),
    )
