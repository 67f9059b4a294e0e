"""Keeps the server's ledger up to date: now and then, at a run's end, and when somebody asks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from agented.backends.contract import Backend, Place
from agented.costs import store
from agented.costs.ledger import Counting, Days, Ledger, reprice
from agented.costs.model import Answer, Owner, Source
from agented.costs.prices import Prices, load_prices
from agented.kit.clock import Clock, to_micros
from agented.kit.db import Database
from agented.sessions.model import Bookmark, Found, Home
from agented.sessions.reading import Finder, read_new
from agented.sessions.watching import Changes

log = logging.getLogger(__name__)

_BATCH = 5_000
_SETTLE_S = 0.5
_MAY_STILL_BE_OWNED = timedelta(days=2)


@dataclass(slots=True, kw_only=True)
class Collector:
    """One round at a time, whoever asks.

    homes: every account's, at the time of asking. owners: for sessions, as (backend, session), the runs they belong to.
    project_of: for the folder in which a person worked, the project. changes: tells which files changed; without it,
    and every so often, all are looked at.
    """

    db: Database
    clock: Clock
    backends: Callable[[], Sequence[Backend]]
    person: Path
    homes: Callable[[], Iterable[Home]]
    owners: Callable[[Sequence[tuple[str, str]]], Mapping[tuple[str, str], Owner]]
    project_of: Callable[[str], str | None]
    prices_file: Path | None = None
    zone: str | None = None
    interval_s: float = 600.0
    changes: Changes | None = None
    collected_at: datetime | None = None
    _prices: Prices | None = None
    _days: Days | None = None
    _marks: dict[str, Bookmark] | None = None
    _owed: bool = True
    _finders: dict[Home, Finder] = field(default_factory=dict)
    _round: threading.Lock = field(default_factory=threading.Lock)
    _asked: threading.Event = field(default_factory=threading.Event)
    _stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def prices(self) -> Prices:
        if self._prices is None:
            self._prices = load_prices(self.prices_file)
        return self._prices

    def run(self) -> None:
        """Until `stop`."""
        whole = True
        while not self._stopping.is_set():
            try:
                self.collect(whole=whole)
            except Exception:
                # The scheduled loop is one of the four doors where every fault is caught.
                self._owed = True
                if not self._stopping.is_set():
                    log.exception("costs could not be collected")
            heard = self._asked.wait(self.interval_s or None)
            whole = self._owed or not heard
            # Runs that end together are one round.
            self._stopping.wait(_SETTLE_S if self._asked.is_set() else 0)
            self._asked.clear()

    def stop(self) -> None:
        self._stopping.set()
        self._asked.set()

    def wake(self) -> None:
        """A run has ended: its last words are on the disk, and whose its session is stands in the database."""
        self._owed = True
        self._asked.set()

    def hear(self) -> None:
        """Some files have changed."""
        self._asked.set()

    def collect(self, account: str | None = None, *, whole: bool = True) -> int:
        """Reads what is new in all homes, or in those of one account. Gives how many answers were not known before.

        whole: looks at every file; else at those that are said to have changed.
        """
        with self._round:
            return self._collect(account, whole=whole)

    def _collect(self, account: str | None, *, whole: bool) -> int:
        sources = {one.name: Source(one.name, one.sessions) for one in self.backends() if one.sessions is not None}
        marks = self._known_marks()
        self._price_again()
        # Asked first: what changes while it is looked for is taken the next time.
        only = self.changes.take() if self.changes is not None and account is None else None
        only = None if whole or not self.collected_at else only
        fresh = self._look(sources, marks, account, only)
        added, since = self._read(fresh, marks, sources) if fresh else (0, None)
        if account is None and only is None and (fresh or not self.collected_at):
            self._forget(marks)
        self._say_whose(since)
        self.collected_at = self.clock.now()
        return added

    def _known_marks(self) -> dict[str, Bookmark]:
        if self._marks is None:
            with self.db.read() as conn:
                self._marks = store.files(store.shelf_of(conn))
        return self._marks

    def _look(
        self,
        sources: Mapping[str, Source],
        marks: Mapping[str, Bookmark],
        account: str | None,
        only: set[str] | None,
    ) -> list[Found]:
        """The files in which there may be something new. One that two homes hold is the first's."""
        homes = list(self.homes())
        self._finders = {home: self._finders.get(home) or self._finder(home, sources) for home in homes}
        fresh: dict[str, Found] = {}
        for home, finder in self._finders.items():
            if account is None or home.account == account:
                for found in finder.look(marks) if only is None else finder.look_at(only, marks):
                    fresh.setdefault(found.path, found)
        return list(fresh.values())

    def _finder(self, home: Home, sources: Mapping[str, Source]) -> Finder:
        source = sources.get(home.source)
        if source is None:
            places: Sequence[Place] = ()
        elif home.path is None:
            places = source.sessions.own_places(self.person)
        else:
            places = source.sessions.places(home.path)
        return Finder(places, home.source, home.account)

    def _read(
        self, todo: Sequence[Found], marks: dict[str, Bookmark], sources: Mapping[str, Source]
    ) -> tuple[int, int | None]:
        """How many answers are new, and the time of the oldest that was told."""
        if self._days is None:
            self._days = Days(self.zone)
        ledger, counting = Ledger(), Counting(self.prices, self._days)
        answers: list[Answer] = []
        read: list[Bookmark] = []
        added = 0
        oldest: int | None = None
        for one in todo:
            if self._stopping.is_set():
                break
            rows, mark = read_new(one, marks.get(one.path), sources[one.source].sessions)
            told = counting.answers(rows, one.source, one.account)
            if told:
                first = min(answer.at for answer in told)
                oldest = first if oldest is None else min(first, oldest)
            answers += told
            read.append(mark)
            if len(answers) >= _BATCH:
                added += self._put(ledger, answers, read, marks)
                answers, read = [], []
        return added + self._put(ledger, answers, read, marks), oldest

    def _put(self, ledger: Ledger, answers: list[Answer], read: list[Bookmark], marks: dict[str, Bookmark]) -> int:
        with self.db.write() as conn:
            added = ledger.put(store.shelf_of(conn), answers, read)
        marks.update((mark.path, mark) for mark in read)
        return added

    def _forget(self, marks: dict[str, Bookmark]) -> None:
        """How far files were read that are gone; what they told stays."""
        there = {path for finder in self._finders.values() for path in finder.paths()}
        gone = [path for path in marks if path not in there]
        if gone:
            with self.db.write() as conn:
                store.drop_files(store.shelf_of(conn), gone)
            for path in gone:
                del marks[path]

    def _say_whose(self, since: int | None) -> None:
        """Of the sessions that went on since a time and are nobody's yet. None when no session did."""
        if since is None and not self._owed:
            return
        self._owed = False
        lately = to_micros(self.clock.now() - _MAY_STILL_BE_OWNED)
        with self.db.read() as conn:
            sessions = store.recent_sessions(store.shelf_of(conn), min(lately, since if since is not None else lately))
        told = dict(self.owners([(source, session) for source, session, _, _ in sessions]))
        for source, session, workdir, project in sessions:
            if (source, session) not in told and not project and workdir:
                found = self.project_of(workdir)
                if found is not None:
                    told[source, session] = Owner("", None, found, None)
        if told:
            with self.db.write() as conn:
                store.own_sessions(store.shelf_of(conn), told)

    def _price_again(self) -> None:
        """A new table prices what had no price; a person's own file has a say about everything."""
        version = self.prices.version
        with self.db.read() as conn:
            before = store.noted(store.shelf_of(conn), "prices")
        if before == version:
            return
        with self.db.write() as conn:
            shelf = store.shelf_of(conn)
            if before:
                own = before.partition("+")[2] != version.partition("+")[2]
                reprice(shelf, Counting(self.prices, self._days or Days(self.zone)), all=own)
            store.note(shelf, "prices", version)
