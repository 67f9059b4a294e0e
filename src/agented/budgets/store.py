"""All SQL of budgets."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from agented.budgets.model import MICRO, Budget, OnHard, Period, Scope, Spender
from agented.kit.db import UtcTime, metadata

budgets = sa.Table(
    "budgets",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("name", sa.String(80), nullable=False, unique=True),
    sa.Column("scope", sa.String(12), nullable=False),
    sa.Column("target", sa.String(120)),
    sa.Column("period", sa.String(8), nullable=False),
    sa.Column("soft_usd", sa.String(40)),
    sa.Column("hard_usd", sa.String(40)),
    sa.Column("on_hard", sa.String(8), nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
)

spendings = sa.Table(
    "spendings",
    metadata,
    sa.Column("execution_id", sa.String(40), primary_key=True),
    sa.Column("account_key", sa.String(120), primary_key=True),
    sa.Column("bot", sa.String(120)),
    sa.Column("project_id", sa.String(40), nullable=False),
    sa.Column("micro_usd", sa.BigInteger, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
)
sa.Index("ix_spendings_at", spendings.c.at)

budget_warnings = sa.Table(
    "budget_warnings",
    metadata,
    sa.Column("budget_id", sa.String(40), primary_key=True),
    sa.Column("target", sa.String(120), primary_key=True),
    sa.Column("level", sa.String(8), primary_key=True),
    sa.Column("period_from", UtcTime, nullable=False),
)
"""Which crossing of a budget people were told of, and in which period."""


def every(conn: sa.Connection) -> list[Budget]:
    return [_budget(row) for row in conn.execute(budgets.select().order_by(budgets.c.name))]


def find(conn: sa.Connection, id_or_name: str) -> Budget | None:
    wanted = sa.or_(budgets.c.id == id_or_name, budgets.c.name == id_or_name)
    row = conn.execute(budgets.select().where(wanted)).first()
    return None if row is None else _budget(row)


def put(conn: sa.Connection, budget: Budget) -> None:
    """Adds it, or changes the one of its id."""
    conn.execute(budgets.delete().where(budgets.c.id == budget.id))
    conn.execute(
        budgets.insert().values(
            id=budget.id,
            name=budget.name,
            scope=budget.scope,
            target=budget.target,
            period=budget.period,
            soft_usd=_text(budget.soft_usd),
            hard_usd=_text(budget.hard_usd),
            on_hard=budget.on_hard,
            created_at=budget.created_at,
        )
    )
    conn.execute(budget_warnings.delete().where(budget_warnings.c.budget_id == budget.id))


def remove(conn: sa.Connection, budget_id: str) -> None:
    conn.execute(budgets.delete().where(budgets.c.id == budget_id))
    conn.execute(budget_warnings.delete().where(budget_warnings.c.budget_id == budget_id))


def put_spending(conn: sa.Connection, spender: Spender, usd: Decimal, at: datetime) -> None:
    """What an execution has spent on an account so far, in place of what was known. `at` is when it began there."""
    mine = sa.and_(
        spendings.c.execution_id == spender.execution_id, spendings.c.account_key == (spender.account_key or "")
    )
    micro = int((usd * MICRO).to_integral_value())
    done = conn.execute(spendings.update().where(mine).values(micro_usd=micro))
    if done.rowcount:
        return
    conn.execute(
        spendings.insert().values(
            execution_id=spender.execution_id,
            account_key=spender.account_key or "",
            bot=spender.target_in(Scope.BOT),
            project_id=spender.project_id,
            micro_usd=micro,
            at=at,
        )
    )


def spent(
    conn: sa.Connection, scope: Scope, target: str, since: datetime | None, execution_id: str | None = None
) -> Decimal:
    """Sum of a scope's target since a time, or of one execution."""
    query = sa.select(sa.func.sum(spendings.c.micro_usd))
    column = {
        Scope.BOT: spendings.c.bot,
        Scope.PROJECT: spendings.c.project_id,
        Scope.ACCOUNT: spendings.c.account_key,
    }.get(scope)
    if column is not None:
        query = query.where(column == target)
    if since is not None:
        query = query.where(spendings.c.at >= since)
    if execution_id is not None:
        query = query.where(spendings.c.execution_id == execution_id)
    return Decimal(int(conn.execute(query).scalar() or 0)) / MICRO


def targets(conn: sa.Connection, scope: Scope, since: datetime) -> list[str]:
    """Who of a scope has spent anything since a time."""
    column = {
        Scope.BOT: spendings.c.bot,
        Scope.PROJECT: spendings.c.project_id,
        Scope.ACCOUNT: spendings.c.account_key,
    }.get(scope)
    if column is None:
        return [""]
    query = sa.select(column).where(spendings.c.at >= since, column.is_not(None), column != "").distinct()
    return sorted(str(row[0]) for row in conn.execute(query.limit(500)))


def note_warning(conn: sa.Connection, budget_id: str, target: str, level: str, period_from: datetime) -> bool:
    """True the first time in a period."""
    mine = sa.and_(
        budget_warnings.c.budget_id == budget_id, budget_warnings.c.target == target, budget_warnings.c.level == level
    )
    known = conn.execute(sa.select(budget_warnings.c.period_from).where(mine)).scalar()
    if known is not None and known >= period_from:
        return False
    conn.execute(budget_warnings.delete().where(mine))
    conn.execute(
        budget_warnings.insert().values(budget_id=budget_id, target=target, level=level, period_from=period_from)
    )
    return True


def forget_before(conn: sa.Connection, then: datetime) -> None:
    conn.execute(spendings.delete().where(spendings.c.at < then))


def _text(usd: Decimal | None) -> str | None:
    return None if usd is None else f"{usd:f}"


def _budget(row: sa.Row[Any]) -> Budget:
    return Budget(
        id=row.id,
        name=row.name,
        scope=Scope(row.scope),
        period=Period(row.period),
        target=row.target,
        soft_usd=None if row.soft_usd is None else Decimal(row.soft_usd),
        hard_usd=None if row.hard_usd is None else Decimal(row.hard_usd),
        on_hard=OnHard(row.on_hard),
        created_at=row.created_at,
    )
