"""All SQL of budgets."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from agented.budgets.model import MICRO, Budget, Learned, OnHard, Period, Scope, Spender
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
    sa.Column("window", sa.String(12)),
    sa.Column("soft_percent", sa.String(40)),
    sa.Column("hard_percent", sa.String(40)),
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

window_uses = sa.Table(
    "window_uses",
    metadata,
    sa.Column("execution_id", sa.String(40), primary_key=True),
    sa.Column("account_key", sa.String(120), primary_key=True),
    sa.Column("window", sa.String(120), primary_key=True),
    sa.Column("kind", sa.String(12), nullable=False),
    sa.Column("bot", sa.String(120)),
    sa.Column("project_id", sa.String(40), nullable=False),
    sa.Column("micro_percent", sa.BigInteger, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
)
"""What executions took of windows, in millionths of a percent; kind is empty for a window of one kind of model."""
sa.Index("ix_window_uses_at", window_uses.c.at)
sa.Index("ix_window_uses_bot", window_uses.c.bot, window_uses.c.window)

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
            window=budget.window,
            soft_percent=_text(budget.soft_percent),
            hard_percent=_text(budget.hard_percent),
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


def add_use(conn: sa.Connection, spender: Spender, window: str, kind: str, percent: Decimal, at: datetime) -> None:
    """Adds to what an execution took of a window of its account; nothing taken is noted as well."""
    values = {
        "execution_id": spender.execution_id,
        "account_key": spender.account_key or "",
        "window": window,
    }
    mine = sa.and_(*(window_uses.c[name] == value for name, value in values.items()))
    micro = int((percent * MICRO).to_integral_value())
    done = conn.execute(
        window_uses.update().where(mine).values(micro_percent=window_uses.c.micro_percent + micro, at=at)
    )
    if done.rowcount:
        return
    conn.execute(
        window_uses.insert().values(
            **values,
            kind=kind,
            bot=spender.target_in(Scope.BOT),
            project_id=spender.project_id,
            micro_percent=micro,
            at=at,
        )
    )


def learned(conn: sa.Connection, bot: str | None, runs: int, least: int) -> list[Learned]:
    """By bot, backend and window: the mean of the last runs, where there are at least so many."""
    backend = sa.func.substr(window_uses.c.account_key, 1, _colon(window_uses.c.account_key, conn) - 1)
    ranked = sa.select(
        window_uses.c.bot,
        backend.label("backend"),
        window_uses.c.window,
        window_uses.c.micro_percent,
        sa.func.row_number()
        .over(partition_by=(window_uses.c.bot, backend, window_uses.c.window), order_by=window_uses.c.at.desc())
        .label("place"),
    ).where(window_uses.c.bot.is_not(None) if bot is None else window_uses.c.bot == bot)
    last = ranked.subquery()
    query = (
        sa.select(
            last.c.bot,
            last.c.backend,
            last.c.window,
            sa.func.sum(last.c.micro_percent),
            sa.func.count(),
        )
        .where(last.c.place <= runs)
        .group_by(last.c.bot, last.c.backend, last.c.window)
        .having(sa.func.count() >= least)
        .order_by(last.c.bot, last.c.backend, last.c.window)
    )
    return [
        Learned(row[0], row[1], row[2], Decimal(int(row[3])) / MICRO / int(row[4]), int(row[4]))
        for row in conn.execute(query)
    ]


def _colon(column: sa.Column[Any], conn: sa.Connection) -> Any:
    return sa.func.instr(column, ":") if conn.dialect.name == "sqlite" else sa.func.strpos(column, ":")


def spent(
    conn: sa.Connection, budget: Budget, target: str, since: datetime | None, execution_id: str | None = None
) -> Decimal:
    """What a budget's target took since a time, or one execution; in dollars or percent, as the budget is."""
    table, query = _taken(budget)
    column = _column(table, budget.scope)
    if column is not None and execution_id is None:
        query = query.where(column == target)
    if since is not None:
        query = query.where(table.c.at >= since)
    if execution_id is not None:
        query = query.where(table.c.execution_id == execution_id)
    return Decimal(int(conn.execute(query).scalar() or 0)) / MICRO


def targets(conn: sa.Connection, budget: Budget, since: datetime) -> list[str]:
    """Who of a budget's scope has taken anything since a time."""
    table, _ = _taken(budget)
    column = _column(table, budget.scope)
    if column is None:
        return [""]
    query = sa.select(column).where(table.c.at >= since, column.is_not(None), column != "").distinct()
    return sorted(str(row[0]) for row in conn.execute(query.limit(500)))


def _taken(budget: Budget) -> tuple[sa.Table, sa.Select[Any]]:
    if budget.window is None:
        return spendings, sa.select(sa.func.sum(spendings.c.micro_usd))
    return window_uses, sa.select(sa.func.sum(window_uses.c.micro_percent)).where(window_uses.c.kind == budget.window)


def _column(table: sa.Table, scope: Scope) -> sa.Column[Any] | None:
    names = {Scope.BOT: "bot", Scope.PROJECT: "project_id", Scope.ACCOUNT: "account_key"}
    return table.c[names[scope]] if scope in names else None


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
    for table in (spendings, window_uses):
        conn.execute(table.delete().where(table.c.at < then))


def _text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:f}"


def _budget(row: sa.Row[Any]) -> Budget:
    return Budget(
        id=row.id,
        name=row.name,
        scope=Scope(row.scope),
        period=Period(row.period),
        target=row.target,
        soft_usd=None if row.soft_usd is None else Decimal(row.soft_usd),
        hard_usd=None if row.hard_usd is None else Decimal(row.hard_usd),
        window=row.window,
        soft_percent=None if row.soft_percent is None else Decimal(row.soft_percent),
        hard_percent=None if row.hard_percent is None else Decimal(row.hard_percent),
        on_hard=OnHard(row.on_hard),
        created_at=row.created_at,
    )
