"""Keeps what is known of accounts' limits fresh: one poller for all, at most one question at a time for each.

Runs tell most of it for nothing (`note_seen`); who was told by a run lately is asked later. What a provider says last
stands until it says something new, with its age: an answer that tells nothing takes nothing away.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from agented.accounts import store
from agented.accounts.limits import (
    Point,
    SeenWindow,
    Standing,
    current,
    growth,
    level_of,
    merged,
    seen_in_run,
)
from agented.accounts.login import own_env
from agented.accounts.model import Account
from agented.backends.contract import (
    Answer,
    Ask,
    AskingPlace,
    Backend,
    Converse,
    LimitReading,
    Limits,
    LimitState,
    Login,
    LookAt,
    Task,
    Window,
)
from agented.backends.events import LimitSeen
from agented.kit.bus import Bus
from agented.kit.clock import Clock
from agented.kit.db import Database
from agented.kit.errors import AgentedError
from agented.kit.http import Fetched
from agented.kit.http import fetch as http_fetch
from agented.kit.process import converse
from agented.kit.screen import watch_screen

if TYPE_CHECKING:
    import sqlalchemy as sa

log = logging.getLogger(__name__)

TOPIC = "limits"
_LEAST_PAUSE_S = 60.0
_LONGEST_PAUSE_S = 3600.0
_BY_HAND_S = 30.0
_JITTER = 0.1
_LOOK_S = 30.0
_AT_ONCE = 4
_MOST_STEPS = 6
_RAW = timedelta(days=31)
_POINT_EVERY = timedelta(minutes=1)

Crossed = tuple[str, Window, float]
"""Account key, window, level."""


@dataclass(frozen=True, slots=True)
class Growth:
    """By how many percent a window of an account was used between two times."""

    account_key: str
    window: Window
    percent: float
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Watched:
    """An account that may be asked. program: None when its CLI is not installed."""

    account: Account
    backend: Backend
    limits: Limits
    login: Login
    home: Path
    program: Sequence[str] | None
    env: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class Monitor:
    """watched: the accounts whose limits can be learned. busy: whether an account ran anything lately.

    addresses: in place of the backends' own. folder: an empty one, in which screens of CLIs are drawn. told: hears of
    changed windows, in the transaction that stores them; crossed: hears once of each level that a window crosses.
    grown: hears of how much one was used since it was told.
    """

    db: Database
    bus: Bus
    clock: Clock
    watched: Callable[[], Sequence[Watched]]
    busy: Callable[[str], bool]
    addresses: Mapping[str, str]
    options: Mapping[str, str]
    agent: str
    interval_s: float
    idle_interval_s: float
    levels: Sequence[float]
    told: Callable[[sa.Connection, str, Sequence[SeenWindow]], None]
    crossed: Callable[[sa.Connection, Crossed], None]
    grown: Callable[[sa.Connection, Growth], None]
    folder: Path
    fetch: Callable[..., Fetched] = http_fetch
    chance: Callable[[], float] = random.random
    _stopping: threading.Event = field(default_factory=threading.Event)
    _asking: set[str] = field(default_factory=set)
    _ended: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> None:
        """Until `stop`: asks who is due."""
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="limits") as pool:
            while not self._stopping.is_set():
                heard = self.bus.count(TOPIC)
                try:
                    for one in self._due():
                        pool.submit(self._ask_quietly, one)
                    for key in self._take_ended():
                        self.look_in_files(key)
                except Exception:
                    # The scheduled loop is one of the four doors where every fault is caught.
                    if not self._stopping.is_set():
                        log.exception("limits could not be looked at")
                self.bus.wait(TOPIC, heard, _LOOK_S)

    def stop(self) -> None:
        self._stopping.set()
        self.bus.ring(TOPIC)

    def refresh(self, account_key: str | None = None) -> list[str]:
        """Asks anew soon: one account or all, but none more often than twice a minute. Gives whom it will ask."""
        now = self.clock.now()
        asked = []
        for one in self.watched():
            key = one.account.key
            if account_key not in (None, key):
                continue
            with self.db.write() as conn:
                known = store.find_standing(conn, key)
                throttled = known is not None and known.state is LimitState.THROTTLED and _is_later(known.next_at, now)
                early = (
                    known is not None
                    and known.asked_at is not None
                    and (now - known.asked_at).total_seconds() < _BY_HAND_S
                )
                if throttled or early:
                    continue
                if known is not None:
                    store.put_standing(conn, replace(known, next_at=now))
            asked.append(key)
        self.bus.ring(TOPIC)
        return asked

    def session_ended(self, account_key: str) -> None:
        """A run of an account is over: its session may have told something."""
        with self._lock:
            self._ended.add(account_key)
        self.bus.ring(TOPIC)

    def _take_ended(self) -> set[str]:
        with self._lock:
            ended, self._ended = self._ended, set()
            return ended

    def note_seen(self, account_key: str, events: Sequence[LimitSeen]) -> None:
        """What a run was told of its account's windows."""
        now = self.clock.now()
        with self.db.write() as conn:
            known = store.find_standing(conn, account_key) or Standing(account_key=account_key, state=LimitState.OK)
            new = [seen_in_run(event, known.windows, now) for event in events]
            self._keep(conn, replace(known, windows=merged(known.windows, new)), new, known.windows)

    def look_in_files(self, account_key: str) -> None:
        """What its CLI has written of its limits meanwhile; nobody is asked."""
        one = next((one for one in self.watched() if one.account.key == account_key), None)
        told = None if one is None else one.limits.told(one.home)
        if told is None or told.seen_at is None:
            return
        with self.db.write() as conn:
            known = store.find_standing(conn, account_key) or Standing(account_key=account_key, state=LimitState.OK)
            new = _newer(told, known)
            if new:
                windows = merged(known.windows, new)
                self._keep(conn, replace(known, windows=windows, plan=told.plan or known.plan), new, known.windows)

    def forget_old(self) -> None:
        with self.db.write() as conn:
            store.thin_points(conn, self.clock.now() - _RAW)

    def _due(self) -> list[Watched]:
        now = self.clock.now()
        with self.db.read() as conn:
            known = store.standings(conn)
        found = []
        for one in self.watched():
            standing = known.get(one.account.key)
            if standing is None or not _is_later(standing.next_at, now):
                found.append(one)
        return found

    def _ask_quietly(self, one: Watched) -> None:
        try:
            self.ask(one)
        except Exception:
            # A worker of the loop above, behind the same door.
            if not self._stopping.is_set():
                log.exception("the limits of %s could not be read", one.account.key)

    def ask(self, one: Watched) -> None:
        """Asks for an account's limits, unless somebody does so already."""
        key = one.account.key
        with self._lock:
            if key in self._asking:
                return
            self._asking.add(key)
        try:
            reading = self._read(one)
            now = self.clock.now()
            with self.db.write() as conn:
                known = store.find_standing(conn, key) or Standing(account_key=key, state=reading.state)
                new = [SeenWindow(window=window, captured_at=now, source="provider") for window in reading.windows]
                if reading.seen_at is not None:
                    new = _newer(reading, known)
                good = reading.state is LimitState.OK
                failures = 0 if good or reading.state is LimitState.NONE else known.failures + 1
                standing = replace(
                    known,
                    state=reading.state,
                    detail=reading.detail,
                    plan=reading.plan or known.plan,
                    email=reading.email or known.email,
                    # A good answer tells all windows that there are.
                    windows=new if good and reading.seen_at is None else merged(known.windows, new),
                    asked_at=now,
                    next_at=now + timedelta(seconds=self._pause_s(key, reading, failures)),
                    failures=failures,
                )
                self._keep(conn, standing, new, known.windows)
        finally:
            with self._lock:
                self._asking.discard(key)

    def _pause_s(self, key: str, reading: LimitReading, failures: int) -> float:
        usual = self.interval_s if self.busy(key) else self.idle_interval_s
        if reading.state is LimitState.NONE:
            usual = max(usual, _LONGEST_PAUSE_S)
        elif failures:
            usual = min(max(usual, _LONGEST_PAUSE_S), usual * 2 ** min(failures - 1, 5))
        if reading.retry_after_s is not None:
            usual = max(usual, min(max(reading.retry_after_s, _LEAST_PAUSE_S), _LONGEST_PAUSE_S))
        return usual * (1 + _JITTER * self.chance())

    def _read(self, one: Watched) -> LimitReading:
        task = Task(program=one.program or (), prompt="", workdir=Path("/"), home=one.account.home)
        place = AskingPlace(home=one.home, task=task, env=own_env(one.account), options=self.options)
        asking = one.limits.read(one.login, place, self.clock.now())
        answer: Answer | None = None
        try:
            for _ in range(_MOST_STEPS):
                step = next(asking) if answer is None else asking.send(answer)
                answer = self._send(one, step)
        except StopIteration as done:
            reading: LimitReading = done.value
            return reading
        asking.close()
        return LimitReading(state=LimitState.UNREADABLE, detail="It asks and asks.")

    def _send(self, one: Watched, step: Ask | Converse | LookAt) -> Answer:
        if isinstance(step, LookAt):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            command = step.build(self.folder)
            env = {**one.env, **command.env}
            try:
                drawn = watch_screen(
                    command.argv, keys=step.keys, is_done=step.is_done, env=env, cwd=self.folder, limit_s=step.limit_s
                )
            except (AgentedError, OSError) as error:
                return Answer(status=0, problem=str(error))
            return Answer(status=200, lines=[drawn])
        if isinstance(step, Converse):
            env = {**one.env, **step.command.env}
            try:
                said = converse(step.command.argv, step.lines, step.is_last, env=env, cwd=Path(env.get("HOME", "/")))
            except AgentedError as error:
                return Answer(status=0, problem=error.message)
            return Answer(status=200, lines=said)
        base = self.addresses.get(step.base) or one.limits.bases[step.base]
        got = self.fetch(
            step.method,
            f"{base.rstrip('/')}{step.path}",
            headers={**step.headers, "User-Agent": self.agent},
            json_body=step.body,
            form=step.form,
        )
        return Answer(status=got.status, body=got.body, headers=got.headers, problem=got.problem)

    def _keep(
        self, conn: sa.Connection, standing: Standing, new: Sequence[SeenWindow], known: Sequence[SeenWindow]
    ) -> None:
        """Stores a standing with its new windows, their history, and what they have crossed."""
        store.put_standing(conn, standing)
        key = standing.account_key
        before = {one.window.name: one for one in known}
        for one in new:
            used = one.window.used_percent
            if used is None:
                continue
            at = one.captured_at
            last = before.get(one.window.name)
            percent = None if last is None else growth(last, one)
            if last is not None and percent is not None:
                self.grown(conn, Growth(key, one.window, percent, last.captured_at, at))
            slot = at.replace(second=0, microsecond=0) if _POINT_EVERY else at
            store.add_point(conn, key, one.window.name, Point(slot, used, one.window.resets_at))
            last_level = store.level(conn, key, one.window.name)
            level = level_of(used, self.levels, last_level)
            if level != last_level:
                store.put_level(conn, key, one.window.name, level, at)
            if level > last_level:
                self.crossed(conn, (key, one.window, level))
        if new:
            self.told(conn, key, new)
        with suppress(RuntimeError):
            self.bus.ring(f"limits:{key}")


def _newer(told: LimitReading, known: Standing) -> list[SeenWindow]:
    """Windows that were told since they were last seen."""
    at = told.seen_at
    seen = {one.window.name: one.captured_at for one in known.windows}
    return [
        SeenWindow(window=window, captured_at=at, source="session")
        for window in told.windows
        if at is not None and (window.name not in seen or at > seen[window.name])
    ]


def room_of(
    standing: Standing | None, model: str | None, now: datetime
) -> tuple[float | None, datetime | None, dict[str, float]]:
    """What is left in percent of the tightest window that concerns a model, when that is renewed, and what of each."""
    left: float | None = None
    back: datetime | None = None
    each: dict[str, float] = {}
    for one in standing.windows if standing is not None else ():
        window = current(one, now)
        if window.used_percent is None or not _concerns(window, model):
            continue
        each[window.name] = 100 - window.used_percent
        if left is None or 100 - window.used_percent < left:
            left, back = 100 - window.used_percent, window.resets_at
    return left, back, each


def _concerns(window: Window, model: str | None) -> bool:
    """A window of one kind of model concerns that kind; of a model that is not said nobody knows, so it does not."""
    if window.scope is None:
        return True
    return model is not None and window.scope.lower() in model.lower()


def _is_later(at: datetime | None, now: datetime) -> bool:
    return at is not None and at > now
