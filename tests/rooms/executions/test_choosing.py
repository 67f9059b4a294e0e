"""Whose turn it is: by chain, session, kind of login, room and load; and until when an execution waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from agented.accounts.model import Account, Wall, WallKind, default_account
from agented.backends.contract import Backend, Login
from agented.backends.rehearsal import BACKEND
from agented.executions.choosing import Choice, Choosing, NoneFree, Room
from agented.executions.model import Attempt, AttemptState, AttemptVerdict, Execution, OnLimit, Request, State, Step
from agented.kit.clock import SetClock
from agented.kit.errors import NotFound

CLOCK = SetClock()
NOW = CLOCK.now()
CLIS = {
    "first": replace(BACKEND, name="first", title="First", needs_login=True),
    "second": replace(BACKEND, name="second", title="Second", needs_login=True),
    "absent": replace(BACKEND, name="absent", title="Absent", builtin=None, program="no-such-program"),
}


def backend(name: str) -> Backend:
    if name not in CLIS:
        raise NotFound(f"There is no backend {name}.")
    return CLIS[name]


@dataclass
class Known:
    """The accounts of one test."""

    names: Mapping[str, Sequence[str]]
    logins: Mapping[str, Login | None] = field(default_factory=dict)
    standing: list[Wall] = field(default_factory=list)
    rooms: Mapping[str, Room] = field(default_factory=dict)

    def candidates(self, backend: str, account: str | None) -> list[Account]:
        every = [_account(backend, name) for name in self.names.get(backend, ())]
        if account is not None:
            found = [one for one in every if one.name == account]
            if not found:
                raise NotFound(f"There is no account {account!r}.")
            return found
        return [default_account(backend, NOW), *every]

    def read_login(self, backend: Backend, account: Account) -> Login | None:
        return self.logins.get(account.key, Login("subscription", token=f"token of {account.key}"))

    def walls(self) -> list[Wall]:
        return self.standing

    def room(self, account_key: str, model: str | None) -> Room:
        return self.rooms.get(account_key, Room())


def _account(backend: str, name: str) -> Account:
    return Account(id=name, name=name, backend=backend, created_at=NOW)


def choosing(known: Known, busy: Mapping[str, int] | None = None, **more: Any) -> Choosing:
    asked: dict[str, Any] = {"pauses_s": (10, 20), "reserve_percent": 0.0, "most": lambda: 2} | more
    load = busy or {}
    return Choosing(accounts=known, backend=backend, clock=CLOCK, path="", busy=lambda key: load.get(key, 0), **asked)


def execution(*chain: Step, origin: str = "user:1", **more: Any) -> Execution:
    first = chain[0]
    request = Request(
        origin=origin,
        project_id="prj_1",
        backend=first.backend,
        account=first.account,
        model=first.model,
        prompt="do it",
        chain=chain if len(chain) > 1 else (),
        on_limit=more.pop("on_limit", OnLimit.WAIT),
    )
    return Execution(id="exe_1", state=State.PREPARING, request=request, created_at=NOW, rev=1, fair_tag=1, **more)


def attempt(number: int, key: str, reason: str | None, **more: Any) -> Attempt:
    return Attempt(
        id=f"att_{number}",
        execution_id="exe_1",
        number=number,
        state=AttemptState.ENDED,
        started_at=NOW - timedelta(seconds=1),
        ended_at=more.pop("ended_at", NOW),
        log_offset=0,
        first_event=0,
        verdict=AttemptVerdict.FAILED,
        reason=reason,
        detail="as it was told",
        account_key=key,
        **more,
    )


def wall(key: str, seconds: float, **more: Any) -> Wall:
    until = NOW + timedelta(seconds=seconds)
    kind = more.pop("kind", WallKind.LIMIT)
    return Wall(account_key=key, window="five_hour", kind=kind, until=until, told=True, noted_at=NOW, **more)


def key_of(found: Choice | NoneFree) -> str:
    assert isinstance(found, Choice), found
    return found.account.key


def none_of(found: Choice | NoneFree) -> NoneFree:
    assert isinstance(found, NoneFree), found
    return found


def test_the_chain_comes_first() -> None:
    known = Known({"first": ["a"], "second": ["b"]}, rooms={"first:a": Room(1.0), "second:b": Room(99.0)})
    assert key_of(choosing(known).choose(execution(Step("first", "a"), Step("second", "b")), [])) == "first:a"


def test_a_wall_leads_to_the_next_step_and_the_reason_is_told() -> None:
    known = Known({"first": ["a"], "second": ["b"]}, standing=[wall("first:a", 60)])
    found = choosing(known).choose(execution(Step("first", "a"), Step("second", "b")), [])
    assert key_of(found) == "second:b"
    assert isinstance(found, Choice) and "a has reached its limit" in found.why


def test_within_a_step_the_session_goes_on_before_the_most_room() -> None:
    known = Known({"first": ["a", "b"]}, rooms={"first:a": Room(20.0), "first:b": Room(90.0)})
    assert key_of(choosing(known).choose(execution(Step("first")), [])) == "first:b"
    begun = [attempt(1, "first:a", "usage_limit", session_id="s")]
    assert key_of(choosing(known).choose(execution(Step("first")), begun)) == "first:a"


def test_a_plan_comes_before_a_key_that_costs_money() -> None:
    known = Known({"first": ["a"]}, logins={"first:default": Login("api_key", token="k")})
    assert key_of(choosing(known).choose(execution(Step("first")), [])) == "first:a"


def test_who_runs_least_comes_first_and_a_full_account_last() -> None:
    known = Known({"first": ["a", "b"]})
    assert key_of(choosing(known, {"first:default": 1, "first:a": 1}).choose(execution(Step("first")), [])) == "first:b"
    busy = {"first:default": 9, "first:a": 2, "first:b": 2}
    assert key_of(choosing(known, busy).choose(execution(Step("first")), [])) == "first:default"


def test_a_later_step_that_is_free_comes_before_one_that_is_full() -> None:
    known = Known({"first": ["a"], "second": ["b"]})
    chain = execution(Step("first", "a"), Step("second", "b"))
    assert key_of(choosing(known, {"first:a": 2}).choose(chain, [])) == "second:b"
    assert key_of(choosing(known, {"first:a": 2, "second:b": 2}).choose(chain, [])) == "first:a"


def test_nobody_who_is_signed_out_is_chosen_without_being_named() -> None:
    known = Known({"first": ["a"]}, logins={"first:default": None})
    assert key_of(choosing(known).choose(execution(Step("first")), [])) == "first:a"
    nobody = Known({"first": ["a"]}, logins={"first:default": None, "first:a": None})
    assert none_of(choosing(nobody).choose(execution(Step("first")), [])).reason == "bad_credentials"
    assert key_of(choosing(nobody).choose(execution(Step("first", "a")), [])) == "first:a"


def test_all_walls_up_means_waiting_for_the_first_that_falls() -> None:
    known = Known({"first": ["a"], "second": ["b"]}, standing=[wall("first:a", 90), wall("second:b", 30)])
    found = none_of(choosing(known).choose(execution(Step("first", "a"), Step("second", "b")), []))
    assert (found.until, found.reason, found.account_key) == (NOW + timedelta(seconds=30), "limited", "second:b")
    fails = execution(Step("first", "a"), on_limit=OnLimit.FAIL)
    assert none_of(choosing(known).choose(fails, [])) == NoneFree(
        None, "usage_limit", "a has reached its limit (five_hour).", "first:a"
    )
    asked = execution(Step("first", "a"), asked=True)
    assert key_of(choosing(known).choose(asked, [])) == "first:a"


def test_what_passes_by_itself_is_tried_again_after_pauses_that_end() -> None:
    known = Known({"first": ["a"]})
    one = execution(Step("first", "a"))
    found = none_of(choosing(known).choose(one, [attempt(1, "first:a", "overloaded")]))
    assert found.reason == "backing_off" and found.until is not None
    assert timedelta(seconds=10) <= found.until - NOW <= timedelta(seconds=12)
    again = [attempt(1, "first:a", "overloaded"), attempt(2, "first:a", "unreachable")]
    later = none_of(choosing(known).choose(one, again))
    assert later.until is not None and later.until - NOW >= timedelta(seconds=20)
    assert none_of(choosing(known).choose(one, [*again, attempt(3, "first:a", "overloaded")])).until is None
    passed = [attempt(1, "first:a", "overloaded", ended_at=NOW - timedelta(seconds=13))]
    assert key_of(choosing(known).choose(one, passed)) == "first:a"


def test_another_step_is_used_while_the_first_pauses() -> None:
    known = Known({"first": ["a"], "second": ["b"]})
    chain = execution(Step("first", "a"), Step("second", "b"))
    assert key_of(choosing(known).choose(chain, [attempt(1, "first:a", "overloaded")])) == "second:b"


@pytest.mark.parametrize("reason", ["bad_credentials", "no_credit"])
def test_what_does_not_pass_is_not_tried_again(reason: str) -> None:
    known = Known({"first": ["a"]})
    found = none_of(choosing(known).choose(execution(Step("first", "a")), [attempt(1, "first:a", reason)]))
    assert (found.until, found.reason, found.detail) == (None, reason, "as it was told")


def test_a_refused_login_holds_bots_and_not_people() -> None:
    known = Known({"first": ["a"]}, standing=[wall("first:a", 60, kind=WallKind.SIGN_IN)])
    assert key_of(choosing(known).choose(execution(Step("first", "a")), [])) == "first:a"
    bot = execution(Step("first", "a"), origin="bot:review")
    assert none_of(choosing(known).choose(bot, [])).reason == "signed_out"


def test_bots_leave_the_reserve_to_people() -> None:
    back = NOW + timedelta(hours=1)
    known = Known({"first": ["a"]}, rooms={"first:a": Room(8.0, back)})
    asked = choosing(known, reserve_percent=10.0)
    assert key_of(asked.choose(execution(Step("first", "a")), [])) == "first:a"
    held = none_of(asked.choose(execution(Step("first", "a"), origin="bot:review"), []))
    assert (held.until, held.reason) == (back, "reserved")


def test_what_was_lost_is_taken_up_where_it_was() -> None:
    known = Known({"first": ["a"], "second": ["b"]})
    chain = execution(Step("first", "a"), Step("second", "b"))
    begun = [attempt(1, "first:a", "usage_limit"), attempt(2, "second:b", "lost", session_id="s")]
    assert key_of(choosing(known).choose(chain, begun)) == "second:b"


def test_steps_that_cannot_run_here_are_passed_over() -> None:
    known = Known({"first": ["a"]})
    chain = execution(Step("nowhere"), Step("absent"), Step("first", "gone"), Step("first", "a"))
    assert key_of(choosing(known).choose(chain, [])) == "first:a"
    only = none_of(choosing(known).choose(execution(Step("absent"), Step("nowhere")), []))
    assert (only.until, only.reason) == (None, "program_missing")


def test_walls_of_another_model_or_login_do_not_hold() -> None:
    standing = [wall("first:a", 60, model="opus"), wall("first:a", 60, login="another")]
    known = Known({"first": ["a"]}, standing=standing)
    assert key_of(choosing(known).choose(execution(Step("first", "a", "sonnet")), [])) == "first:a"
    assert none_of(choosing(known).choose(execution(Step("first", "a", "opus")), [])).reason == "limited"


def test_where_too_little_is_left_for_such_a_run_another_is_taken_first() -> None:
    rooms = {"first:a": Room(4.0, left={"five_hour": 4.0}), "second:b": Room(60.0, left={"five_hour": 60.0})}
    known = Known({"first": ["a"], "second": ["b"]}, rooms=rooms)
    chain = (Step("first", "a"), Step("second", "b"))
    plain = choosing(known)
    assert key_of(plain.choose(execution(*chain, origin="bot:review"), [])) == "first:a"
    learned = choosing(known, takes=lambda origin, backend: {"five_hour": 6.0} if origin == "bot:review" else {})
    found = learned.choose(execution(*chain, origin="bot:review"), [])
    assert key_of(found) == "second:b"
    assert isinstance(found, Choice) and "a: such a run takes about 6 % of five_hour, 4 % is left." in found.why
    assert key_of(learned.choose(execution(*chain, origin="user:1"), [])) == "first:a"
    alone = learned.choose(execution(chain[0], origin="bot:review"), [])
    assert key_of(alone) == "first:a", "it may meet its limit, but nobody else is there"
    assert isinstance(alone, Choice) and "such a run takes" in alone.why
