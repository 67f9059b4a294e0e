"""The one door to running: submit, cancel, retry."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from agented.executions import keeping, store
from agented.executions.engine import Engine
from agented.executions.model import TERMINAL, Execution, Request, State
from agented.kit.bus import Bus
from agented.kit.clock import Clock
from agented.kit.db import Database
from agented.kit.errors import Conflict, Invalid, NotFound

log = logging.getLogger(__name__)

MAX_PROMPT_BYTES = 8 * 1024 * 1024


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
    ) -> None:
        self._db = db
        self._bus = bus
        self._clock = clock
        self._engine = engine
        self._runs = runs
        self._grace_s = grace_s

    def submit(self, request: Request) -> Execution:
        """Stores and queues in one transaction: accepted is run. The same key gives the same execution again.

        Raises Invalid for an empty or too large prompt, Conflict when the key belongs to another request.
        """
        _check(request)
        self._engine.await_ready()
        with self._db.write() as conn:
            execution, new = store.add(conn, request, self._clock.now())
            if new:
                self._engine.enqueue(conn, execution)
        if not new and _work(execution.request) != _work(request):
            raise Conflict(
                "This key was used for another request.", code="key_reused", field="key", hint="Use a key of its own."
            )
        if new:
            self._engine.hurry()
            self._ring(execution.id)
        return execution

    def get(self, execution_id: str) -> Execution:
        with self._db.read() as conn:
            execution = store.find(conn, execution_id)
        if execution is None:
            raise NotFound(f"There is no execution {execution_id}.")
        return execution

    def cancel(self, execution_id: str, reason: str | None = None) -> Execution:
        """Ends an execution; returns when its process tree is gone. Idempotent: a finished one stays as it is."""
        detail = reason or "Stopped on request."
        with self._db.write() as conn:
            before = store.find(conn, execution_id)
            if before is None:
                raise NotFound(f"There is no execution {execution_id}.")
            store.move(
                conn,
                execution_id,
                State.CANCELLED,
                only_from={State.QUEUED, State.WAITING},
                reason="cancelled",
                detail=detail,
                ended_at=self._clock.now(),
            ) or store.move(conn, execution_id, State.STOPPING, detail=detail)
            execution = store.get(conn, execution_id)
            attempts = store.attempts_of(conn, execution_id)
        self._ring(execution_id)
        if execution.state is State.STOPPING and attempts:
            folder = self._runs / execution_id / f"attempt-{attempts[-1].number}"
            keeping.ask_to_stop(folder, "cancelled", self._grace_s)
            self._bus.ring(f"attempt:{attempts[-1].id}")
        return self._wait_for_end(execution_id)

    def retry(self, execution_id: str, origin: str) -> Execution:
        """The same request again, as an execution of its own."""
        execution = self.get(execution_id)
        if execution.state not in TERMINAL:
            raise Conflict("It has not ended yet.", code="not_ended", hint="Stop it first, or wait for its end.")
        return self.submit(replace(execution.request, origin=origin, key=None))

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
    return (request.project_id, request.backend, request.prompt, request.permission, request.model, request.ref)
