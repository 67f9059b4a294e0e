"""The one door to running: submit, cancel, retry."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agented.executions import keeping, store
from agented.executions.engine import Engine
from agented.executions.model import HELD, TERMINAL, Execution, Request, State, Step
from agented.kit.bus import Bus
from agented.kit.clock import Clock
from agented.kit.db import Database
from agented.kit.errors import Conflict, Invalid, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import sqlalchemy as sa

    Also = Callable[[sa.Connection, Execution], None]
    Only = Callable[[sa.Connection, Execution], bool]

log = logging.getLogger(__name__)

MAX_PROMPT_BYTES = 8 * 1024 * 1024
TIMERS = "timers"
"""The bell's topic for who waits for times."""


class Supersede(Enum):
    """What becomes of older executions of the same origin and subject when a newer one is asked for."""

    NOTHING = auto()
    WAITING = auto()
    """Those that have not started end as SUPERSEDED."""
    ALL = auto()
    """Those that run are stopped, too."""


class Requests:
    def __init__(
        self,
        *,
        db: Database,
        bus: Bus,
        clock: Clock,
        engine: Engine,
        runs: Path,
        grace_s: float,
        on_retry: Callable[[sa.Connection, Execution, Execution], None] | None = None,
    ) -> None:
        """on_retry: what a higher room stores with the retry (given last) of an execution, in the same transaction."""
        self._db = db
        self._bus = bus
        self._clock = clock
        self._engine = engine
        self._runs = runs
        self._grace_s = grace_s
        self._on_retry = on_retry

    def submit(
        self,
        request: Request,
        *,
        not_before: datetime | None = None,
        supersede: Supersede = Supersede.NOTHING,
        also: Also | None = None,
    ) -> Execution:
        """Stores and queues in one transaction: accepted is run. The same key gives the same execution again.

        not_before: it waits until then. supersede: what becomes of older ones of its origin and subject. also: what a
        higher room stores in the same transaction. Raises Invalid for an empty or too large prompt, Conflict when the
        key belongs to another request.
        """
        _check(request)
        self._engine.await_ready()
        running: list[str] = []
        with self._db.write() as conn:
            execution, new = store.add(conn, request, self._clock.now(), not_before=not_before)
            if new and not_before is None:
                self._engine.enqueue(conn, execution)
            if also is not None:
                also(conn, execution)
            if new and supersede is not Supersede.NOTHING:
                older = store.living_of_subject(conn, request.origin, request.subject or "", execution.id)
                detail = f"{execution.id} took its place."
                running = self._outdate(conn, older, detail, stop=supersede is Supersede.ALL)
        # A room that notes what it asked for makes its keys of what they stand for.
        if not new and also is None and _work(execution.request) != _work(request):
            raise Conflict(
                "This key was used for another request.", code="key_reused", field="key", hint="Use a key of its own."
            )
        if new:
            self._engine.hurry()
            self._ring(execution.id)
        if not_before is not None:
            self._bus.ring(TIMERS)
        for one in running:
            self._stop_attempt(one, "superseded")
        return execution

    def outdate(self, origin: str, subject: str, only: Only, detail: str, *, stop: bool) -> int:
        """Ends what only waits of a subject that needs no more work, with `stop` also what runs; gives how many.

        only: which of the origin's executions are meant.
        """
        self._engine.await_ready()
        with self._db.write() as conn:
            found = [one for one in store.living_of_subject(conn, origin, subject) if only(conn, one)]
            running = self._outdate(conn, found, detail, stop=stop)
            left = [one.id for one in found if store.get(conn, one.id).state not in (*TERMINAL, State.STOPPING)]
        self._engine.hurry()
        for one in running:
            self._stop_attempt(one, "superseded")
        return len(found) - len(left)

    def _outdate(self, conn: sa.Connection, found: Sequence[Execution], detail: str, *, stop: bool) -> list[str]:
        """Ends those that only wait; gives those that run and must be stopped."""
        running = []
        for one in found:
            ended = self._end_waiting(conn, one, State.SUPERSEDED, "superseded", detail)
            if not ended and stop and store.move(conn, one.id, State.STOPPING, reason="superseded", detail=detail):
                running.append(one.id)
            self._ring(one.id)
        return running

    def _end_waiting(self, conn: sa.Connection, execution: Execution, state: State, reason: str, detail: str) -> bool:
        """Ends one that only waits, if it does. Where it worked before, its worker puts its workspace away first."""
        waits = {State.QUEUED, State.WAITING}
        values: dict[str, Any] = {"reason": reason, "detail": detail, "resume_at": None}
        if not execution.attempt_count:
            at = self._clock.now()
            return store.move(conn, execution.id, state, only_from=waits, ended_at=at, **values) is not None
        if execution.state not in waits:
            return False
        turn = execution.turn + (1 if execution.state is State.WAITING else 0)
        moved = store.move(conn, execution.id, State.STOPPING, only_from={execution.state}, turn=turn, **values)
        if moved is not None and execution.state is State.WAITING:
            self._engine.enqueue(conn, moved)
        return moved is not None

    def _stop_attempt(self, execution_id: str, reason: str) -> None:
        with self._db.read() as conn:
            attempts = store.attempts_of(conn, execution_id)
        if attempts:
            folder = self._runs / execution_id / f"attempt-{attempts[-1].number}"
            keeping.ask_to_stop(folder, reason, self._grace_s)
            self._bus.ring(f"attempt:{attempts[-1].id}")

    def get(self, execution_id: str) -> Execution:
        with self._db.read() as conn:
            execution = store.find(conn, execution_id)
        if execution is None:
            raise NotFound(f"There is no execution {execution_id}.")
        return execution

    def cancel(self, execution_id: str, reason: str | None = None) -> Execution:
        """Ends an execution; returns when its process tree is gone. Idempotent: a finished one stays as it is."""
        detail = reason or "Stopped on request."
        self._engine.await_ready()
        with self._db.write() as conn:
            before = store.find(conn, execution_id)
            if before is None:
                raise NotFound(f"There is no execution {execution_id}.")
            if not self._end_waiting(conn, before, State.CANCELLED, "cancelled", detail):
                store.move(conn, execution_id, State.STOPPING, detail=detail)
            execution = store.get(conn, execution_id)
        self._engine.hurry()
        self._ring(execution_id)
        if execution.state is State.STOPPING:
            self._stop_attempt(execution_id, "cancelled")
        return self._wait_for_end(execution_id)

    def resume(self, execution_id: str) -> Execution:
        """What waits for a time goes on at once, whatever it waits for. Raises Conflict for what does not."""
        self._engine.await_ready()
        with self._db.write() as conn:
            execution = store.find(conn, execution_id)
            if execution is None:
                raise NotFound(f"There is no execution {execution_id}.")
            moved = None
            if execution.resume_at is not None or execution.reason == "budget_ask":
                told: dict[str, Any] = {"reason": None, "detail": None, "resume_at": None, "asked": True}
                if execution.reason in ("budget", "budget_ask"):
                    told["may_overspend"] = True
                turn = execution.turn + 1
                moved = store.move(conn, execution_id, State.QUEUED, only_from={State.WAITING}, turn=turn, **told)
            if moved is None:
                raise Conflict("It does not wait for a time.", code="not_waiting", hint="Look at its state.")
            self._engine.enqueue(conn, moved)
        self._engine.hurry()
        self._ring(execution_id)
        return moved

    def look_again(self, conn: sa.Connection, reasons: Collection[str] = HELD) -> None:
        """What is held by accounts, for one of these reasons, looks again now: something about them has changed."""
        if store.bring_forward(conn, reasons, self._clock.now()):
            self._bus.ring(TIMERS)

    def retry(self, execution_id: str, origin: str) -> Execution:
        """The same request again, as an execution of its own."""
        execution = self.get(execution_id)
        if execution.state not in TERMINAL:
            raise Conflict("It has not ended yet.", code="not_ended", hint="Stop it first, or wait for its end.")
        request = replace(execution.request, origin=origin, key=None, most=0, most_per_subject=0)
        if request.chain:
            first = request.chain[0]
            request = replace(request, backend=first.backend, account=first.account, model=first.model)
        note = self._on_retry
        return self.submit(request, also=None if note is None else lambda conn, new: note(conn, execution, new))

    def requeue_forgotten(self) -> int:
        """Puts back what should be driven but is not in the engine's queue. Gives how many there were."""
        forgotten = []
        with self._db.read() as conn:
            unfinished = store.unfinished(conn)
        for execution in unfinished:
            if execution.state is State.WAITING or self._engine.is_queued(execution):
                continue
            with self._db.write() as conn:
                again = store.next_turn(conn, execution)
                if again is not None:
                    self._engine.enqueue(conn, again)
                    forgotten.append(execution.id)
        if forgotten:
            log.warning("put back into the queue: %s", ", ".join(forgotten))
        return len(forgotten)

    def _wait_for_end(self, execution_id: str) -> Execution:
        until = self._clock.monotonic() + self._grace_s + 30
        topic = f"execution:{execution_id}"
        while True:
            heard = self._bus.count(topic)
            execution = self.get(execution_id)
            if execution.state in TERMINAL or self._clock.monotonic() > until:
                return execution
            self._bus.wait(topic, heard, 1.0)

    def _ring(self, execution_id: str) -> None:
        for topic in (f"execution:{execution_id}", "executions"):
            self._bus.ring(topic)


def _check(request: Request) -> None:
    if not request.prompt.strip():
        raise Invalid("The prompt is empty.", field="prompt", hint="Say what should be done.")
    if len(request.prompt.encode()) > MAX_PROMPT_BYTES:
        raise Invalid(
            "The prompt is larger than 8 MiB.", field="prompt", hint="Put the text into a file of the project."
        )
    if "\0" in request.prompt:
        raise Invalid("The prompt holds a NUL character.", field="prompt", hint="Remove it.")
    if not 0 <= request.priority <= 9:
        raise Invalid("The priority is a number from 0 to 9.", field="priority")


def _work(request: Request) -> tuple[object, ...]:
    steps = request.chain or (Step(request.backend, None, request.model),)
    return (request.project_id, steps, request.prompt, request.permission, request.ref)
