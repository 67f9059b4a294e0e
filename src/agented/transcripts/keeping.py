"""Keeps what is said in sessions: now and then, at a run's end, and when somebody asks; lets go of what is too old."""

from __future__ import annotations

import logging
import re
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from agented.backends.contract import Backend, Place
from agented.kit.clock import Clock, from_micros, to_micros
from agented.kit.errors import Invalid, NotFound, Unavailable
from agented.sessions.model import Bookmark, Found, Home
from agented.sessions.reading import Finder, read_new
from agented.sessions.watching import Changes
from agented.transcripts import store
from agented.transcripts.model import Hit, Item, Risk, Transcript, Wanted, Whose

log = logging.getLogger(__name__)

_SETTLE_S = 0.5
_BREATH_S = 0.005
_AT_ONCE = 8 << 20
_MAY_STILL_BE_OWNED = timedelta(days=2)
_SOON = timedelta(days=3)
_MOST_WORDS = 12
_AROUND = 90
_REMOVED_AT_ONCE = 50
_PART = re.compile(r'"([^"]*)"|(\S+)')


@dataclass(slots=True, kw_only=True)
class Transcripts:
    """keep: whether anything is collected. days: after which a transcript is let go; 0 for never.

    homes: every account's, at the time of asking. whose: for sessions, as (backend, session), what they belong to.
    project_of: for the folder in which a person worked, the project. changes: tells which files changed; without it,
    and every so often, all are looked at.
    """

    path: Path
    clock: Clock
    backends: Callable[[], Sequence[Backend]]
    person: Path
    homes: Callable[[], Iterable[Home]]
    whose: Callable[[Sequence[tuple[str, str]]], Mapping[tuple[str, str], Whose]]
    project_of: Callable[[str], str | None]
    keep: bool = True
    days: int = 0
    interval_s: float = 600.0
    changes: Changes | None = None
    collected_at: datetime | None = None
    _opened: store.Shelf | None = None
    _marks: dict[str, Bookmark] | None = None
    _owed: bool = True
    """Every file is to be looked at next."""
    _finders: dict[Home, Finder] = field(default_factory=dict)
    _round: threading.Lock = field(default_factory=threading.Lock)
    _asked: threading.Event = field(default_factory=threading.Event)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Until `stop`."""
        while not self._stopping.is_set():
            try:
                self.collect(whole=self._owed)
            except Exception:
                # The scheduled loop is one of the four doors where every fault is caught.
                self._owed = True
                if not self._stopping.is_set():
                    log.exception("transcripts could not be collected")
            if not self._asked.wait(self.interval_s or None):
                self._owed = True
            self._stopping.wait(_SETTLE_S if self._asked.is_set() else 0)
            self._asked.clear()

    def stop(self) -> None:
        self._stopping.set()
        self._asked.set()

    def wake(self) -> None:
        """A run has ended: its last words are on the disk."""
        self._owed = True
        self._asked.set()

    def hear(self) -> None:
        """Some files have changed."""
        self._asked.set()

    def collect(self, *, whole: bool = True) -> int:
        """Reads what is new in all homes. Gives how many files had something new.

        whole: looks at every file; else at those that are said to have changed.
        """
        if not self.keep:
            return 0
        with self._round:
            marks = self._known_marks()
            # Asked first: what changes while it is looked for is taken the next time.
            only = None if self.changes is None else self.changes.take()
            only = None if whole else only
            self._owed = False
            fresh = self._look(marks, only)
            since = to_micros(self.clock.now() - _MAY_STILL_BE_OWNED)
            for found in fresh:
                if self._stopping.is_set():
                    return 0
                since = min(since, self._read(found, marks))
            if only is None:
                self._forget(marks)
            self._say_whose(since)
            self._let_go()
            self.collected_at = self.clock.now()
            return len(fresh)

    @property
    def _shelf(self) -> store.Shelf:
        if self._opened is None:
            try:
                self._opened = store.Shelf(self.path)
            except (sqlite3.Error, OSError) as error:
                raise Unavailable(
                    f"Transcripts cannot be opened: {error}.",
                    code="transcripts_unavailable",
                    hint=f"Make {self.path} and its folder writable, or move the file away: it is built anew.",
                ) from error
        return self._opened

    def _known_marks(self) -> dict[str, Bookmark]:
        if self._marks is None:
            with self._shelf.read() as conn:
                self._marks = store.files(conn)
        return self._marks

    def _look(self, marks: Mapping[str, Bookmark], only: set[str] | None) -> list[Found]:
        backends = {one.name: one for one in self.backends()}
        self._finders = {home: self._finders.get(home) or self._finder(home, backends) for home in self.homes()}
        fresh: dict[str, Found] = {}
        for finder in self._finders.values():
            for found in finder.look(marks) if only is None else finder.look_at(only, marks):
                fresh.setdefault(found.path, found)
        return list(fresh.values())

    def _finder(self, home: Home, backends: Mapping[str, Backend]) -> Finder:
        backend = backends.get(home.source)
        places: Sequence[Place] = ()
        if backend is not None and backend.transcripts is not None:
            reader = backend.transcripts
            places = reader.own_places(self.person) if home.path is None else reader.places(home.path)
        return Finder(places, home.source, home.account)

    def _read(self, found: Found, marks: dict[str, Bookmark]) -> int:
        """To its end, a piece at a time. Gives when the first of what it told was said."""
        readers = {one.name: one.transcripts for one in self.backends()}
        reader = readers[found.source]
        oldest = found.mtime // 1000
        while reader is not None and not self._stopping.is_set():
            before = marks.get(found.path)
            rows, mark = read_new(found, before, reader, _AT_ONCE)
            oldest = min([oldest, *(row.at for row in rows if row.at is not None)])
            with self._shelf.write() as conn:
                store.put(conn, rows, found.source, found.account, found.mtime // 1000)
                store.put_file(conn, mark)
            marks[found.path] = mark
            self._stopping.wait(_BREATH_S)
            went_on = before is None or (mark.offset, mark.state) != (before.offset, before.state)
            if mark.size >= 0 or not went_on:
                break
        return oldest

    def _forget(self, marks: dict[str, Bookmark]) -> None:
        """How far files were read that are gone; what was said in them stays."""
        there = {path for finder in self._finders.values() for path in finder.paths()}
        gone = [path for path in marks if path not in there]
        if gone:
            with self._shelf.write() as conn:
                store.drop_files(conn, gone)
            for path in gone:
                del marks[path]

    def _say_whose(self, since: int) -> None:
        """Of the sessions that went on since a time and are nobody's yet."""
        with self._shelf.read() as conn:
            sessions = store.nobodys(conn, since)
        told = dict(self.whose([(source, session) for source, session, _, _ in sessions]))
        for source, session, workdir, project in sessions:
            if (source, session) not in told and not project and workdir:
                found = self.project_of(workdir)
                if found is not None:
                    told[source, session] = Whose("", found, "")
        if told:
            with self._shelf.write() as conn:
                store.own(conn, told)

    def _let_go(self) -> None:
        if not self.days:
            return
        limit = to_micros(self.clock.now() - timedelta(days=self.days))
        while not self._stopping.is_set():
            with self._shelf.write() as conn:
                old = store.older(conn, limit, _REMOVED_AT_ONCE)
                for transcript in old:
                    store.remove(conn, transcript)
            if len(old) < _REMOVED_AT_ONCE:
                return

    def page(
        self, wanted: Wanted, before: tuple[int, int] | None, most: int, most_hits: int
    ) -> list[tuple[Transcript, int, list[Hit]]]:
        """The newest first, each with the number of its hits and the first of them."""
        with self._shelf.read() as conn:
            rows = store.page(conn, wanted, before, most)
            return [
                (one, count, [_hit(item, wanted.words) for item in store.found(conn, one.id, wanted.words, most_hits)])
                if wanted.words
                else (one, count, [])
                for one, count in rows
            ]

    def get(self, transcript: int) -> Transcript:
        with self._shelf.read() as conn:
            found = store.find(conn, transcript)
        if found is None:
            raise NotFound(f"There is no transcript {transcript}.")
        return found

    def of_session(self, source: str, session: str) -> Transcript:
        with self._shelf.read() as conn:
            found = store.find_session(conn, source, session)
        if found is None:
            raise NotFound("Nothing of this session was collected.")
        return found

    def items(self, transcript: int, after: int, most: int, most_chars: int) -> list[Item]:
        with self._shelf.read() as conn:
            return store.items(conn, transcript, after, most, most_chars)

    def remove(self, transcript: int) -> None:
        """For good: it is not collected again."""
        self.get(transcript)
        with self._shelf.write() as conn:
            store.remove(conn, transcript)

    def totals(self) -> tuple[int, int, int]:
        """Transcripts, things said in them, bytes on the disk."""
        with self._shelf.read() as conn:
            return (*store.totals(conn), self._shelf.size())

    def risks(self) -> list[Risk]:
        """Sessions that are not kept and that their CLI will soon delete, as it does with old ones."""
        now = self.clock.now()
        risks = []
        marks = dict(self._known_marks())
        backends = {one.name: one for one in self.backends()}
        for home in self.homes():
            backend = backends.get(home.source)
            period = None if backend is None or backend.kept_for is None else backend.kept_for(home.path, self.person)
            if period is None:
                continue
            files = self._finder(home, backends).look(marks)
            ends = [from_micros(found.mtime // 1000) + period for found in files]
            soon = [end for end in ends if end <= now + _SOON]
            if soon:
                days = period / timedelta(days=1)
                risks.append(Risk(home.source, home.account, len(soon), days, max(now, min(soon))))
        return risks


def read_words(text: str) -> Sequence[str]:
    """Words and "phrases" of a search; each must stand in what is found. Raises Invalid when it has no word."""
    parts = [(quoted or word).strip() for quoted, word in _PART.findall(text)]
    words = [part for part in parts if any(letter.isalnum() for letter in part)][:_MOST_WORDS]
    if text.strip() and not words:
        raise Invalid("There is no word in it.", field="q", hint="Search for words of letters or digits.")
    return words


def _hit(item: Item, words: Sequence[str]) -> Hit:
    """The text around the first of the words."""
    text = " ".join(item.text.split())
    folded = text.lower()
    # Lower case may be longer than upper case in a few alphabets; then nothing is marked.
    places = [folded.find(word.lower()) for word in words] if len(folded) == len(text) else []
    first = min((place for place in places if place >= 0), default=0)
    start = max(0, first - _AROUND)
    snippet = text[start : first + 2 * _AROUND]
    marks = []
    for word in words:
        at = snippet.lower().find(word.lower())
        if at >= 0 and len(snippet.lower()) == len(snippet):
            marks.append((at, at + len(word)))
    lead = "…" if start else ""
    shifted = [(a + len(lead), b + len(lead)) for a, b in sorted(marks)]
    return Hit(
        item.seq, item.at, item.kind, f"{lead}{snippet}{'…' if first + 2 * _AROUND < len(text) else ''}", shifted
    )
