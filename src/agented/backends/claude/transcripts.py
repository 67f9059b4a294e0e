"""What was said in Claude Code's sessions: messages of people and of the model, as the API has them, one a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from agented.backends.claude.output import kind_of
from agented.backends.claude.sessions import ClaudeSessions
from agented.backends.contract import Place, Speech
from agented.backends.telling import as_json, clip, key_of, text_of
from agented.kit import loose

_DAYS = 30
_TOOLS = ("tool_use", "server_tool_use", "mcp_tool_use")
_PUT_IN = (
    "<system-reminder>",
    "<command-name>",
    "<local-command-",
    "<task-notification>",
    "Caveat: The messages below",
)
"""How a message begins that the CLI wrote in a person's place."""


class ClaudeTranscripts:
    needles: Sequence[bytes] = (b'"user"', b'"assistant"', b'"summary"', b'"ai-title"', b'"custom-title"')

    def places(self, home: Path) -> Sequence[Place]:
        return ClaudeSessions().places(home)

    def own_places(self, person: Path) -> Sequence[Place]:
        return ClaudeSessions().own_places(person)

    def new_reader(self, path: Path, state: str = "") -> _Reader:
        return _Reader(path)

    def read_whole(self, path: Path, data: bytes) -> Iterable[Speech]:
        return ()

    def read_database(self, path: Path, state: str) -> tuple[Iterable[Speech], str]:
        return (), ""


def kept_for(home: Path | None, person: Path) -> timedelta | None:
    """`cleanupPeriodDays` of the settings; 30 days without it."""
    days = loose.number(loose.read_file((home or person / ".claude") / "settings.json").get("cleanupPeriodDays"))
    return timedelta(days=_DAYS if days is None else max(0.0, min(days, 36_500.0)))


class _Reader:
    def __init__(self, path: Path) -> None:
        self._stem = path.stem
        self._rows: list[Speech] = []

    def feed(self, line: bytes | bytearray, offset: int) -> None:
        value = loose.read_object(line.decode("utf-8", "replace"))
        if value is not None:
            self._rows += _said(value, key_of(line), self._stem)

    def state(self) -> str:
        return ""

    def rows(self) -> Sequence[Speech]:
        return self._rows


def _said(line: Mapping[str, Any], key: str, stem: str) -> Iterator[Speech]:
    kind = line.get("type")
    session = loose.string(line.get("sessionId")) or stem
    at = loose.micros(line.get("timestamp"))
    if kind in ("summary", "ai-title", "custom-title"):
        title = loose.string(line.get("summary") or line.get("aiTitle") or line.get("customTitle") or line.get("title"))
        if title:
            yield Speech(session, "title", None, "title", loose.one_line(title, 200))
        return
    message = loose.mapping(line.get("message"))
    if kind not in ("user", "assistant") or not message:
        return
    content = message.get("content")
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else loose.items(content)
    name = loose.string(line.get("uuid")) or key
    hidden = line.get("isMeta") is True or line.get("isCompactSummary") is True
    for number, block in enumerate(map(loose.mapping, blocks)):
        spoken = _block(block, person=kind == "user", hidden=hidden)
        if spoken is None:
            continue
        yield spoken._replace(
            session=session,
            key=f"{name}/{number}",
            at=at,
            side=line.get("isSidechain") is True,
            workdir=loose.string(line.get("cwd")),
            model=loose.string(message.get("model")) if kind == "assistant" else "",
        )


def _block(block: Mapping[str, Any], *, person: bool, hidden: bool) -> Speech | None:
    kind, text = block.get("type"), loose.string(block.get("text"))
    if kind == "text" and text.strip():
        if not person:
            return Speech("", "", None, "said", clip(text))
        return None if hidden or text.lstrip().startswith(_PUT_IN) else Speech("", "", None, "asked", clip(text))
    if kind == "thinking" and (thought := loose.string(block.get("thinking")).strip()):
        return Speech("", "", None, "thinking", clip(thought))
    if kind in _TOOLS:
        tool = loose.string(block.get("name"))
        call = loose.string(block.get("id"))
        return Speech("", "", None, "called", as_json(block.get("input")), tool, kind_of(tool), call)
    if kind == "tool_result":
        ok, call = block.get("is_error") is not True, loose.string(block.get("tool_use_id"))
        return Speech("", "", None, "returned", clip(text_of(block.get("content"))), call=call, ok=ok)
    return None
