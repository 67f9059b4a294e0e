"""Who starts first while a login is about to be renewed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from agented.accounts.broker import Broker
from agented.backends.contract import Login
from agented.kit.clock import SetClock


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def broker(clock: SetClock) -> Broker:
    return Broker(clock)


def login(clock: SetClock, minutes: float, token: str = "one") -> Login:
    return Login("subscription", token=token, expires_at=clock.now() + timedelta(minutes=minutes))


def awaited(broker: Broker) -> bool:
    return broker.is_awaited


@pytest.mark.parametrize("found", [None, Login("api_key", token="key")])
def test_what_is_not_renewed_starts_at_once(broker: Broker, found: Login | None) -> None:
    assert [broker.enter("a", found, f"run{number}") for number in range(3)] == [None] * 3


def test_a_login_that_lasts_starts_at_once(broker: Broker, clock: SetClock) -> None:
    assert [broker.enter("a", login(clock, 6), f"run{number}") for number in range(3)] == [None] * 3


@pytest.mark.parametrize("minutes", [4, 0, -600])
def test_one_starts_alone_and_the_others_of_its_account_wait(broker: Broker, clock: SetClock, minutes: float) -> None:
    old = login(clock, minutes)
    begun = clock.now()
    assert broker.enter("a", old, "first") is None
    assert broker.enter("a", old, "second") == begun + timedelta(seconds=60)
    assert broker.enter("a", old, "first") is None
    assert broker.enter("b", old, "third") is None


def test_a_new_login_lets_all_start(broker: Broker, clock: SetClock) -> None:
    old, new = login(clock, 1), login(clock, 480, "two")
    broker.enter("a", old, "first")
    assert awaited(broker) is False
    broker.enter("a", old, "second")
    assert awaited(broker) is True
    assert not broker.look({"a": old}.get)
    assert not broker.look({"a": None}.get), "it is just being written"
    assert broker.look({"a": new}.get)
    assert [broker.enter("a", new, run) for run in ("second", "third")] == [None, None]
    assert awaited(broker) is False


def test_who_began_to_wait_just_when_the_first_left_is_told_too(broker: Broker, clock: SetClock) -> None:
    old = login(clock, 1)
    broker.enter("a", old, "first")
    broker.enter("a", old, "second")
    assert broker.left("first"), "and whoever hears it may hear it before the second is known to wait"
    assert broker.look({"a": old}.get)
    assert broker.enter("a", old, "second") is None
    assert awaited(broker) is False


def test_after_the_end_of_the_first_the_next_one_starts_alone(broker: Broker, clock: SetClock) -> None:
    old = login(clock, -1)
    broker.enter("a", old, "first")
    assert not broker.left("somebody else")
    assert not broker.left("first"), "nobody waited"
    broker.enter("a", old, "first")
    broker.enter("a", old, "second")
    assert broker.left("first")
    assert broker.enter("a", old, "second") is None
    assert broker.enter("a", old, "third") is not None


def test_the_first_has_a_minute(broker: Broker, clock: SetClock) -> None:
    old = login(clock, -1)
    broker.enter("a", old, "first")
    broker.enter("a", old, "second")
    clock.forward(60)
    assert broker.look({"a": old}.get)
    assert broker.enter("a", old, "second") is None
    assert broker.enter("a", old, "third") is not None, "one after the other, never all at once"


def test_a_login_that_is_lost_while_others_wait_holds_them_for_the_rest_of_the_minute(
    broker: Broker, clock: SetClock
) -> None:
    broker.enter("a", login(clock, -1), "first")
    assert broker.enter("a", None, "second") is not None
    clock.forward(61)
    assert broker.enter("a", None, "second") is None
