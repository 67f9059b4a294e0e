"""Whose turn it is: which step of a chain, and which account of it, an execution runs on next; or until when it waits.

The order: the chain first; within a step the account whose session can go on, then subscriptions before keys that cost
money, then the most room in the tightest window, then who runs the least.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from agented.accounts.model import Account, Wall, WallKind
from agented.accounts.walls import holds
from agented.backends.contract import Backend, Login, Reason
from agented.executions.attempt import find_program
from agented.executions.model import Attempt, Execution, OnLimit, Step
from agented.kit.clock import Clock
from agented.kit.errors import AgentedError

_PAUSED = frozenset(
    {
        Reason.RATE_LIMITED,
        Reason.OVERLOADED,
        Reason.PROVIDER_ERROR,
        Reason.UNREACHABLE,
        Reason.DISCONNECTED,
    }
)
"""What often passes by itself: tried again after a pause."""
_FINAL = frozenset({Reason.BAD_CREDENTIALS, Reason.NO_CREDIT})
"""The same account is not tried again by this execution."""
_IN_PLACE = ("lost", "shutdown", Reason.SESSION_MISSING)
"""Nobody's limit: the attempt after it is made where it was."""
_ROOM_STEP = 10.0
_BOTS = "bot:"
_JITTER = 0.2


@dataclass(frozen=True, slots=True)
class Room:
    """percent: what is left of an account's tightest window, None when that is not known; back: when it is renewed.

    left: of each window that is known, by its name.
    """

    percent: float | None = None
    back: datetime | None = None
    left: Mapping[str, float] = field(default_factory=dict)


class Accounts(Protocol):
    """What choosing needs of the accounts room."""

    def candidates(self, backend: str, account: str | None) -> Sequence[Account]: ...
    def read_login(self, backend: Backend, account: Account) -> Login | None: ...
    def walls(self) -> Sequence[Wall]: ...
    def room(self, account_key: str, model: str | None) -> Room: ...


@dataclass(frozen=True, slots=True)
class Choice:
    """why: one line for people."""

    step: int
    backend: Backend
    account: Account
    program: Sequence[str]
    why: str


@dataclass(frozen=True, slots=True)
class NoneFree:
    """until: when it is worth another look; None when nothing that waits would help, then the execution fails."""

    until: datetime | None
    reason: str
    detail: str
    account_key: str | None = None


@dataclass(frozen=True, slots=True)
class _Candidate:
    step: int
    backend: Backend
    account: Account
    program: Sequence[str]
    rank: tuple[float, ...] = ()
    room: Room = field(default_factory=Room)
    held: NoneFree | None = None
    """Why it may not be used now."""
    lack: str = ""
    """Why it will likely not last to the end of the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choosing:
    """pauses_s: between attempts after what passes by itself; when they are used up, it has failed.

    reserve_percent: what bots leave of each window for people. busy: how many run on an account, most: how many may
    (the person's own login has no such limit). takes: what a run of this origin takes of each window of a backend's
    accounts, in percent, as far as it was learned.
    """

    accounts: Accounts
    backend: Callable[[str], Backend]
    clock: Clock
    path: str
    pauses_s: Sequence[float]
    reserve_percent: float
    busy: Callable[[str], int]
    most: Callable[[], int]
    takes: Callable[[str, str], Mapping[str, float]] = lambda origin, backend: {}

    def choose(self, execution: Execution, attempts: Sequence[Attempt]) -> Choice | NoneFree:
        steps = execution.request.chain or (
            Step(execution.request.backend, execution.request.account, execution.request.model),
        )
        walls = self.accounts.walls()
        found: list[_Candidate] = []
        faults: list[NoneFree] = []
        for number, step in enumerate(steps):
            try:
                found += self._of_step(execution, number, step, attempts, walls)
            except _Unusable as fault:
                faults.append(fault.why)
        last = attempts[-1] if attempts else None
        free = [one for one in found if one.held is None]
        if free:
            if last is not None and last.reason in _IN_PLACE:
                free.sort(key=lambda one: (one.account.key != last.account_key, one.step, one.rank))
            else:
                # Who is full comes last, whatever the chain says: the run would only wait. So would it where too little
                # is left, but later.
                free.sort(key=lambda one: (one.rank[0], bool(one.lack), one.step, one.rank))
            return self._chosen(free[0], found)
        return self._wait(execution, found, faults, last)

    def _of_step(
        self,
        execution: Execution,
        number: int,
        step: Step,
        attempts: Sequence[Attempt],
        walls: Sequence[Wall],
    ) -> list[_Candidate]:
        try:
            backend = self.backend(step.backend)
        except AgentedError as error:
            raise _Unusable(NoneFree(None, "backend_missing", error.message)) from None
        try:
            accounts = self.accounts.candidates(backend.name, step.account)
        except AgentedError as error:
            raise _Unusable(NoneFree(None, "account_missing", error.message)) from None
        found = []
        takes = self.takes(execution.request.origin, backend.name)
        for account in accounts:
            program = find_program(backend, self.path, account.program)
            if program is None:
                detail = f"{backend.program} is not installed. {backend.install_hint}"
                if len(accounts) == 1:
                    raise _Unusable(NoneFree(None, "program_missing", detail))
                continue
            login = self.accounts.read_login(backend, account)
            if len(accounts) > 1 and login is None and backend.needs_login:
                # Not chosen by name, and nobody is signed in: others of the backend are there for it.
                continue
            mine = [one for one in attempts if one.account_key == account.key]
            room = self.accounts.room(account.key, step.model)
            held = (
                self._held_by_attempts(account, mine)
                or self._held_by_wall(account, step.model, login, walls, execution)
                or self._held_for_people(execution, account, room)
            )
            if held is not None and held.until is not None and execution.asked:
                # A person said: go on now.
                held = None
            found.append(
                _Candidate(
                    number,
                    backend,
                    account,
                    program,
                    self._rank(backend, account, login, mine, room),
                    room,
                    held,
                    _lack_of(account, room, takes),
                )
            )
        if not found and accounts:
            detail = f"None of the accounts of {backend.title} is signed in. {backend.sign_in_hint}"
            raise _Unusable(NoneFree(None, str(Reason.BAD_CREDENTIALS), detail))
        return found

    def _rank(
        self, backend: Backend, account: Account, login: Login | None, mine: Sequence[Attempt], room: Room
    ) -> tuple[float, ...]:
        goes_on = backend.can_resume and any(one.session_id for one in mine)
        paid = login is not None and login.kind == "api_key"
        left = 50.0 if room.percent is None else room.percent
        busy = self.busy(account.key)
        full = not account.is_default and busy >= self.most()
        return (full, not goes_on, paid, -(left // _ROOM_STEP), busy, not account.is_default)

    def _held_by_wall(
        self, account: Account, model: str | None, login: Login | None, walls: Sequence[Wall], execution: Execution
    ) -> NoneFree | None:
        for wall in walls:
            if wall.account_key != account.key or not holds(wall, model=model, login=login):
                continue
            if wall.kind is WallKind.SIGN_IN and not execution.request.origin.startswith(_BOTS):
                # A person who starts it knows better than what was seen a moment ago.
                continue
            words = {
                WallKind.LIMIT: f"{account.name} has reached its limit ({wall.window}).",
                WallKind.CREDIT: f"{account.name} has no credit left.",
                WallKind.SIGN_IN: f"{account.name} is not signed in.",
            }[wall.kind]
            reason = "signed_out" if wall.kind is WallKind.SIGN_IN else "limited"
            return NoneFree(wall.until, reason, words, account.key)
        return None

    def _held_by_attempts(self, account: Account, mine: Sequence[Attempt]) -> NoneFree | None:
        """What this execution met on the account itself."""
        if not mine:
            return None
        last = mine[-1]
        detail = last.detail or ""
        if last.reason in _FINAL:
            return NoneFree(None, last.reason or "", detail, account.key)
        if last.reason not in _PAUSED:
            return None
        tries = 0
        for one in reversed(mine):
            if one.reason not in _PAUSED:
                break
            tries += 1
        if tries > len(self.pauses_s):
            return NoneFree(None, last.reason or "", detail, account.key)
        # The same for the same attempt, so that looking again does not move the time.
        pause_s = self.pauses_s[tries - 1] * (1 + _JITTER * (zlib.crc32(last.id.encode()) / 2**32))
        until = (last.ended_at or last.started_at) + timedelta(seconds=pause_s)
        return None if until <= self.clock.now() else NoneFree(until, "backing_off", detail, account.key)

    def _held_for_people(self, execution: Execution, account: Account, room: Room) -> NoneFree | None:
        if not self.reserve_percent or not execution.request.origin.startswith(_BOTS):
            return None
        if room.percent is None or room.percent > self.reserve_percent:
            return None
        words = f"The last {self.reserve_percent:g} % of {account.name} are kept for people."
        until = room.back or self.clock.now() + timedelta(minutes=10)
        return NoneFree(until, "reserved", words, account.key)

    def _chosen(self, one: _Candidate, found: Sequence[_Candidate]) -> Choice:
        before = [other for other in found if other.step <= one.step and other is not one]
        passed = [other.held.detail for other in before if other.held is not None]
        if not one.lack:
            passed += [f"{other.account.name}: {other.lack}." for other in before if other.held is None and other.lack]
        others = sum(1 for other in found if other.held is None and other.step == one.step) - 1
        words = [f"{one.backend.title} as {one.account.name}"]
        if one.room.percent is not None:
            words.append(f"{one.room.percent:.0f} % of its tightest window left")
        if one.lack:
            words.append(one.lack)
        if others > 0:
            words.append(f"before {others} other account{'s' if others > 1 else ''}")
        why = ", ".join(words) + "."
        return Choice(one.step, one.backend, one.account, one.program, " ".join([why, *dict.fromkeys(passed)]))

    def _wait(
        self,
        execution: Execution,
        found: Sequence[_Candidate],
        faults: Sequence[NoneFree],
        last: Attempt | None,
    ) -> NoneFree:
        held = [one.held for one in found if one.held is not None]
        if execution.request.on_limit is OnLimit.WAIT:
            waiting = [(one.until, number) for number, one in enumerate(held) if one.until is not None]
            if waiting:
                return held[min(waiting)[1]]
        if last is not None and last.reason is not None:
            return NoneFree(None, last.reason, last.detail or "")
        for one in (*held, *faults):
            # What a run that may not wait was held by is told as the end it would have had.
            reason = {"limited": str(Reason.USAGE_LIMIT), "signed_out": str(Reason.BAD_CREDENTIALS)}.get(
                one.reason, one.reason
            )
            return NoneFree(None, reason, one.detail, one.account_key)
        return NoneFree(None, "account_missing", "No account of its chain can be used.")


def _lack_of(account: Account, room: Room, takes: Mapping[str, float]) -> str:
    """Which window has less left than such a run takes."""
    for window, percent in takes.items():
        left = room.left.get(window)
        if left is not None and left < percent:
            return f"such a run takes about {percent:.0f} % of {window}, {left:.0f} % is left"
    return ""


class _Unusable(Exception):
    """A step that cannot run at all on this machine."""

    def __init__(self, why: NoneFree) -> None:
        self.why = why
