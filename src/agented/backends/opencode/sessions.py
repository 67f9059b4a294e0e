"""OpenCode's messages: in a database; older releases kept a file for each."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from agented.backends.contract import Kept, LineReader, Place, Usage
from agented.backends.telling import NoLines
from agented.kit import loose

_AT_ONCE = 500
_BUSY_S = 2.0
# Rows changed in the millisecond that was read last may still come.
_SINCE = "WHERE time_updated >= ? ORDER BY time_updated"


class OpenCodeSessions:
    needles: Sequence[bytes] = ()

    def places(self, home: Path) -> Sequence[Place]:
        folder = home / ".local" / "share" / "opencode"
        return (
            Place(folder=folder, prefix="opencode", suffix=".db", kept=Kept.DATABASE, deep=False),
            Place(folder=folder / "storage" / "message", suffix=".json", kept=Kept.WHOLE),
        )

    def own_places(self, person: Path) -> Sequence[Place]:
        return self.places(person)

    def new_reader(self, path: Path, state: str = "") -> LineReader[Usage]:
        return NoLines()

    def read_whole(self, path: Path, data: bytes) -> Iterable[Usage]:
        value = loose.read_object(data.decode("utf-8", "replace"))
        if value is None:
            return ()
        message = loose.string(value.get("id")) or path.stem
        session = loose.string(value.get("sessionID")) or path.parent.name
        return _usage(value, message, session, "", 0)

    def read_database(self, path: Path, state: str) -> tuple[Iterable[Usage], str]:
        since = int(state) if state.isdecimal() else 0
        try:
            with closing(open_kept(path)) as kept:
                return _read(kept, since)
        except (sqlite3.Error, ValueError, OverflowError):
            return (), state


def open_kept(path: Path) -> sqlite3.Connection:
    """For reading only, beside a CLI that writes. Where nothing may be made beside it, as it stands in its file."""
    address = path.absolute().as_uri()
    kept = sqlite3.connect(f"{address}?mode=ro", uri=True, timeout=_BUSY_S)
    try:
        kept.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    except sqlite3.OperationalError:
        kept.close()
        kept = sqlite3.connect(f"{address}?mode=ro&immutable=1", uri=True, timeout=_BUSY_S)
    kept.text_factory = lambda raw: raw.decode("utf-8", "replace")
    return kept


def _read(kept: sqlite3.Connection, since: int) -> tuple[Sequence[Usage], str]:
    columns = {str(row[1]) for row in kept.execute("PRAGMA table_info(message)")}
    timed = "time_updated" in columns
    known = families(kept)
    found: list[Usage] = []
    newest = since
    query = f"SELECT id, session_id, data, {'time_updated' if timed else '0'} FROM message {_SINCE if timed else ''}"  # noqa: S608 - of our own words
    for message, session, data, updated in kept.execute(query, (since,) if timed else ()):
        updated = loose.count(updated)
        newest = max(newest, updated)
        value = loose.read_object(data) if isinstance(data, str) and '"tokens"' in data else None
        if value is not None:
            root, workdir = known.get(session, (session, ""))
            found += _usage(value, str(message), str(root), workdir, max(1, updated))
    return found, str(newest)


def families(kept: sqlite3.Connection) -> Mapping[str, tuple[str, str]]:
    """The session that a helper's session was opened from, and the folder of each."""
    try:
        rows = kept.execute("SELECT id, parent_id, directory FROM session").fetchall()
    except sqlite3.Error:
        return {}
    parents = {loose.string(one): loose.string(parent) for one, parent, _ in rows}
    found = {}
    for one, _, folder in rows:
        root = loose.string(one)
        for _step in range(20):
            root = parents.get(root) or root
        found[loose.string(one)] = (root, loose.string(folder))
    return found


def _usage(value: Mapping[str, Any], message: str, session: str, workdir: str, rank: int) -> Iterator[Usage]:
    tokens, time = loose.mapping(value.get("tokens")), loose.mapping(value.get("time"))
    cache = loose.mapping(tokens.get("cache"))
    created = loose.number(time.get("created"))
    counts = [loose.count(tokens.get(name)) for name in ("input", "output", "reasoning")]
    read, written = loose.count(cache.get("read")), loose.count(cache.get("write"))
    cost = loose.number(value.get("cost"))
    if created is None or not 0 < created < 32_503_680_000_000 or not (any(counts) or read or written or cost):
        return
    given, output, reasoning = counts
    path = loose.mapping(value.get("path"))
    yield Usage(
        # Older releases numbered messages within a session.
        f"{session}/{message}" if not message.startswith("msg_") or len(message) < 20 else message,
        "",
        rank or int(loose.number(time.get("completed")) or created),
        False,
        session,
        workdir or loose.string(path.get("root")) or loose.string(path.get("cwd")),
        loose.string(value.get("modelID")),
        loose.string(value.get("providerID")),
        int(created * 1000),
        given,
        output,
        read,
        written,
        0,
        reasoning,
        reasoning,
        cost_usd=cost if cost and cost > 0 else None,
    )
