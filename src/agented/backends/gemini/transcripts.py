"""What was said in Gemini CLI's sessions: messages, of which the last value written of each holds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agented.backends.contract import Place, Speech
from agented.backends.gemini.output import kind_of
from agented.backends.gemini.sessions import GeminiSessions, workdir_of
from agented.backends.telling import as_json, clip, text_of
from agented.kit import loose

_PUT_IN = "<session_context>"
_FAULTS = {"error": "bad", "warning": "note", "info": "note"}


class GeminiTranscripts:
    needles: Sequence[bytes] = (b'"type"', b'"messages"', b'"sessionId"')

    def places(self, home: Path) -> Sequence[Place]:
        return GeminiSessions().places(home)

    def own_places(self, person: Path) -> Sequence[Place]:
        return GeminiSessions().own_places(person)

    def new_reader(self, path: Path, state: str = "") -> _Reader:
        return _Reader(path, loose.mapping(loose.read_json(state)) if state else {})

    def read_whole(self, path: Path, data: bytes) -> Iterable[Speech]:
        value = loose.read_object(data.decode("utf-8", "replace"))
        if value is None:
            return
        session = loose.string(value.get("sessionId")) or path.stem
        for message in loose.items(value.get("messages")):
            yield from _said(loose.mapping(message), session, workdir_of(path))

    def read_database(self, path: Path, state: str) -> tuple[Iterable[Speech], str]:
        return (), ""


class _Reader:
    def __init__(self, path: Path, state: Mapping[str, Any]) -> None:
        self._session = loose.string(state.get("session")) or path.stem
        self._workdir = loose.string(state.get("workdir")) or workdir_of(path)
        self._rows: dict[str, Speech] = {}

    def feed(self, line: bytes | bytearray, offset: int) -> None:
        value = loose.read_object(line.decode("utf-8", "replace"))
        if value is None:
            return
        self._session = loose.string(value.get("sessionId")) or self._session
        changed = loose.items(loose.mapping(value.get("$set")).get("messages"))
        for message in (value, *changed):
            for said in _said(loose.mapping(message), self._session, self._workdir):
                self._rows[said.key] = said

    def state(self) -> str:
        return json.dumps({"session": self._session, "workdir": self._workdir})

    def rows(self) -> Iterable[Speech]:
        return self._rows.values()


def _said(message: Mapping[str, Any], session: str, workdir: str) -> Iterator[Speech]:
    at, kind = loose.micros(message.get("timestamp")), loose.string(message.get("type"))
    key = loose.string(message.get("id")) or str(at)
    text = text_of(message.get("content"))
    if kind == "user":
        if text.strip() and not text.lstrip().startswith(_PUT_IN):
            yield Speech(session, key, at, "asked", clip(text), workdir=workdir)
    elif kind == "gemini":
        yield from _answered(message, Speech(session, key, at, "said", clip(text), workdir=workdir))
    elif kind in _FAULTS and text.strip():
        yield Speech(session, key, at, _FAULTS[kind], clip(text), workdir=workdir)


def _answered(message: Mapping[str, Any], said: Speech) -> Iterator[Speech]:
    said = said._replace(model=loose.string(message.get("model")))
    for number, thought in enumerate(map(loose.mapping, loose.items(message.get("thoughts")))):
        words = [loose.string(thought.get(name)) for name in ("subject", "description")]
        text = "\n".join(word for word in words if word)
        if text:
            yield said._replace(key=f"{said.key}/t{number}", kind="thinking", text=clip(text))
    if said.text.strip():
        yield said
    for number, call in enumerate(map(loose.mapping, loose.items(message.get("toolCalls")))):
        tool = loose.string(call.get("name"))
        name = loose.string(call.get("id")) or f"{said.key}/{number}"
        called = said._replace(key=f"{said.key}/c{number}", kind="called", text=as_json(call.get("args")), call=name)
        yield called._replace(tool=tool, tool_kind=kind_of(tool))
        output = "\n".join(_outputs(call))
        if output or loose.string(call.get("status")) in ("success", "error", "cancelled"):
            ok = call.get("status") == "success"
            yield said._replace(key=f"{said.key}/r{number}", kind="returned", text=clip(output), call=name, ok=ok)


def _outputs(call: Mapping[str, Any]) -> Iterator[str]:
    for part in map(loose.mapping, loose.items(call.get("result"))):
        answer = loose.mapping(loose.mapping(part.get("functionResponse")).get("response"))
        text = loose.string(answer.get("output")) or loose.string(answer.get("error")) or loose.string(part.get("text"))
        if text:
            yield text
