"""The database: one schema and one code path for SQLite and PostgreSQL.

SQLite runs in WAL mode with `synchronous=FULL`, so a committed row survives a power failure; one connection writes
(`BEGIN IMMEDIATE`), several read. Calls block: coroutines reach them through a thread.
"""

from __future__ import annotations

import errno
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.pool import QueuePool

from agented.kit.clock import from_micros, to_micros
from agented.kit.errors import Unavailable

_LEAST_ROOM = 256 * 1024
_AFTER = "agented after commit"

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcTime(sa.types.TypeDecorator[datetime]):
    """An aware UTC time, kept as microseconds since the epoch: the same order and precision on both databases."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> int | None:
        return None if value is None else to_micros(value)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        return None if value is None else from_micros(int(value))


def is_a_mistake(error: sa.exc.DatabaseError) -> bool:
    """A statement that the database refuses is its caller's affair; a database that fails is not."""
    return not isinstance(error, sa.exc.OperationalError) and type(error) is not sa.exc.DatabaseError


def after_commit(conn: sa.Connection, act: Callable[[], None]) -> None:
    """Has it done once the transaction of `Database.write` is on the disk; never when that is rolled back."""
    conn.info.get(_AFTER, []).append(act)


class Database:
    """Opened once by the app. `read()` and `write()` give a connection within one transaction."""

    def __init__(self, url: str) -> None:
        self.url = sa.make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._write_lock = threading.RLock()
        if self.is_sqlite:
            path = Path(self.url.database or "")
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = self._sqlite_engine(immediate=True, size=1)
            self._reader = self._sqlite_engine(immediate=False, size=16)
        else:
            if self.url.drivername == "postgresql":
                self.url = self.url.set(drivername="postgresql+psycopg")
            self._writer = self._reader = sa.create_engine(self.url, pool_size=10, max_overflow=20, pool_pre_ping=True)

    def _sqlite_engine(self, *, immediate: bool, size: int) -> sa.Engine:
        engine = sa.create_engine(
            self.url,
            poolclass=QueuePool,
            pool_size=size,
            max_overflow=0 if immediate else 16,
            connect_args={"check_same_thread": False, "timeout": 30},
        )

        @event.listens_for(engine, "connect")
        def _prepare(connection: Any, _record: Any) -> None:
            connection.isolation_level = None
            # The journal's mode is the file's and asks for a lock: the one writer sets it, readers find it.
            mode = ("journal_mode=WAL",) if immediate else ()
            for pragma in ("busy_timeout=30000", *mode, "synchronous=FULL", "foreign_keys=ON"):
                connection.execute(f"PRAGMA {pragma}")

        @event.listens_for(engine, "begin")
        def _begin(connection: sa.Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

        return engine

    @property
    def engine(self) -> sa.Engine:
        """The writing engine, for those who bring their own SQL (migrations, the durable engine)."""
        return self._writer

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        try:
            with self._reader.begin() as connection:
                yield connection
        except sa.exc.DatabaseError as error:
            if is_a_mistake(error):
                raise
            raise self._explain(error) from error

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """One transaction; commits when the block ends, rolls back when it raises."""
        lock = self._write_lock if self.is_sqlite else _NO_LOCK
        acts: list[Callable[[], None]] = []
        with lock:
            try:
                with self._writer.begin() as connection:
                    connection.info[_AFTER] = acts
                    yield connection
            except sa.exc.DatabaseError as error:
                if is_a_mistake(error):
                    raise
                raise self._explain(error) from error
        for act in acts:
            act()

    def _has_no_room(self) -> bool:
        return shutil.disk_usage(Path(self.url.database or ".").parent).free < _LEAST_ROOM

    def _explain(self, error: sa.exc.DatabaseError) -> Unavailable:
        cause = error.orig
        where = self.url.render_as_string(hide_password=True)
        name = getattr(cause, "sqlite_errorname", "") if isinstance(cause, sqlite3.Error) else ""
        # SQLite says "I/O error" when the disk has no room for the file it shares between processes.
        full = name.startswith("SQLITE_FULL") or (name.startswith("SQLITE_IOERR") and self._has_no_room())
        if full or getattr(cause, "errno", None) == errno.ENOSPC:
            return Unavailable(
                "The disk that holds the database is full.", code="disk_full", hint=f"Free space for {where}."
            )
        if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN")):
            return Unavailable(
                "The database cannot be written.",
                code="database_read_only",
                hint=f"Make {where} and its folder writable for this user.",
            )
        if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
            return Unavailable(
                f"The database is damaged: {cause}.",
                code="database_damaged",
                hint=f"Move {where} away and put a backup in its place.",
            )
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return Unavailable(
                "Another program holds the database.", code="database_busy", hint=f"Close what has {where} open."
            )
        return Unavailable(f"The database does not answer: {cause}", code="database_failed", hint=f"Check {where}.")

    def close(self) -> None:
        self._writer.dispose()
        if self._reader is not self._writer:
            self._reader.dispose()


class _NoLock:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


_NO_LOCK = _NoLock()
