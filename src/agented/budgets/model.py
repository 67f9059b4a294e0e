"""Values of this room: a budget, what was spent, and what became of a budget by it. Money is in US dollars."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from enum import StrEnum

MICRO = Decimal(1_000_000)
"""Money is summed in millionths of a dollar: exact in every database."""


class Scope(StrEnum):
    ALL = "all"
    BOT = "bot"
    PROJECT = "project"
    ACCOUNT = "account"


class Period(StrEnum):
    RUN = "run"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class OnHard(StrEnum):
    """What happens to runs when a budget is spent."""

    STOP = "stop"
    """Those that run are stopped, those that come wait until the period is over."""
    ASK = "ask"
    """They are held until a person lets each go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """target: the bot's name, the project's id, the account's key; None for all of the scope, each by itself.

    soft_usd: people are told. hard_usd: runs are stopped or held.
    """

    id: str
    name: str
    scope: Scope
    period: Period
    target: str | None = None
    soft_usd: Decimal | None = None
    hard_usd: Decimal | None = None
    on_hard: OnHard = OnHard.STOP
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Spender:
    """Who spends: one execution on one account."""

    execution_id: str
    origin: str
    project_id: str
    account_key: str | None = None

    def target_in(self, scope: Scope) -> str | None:
        """Its name within a scope; None when the scope does not concern it."""
        if scope is Scope.BOT:
            return self.origin.removeprefix("bot:") if self.origin.startswith("bot:") else None
        return {Scope.PROJECT: self.project_id, Scope.ACCOUNT: self.account_key, Scope.ALL: ""}[scope]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a budget stands for one of its targets. ends_at: when its period is over; None for a run's."""

    budget: Budget
    target: str
    spent_usd: Decimal
    ends_at: datetime | None

    @property
    def is_spent(self) -> bool:
        return self.budget.hard_usd is not None and self.spent_usd >= self.budget.hard_usd

    @property
    def is_warned(self) -> bool:
        return self.budget.soft_usd is not None and self.spent_usd >= self.budget.soft_usd


def bounds(period: Period, now: datetime, zone: tzinfo | None) -> tuple[datetime, datetime]:
    """Begin and end of the day, the week (from Monday) or the month, in a zone; None is the server's own."""
    day = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    begin = {
        Period.WEEK: day - timedelta(days=day.weekday()),
        Period.MONTH: day.replace(day=1),
    }.get(period, day)
    end = {
        Period.WEEK: begin + timedelta(days=7),
        Period.MONTH: (begin + timedelta(days=32)).replace(day=1),
    }.get(period, begin + timedelta(days=1))
    # Put back into the zone last, so that a day of a change of clocks has its 23 or 25 hours.
    return _utc(begin, zone), _utc(end, zone)


def _utc(local: datetime, zone: tzinfo | None) -> datetime:
    return (local if zone is None else local.replace(tzinfo=zone)).astimezone(UTC)
