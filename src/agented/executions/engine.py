"""The durable engine: what is queued here is driven to its end, whatever is killed. The only file that knows DBOS.

Our tables are the truth about executions; the engine's rows only say which of them must still be driven. Driving is
one workflow without steps: when it is run again after a crash, it looks at the evidence first (see `drive`).

Facts that shape this file (DBOS Transact 3.4): a constant application version, or an upgrade strands queued work; a
stable executor id, or a restart does not take its own work up again; recovered work bypasses the queue's limit, so
`drive` holds the limit itself; queues are polled, nothing wakes them, so we poll fast for a while after each request
and slowly otherwise (10 polls a second cost about 3 % of a core).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from agented.executions.model import Execution
from agented.kit.db import Database
from agented.kit.errors import Unavailable

_NAME = "agented"
_PROTOCOL = "1"
_QUEUE = "runs"
_WORKFLOW = "agented.drive"
_POLL_BUSY_S = 0.05
_POLL_IDLE_S = 0.2
_BUSY_FOR_S = 60.0
_READY_S = 60.0
_BAND = 200_000_000
_current: Engine | None = None
_registered = False


class Detached(BaseException):
    """Raised by `drive` when the server goes: the engine then keeps the work as unfinished.

    Not an Exception: the engine would record one as the work's end.
    """


class Engine:
    """One per process and data folder. `drive(execution_id)` is called in a thread for each execution in turn."""

    def __init__(self, db: Database, *, host_limit: int, executor_id: str = "main") -> None:
        self._db = db
        self._host_limit = host_limit
        self._executor_id = executor_id
        self._drive: Callable[[str], None] | None = None
        self._client: Any = None
        self._own: sa.Engine | None = None
        self._queue: Any = None
        self._fast = False
        self._used_at = 0.0
        self._pace_lock = threading.Lock()
        self._ready = threading.Event()

    def await_ready(self, timeout_s: float = _READY_S) -> None:
        """Blocks until `start` has done its work. Raises Unavailable when that takes too long."""
        if not self._ready.wait(timeout_s):
            raise Unavailable("The engine is still starting.", code="engine_starting", hint="Try again in a moment.")

    def start(self, drive: Callable[[str], None]) -> None:
        """Takes up what was left unfinished, then works the queue until stopped."""
        global _current
        if _current is not None:
            raise RuntimeError("the engine runs already in this process")
        from dbos import DBOS, DBOSClient, DBOSConfig, DBOSPortableJSONSerializer

        logging.getLogger("dbos").setLevel(logging.ERROR)
        _register()
        self._drive = drive
        self._own = _own_engine(self._db)
        url = self._db.url.render_as_string(hide_password=False)
        serializer = DBOSPortableJSONSerializer()
        config: DBOSConfig = {
            "name": _NAME,
            "system_database_url": url,
            "system_database_engine": self._own,
            "application_version": _PROTOCOL,
            "executor_id": self._executor_id,
            "serializer": serializer,
            # Recovered work comes on top of the queue's own, and each waits in a thread.
            "max_executor_threads": self._host_limit * 2 + 8,
            "scheduler_polling_interval_sec": 3600,
            "notification_listener_polling_interval_sec": 1.0,
            "log_level": "ERROR",
        }
        _current = self
        try:
            DBOS(config=config)
            DBOS.launch()
            self._queue = DBOS.register_queue(
                _QUEUE,
                worker_concurrency=self._host_limit,
                polling_interval_sec=_POLL_IDLE_S,
                on_conflict="always_update",
            )
            self._client = DBOSClient(
                system_database_url=url,
                system_database_engine=self._own,
                serializer=serializer,
                application_name=_NAME,
            )
            self._ready.set()
        except BaseException:
            _current = None
            raise

    def enqueue(self, conn: sa.Connection, execution: Execution) -> None:
        """Within the caller's transaction: queued exactly when that commits. Once per execution and turn.

        `await_ready` comes before that transaction.
        """
        self._client.enqueue_in_transaction(
            conn,
            {
                "workflow_name": _WORKFLOW,
                "queue_name": _QUEUE,
                "workflow_id": f"{execution.id}:{execution.turn}",
                "app_version": _PROTOCOL,
                "priority": rank(execution),
            },
            execution.id,
        )

    def hurry(self) -> None:
        """Call it after a commit that enqueued: the queue is looked at more often for a while."""
        with self._pace_lock:
            self._used_at = time.monotonic()
            if not self._fast:
                self._queue.set_polling_interval_sec(_POLL_BUSY_S)
                self._fast = True

    def rest(self) -> None:
        """Call it now and then: slows the polling down when nothing was asked for a while."""
        with self._pace_lock:
            if self._fast and time.monotonic() - self._used_at > _BUSY_FOR_S:
                self._queue.set_polling_interval_sec(_POLL_IDLE_S)
                self._fast = False

    def is_queued(self, execution: Execution) -> bool:
        """Whether the engine still means to drive this turn of the execution."""
        status = self._client.retrieve_workflow(f"{execution.id}:{execution.turn}").get_status()
        return status.status in ("ENQUEUED", "PENDING", "DELAYED")

    def drop_finished(self, limit: int = 500) -> int:
        """Deletes the engine's rows of finished work; our tables keep their own history."""
        done = self._client.list_workflows(
            status=["SUCCESS", "ERROR", "CANCELLED"], limit=limit, load_input=False, load_output=False
        )
        ids = [row.workflow_id for row in done]
        if ids:
            self._client.delete_workflows(ids)
        return len(ids)

    def stop(self) -> None:
        """Stops taking work; what is under way stays unfinished and is taken up by the next start."""
        global _current
        if _current is not self:
            return
        from dbos import DBOS

        DBOS.destroy()
        if self._client is not None:
            self._client.destroy()
        if self._own is not None:
            self._own.dispose()
        _current = None

    def run(self, execution_id: str) -> None:
        assert self._drive is not None
        self._drive(execution_id)


def rank(execution: Execution) -> int:
    """The engine's priority (1 comes first): the person's priority, then the fair queue's tag."""
    return (9 - execution.request.priority) * _BAND + execution.fair_tag % _BAND + 1


def _register() -> None:
    global _registered
    if _registered:
        return
    from dbos import DBOS

    def drive(execution_id: str) -> None:
        engine = _current
        if engine is None:
            raise Detached
        engine.run(execution_id)

    DBOS.workflow(name=_WORKFLOW, max_recovery_attempts=1000)(drive)
    _registered = True


def _own_engine(db: Database) -> sa.Engine:
    if not db.is_sqlite:
        return sa.create_engine(db.url, pool_size=10, max_overflow=10, pool_pre_ping=True)
    engine = sa.create_engine(db.url, connect_args={"timeout": 30, "check_same_thread": False}, pool_size=5)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = "IMMEDIATE"
        # What is lost here at a power failure is only the engine's progress; it is then driven again, from evidence.
        for pragma in ("busy_timeout=30000", "journal_mode=WAL", "synchronous=NORMAL"):
            connection.execute(f"PRAGMA {pragma}")

    return engine
