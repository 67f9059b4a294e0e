"""Values of this room: a budget, what was spent, and what became of a budget by it.

Money is in US dollars. What runs take of an account's windows is in percent of the whole window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from enum import StrEnum

MICRO = Decimal(1_000_000)
"""Money and percent are summed in millionths: exact in every database."""


WINDOWS: Mapping[str, str] = {
    "session": "session window",
    "daily": "daily window",
    "weekly": "weekly window",
    "monthly": "monthly window",
}
"""Kinds of windows that a budget may be of, and what people call them."""


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

    soft: people are told. hard: runs are stopped or held. Both are in dollars or, of a budget of a window, in percent
    of accounts' windows of that kind (`WINDOWS`); what is taken of several accounts is summed.
    """

    id: str
    name: str
    scope: Scope
    period: Period
    target: str | None = None
    soft_usd: Decimal | None = None
    hard_usd: Decimal | None = None
    window: str | None = None
    soft_percent: Decimal | None = None
    hard_percent: Decimal | None = None
    on_hard: OnHard = OnHard.STOP
    created_at: datetime

    @property
    def soft(self) -> Decimal | None:
        return self.soft_usd if self.window is None else self.soft_percent

    @property
    def hard(self) -> Decimal | None:
        return self.hard_usd if self.window is None else self.hard_percent


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
    """How a budget stands for one of its targets. spent: in dollars or percent, as the budget is.

    ends_at: when its period is over; None for a run's.
    """

    budget: Budget
    target: str
    spent: Decimal
    ends_at: datetime | None

    @property
    def is_spent(self) -> bool:
        return self.budget.hard is not None and self.spent >= self.budget.hard

    @property
    def is_warned(self) -> bool:
        return self.budget.soft is not None and self.spent >= self.budget.soft

    def words(self, limit: Decimal | None) -> str:
        """What was spent, of which limit."""
        if limit is None:
            return amount(self.budget, self.spent)
        return f"{_number(self.budget, self.spent)} of {amount(self.budget, limit)}"


def amount(budget: Budget, value: Decimal) -> str:
    """As people read it: `$1.25`, or `12.5 % of the weekly window`."""
    number = _number(budget, value)
    return number if budget.window is None else f"{number} of the {WINDOWS[budget.window]}"


def _number(budget: Budget, value: Decimal) -> str:
    if budget.window is not None:
        return f"{value:.1f}".removesuffix(".0") + " %"
    rounded = f"{value:.4f}".rstrip("0").rstrip(".")
    return f"${rounded}" if Decimal(rounded) == value else f"${value:.4f}"


@dataclass(frozen=True, slots=True)
class Learned:
    """What a bot's runs took of a window of an account, on average of the last ones that were measured."""

    bot: str
    backend: str
    window: str
    percent: Decimal
    runs: int


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
