"""Until when an account is held, whatever a provider says of its reset."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from agented.accounts.limits import SeenWindow
from agented.accounts.model import Wall, WallKind
from agented.accounts.walls import Walls, holds
from agented.backends.contract import Login, Window
from agented.kit.clock import SetClock
from agented.kit.db import Database

KEY = "rehearsal:acc_1"


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def walls(clock: SetClock) -> Walls:
    return Walls(clock=clock, margin_s=20, unknown_s=900)


def reach(db: Database, walls: Walls, resets_at: datetime | None, **more: object) -> Wall:
    with db.write() as conn:
        return walls.reached(conn, KEY, "five_hour", resets_at, **more)  # type: ignore[arg-type]


def standing(db: Database, walls: Walls) -> list[Wall]:
    with db.read() as conn:
        return walls.standing(conn)


def see(
    db: Database, walls: Walls, used: float, resets_at: datetime | None, captured_at: datetime, name: str = "five_hour"
) -> bool:
    window = Window(name=name, title=name, used_percent=used, resets_at=resets_at)
    with db.write() as conn:
        return walls.seen(conn, KEY, [SeenWindow(window=window, captured_at=captured_at, source="provider")])


def test_a_told_reset_is_waited_for_and_a_margin(db: Database, walls: Walls, clock: SetClock) -> None:
    reset = clock.now() + timedelta(hours=3)
    assert reach(db, walls, reset).until == reset + timedelta(seconds=20)
    clock.forward(3 * 3600 + 19)
    assert len(standing(db, walls)) == 1
    clock.forward(2)
    assert standing(db, walls) == []


@pytest.mark.parametrize(("given_s", "first_s"), [(None, 900), (-5, 20), (90 * 86400, 900), (0, 20)])
def test_what_is_missing_past_or_beyond_reason_is_a_pause_that_doubles(
    db: Database, walls: Walls, clock: SetClock, given_s: float | None, first_s: float
) -> None:
    waited = []
    for _ in range(8):
        now = clock.now()
        reset = None if given_s is None else now + timedelta(seconds=given_s)
        wall = reach(db, walls, reset)
        assert not wall.told
        waited.append((wall.until - now).total_seconds())
        clock.forward(waited[-1] + 1)
    assert waited == [first_s * factor for factor in (1, 2, 4, 8, 16, 32, 32, 32)]
    clock.forward(3600)
    assert (reach(db, walls, None if given_s is None else clock.now()).until - clock.now()).total_seconds() <= 900


def test_a_reset_that_moves_is_followed(db: Database, walls: Walls, clock: SetClock) -> None:
    reset = clock.now() + timedelta(hours=3)
    reach(db, walls, reset)
    assert not see(db, walls, 100, reset, clock.now()), "what was seen before the wall says nothing"
    clock.forward(1)
    assert not see(db, walls, 100, reset, clock.now())
    earlier, later = reset - timedelta(hours=1), reset + timedelta(hours=1)
    assert see(db, walls, 100, earlier, clock.now())
    assert standing(db, walls)[0].until == earlier + timedelta(seconds=20)
    assert see(db, walls, 100, later, clock.now())
    assert standing(db, walls)[0].until == later + timedelta(seconds=20)
    assert not see(db, walls, 100, None, clock.now())
    assert not see(db, walls, 100, clock.now() - timedelta(hours=1), clock.now())
    assert see(db, walls, 4, later, clock.now())
    assert standing(db, walls) == []
    reach(db, walls, None)
    clock.forward(1)
    assert see(db, walls, 100, later, clock.now(), name="18000s"), "another name of the window that is full"
    assert standing(db, walls)[0].until == later + timedelta(seconds=20)


def test_a_window_of_one_kind_of_model_holds_that_model_alone(db: Database, walls: Walls) -> None:
    with db.write() as conn:
        wall = walls.reached(conn, KEY, "seven_day_opus", None, model="opus-5")
    assert wall.model == "opus-5"
    assert holds(wall, model="opus-5", login=None) and not holds(wall, model="sonnet-5", login=None)
    assert holds(reach(db, walls, None, model="opus-5"), model="sonnet-5", login=None)


def test_another_login_is_not_held_by_what_was_refused(db: Database, walls: Walls) -> None:
    old, new = Login("api_key", token="old-token"), Login("api_key", token="new-token")
    wall = reach(db, walls, None, kind=WallKind.SIGN_IN, login=old)
    assert holds(wall, model=None, login=old) and not holds(wall, model=None, login=new)
    assert "old-token" not in str(wall)


def test_a_run_that_began_later_and_went_well_takes_the_wall_away(db: Database, walls: Walls, clock: SetClock) -> None:
    began = clock.now()
    clock.forward(1)
    reach(db, walls, None)
    with db.write() as conn:
        assert not walls.passed(conn, KEY, None, began)
        clock.forward(1)
        assert walls.passed(conn, KEY, None, clock.now())
    assert standing(db, walls) == []
