"""Budgets by scope and period: what is spent of them, who is told, and once."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from agented.budgets.model import Budget, OnHard, Period, Scope, Spender, Standing, bounds
from agented.budgets.watching import Budgets, read_amount
from agented.kit.clock import SetClock
from agented.kit.db import Database
from agented.kit.errors import Invalid

VIENNA = ZoneInfo("Europe/Vienna")


class Heard:
    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []

    def __call__(self, conn: sa.Connection, standing: Standing, level: str) -> None:
        self.told.append((standing.budget.name, standing.target, level))


@pytest.fixture
def clock() -> SetClock:
    return SetClock(datetime(2026, 11, 25, 10, tzinfo=UTC))


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def budgets(db: Database, clock: SetClock, heard: Heard) -> Budgets:
    return Budgets(db=db, clock=clock, tell=heard, zone=VIENNA)


def budget(name: str = "one", scope: Scope = Scope.ALL, period: Period = Period.DAY, **more: Any) -> Budget:
    values: dict[str, Any] = {"hard_usd": Decimal(10), "created_at": datetime(2026, 1, 1, tzinfo=UTC)} | more
    return Budget(id="", name=name, scope=scope, period=period, **values)


def spender(execution: str = "exe_1", origin: str = "bot:review", account: str | None = "x:acc_1") -> Spender:
    return Spender(execution_id=execution, origin=origin, project_id="prj_1", account_key=account)


def spend(budgets: Budgets, who: Spender, usd: str) -> Standing | None:
    with budgets.db.write() as conn:
        return budgets.spend(conn, who, Decimal(usd), budgets.clock.now())


def check(budgets: Budgets, who: Spender) -> Standing | None:
    with budgets.db.read() as conn:
        return budgets.check(conn, who)


def test_a_budget_is_spent_by_what_all_have_spent_so_far(budgets: Budgets) -> None:
    budgets.put(budget())
    assert spend(budgets, spender("exe_1"), "6") is None
    assert spend(budgets, spender("exe_1"), "6.5") is None, "what is told again is no new spending"
    over = spend(budgets, spender("exe_2"), "3.5")
    assert over is not None and over.spent == Decimal(10)
    held = check(budgets, spender("exe_3"))
    assert held is not None and held.ends_at == datetime(2026, 11, 25, 23, tzinfo=UTC)


def test_a_scope_concerns_its_target_alone(budgets: Budgets) -> None:
    budgets.put(budget("review", Scope.BOT, target="review", hard_usd=Decimal(1)))
    budgets.put(budget("each account", Scope.ACCOUNT, hard_usd=Decimal(5)))
    assert spend(budgets, spender(origin="bot:other"), "4") is None
    assert spend(budgets, spender("exe_2"), "0.9") is None
    over = spend(budgets, spender("exe_3", origin="user:1"), "0.1")
    assert over is not None and over.budget.name == "each account"
    assert check(budgets, spender("exe_4", origin="user:1", account="x:acc_2")) is None
    assert spend(budgets, spender("exe_5", account="x:acc_2"), "0.1") is not None
    held = check(budgets, spender("exe_6", account=None))
    assert held is not None and held.budget.name == "review"


def test_a_period_ends_and_the_budget_is_whole_again(budgets: Budgets, clock: SetClock) -> None:
    budgets.put(budget("day"))
    budgets.put(budget("week", period=Period.WEEK, hard_usd=Decimal(15)))
    assert spend(budgets, spender("exe_1"), "10") is not None
    clock.forward(24 * 3600)
    assert check(budgets, spender("exe_2")) is None
    over = spend(budgets, spender("exe_2"), "5")
    assert over is not None and over.budget.name == "week"


def test_people_are_told_of_each_crossing_once_a_period(budgets: Budgets, clock: SetClock, heard: Heard) -> None:
    budgets.put(budget(soft_usd=Decimal(5)))
    for usd in ("4", "5", "6", "10", "12"):
        spend(budgets, spender(), usd)
    assert heard.told == [("one", "", "soft"), ("one", "", "hard")]
    clock.forward(24 * 3600)
    spend(budgets, spender("exe_2"), "6")
    assert heard.told[2:] == [("one", "", "soft")]


def test_a_run_has_a_budget_of_its_own(budgets: Budgets) -> None:
    budgets.put(budget("run", period=Period.RUN, hard_usd=Decimal(2), on_hard=OnHard.ASK))
    assert spend(budgets, spender("exe_1"), "1.99") is None
    assert spend(budgets, spender("exe_2"), "1") is None
    assert spend(budgets, spender("exe_1", account="x:acc_2"), "0.01") is not None
    assert check(budgets, spender("exe_1")) is None


@pytest.mark.parametrize(
    ("period", "now", "begin", "end"),
    [
        # The day on which clocks go back has 25 hours, the one on which they go forward 23.
        (Period.DAY, "2026-10-25T12:00", "2026-10-24T22:00", "2026-10-25T23:00"),
        (Period.DAY, "2026-03-29T12:00", "2026-03-28T23:00", "2026-03-29T22:00"),
        (Period.WEEK, "2026-11-29T22:59", "2026-11-22T23:00", "2026-11-29T23:00"),
        (Period.MONTH, "2026-12-31T23:30", "2026-12-31T23:00", "2027-01-31T23:00"),
        (Period.MONTH, "2026-02-10T00:00", "2026-01-31T23:00", "2026-02-28T23:00"),
    ],
)
def test_periods_are_of_the_local_calendar(period: Period, now: str, begin: str, end: str) -> None:
    def at(text: str) -> datetime:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)

    assert bounds(period, at(now), VIENNA) == (at(begin), at(end))


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"hard_usd": None}, "hard_usd"),
        ({"hard_usd": Decimal(-1)}, "hard_usd"),
        ({"soft_usd": Decimal(20)}, "soft_usd"),
        ({"target": "x"}, "target"),
        ({"window": "hourly", "hard_usd": None, "hard_percent": Decimal(1)}, "window"),
        ({"window": "weekly"}, "hard_usd"),
        ({"window": "weekly", "hard_usd": None}, "hard_percent"),
        ({"hard_percent": Decimal(5)}, "window"),
        ({"window": "weekly", "hard_usd": None, "hard_percent": Decimal(0)}, "hard_percent"),
        (
            {"window": "weekly", "hard_usd": None, "hard_percent": Decimal(5), "soft_percent": Decimal(6)},
            "soft_percent",
        ),
    ],
)
def test_what_can_be_no_budget_is_refused(budgets: Budgets, wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        budgets.put(budget(**wrong))
    assert refused.value.field == field


@pytest.mark.parametrize("text", ["twelve", "NaN", "Infinity", "1,5"])
def test_an_amount_is_a_number(text: str) -> None:
    with pytest.raises(Invalid):
        read_amount(text, "hard_usd")


def use(
    budgets: Budgets, who: Spender, percent: str, window: str = "five_hour", kind: str = "session"
) -> Standing | None:
    with budgets.db.write() as conn:
        return budgets.use(conn, who, window, kind, Decimal(percent))


def test_a_budget_may_be_of_what_is_taken_of_a_window(budgets: Budgets, heard: Heard) -> None:
    weekly = {"hard_usd": None, "window": "weekly", "soft_percent": Decimal(10), "hard_percent": Decimal(20)}
    budgets.put(budget("share", Scope.BOT, Period.WEEK, target="review", **weekly))
    assert use(budgets, spender("exe_1"), "90") is None, "of another window"
    assert use(budgets, spender("exe_1"), "90", "seven_day_opus", "") is None, "of one kind of model alone"
    assert use(budgets, spender("exe_9", origin="bot:other"), "90", "seven_day", "weekly") is None
    assert use(budgets, spender("exe_1"), "9.5", "seven_day", "weekly") is None
    assert use(budgets, spender("exe_2"), "5.5", "seven_day", "weekly") is None
    assert heard.told == [("share", "review", "soft")]
    over = use(budgets, spender("exe_2", account="x:acc_2"), "5", "seven_day", "weekly")
    assert over is not None and over.words(over.budget.hard) == "20 % of 20 % of the weekly window"
    assert spend(budgets, spender("exe_2"), "0.01") is not None, "it is spent whatever else is told"
    held = check(budgets, spender("exe_3", account=None))
    assert held is not None and held.ends_at is not None


def test_what_a_bots_runs_take_is_learned_from_the_last_of_them(budgets: Budgets, clock: SetClock) -> None:
    for number, percent in enumerate(["4", "5", "6"]):
        clock.forward(60)
        assert budgets.learned("review") == []
        use(budgets, spender(f"exe_{number}"), percent)
    (one,) = budgets.learned("review")
    assert (one.backend, one.window, one.percent, one.runs) == ("x", "five_hour", Decimal(5), 3)
    assert budgets.learned("other") == []
    for number in range(3, 40):
        clock.forward(60)
        use(budgets, spender(f"exe_{number}"), "1")
        use(budgets, spender(f"exe_{number}"), "1")
    (one,) = budgets.learned()
    assert (one.bot, one.percent, one.runs) == ("review", Decimal(2), 20)
