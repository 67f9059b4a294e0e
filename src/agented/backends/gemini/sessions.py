"""Gemini CLI's session files: a log of changes, in which the last value of each message holds; older ones are whole."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agented.backends.contract import Kept, Place, Usage
from agented.kit import loose


class GeminiSessions:
    needles: Sequence[bytes] = (b'"tokens"', b'"sessionId"')

    def places(self, home: Path) -> Sequence[Place]:
        folder = home / ".gemini" / "tmp"
        return (
            Place(folder=folder, suffix=".jsonl", within="chats"),
            Place(folder=folder, suffix=".json", kept=Kept.WHOLE, within="chats"),
        )

    def own_places(self, person: Path) -> Sequence[Place]:
        return self.places(person)

    def new_reader(self, path: Path, state: str = "") -> _Reader:
        return _Reader(path, loose.mapping(loose.read_json(state)) if state else {})

    def read_whole(self, path: Path, data: bytes) -> Iterable[Usage]:
        value = loose.read_object(data.decode("utf-8", "replace"))
        if value is None:
            return
        session = loose.string(value.get("sessionId")) or path.stem
        changed = loose.micros(value.get("lastUpdated")) or 0
        workdir = workdir_of(path)
        for message in loose.items(value.get("messages")):
            yield from _usage(loose.mapping(message), session, workdir, changed)

    def read_database(self, path: Path, state: str) -> tuple[Iterable[Usage], str]:
        return (), ""


class _Reader:
    def __init__(self, path: Path, state: Mapping[str, Any]) -> None:
        self._session = loose.string(state.get("session")) or path.stem
        self._workdir = loose.string(state.get("workdir")) or workdir_of(path)
        self._rows: list[Usage] = []

    def feed(self, line: bytes | bytearray, offset: int) -> None:
        value = loose.read_object(line.decode("utf-8", "replace"))
        if value is None:
            return
        self._session = loose.string(value.get("sessionId")) or self._session
        changed = loose.items(loose.mapping(value.get("$set")).get("messages"))
        for message in (value, *changed):
            self._rows += _usage(loose.mapping(message), self._session, self._workdir, offset)

    def state(self) -> str:
        return json.dumps({"session": self._session, "workdir": self._workdir})

    def rows(self) -> Sequence[Usage]:
        return self._rows


def _usage(message: Mapping[str, Any], session: str, workdir: str, rank: int) -> Iterator[Usage]:
    tokens, at = loose.mapping(message.get("tokens")), loose.micros(message.get("timestamp"))
    if message.get("type") != "gemini" or not tokens or at is None:
        return
    given, cached = loose.count(tokens.get("input")), loose.count(tokens.get("cached"))
    output, thoughts = loose.count(tokens.get("output")), loose.count(tokens.get("thoughts"))
    tool, total = loose.count(tokens.get("tool")), loose.count(tokens.get("total"))
    within = given + output + thoughts + tool
    if not cached or total == within or total != within + cached:
        # As a rule what came from the cache is a part of the input; the sum tells when it is not.
        cached = min(cached, given)
        given -= cached
    if not (given or cached or output or thoughts or tool):
        return
    name = loose.string(message.get("id")) or f"at {at}"
    yield Usage(
        f"{session}/{name}",
        "",
        rank,
        False,
        session,
        workdir,
        loose.string(message.get("model")),
        "",
        at,
        given + tool,
        output,
        cached,
        0,
        0,
        thoughts,
        thoughts,
    )


def workdir_of(path: Path) -> str:
    """The folder of the project, as the CLI notes it beside the chats."""
    for folder in path.parents:
        if folder.name == "chats":
            return loose.string(loose.read_text(folder.parent / ".project_root")).strip()
    return ""
