"""What was said in Codex's sessions: the items that went to the model and came back from it, one a line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agented.backends.codex.sessions import CodexSessions
from agented.backends.contract import Place, Speech
from agented.backends.telling import as_json, clip, key_of, text_of
from agented.kit import loose

_PUT_IN = ("<", "# AGENTS.md instructions", "# Context from my IDE setup")
"""How a message begins that the CLI wrote in a person's place: its surroundings, the project's instructions."""
_KINDS = {
    "shell": "shell",
    "exec_command": "shell",
    "write_stdin": "shell",
    "local_shell": "shell",
    "shell_command": "shell",
    "apply_patch": "edit",
    "view_image": "read",
    "read_file": "read",
    "list_dir": "read",
    "grep_files": "search",
    "web_search": "web",
    "update_plan": "task",
    "spawn_agent": "task",
}
_EXIT = re.compile(r"(?:Process exited with code|Exit code:) (-?\d{1,4})")
_FAULTS = ("error", "stream_error", "turn_aborted")


class CodexTranscripts:
    needles: Sequence[bytes] = (b'"response_item"', b'"session_meta"', b'"turn_context"', b'"event_msg"')

    def places(self, home: Path) -> Sequence[Place]:
        return CodexSessions().places(home)

    def own_places(self, person: Path) -> Sequence[Place]:
        return CodexSessions().own_places(person)

    def new_reader(self, path: Path, state: str = "") -> _Reader:
        return _Reader(path, loose.mapping(loose.read_json(state)) if state else {})

    def read_whole(self, path: Path, data: bytes) -> Iterable[Speech]:
        return ()

    def read_database(self, path: Path, state: str) -> tuple[Iterable[Speech], str]:
        return (), ""


class _Reader:
    def __init__(self, path: Path, state: Mapping[str, Any]) -> None:
        self._session = loose.string(state.get("session")) or path.stem
        self._workdir = loose.string(state.get("workdir"))
        self._model = loose.string(state.get("model"))
        self._known = state.get("known") is True
        self._side = state.get("side") is True
        self._rows: list[Speech] = []

    def feed(self, line: bytes | bytearray, offset: int) -> None:
        value = loose.read_object(line.decode("utf-8", "replace"))
        if value is None:
            return
        kind, payload = value.get("type"), loose.mapping(value.get("payload"))
        if kind == "session_meta":
            self._begin(payload)
            return
        if kind == "turn_context":
            self._model = loose.string(payload.get("model")) or self._model
            self._workdir = self._workdir or loose.string(payload.get("cwd"))
            return
        said = _item(payload) if kind == "response_item" else _fault(payload) if kind == "event_msg" else None
        if said is not None:
            at = loose.micros(value.get("timestamp"))
            self._rows.append(
                said._replace(
                    session=self._session,
                    key=key_of(line),
                    at=at,
                    side=self._side,
                    workdir=self._workdir,
                    model="" if said.kind == "asked" else self._model,
                )
            )

    def state(self) -> str:
        kept = {
            "session": self._session,
            "workdir": self._workdir,
            "model": self._model,
            "known": self._known,
            "side": self._side,
        }
        return json.dumps({name: value for name, value in kept.items() if value}, separators=(",", ":"))

    def rows(self) -> Sequence[Speech]:
        return self._rows

    def _begin(self, payload: Mapping[str, Any]) -> None:
        if self._known:
            return
        self._known = True
        source = loose.mapping(loose.mapping(payload.get("source")).get("subagent"))
        parent = loose.string(loose.mapping(source.get("thread_spawn")).get("parent_thread_id"))
        root = loose.string(payload.get("session_id"))
        self._side = bool(parent)
        self._session = parent or root or loose.string(payload.get("id")) or self._session
        self._workdir = loose.string(payload.get("cwd"))


def _item(item: Mapping[str, Any]) -> Speech | None:
    kind = item.get("type")
    if kind == "message":
        text = text_of(item.get("content"))
        if not text.strip() or item.get("role") not in ("user", "assistant"):
            return None
        if item.get("role") == "assistant":
            return Speech("", "", None, "said", clip(text))
        return None if text.lstrip().startswith(_PUT_IN) else Speech("", "", None, "asked", clip(text))
    if kind == "reasoning":
        text = text_of(item.get("summary")) or text_of(item.get("content"))
        return Speech("", "", None, "thinking", clip(text)) if text.strip() else None
    if kind in ("function_call", "custom_tool_call", "local_shell_call", "web_search_call"):
        return _call(item, str(kind))
    if kind in ("function_call_output", "custom_tool_call_output"):
        output = item.get("output")
        text = text_of(output) or text_of(loose.mapping(output).get("content"))
        found = _EXIT.search(text[:400])
        ok = loose.mapping(output).get("success") is not False and (found is None or found[1] == "0")
        return Speech("", "", None, "returned", clip(text), call=loose.string(item.get("call_id")), ok=ok)
    return None


def _call(item: Mapping[str, Any], kind: str) -> Speech:
    tool = loose.string(item.get("name")) or kind.removesuffix("_call")
    given = item.get("arguments", item.get("input", item.get("action")))
    if isinstance(given, str):
        parsed = loose.read_json(given)
        given = parsed if isinstance(parsed, dict) else {"input": given}
    known = _KINDS.get(tool, "mcp" if "__" in tool else "other")
    call = loose.string(item.get("call_id")) or loose.string(item.get("id"))
    return Speech("", "", None, "called", as_json(given), tool, known, call)


def _fault(event: Mapping[str, Any]) -> Speech | None:
    if event.get("type") not in _FAULTS:
        return None
    text = loose.string(event.get("message")) or loose.string(event.get("reason"))
    return Speech("", "", None, "bad", clip(text)) if text else None
