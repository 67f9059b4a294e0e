"""What was said in OpenCode's sessions: parts of messages, in its database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from agented.backends.contract import Kept, LineReader, Place, Speech
from agented.backends.opencode.output import kind_of
from agented.backends.opencode.sessions import OpenCodeSessions, families, open_kept
from agented.backends.telling import NoLines, as_json, clip
from agented.kit import loose

_AT_ONCE = 4_000
# Rows changed in the millisecond that was read last may still come.
_QUERY = """
SELECT p.id, p.session_id, p.data, p.time_created, p.time_updated, m.data
FROM part p LEFT JOIN message m ON m.id = p.message_id WHERE p.time_updated >= ? ORDER BY p.time_updated, p.id
"""


class OpenCodeTranscripts:
    needles: Sequence[bytes] = ()

    def places(self, home: Path) -> Sequence[Place]:
        return [place for place in OpenCodeSessions().places(home) if place.kept is Kept.DATABASE]

    def own_places(self, person: Path) -> Sequence[Place]:
        return self.places(person)

    def new_reader(self, path: Path, state: str = "") -> LineReader[Speech]:
        return NoLines()

    def read_whole(self, path: Path, data: bytes) -> Iterable[Speech]:
        return ()

    def read_database(self, path: Path, state: str) -> tuple[Iterable[Speech], str]:
        since = int(state) if state.isdecimal() else 0
        try:
            with closing(open_kept(path)) as kept:
                return _read(kept, since)
        except (sqlite3.Error, ValueError, OverflowError):
            return (), state


def _read(kept: sqlite3.Connection, since: int) -> tuple[Sequence[Speech], str]:
    """As many as may be held at once; those of one moment are never parted."""
    known, titles = families(kept), _titles(kept)
    found: list[Speech] = []
    rows = kept.execute(_QUERY, (since,))
    newest = since
    while some := list(islice(rows, _AT_ONCE)):
        for identity, session, data, created, updated, message in some:
            moment = loose.count(updated)
            if len(found) >= _AT_ONCE and moment > newest:
                return found, str(newest)
            newest = max(newest, moment)
            part, about = (loose.read_object(one) if isinstance(one, str) else None for one in (data, message))
            root, workdir = known.get(session, (session, ""))
            if part is not None:
                whose = Speech(str(root), str(identity), loose.count(created) * 1000 or None, "", "", workdir=workdir)
                found += _said(part, about or {}, whose._replace(side=root != session))
    for session, (root, workdir) in known.items():
        if root == session and titles.get(session):
            found.append(Speech(session, "title", None, "title", titles[session], workdir=workdir))
    return found, str(newest)


def _titles(kept: sqlite3.Connection) -> Mapping[str, str]:
    try:
        rows = kept.execute("SELECT id, title FROM session").fetchall()
    except sqlite3.Error:
        return {}
    return {loose.string(one): loose.one_line(loose.string(title), 200) for one, title in rows}


def _said(part: Mapping[str, Any], message: Mapping[str, Any], said: Speech) -> Iterator[Speech]:
    kind, text = part.get("type"), loose.string(part.get("text"))
    person = message.get("role") == "user"
    if kind in ("text", "reasoning") and text.strip() and part.get("synthetic") is not True:
        spoken = "asked" if person else "thinking" if kind == "reasoning" else "said"
        yield said._replace(kind=spoken, text=clip(text), model=loose.string(message.get("modelID")))
    elif kind == "tool":
        state, tool = loose.mapping(part.get("state")), loose.string(part.get("tool"))
        call = loose.string(part.get("callID")) or said.key
        given = as_json(state.get("input"))
        yield said._replace(kind="called", text=given, tool=tool, tool_kind=kind_of(tool), call=call)
        if state.get("status") in ("completed", "error"):
            failed = state.get("status") == "error" or loose.count(loose.mapping(state.get("metadata")).get("exit")) > 0
            answer = loose.string(state.get("output")) or loose.string(state.get("error"))
            yield said._replace(key=f"{said.key}/r", kind="returned", text=clip(answer), call=call, ok=not failed)
