"""All SQL of this room, on a file of its own: SQLite with its full-text index, whatever database the server has.

The words are indexed beside the texts and not kept twice; what leaves the texts is taken out of the index by the same
words.
"""

from __future__ import annotations

import sqlite3
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from agented.backends.contract import Speech
from agented.sessions.model import Bookmark
from agented.transcripts.model import Item, Transcript, Wanted, Whose

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime INTEGER NOT NULL,
  inode INTEGER NOT NULL, place INTEGER NOT NULL, mark TEXT NOT NULL, state TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS transcripts (id INTEGER PRIMARY KEY, source TEXT NOT NULL, session TEXT NOT NULL,
  account TEXT NOT NULL, title TEXT NOT NULL DEFAULT '', named INTEGER NOT NULL DEFAULT 0,
  model TEXT NOT NULL DEFAULT '', workdir TEXT NOT NULL DEFAULT '', project TEXT NOT NULL DEFAULT '',
  execution TEXT NOT NULL DEFAULT '', began INTEGER NOT NULL, last INTEGER NOT NULL, items INTEGER NOT NULL DEFAULT 0,
  size INTEGER NOT NULL DEFAULT 0, removed INTEGER NOT NULL DEFAULT 0, UNIQUE (source, session));
CREATE INDEX IF NOT EXISTS transcripts_last ON transcripts (last, id);
CREATE TABLE IF NOT EXISTS items (id INTEGER PRIMARY KEY, transcript INTEGER NOT NULL REFERENCES transcripts (id),
  key TEXT NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL, tool TEXT NOT NULL, tool_kind TEXT NOT NULL,
  call TEXT NOT NULL, ok INTEGER NOT NULL, side INTEGER NOT NULL, text NOT NULL, UNIQUE (transcript, key));
CREATE INDEX IF NOT EXISTS items_order ON items (transcript, at, id);
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (text, content='', tokenize="unicode61 remove_diacritics 2");
"""
_VERSION = 1
_WORTH_PACKING = 600
_LEVEL = 4
_INDEXED = {"returned": 4_000, "called": 8_000}
"""Characters of what tools return and take that can be found; of what people and models say all can."""
_MOST_HITS = 20_000
_TRANSCRIPT = (
    *("id", "source", "session", "account", "title", "model", "workdir", "project", "execution"),
    *("began", "last", "items", "size"),
)
_COLUMNS = ", ".join(f"t.{name}" for name in _TRANSCRIPT)


class Shelf:
    """The file. One writes at a time; readers have connections of their own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with closing(self._open()) as conn:
            conn.execute("PRAGMA journal_mode=WAL")
            conn.executescript(_SCHEMA)
            conn.execute(f"PRAGMA user_version={_VERSION}")
        path.chmod(0o600)

    def _open(self) -> sqlite3.Connection:
        conn = sqlite3.connect(self._path, timeout=30, isolation_level=None, check_same_thread=False)
        # A session file is read again from where the last transaction that is on the disk left it.
        conn.execute("PRAGMA synchronous=NORMAL")
        return conn

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        with closing(self._open()) as conn:
            conn.execute("BEGIN")
            yield conn

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        with self._writing, closing(self._open()) as conn:
            conn.execute("BEGIN IMMEDIATE")
            try:
                yield conn
            except BaseException:
                conn.execute("ROLLBACK")
                raise
            conn.execute("COMMIT")

    def size(self) -> int:
        """Bytes on the disk."""
        beside = (self._path.with_name(self._path.name + ending) for ending in ("", "-wal"))
        return sum(path.stat().st_size for path in beside if path.exists())


def files(conn: sqlite3.Connection) -> dict[str, Bookmark]:
    return {row[0]: Bookmark(*row) for row in conn.execute("SELECT * FROM files")}


def put_file(conn: sqlite3.Connection, mark: Bookmark) -> None:
    conn.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?)", mark)


def drop_files(conn: sqlite3.Connection, paths: Iterable[str]) -> None:
    conn.executemany("DELETE FROM files WHERE path = ?", [(path,) for path in paths])


def put(conn: sqlite3.Connection, rows: Iterable[Speech], source: str, account: str, otherwise_at: int) -> set[int]:
    """Takes what was said; what is known already changes nothing. Gives the transcripts that changed.

    otherwise_at: when that was said which tells no time, nor anything before it.
    """
    known: dict[str, tuple[int, bool]] = {}
    changed: set[int] = set()
    at = otherwise_at
    for row in rows:
        at = row.at if row.at is not None else at
        if row.session not in known:
            known[row.session] = _transcript(conn, source, row.session, account, at)
        transcript, removed = known[row.session]
        if removed:
            continue
        if row.kind == "title":
            name = "UPDATE transcripts SET title = ?, named = 1 WHERE id = ? AND title <> ?"
            conn.execute(name, (row.text, transcript, row.text))
        elif _put_item(conn, transcript, row, at):
            changed.add(transcript)
            _note(conn, transcript, row, at)
    for transcript in changed:
        _sum_up(conn, transcript)
    return changed


def _transcript(conn: sqlite3.Connection, source: str, session: str, account: str, at: int) -> tuple[int, bool]:
    find = "SELECT id, removed FROM transcripts WHERE source = ? AND session = ?"
    found = conn.execute(find, (source, session)).fetchone()
    if found is not None:
        return int(found[0]), bool(found[1])
    add = "INSERT INTO transcripts (source, session, account, began, last) VALUES (?, ?, ?, ?, ?)"
    return int(conn.execute(add, (source, session, account, at, at)).lastrowid or 0), False


def _put_item(conn: sqlite3.Connection, transcript: int, row: Speech, at: int) -> bool:
    find = "SELECT id, kind, ok, text FROM items WHERE transcript = ? AND key = ?"
    known = conn.execute(find, (transcript, row.key)).fetchone()
    if known is None:
        add = (
            "INSERT INTO items (transcript, key, at, kind, tool, tool_kind, call, ok, side, text) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        )
        values = (transcript, row.key, at, row.kind, row.tool, row.tool_kind, row.call, row.ok, row.side)
        item = conn.execute(add, (*values, _pack(row.text))).lastrowid
        _index(conn, int(item or 0), row.kind, row.text)
        return True
    item, kind, ok, packed = known
    text = _unpack(packed)
    if (kind, bool(ok), text) == (row.kind, row.ok, row.text):
        return False
    _unindex(conn, item, kind, text)
    conn.execute("UPDATE items SET kind = ?, ok = ?, text = ? WHERE id = ?", (row.kind, row.ok, _pack(row.text), item))
    _index(conn, item, row.kind, row.text)
    return True


def _note(conn: sqlite3.Connection, transcript: int, row: Speech, at: int) -> None:
    if row.kind == "asked" and not row.side:
        first = " ".join(row.text.split())[:200]
        conn.execute("UPDATE transcripts SET title = ? WHERE id = ? AND title = ''", (first, transcript))
    conn.execute(
        "UPDATE transcripts SET began = MIN(began, ?), last = MAX(last, ?),"
        " model = CASE WHEN ? <> '' THEN ? ELSE model END,"
        " workdir = CASE WHEN workdir = '' THEN ? ELSE workdir END WHERE id = ?",
        (at, at, row.model, row.model, row.workdir, transcript),
    )


def _sum_up(conn: sqlite3.Connection, transcript: int) -> None:
    conn.execute(
        "UPDATE transcripts SET (items, size) = (SELECT COUNT(*), COALESCE(SUM(LENGTH(CAST(text AS BLOB))), 0)"
        " FROM items WHERE transcript = ?) WHERE id = ?",
        (transcript, transcript),
    )


def _pack(text: str) -> str | bytes:
    return text if len(text) < _WORTH_PACKING else zlib.compress(text.encode(), _LEVEL)


def _unpack(kept: str | bytes) -> str:
    return kept if isinstance(kept, str) else zlib.decompress(kept).decode()


def _index(conn: sqlite3.Connection, item: int, kind: str, text: str) -> None:
    conn.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (item, text[: _INDEXED.get(kind)]))


def _unindex(conn: sqlite3.Connection, item: int, kind: str, text: str) -> None:
    sql = "INSERT INTO words (words, rowid, text) VALUES ('delete', ?, ?)"
    conn.execute(sql, (item, text[: _INDEXED.get(kind)]))


def nobodys(conn: sqlite3.Connection, since: int) -> list[tuple[str, str, str, str]]:
    """source, session, folder and project of those that went on since then and have no run."""
    sql = "SELECT source, session, workdir, project FROM transcripts WHERE last >= ? AND execution = '' AND removed = 0"
    return list(conn.execute(sql, (since,)))


def own(conn: sqlite3.Connection, owners: Mapping[tuple[str, str], Whose]) -> None:
    conn.executemany(
        "UPDATE transcripts SET execution = ?, project = ?, account = CASE WHEN ? <> '' THEN ? ELSE account END"
        " WHERE source = ? AND session = ?",
        [(one.execution, one.project, one.account, one.account, *key) for key, one in owners.items()],
    )


def page(
    conn: sqlite3.Connection, wanted: Wanted, before: tuple[int, int] | None, most: int
) -> list[tuple[Transcript, int]]:
    """The newest first, each with how many hits it has; `before` is time and id of the last one of the page before."""
    terms: list[str] = ["t.removed = 0", "t.items > 0"]
    values: list[Any] = []
    for column, value in (("source", wanted.source), ("account", wanted.account), ("project", wanted.project)):
        if value is not None:
            terms.append(f"t.{column} = ?")
            values.append(value)
    if wanted.of_runs is not None:
        terms.append("t.execution <> ''" if wanted.of_runs else "t.execution = ''")
    times: Sequence[tuple[str, Any]] = (("t.last >= ?", wanted.since), ("t.began <= ?", wanted.until))
    for term, value in times:
        if value is not None:
            terms.append(term)
            values.append(value)
    if before is not None:
        terms.append("(t.last, t.id) < (?, ?)")
        values += before
    source, hits = "transcripts t", "0"
    given: Sequence[Any] = ()
    if wanted.words:
        hits, given = "f.hits", [_match(wanted.words), _MOST_HITS]
        source = (
            "(SELECT transcript, COUNT(*) AS hits FROM items WHERE id IN"
            " (SELECT rowid FROM words WHERE words MATCH ? ORDER BY rowid DESC LIMIT ?) GROUP BY transcript) f"
            " JOIN transcripts t ON t.id = f.transcript"
        )
    sql = f"SELECT {_COLUMNS}, {hits} FROM {source} WHERE {' AND '.join(terms)} ORDER BY t.last DESC, t.id DESC LIMIT ?"
    return [(_read(row[:-1]), int(row[-1])) for row in conn.execute(sql, (*given, *values, most))]


def found(conn: sqlite3.Connection, transcript: int, words: Sequence[str], most: int) -> list[Item]:
    """The first things in a transcript that hold all the words."""
    sql = (
        "SELECT i.id, i.at, i.kind, i.text, i.tool, i.tool_kind, i.call, i.ok, i.side FROM items i"
        " WHERE i.transcript = ? AND i.id IN (SELECT rowid FROM words WHERE words MATCH ? ORDER BY rowid DESC LIMIT ?)"
        " ORDER BY i.at, i.id LIMIT ?"
    )
    rows = conn.execute(sql, (transcript, _match(words), _MOST_HITS, most)).fetchall()
    return [_item(row[1:], _place(conn, transcript, row[1], row[0])) for row in rows]


def _place(conn: sqlite3.Connection, transcript: int, at: int, item: int) -> int:
    sql = "SELECT COUNT(*) FROM items WHERE transcript = ? AND (at, id) <= (?, ?)"
    return int(conn.execute(sql, (transcript, at, item)).fetchone()[0])


def _match(words: Sequence[str]) -> str:
    """Each as a quoted string, so that nothing in it is a word of the search's own language."""
    return " AND ".join('"{}" *'.format(word.replace('"', '""')) for word in words)


def find(conn: sqlite3.Connection, transcript: int) -> Transcript | None:
    sql = f"SELECT {_COLUMNS} FROM transcripts t WHERE t.id = ? AND t.removed = 0"
    row = conn.execute(sql, (transcript,)).fetchone()
    return None if row is None else _read(row)


def find_session(conn: sqlite3.Connection, source: str, session: str) -> Transcript | None:
    sql = f"SELECT {_COLUMNS} FROM transcripts t WHERE t.source = ? AND t.session = ? AND t.removed = 0"
    row = conn.execute(sql, (source, session)).fetchone()
    return None if row is None else _read(row)


def items(conn: sqlite3.Connection, transcript: int, after: int, most: int, most_chars: int) -> list[Item]:
    """Those after a place, in order; at least one when there is one."""
    sql = (
        "SELECT at, kind, text, tool, tool_kind, call, ok, side FROM items WHERE transcript = ?"
        " ORDER BY at, id LIMIT ? OFFSET ?"
    )
    answer: list[Item] = []
    chars = 0
    for number, row in enumerate(conn.execute(sql, (transcript, most, after))):
        answer.append(_item(row, after + number + 1))
        chars += len(answer[-1].text)
        if chars >= most_chars:
            break
    return answer


def _item(row: Sequence[Any], seq: int) -> Item:
    at, kind, text, tool, tool_kind, call, ok, side = row
    return Item(seq, at, kind, _unpack(text), tool, tool_kind, call, bool(ok), bool(side))


def _read(row: Sequence[Any]) -> Transcript:
    return Transcript(**dict(zip(_TRANSCRIPT, row, strict=True)))


def remove(conn: sqlite3.Connection, transcript: int) -> None:
    """Takes out what was said; that it was removed is noted, so that it is not collected again."""
    for item, kind, text in conn.execute("SELECT id, kind, text FROM items WHERE transcript = ?", (transcript,)):
        _unindex(conn, item, kind, _unpack(text))
    conn.execute("DELETE FROM items WHERE transcript = ?", (transcript,))
    conn.execute(
        "UPDATE transcripts SET removed = 1, title = '', workdir = '', items = 0, size = 0 WHERE id = ?", (transcript,)
    )


def older(conn: sqlite3.Connection, than: int, most: int) -> list[int]:
    sql = "SELECT id FROM transcripts WHERE last < ? AND removed = 0 ORDER BY last LIMIT ?"
    return [int(row[0]) for row in conn.execute(sql, (than, most))]


def totals(conn: sqlite3.Connection) -> tuple[int, int]:
    """How many there are, and how many things were said in them."""
    row = conn.execute("SELECT COUNT(*), COALESCE(SUM(items), 0) FROM transcripts WHERE removed = 0 AND items > 0")
    count, said = row.fetchone()
    return int(count), int(said)
