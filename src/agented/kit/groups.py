"""Group commits: small writes that come at the same time share one transaction, and so one wait for the disk.

`Group` is for threads, `Gather` for coroutines. Both have what comes alone begin at once; what comes while one group is
under way makes up the next.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import sqlalchemy as sa

from agented.kit.db import Database, is_a_mistake
from agented.kit.errors import Broken

Item = TypeVar("Item")
Result = TypeVar("Result")

_MOST = 512
"""Items of one group: the last of them does not wait much longer than the first."""
_BREATHS = 3
"""Rounds of the event loop between two groups."""


@dataclass(slots=True, eq=False)
class _Part(Generic[Item, Result]):
    """What one caller brings. outcomes: empty until its group is on the disk, or has failed."""

    items: Sequence[Item]
    outcomes: Sequence[Result | Exception] = ()


class Group(Generic[Item, Result]):
    """write: stores items within a transaction and gives a result for each, in their order.

    When it raises for several, all is rolled back and it is called again for each alone, in a savepoint: it must have
    no effect but that on the database.
    """

    def __init__(self, db: Database, write: Callable[[sa.Connection, Sequence[Item]], Sequence[Result]]) -> None:
        self._db = db
        self._write = write
        self._turn = threading.Condition()
        self._waiting: list[_Part[Item, Result]] = []
        self._busy = False

    def put(self, item: Item) -> Result:
        """Returns when it is on the disk; raises what `write` raises for it, or what fails the whole commit."""
        [outcome] = self.put_many([item])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def put_many(self, items: Sequence[Item]) -> Sequence[Result | Exception]:
        """A result, or what it failed of, for each."""
        if not items:
            return ()
        part: _Part[Item, Result] = _Part(items)
        with self._turn:
            self._waiting.append(part)
            self._turn.wait_for(lambda: part.outcomes or not self._busy)
            if part.outcomes:
                return part.outcomes
            # Nobody commits: this thread does, for all who wait.
            self._busy = True
            parts = self._next_group(part)
        self._commit(parts)
        return part.outcomes

    def _next_group(self, first: _Part[Item, Result]) -> list[_Part[Item, Result]]:
        parts, size = [first], len(first.items)
        self._waiting.remove(first)
        while self._waiting and size < _MOST:
            parts.append(self._waiting.pop(0))
            size += len(parts[-1].items)
        return parts

    def _commit(self, parts: list[_Part[Item, Result]]) -> None:
        outcomes: Sequence[Result | Exception] = ()
        items = [item for part in parts for item in part.items]
        try:
            outcomes = self._store(items)
        finally:
            with self._turn:
                self._busy = False
                # Missing only where this very thread is being ended.
                left = iter(outcomes or [Broken("The write was given up.") for _ in items])
                for part in parts:
                    part.outcomes = [next(left) for _ in part.items]
                self._turn.notify_all()

    def _store(self, items: Sequence[Item]) -> Sequence[Result | Exception]:
        try:
            with self._db.write() as conn:
                return self._write(conn, items)
        except Exception as error:  # noqa: BLE001 - carried to whose item it is
            if len(items) == 1:
                return [error]
        try:
            with self._db.write() as conn:
                return [self._store_alone(conn, item) for item in items]
        except Exception as error:  # noqa: BLE001 - nobody's item is on the disk
            return [error for _ in items]

    def _store_alone(self, conn: sa.Connection, item: Item) -> Result | Exception:
        try:
            with conn.begin_nested():
                [result] = self._write(conn, [item])
                return result
        except sa.exc.DatabaseError as error:
            if not is_a_mistake(error):
                raise
            return error
        except Exception as error:  # noqa: BLE001 - carried to its caller
            return error


class Gather(Generic[Item, Result]):
    """Coroutines of one event loop call `work` together, in a thread of its own."""

    def __init__(self, work: Callable[[Sequence[Item]], Sequence[Result | Exception]], name: str) -> None:
        self._work = work
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._working: asyncio.Task[None] | None = None

    async def __call__(self, item: Item) -> Result:
        """The item's own result; raises its own exception."""
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work_off())
        return await answer

    async def _work_off(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            group, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
            try:
                outcomes = await loop.run_in_executor(self._thread, self._work, [item for item, _ in group])
            except Exception as error:  # noqa: BLE001 - carried to all who wait for it
                outcomes = [error for _ in group]
            for (_, answer), outcome in zip(group, outcomes, strict=True):
                _tell(answer, outcome)
            for _ in range(_BREATHS):
                # The answers go out, and who gets one may ask again: in few large groups all wait less.
                await asyncio.sleep(0)


def _tell(answer: asyncio.Future[Result], outcome: Result | Exception) -> None:
    """Who has given up waiting is told nothing."""
    if answer.done():
        return
    if isinstance(outcome, Exception):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)
