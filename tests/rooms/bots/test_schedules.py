"""Times of schedules, and what is started when a server slept, a clock jumped, or a run was still under way."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from agented.bots import saving, store
from agented.bots.schedule import Schedules
from agented.bots.starting import Starting
from agented.bots.times import check_cron, jitter, times_after
from agented.executions.model import Execution, Request, State
from agented.kit.bus import Bus
from agented.kit.clock import SetClock
from agented.kit.db import Database
from agented.kit.errors import Invalid
from agented.migrations.upgrade import upgrade
from agented.projects.model import Project

BERLIN = "Europe/Berlin"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def times(line: str, zone: str, after: str, count: int) -> list[str]:
    return [f"{one:%m-%d %H:%M}" for one in islice(times_after(line, zone, at(after)), count)]


@pytest.mark.parametrize(
    ("line", "after", "expected"),
    [
        # 29 March 2026: 02:00 becomes 03:00, which is 01:00 UTC.
        ("30 2 * * *", "2026-03-28 12:00", ["03-29 01:00", "03-30 00:30"]),
        ("0 3 * * *", "2026-03-28 12:00", ["03-29 01:00", "03-30 01:00"]),
        ("*/30 * * * *", "2026-03-29 00:00", ["03-29 00:30", "03-29 01:00", "03-29 01:30"]),
        ("15 * * * *", "2026-03-29 00:00", ["03-29 00:15", "03-29 01:15", "03-29 02:15"]),
        # 25 October 2026: 03:00 becomes 02:00 again, at 01:00 UTC.
        ("30 2 * * *", "2026-10-24 12:00", ["10-25 00:30", "10-26 01:30"]),
        ("*/30 * * * *", "2026-10-24 23:45", ["10-25 00:00", "10-25 00:30", "10-25 01:00", "10-25 01:30"]),
        ("0 9 * * MON", "2026-10-24 12:00", ["10-26 08:00", "11-02 08:00"]),
    ],
)
def test_daylight_saving_changes_lose_and_double_nothing(line: str, after: str, expected: list[str]) -> None:
    assert times(line, BERLIN, after, len(expected)) == expected


def test_29_february_comes_when_it_comes() -> None:
    found = list(islice(times_after("0 0 29 2 *", "UTC", at("2096-03-01 00:00")), 2))
    assert [f"{one:%Y-%m-%d}" for one in found] == ["2104-02-29", "2108-02-29"]


@pytest.mark.parametrize(
    "line", ["* * * *", "0 0 31 2 *", "61 * * * *", "* * * * * *", "x", "R * * * *", "@reboot", ""]
)
def test_what_is_no_line_or_never_comes_is_refused(line: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_cron(line, "cron")
    assert refused.value.field == "cron"


@given(st.datetimes(datetime(2000, 1, 1), datetime(2060, 1, 1)), st.sampled_from(["*/20 * * * *", "30 2 * * *"]))
@settings(max_examples=60, deadline=None)
def test_times_grow_and_lie_after_the_start(start: datetime, line: str) -> None:
    after = start.replace(tzinfo=UTC)
    found = list(islice(times_after(line, BERLIN, after), 5))
    assert found == sorted(set(found))
    assert found[0] > after
    assert list(islice(times_after(line, BERLIN, found[1]), 3)) == found[2:]


def test_jitter_is_bounded_and_stays() -> None:
    seen = {jitter(str(number), 60) for number in range(200)}
    assert len(seen) > 20
    assert max(seen) <= timedelta(seconds=60)
    assert jitter("a", 60) == jitter("a", 60)
    assert jitter("a", 0) == timedelta(0)


class House:
    """Schedules over a real database; what they start is written down."""

    def __init__(self, folder: Path) -> None:
        self.db = Database(f"sqlite:///{folder / 'agented.db'}")
        upgrade(self.db)
        self.clock = SetClock(at("2026-06-01 00:00"))
        self.started: list[Request] = []
        project = Project(
            id="prj_1", name="p", path=folder, url=None, default_branch="trunk", created_at=self.clock.now()
        )
        starting = Starting(db=self.db, clock=self.clock, project=lambda wanted: project, submit=self.submit)
        self.schedules = Schedules(db=self.db, bus=Bus(), clock=self.clock, starting=starting)

    def submit(self, request: Request, **more: Any) -> Execution:
        found = [number for number, one in enumerate(self.started) if one.key == request.key]
        if not found:
            self.started.append(request)
        number = found[0] if found else len(self.started) - 1
        execution = Execution(
            id=f"exe_{number:04}",
            state=State.QUEUED,
            request=request,
            created_at=self.clock.now(),
            rev=1,
            fair_tag=1,
        )
        with self.db.write() as conn:
            more["also"](conn, execution)
        return execution

    def bot(self, **trigger: Any) -> None:
        source = {
            "prompt": "say {{schedule.at}}",
            "chain": [{"backend": "rehearsal"}],
            "projects": ["p"],
            "triggers": [{"schedule": {"name": "s", "cron": "0 * * * *", **trigger}}],
        }
        saving.create(self.db, self.clock, "bot", source, enabled=True, by="test")
        self.schedules.look()

    def hours(self) -> list[str]:
        return [str(one.key).partition(":s:")[2][11:13] for one in self.started]

    def end_all(self) -> None:
        with self.db.write() as conn:
            for number in range(len(self.started)):
                store.close_run(conn, f"exe_{number:04}", "succeeded", self.clock.now())

    def row(self) -> store.Schedule:
        with self.db.read() as conn:
            [row] = store.every_schedule(conn)
        return row


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.db.close()


def test_each_time_starts_once(house: House) -> None:
    house.bot()
    house.schedules.look()
    assert house.started == []
    for _ in range(3):
        house.clock.forward(3600)
        house.schedules.look()
        house.schedules.look()
        house.end_all()
    assert house.hours() == ["01", "02", "03"]
    assert house.started[0].prompt == "say 2026-06-01T01:00:00+00:00"


@pytest.mark.parametrize(
    ("policy", "expected", "note"),
    [
        ("none", [], "24 time(s) passed"),
        ("latest", ["00"], "23 time(s) passed"),
        ("all", [f"{hour % 24:02}" for hour in range(1, 25)], None),
    ],
)
def test_a_server_that_slept_for_a_day(house: House, policy: str, expected: list[str], note: str | None) -> None:
    house.bot(catch_up=policy)
    house.clock.forward(86_400 + 600)
    house.schedules.look()
    assert house.hours() == expected
    assert note is None or note in str(house.row().note)
    # All of them, but never two at once.
    assert {(one.most_per_subject, one.subject is not None) for one in house.started} <= {(1, True)}
    assert house.row().next_at == at("2026-06-02 01:00")


def test_never_two_at_once_unless_asked(house: House) -> None:
    house.bot()
    for _ in range(2):
        house.clock.forward(3600)
        house.schedules.look()
    assert house.hours() == ["01"]
    assert "exe_0000 had not ended" in str(house.row().note)
    house.end_all()
    house.clock.forward(3600)
    house.schedules.look()
    assert house.hours() == ["01", "03"]


def test_overlap_is_allowed_where_it_is_asked_for(house: House) -> None:
    house.bot(overlap=True)
    for _ in range(2):
        house.clock.forward(3600)
        house.schedules.look()
    assert house.hours() == ["01", "02"]
    assert house.started[0].most_per_subject == 0


def test_a_clock_that_jumps_back_starts_nothing_twice_and_waits_for_nothing_far(house: House) -> None:
    house.bot(overlap=True)
    house.clock.forward(3 * 3600)
    house.schedules.look()
    assert house.hours() == ["03"]
    house.clock._now -= timedelta(hours=2)  # the wall clock alone
    house.schedules.look()
    assert house.row().next_at == at("2026-06-01 02:00")
    for _ in range(3):
        house.clock.forward(3600)
        house.schedules.look()
    assert house.hours() == ["03", "02", "04"]


def test_a_schedule_that_is_changed_or_taken_away_is_reckoned_anew(house: House) -> None:
    house.bot()
    bot = saving.get(house.db, "bot")
    source = {**bot.source, "triggers": [{"schedule": {"name": "s", "cron": "30 5 * * *"}}]}
    saving.change(house.db, house.clock, bot, source, enabled=True, by="test")
    house.schedules.look()
    assert house.row().next_at == at("2026-06-01 05:30")
    with house.db.write() as conn:
        store.set_enabled(conn, bot.id, False, house.clock.now())
    house.schedules.look()
    with house.db.read() as conn:
        assert store.every_schedule(conn) == []


def test_a_turn_of_a_repository_is_shared_by_all_that_wait_for_it(house: House) -> None:
    pace = timedelta(seconds=60)

    def turn(seconds: float, repository: str = "github.com/o/r") -> float:
        start = at("2026-06-01 00:00")
        with house.db.write() as conn:
            taken = store.take_turn(conn, repository, start + timedelta(seconds=seconds), pace)
        return (taken - start).total_seconds()

    assert [turn(0), turn(1), turn(59), turn(60.5), turn(61), turn(125), turn(400)] == [0, 60, 60, 120, 120, 180, 400]
    assert turn(2, "github.com/o/other") == 2
    # A clock that was set back by an hour holds nobody for an hour.
    assert turn(-3600) == -3600


def test_what_was_noted_is_there_with_the_execution(house: House) -> None:
    house.bot()
    house.clock.forward(3600)
    house.schedules.look()
    with house.db.read() as conn:
        run = store.find_run(conn, "exe_0000")
        assert isinstance(conn, sa.Connection)
    assert run is not None
    assert run.trigger == "s"
