"""All SQL of the ledger, in words that SQLite and PostgreSQL share, on the driver itself.

It runs within the server's database and, for one home folder without a server, on a file of its own; there nothing but
SQLite's driver is loaded. `tables` describes the same tables to migrations.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, Protocol

from agented.costs.model import CellKey, Filter, Group, Owner, Sums
from agented.sessions.model import Bookmark

if TYPE_CHECKING:
    import sqlalchemy as sa

_FILE = ("path", "size", "mtime", "inode", "place", "mark", "state")
_CELL_KEY = ("source", "account", "session", "model", "provider", "day", "fast", "prices")
_SUMS = ("messages", "unpriced", "input", "output", "cache_read", "cache_write", "cache_write_1h", "reasoning", "cost")
_MESSAGE = (
    *("name", "part", "cell", "rank", "side", "at", "input", "output", "cache_read", "cache_write"),
    *("cache_write_1h", "reasoning", "beside", "cost", "own_cost"),
)
_AT_ONCE = 400

OWN_SCHEMA = """
CREATE TABLE IF NOT EXISTS cost_files (path TEXT NOT NULL PRIMARY KEY, size BIGINT NOT NULL, mtime BIGINT NOT NULL,
  inode BIGINT NOT NULL, place BIGINT NOT NULL, mark TEXT NOT NULL, state TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cost_messages (name TEXT NOT NULL, part TEXT NOT NULL, cell BIGINT NOT NULL,
  rank BIGINT NOT NULL, side SMALLINT NOT NULL, at BIGINT NOT NULL, input BIGINT NOT NULL, output BIGINT NOT NULL,
  cache_read BIGINT NOT NULL, cache_write BIGINT NOT NULL, cache_write_1h BIGINT NOT NULL, reasoning BIGINT NOT NULL,
  beside BIGINT NOT NULL, cost BIGINT, own_cost SMALLINT NOT NULL, PRIMARY KEY (name, part)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cost_cells (id BIGINT NOT NULL PRIMARY KEY, source VARCHAR(60) NOT NULL,
  account VARCHAR(120) NOT NULL, session TEXT NOT NULL, model TEXT NOT NULL, provider TEXT NOT NULL,
  day VARCHAR(10) NOT NULL, fast SMALLINT NOT NULL, prices VARCHAR(80) NOT NULL, messages BIGINT NOT NULL,
  unpriced BIGINT NOT NULL, input BIGINT NOT NULL, output BIGINT NOT NULL, cache_read BIGINT NOT NULL,
  cache_write BIGINT NOT NULL, cache_write_1h BIGINT NOT NULL, reasoning BIGINT NOT NULL, cost BIGINT NOT NULL);
CREATE INDEX IF NOT EXISTS ix_cost_cells_session ON cost_cells (session);
CREATE INDEX IF NOT EXISTS ix_cost_cells_day ON cost_cells (day);
CREATE TABLE IF NOT EXISTS cost_sessions (source VARCHAR(60) NOT NULL, session TEXT NOT NULL, workdir TEXT NOT NULL,
  first_at BIGINT NOT NULL, last_at BIGINT NOT NULL, execution VARCHAR(40) NOT NULL, bot VARCHAR(40) NOT NULL,
  project VARCHAR(40) NOT NULL, account VARCHAR(120) NOT NULL, PRIMARY KEY (source, session)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ix_cost_sessions_execution ON cost_sessions (execution);
CREATE TABLE IF NOT EXISTS cost_notes (name VARCHAR(40) NOT NULL PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
"""For a file without migrations; a test holds it equal to `tables`."""


class Cursor(Protocol):
    def execute(self, sql: str, values: Any = ..., /) -> Any: ...
    def executemany(self, sql: str, values: Any, /) -> Any: ...
    def fetchall(self) -> Sequence[Any]: ...
    def close(self) -> None: ...


class Shelf:
    """One transaction on either database. Values stand as `?` in the words given to it."""

    def __init__(self, cursor: Cursor, *, numbered: bool = False) -> None:
        self._cursor = cursor
        self._numbered = numbered

    def ask(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        self._cursor.execute(self._words(sql), tuple(values))
        return list(self._cursor.fetchall())

    def act(self, sql: str, values: Sequence[Any] = ()) -> None:
        self._cursor.execute(self._words(sql), tuple(values))

    def act_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        if rows:
            self._cursor.executemany(self._words(sql), rows)

    def _words(self, sql: str) -> str:
        return sql.replace("?", "%s") if self._numbered else sql


def shelf_of(conn: sa.Connection) -> Shelf:
    """The ledger within a transaction of the server's database."""
    return Shelf(_Within(conn), numbered=conn.dialect.name != "sqlite")


class _Within:
    """A cursor of the server's database: what the driver complains of is told as it is everywhere."""

    def __init__(self, conn: sa.Connection) -> None:
        self._conn = conn
        self._result: sa.CursorResult[Any] | None = None

    def execute(self, sql: str, values: Any = (), /) -> None:
        self._result = self._conn.exec_driver_sql(sql, tuple(values))

    def executemany(self, sql: str, values: Any, /) -> None:
        self._conn.exec_driver_sql(sql, [tuple(row) for row in values])

    def fetchall(self) -> Sequence[Any]:
        assert self._result is not None
        return self._result.fetchall()

    def close(self) -> None:
        self._result = None


def open_own(path: str, *, new: bool = False) -> sqlite3.Connection:
    """A file of its own, made when it is not there. new: it is thrown away if what is begun now does not end well."""
    kept = sqlite3.connect(path, timeout=30, isolation_level=None)
    with closing(kept.cursor()) as cursor:
        cursor.execute(f"PRAGMA journal_mode={'MEMORY' if new else 'WAL'}")
        cursor.execute(f"PRAGMA synchronous={'OFF' if new else 'NORMAL'}")
        cursor.execute("PRAGMA cache_size=-65536")
        if cursor.execute("PRAGMA user_version").fetchone()[0] == 0:
            cursor.executescript(OWN_SCHEMA + "PRAGMA user_version=1;")
    return kept


def files(shelf: Shelf) -> dict[str, Bookmark]:
    rows = shelf.ask(f"SELECT {', '.join(_FILE)} FROM cost_files")
    return {row[0]: Bookmark(*row) for row in rows}


def put_files(shelf: Shelf, marks: Iterable[Bookmark]) -> None:
    shelf.act_many(_upsert("cost_files", _FILE, 1), [tuple(mark) for mark in marks])


def drop_files(shelf: Shelf, paths: Iterable[str]) -> None:
    """Forgets how far files were read that are gone; what was read stays."""
    shelf.act_many("DELETE FROM cost_files WHERE path = ?", [(path,) for path in paths])


def is_empty(shelf: Shelf) -> bool:
    return not shelf.ask("SELECT 1 FROM cost_messages LIMIT 1")


def messages(shelf: Shelf, names: Sequence[str]) -> dict[str, list[tuple[Any, ...]]]:
    """What is counted under these names, by name; each as `MESSAGE` has it."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for first in range(0, len(names), _AT_ONCE):
        some = names[first : first + _AT_ONCE]
        marks = ",".join("?" * len(some))
        for row in shelf.ask(f"SELECT {', '.join(_MESSAGE)} FROM cost_messages WHERE name IN ({marks})", some):
            found.setdefault(row[0], []).append(row)
    return found


def put_messages(shelf: Shelf, rows: Sequence[tuple[Any, ...]], *, new: bool) -> None:
    """new: none of them is there yet."""
    sql = _insert("cost_messages", _MESSAGE) if new else _upsert("cost_messages", _MESSAGE, 2)
    shelf.act_many(sql, rows)


def drop_messages(shelf: Shelf, names: Sequence[tuple[str, str]]) -> None:
    shelf.act_many("DELETE FROM cost_messages WHERE name = ? AND part = ?", names)


def cells(shelf: Shelf, sessions: Sequence[str]) -> dict[CellKey, int]:
    """The cells of these sessions and their ids."""
    found = {}
    for first in range(0, len(sessions), _AT_ONCE):
        some = sessions[first : first + _AT_ONCE]
        marks = ",".join("?" * len(some))
        for row in shelf.ask(f"SELECT id, {', '.join(_CELL_KEY)} FROM cost_cells WHERE session IN ({marks})", some):
            found[_cell_key(row[1:])] = row[0]
    return found


def cells_by_id(shelf: Shelf, ids: Sequence[int]) -> dict[int, CellKey]:
    found = {}
    for first in range(0, len(ids), _AT_ONCE):
        some = ids[first : first + _AT_ONCE]
        marks = ",".join("?" * len(some))
        for row in shelf.ask(f"SELECT id, {', '.join(_CELL_KEY)} FROM cost_cells WHERE id IN ({marks})", some):
            found[row[0]] = _cell_key(row[1:])
    return found


def _cell_key(row: Sequence[Any]) -> CellKey:
    return CellKey._make((*row[:6], bool(row[6]), row[7]))


def last_cell(shelf: Shelf) -> int:
    return int(shelf.ask("SELECT COALESCE(MAX(id), 0) FROM cost_cells")[0][0])


def add_cells(shelf: Shelf, new: Mapping[CellKey, int]) -> None:
    rows = [(one, *key[:6], int(key.fast), key.prices, *Sums()) for key, one in new.items()]
    shelf.act_many(_insert("cost_cells", ("id", *_CELL_KEY, *_SUMS)), rows)


def add_to_cells(shelf: Shelf, changes: Mapping[int, Sequence[int]]) -> None:
    """Adds to the sums of cells what is given, which may be less than nothing."""
    sets = ", ".join(f"{name} = {name} + ?" for name in _SUMS)
    shelf.act_many(f"UPDATE cost_cells SET {sets} WHERE id = ?", [(*change, one) for one, change in changes.items()])


def note_sessions(shelf: Shelf, seen: Iterable[tuple[str, str, str, int, int]]) -> None:
    """source, session, folder, first and last time. The first folder that was told stays."""
    sql = """
    INSERT INTO cost_sessions (source, session, workdir, first_at, last_at, execution, bot, project, account)
    VALUES (?, ?, ?, ?, ?, '', '', '', '')
    ON CONFLICT (source, session) DO UPDATE SET
      workdir = CASE WHEN cost_sessions.workdir = '' THEN excluded.workdir ELSE cost_sessions.workdir END,
      first_at = CASE WHEN excluded.first_at < cost_sessions.first_at
        THEN excluded.first_at ELSE cost_sessions.first_at END,
      last_at = CASE WHEN excluded.last_at > cost_sessions.last_at THEN excluded.last_at ELSE cost_sessions.last_at END
    """
    shelf.act_many(sql, list(seen))


def recent_sessions(shelf: Shelf, since: int) -> list[tuple[str, str, str, str]]:
    """source, session, folder and project of those that went on since then and have no run."""
    sql = "SELECT source, session, workdir, project FROM cost_sessions WHERE last_at >= ? AND execution = ''"
    return [(row[0], row[1], row[2], row[3]) for row in shelf.ask(sql, (since,))]


def own_sessions(shelf: Shelf, owners: Mapping[tuple[str, str], Owner]) -> None:
    """Says whose sessions are: a run's, or, without one, of which project."""
    sql = "UPDATE cost_sessions SET execution = ?, bot = ?, project = ?, account = ? WHERE source = ? AND session = ?"
    rows = [
        (owner.execution, owner.bot or "", owner.project or "", owner.account or "", source, session)
        for (source, session), owner in owners.items()
    ]
    shelf.act_many(sql, rows)


def note(shelf: Shelf, name: str, value: str) -> None:
    shelf.act(_upsert("cost_notes", ("name", "value"), 1), (name, value))


def noted(shelf: Shelf, name: str) -> str:
    rows = shelf.ask("SELECT value FROM cost_notes WHERE name = ?", (name,))
    return str(rows[0][0]) if rows else ""


def to_price(shelf: Shelf, *, all: bool, after: tuple[str, str], most: int) -> list[tuple[Any, ...]]:
    """Counted messages that have no price, or all whose price is ours, by name; each as `MESSAGE` has it."""
    wanted = "own_cost = 0" if all else "cost IS NULL"
    return shelf.ask(
        f"SELECT {', '.join(_MESSAGE)} FROM cost_messages WHERE {wanted} AND (name > ? OR (name = ? AND part > ?)) "
        "ORDER BY name, part LIMIT ?",
        (after[0], *after, most),
    )


_COLUMNS = {
    Group.SOURCE: "c.source",
    Group.MODEL: "c.model",
    Group.DAY: "c.day",
    Group.SESSION: "c.session",
    Group.ACCOUNT: "CASE WHEN s.account <> '' AND c.account = c.source || ':default' THEN s.account ELSE c.account END",
    Group.PROJECT: "COALESCE(s.project, '')",
    Group.BOT: "COALESCE(s.bot, '')",
    Group.EXECUTION: "COALESCE(s.execution, '')",
}
_OF_SESSION = {Group.ACCOUNT, Group.PROJECT, Group.BOT, Group.EXECUTION}


def sums(
    shelf: Shelf, groups: Sequence[Group], wanted: Filter, *, most: int | None = None
) -> Iterator[tuple[tuple[str, ...], Sums]]:
    """The sums of each group, in the order of their values."""
    joined = _OF_SESSION.intersection([*groups, *(group for group, _ in wanted.equal)])
    source = "cost_cells c"
    if joined:
        source += " LEFT JOIN cost_sessions s ON s.source = c.source AND s.session = c.session"
    terms: list[str] = ["c.messages <> 0"]
    values: list[Any] = []
    for term, value in (("c.day >= ?", wanted.since), ("c.day <= ?", wanted.until)):
        if value is not None:
            terms.append(term)
            values.append(value)
    for group, value in wanted.equal:
        terms.append(f"{_COLUMNS[group]} = ?")
        values.append(value)
    names = [_COLUMNS[group] for group in groups]
    totals = [f"SUM(c.{name})" for name in _SUMS]
    places = ", ".join(str(number + 1) for number in range(len(names)))
    order = f" GROUP BY {places} ORDER BY {places}" if names else ""
    if most is not None:
        order += " LIMIT ?"
        values.append(most)
    query = f"SELECT {', '.join([*names, *totals])} FROM {source} WHERE {' AND '.join(terms)}{order}"
    for row in shelf.ask(query, values):
        if row[len(names)] is not None:
            yield tuple(row[: len(names)]), Sums(*(int(one) for one in row[len(names) :]))


def _insert(table: str, columns: Sequence[str]) -> str:
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"


def _upsert(table: str, columns: Sequence[str], keys: int) -> str:
    sets = ", ".join(f"{name} = excluded.{name}" for name in columns[keys:])
    return f"{_insert(table, columns)} ON CONFLICT ({', '.join(columns[:keys])}) DO UPDATE SET {sets}"
