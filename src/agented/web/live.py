"""The one event stream: whatever a page watches, over one connection that resumes where it broke off.

Each topic is a cursor over something that is stored; the bell only says that there is more. Nothing is buffered for a
viewer: who is slow is simply behind, and who is far behind in a log is told which lines to read by page. A batch of log
lines is encoded once for all its viewers.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from agented.executions import store
from agented.executions.journal import Journal
from agented.executions.model import TERMINAL, Execution
from agented.executions.output import Kept
from agented.executions.wire import columns_out, execution_out, line_out
from agented.kit.bus import Bus
from agented.kit.db import Database
from agented.kit.errors import Invalid, NotFound
from agented.kit.ids import is_id

_GATHER_S = 0.05
_HEARTBEAT_S = 15.0
_CHECK_S = 2.0
_BATCH_LINES = 5000
_BATCH_BYTES = 256 * 1024
_LAG_LINES = 50_000
_MAX_TOPICS = 32
_EVENTS = 200
_KEPT_BATCHES = 64
_LOGS = ("log", "lines")
"""A log's lines, one object each for programs, or in columns for pages: a tenth of the bytes and of the work."""


@dataclass(slots=True)
class Watch:
    """One topic of one viewer: where it stands."""

    topic: str
    kind: str
    id: str = ""
    cursor: int = 0
    started: bool = True
    ended: bool = False
    behind: bool = False
    """There is more already: the next batch need not be gathered."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What there is to tell at one place of a log, the same for everyone who stands there. cursor: where they go on."""

    name: str
    data: bytes
    cursor: int
    behind: bool = False
    ended: bool = False


@dataclass(slots=True)
class Live:
    """names: the names of projects by id, for rows."""

    db: Database
    bus: Bus
    runs: Path
    names: Callable[[list[str]], dict[str, str]]
    viewers: int = 0
    """Open streams."""
    _reading: dict[tuple[str, int], asyncio.Future[Batch | None]] = field(default_factory=dict)
    _told: OrderedDict[tuple[str, int], Batch] = field(default_factory=OrderedDict)

    def watches(self, topics: str, last_event_id: str | None) -> list[Watch]:
        """Reads `topics` and where an earlier connection stood. Raises Invalid or NotFound. Call it from a thread."""
        names = [name for name in topics.split(",") if name]
        if not names or len(names) > _MAX_TOPICS:
            raise Invalid(f"Name 1 to {_MAX_TOPICS} topics, separated by commas.", field="topics")
        before = _parse_cursor(last_event_id)
        return [self._watch(name, before) for name in names]

    def _watch(self, name: str, before: dict[str, int]) -> Watch:
        kind, _, rest = name.partition(":")
        execution_id, _, start = rest.partition(":")
        topic = f"{kind}:{execution_id}" if execution_id else kind
        if kind == "executions" and not rest:
            with self.db.read() as conn:
                cursor = before.get(topic, store.last_rev(conn))
            return Watch(topic, kind, cursor=cursor, started=topic in before)
        if kind not in ("execution", "log", "lines", "events") or not is_id(execution_id, "exe"):
            raise Invalid(
                f"There is no topic {name[:80]!r}.",
                field="topics",
                hint="Known: executions, execution:ID, log:ID[:FROM], lines:ID[:FROM], events:ID[:AFTER].",
            )
        with self.db.read() as conn:
            if store.find(conn, execution_id) is None:
                raise NotFound(f"There is no execution {execution_id}.")
        if topic in before:
            return Watch(topic, kind, execution_id, before[topic])
        if start and not start.isdigit():
            raise Invalid("A topic's start is a number.", field="topics")
        return Watch(topic, kind, execution_id, self._first_cursor(kind, execution_id, start))

    def _first_cursor(self, kind: str, execution_id: str, start: str) -> int:
        if kind in _LOGS:
            if start:
                return max(1, int(start))
            with Kept(self.runs / execution_id) as kept:
                return kept.end()[1] + 1
        if kind == "events":
            return int(start or 0)
        return 0

    async def stream(self, watches: list[Watch], still_allowed: Callable[[], bool]) -> AsyncIterator[bytes]:
        """Server-sent events until the viewer leaves or may not watch any more."""
        self.viewers += 1
        try:
            async for message in self._messages(watches, still_allowed):
                yield message
        finally:
            self.viewers -= 1

    async def _messages(self, watches: list[Watch], still_allowed: Callable[[], bool]) -> AsyncIterator[bytes]:
        yield b"retry: 500\n\n"
        said_at = checked_at = time.monotonic()
        async with self.bus.listen([watch.topic for watch in watches]) as bell:
            while True:
                sent = False
                for watch in watches:
                    watch.behind = False
                    before = _cursors(watches)
                    news = await self._news(watch)
                    for number, (name, data) in enumerate(news, 1):
                        sent = True
                        # Who breaks off among several is told them all again.
                        yield _message(name, data, _cursors(watches) if number == len(news) else before)
                now = time.monotonic()
                if now - checked_at >= _CHECK_S:
                    checked_at = now
                    if not await asyncio.to_thread(still_allowed):
                        return
                if sent:
                    said_at = now
                    await asyncio.sleep(0 if any(watch.behind for watch in watches) else _GATHER_S)
                    if any(watch.kind in _LOGS and not watch.ended for watch in watches):
                        # More may have come while this batch was gathered and sent; a bell rung meanwhile is kept.
                        continue
                elif now - said_at >= _HEARTBEAT_S:
                    said_at = now
                    yield b": still here\n\n"
                await bell.wait(_CHECK_S)

    async def _news(self, watch: Watch) -> list[tuple[str, bytes]]:
        if watch.kind in _LOGS:
            return [] if watch.ended else await self._log_news(watch)
        if watch.kind == "events":
            return await asyncio.to_thread(self._event_news, watch)
        if watch.kind == "execution":
            return await asyncio.to_thread(self._execution_news, watch)
        return await asyncio.to_thread(self._list_news, watch)

    async def _log_news(self, watch: Watch) -> list[tuple[str, bytes]]:
        place = watch.topic, watch.cursor
        batch = self._told.get(place) or await self._read_once(watch, place)
        if batch is None:
            return []
        watch.cursor, watch.behind, watch.ended = batch.cursor, batch.behind, batch.ended
        return [(batch.name, batch.data)]

    async def _read_once(self, watch: Watch, place: tuple[str, int]) -> Batch | None:
        """One viewer reads; those who come to the same place meanwhile wait for what it finds."""
        reading = self._reading.get(place)
        if reading is None:
            reading = asyncio.ensure_future(asyncio.to_thread(self._read_log, watch.kind, watch.id, watch.cursor))
            self._reading[place] = reading
            reading.add_done_callback(lambda _: self._reading.pop(place, None))
        batch = await asyncio.shield(reading)
        if batch is not None and not batch.ended:
            self._told[place] = batch
            while len(self._told) > _KEPT_BATCHES:
                self._told.popitem(last=False)
        return batch

    def _read_log(self, kind: str, execution_id: str, cursor: int) -> Batch | None:
        with self.db.read() as conn:
            execution = store.find(conn, execution_id)
        over = execution is None or execution.state in TERMINAL
        with Kept(self.runs / execution_id) as kept:
            total = kept.total()
            if total - cursor > _LAG_LINES:
                resume = total - 1000
                gap = {"id": execution_id, "from": cursor, "to": resume - 1, "total": total}
                return Batch("log_gap", orjson.dumps(gap), resume)
            lines = _within(kept.lines(cursor, _BATCH_LINES, whole_only=not over))
        if lines:
            after = lines[-1].n + 1
            total = max(total, lines[-1].n)
            shown = columns_out(lines) if kind == "lines" else {"lines": [line_out(line) for line in lines]}
            return Batch(kind, orjson.dumps({"id": execution_id, **shown, "total": total}), after, behind=after < total)
        if over:
            return Batch("log_end", orjson.dumps({"id": execution_id, "total": total}), cursor, ended=True)
        return None

    def _event_news(self, watch: Watch) -> list[tuple[str, bytes]]:
        with Journal(self.runs / watch.id) as journal:
            items = journal.read(watch.cursor, _EVENTS, _BATCH_BYTES)
        if not items:
            return []
        watch.cursor = int(items[-1]["seq"])
        return [("events", orjson.dumps({"id": watch.id, "items": items}))]

    def _execution_news(self, watch: Watch) -> list[tuple[str, bytes]]:
        with self.db.read() as conn:
            execution = store.find(conn, watch.id)
        if execution is None or execution.rev <= watch.cursor:
            return []
        watch.cursor = execution.rev
        return [("execution", data) for data in self._rows([execution])]

    def _list_news(self, watch: Watch) -> list[tuple[str, bytes]]:
        with self.db.read() as conn:
            changed = store.changed_since(conn, watch.cursor, 200)
            counts: dict[str, int] | None = store.counts(conn) if changed or not watch.started else None
        watch.started = True
        news = [("execution", data) for data in self._rows(changed)]
        if changed:
            watch.cursor = changed[-1].rev
        if counts is not None:
            news.append(("counts", orjson.dumps({str(state): count for state, count in counts.items()})))
        return news

    def _rows(self, executions: list[Execution]) -> list[bytes]:
        names = self.names([execution.request.project_id for execution in executions])
        return [
            orjson.dumps(execution_out(execution, names.get(execution.request.project_id, "")))
            for execution in executions
        ]


def _within(lines: list[Any]) -> list[Any]:
    taken, size = [], 0
    for line in lines:
        taken.append(line)
        size += len(line.text)
        if size > _BATCH_BYTES:
            break
    return taken


def _cursors(watches: list[Watch]) -> bytes:
    return ";".join(f"{watch.topic}={watch.cursor}" for watch in watches).encode()


def _message(name: str, data: bytes, cursors: bytes) -> bytes:
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (cursors, name.encode(), data)


def _parse_cursor(text: str | None) -> dict[str, int]:
    """Positions by topic; what is not readable counts as not given."""
    positions = {}
    for part in (text or "")[:4000].split(";"):
        topic, _, position = part.rpartition("=")
        if topic and position.isdigit():
            positions[topic] = int(position)
    return positions
