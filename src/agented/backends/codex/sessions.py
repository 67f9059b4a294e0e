"""Codex's session files (rollouts): running totals, told again and again; forks and helpers begin with a replay."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agented.backends.contract import Place, Usage
from agented.kit import loose

if TYPE_CHECKING:
    from agented.backends.codex.wire import Counts

_TOKENS = (
    "input_tokens",
    "cached_input_tokens",
    "cache_write_input_tokens",
    "output_tokens",
    "reasoning_output_tokens",
)
_SECOND = 1_000_000
_Counts = tuple[int, ...]


class CodexSessions:
    needles: Sequence[bytes] = (b'"token_count"', b'"turn_context"', b'"session_meta"')

    def places(self, home: Path) -> Sequence[Place]:
        return tuple(Place(folder=home / name, suffix=".jsonl") for name in ("sessions", "archived_sessions"))

    def own_places(self, person: Path) -> Sequence[Place]:
        return self.places(person / ".codex")

    def new_reader(self, path: Path, state: str = "") -> _Reader:
        return _Reader(path, loose.mapping(loose.read_json(state)) if state else {})

    def read_whole(self, path: Path, data: bytes) -> Iterable[Usage]:
        return ()

    def read_database(self, path: Path, state: str) -> tuple[Iterable[Usage], str]:
        return (), ""


class _Reader:
    """What a session took is told as running totals; each rise of them is one answer.

    A session that was forked, or that a helper was given, may begin with what its origin told, written at once: two
    tellings or more within one second are that, and none of them counts.
    """

    def __init__(self, path: Path, state: Mapping[str, Any]) -> None:
        from agented.backends.codex.wire import read_line

        self._session = loose.string(state.get("session")) or path.stem
        self._workdir = loose.string(state.get("workdir"))
        self._model = loose.string(state.get("model"))
        self._fast = state.get("fast") is True
        self._known = state.get("known") is True
        """Whether the file has told whose session it is: what it replays tells of others."""
        self._replays = state.get("replays") is True
        """Whether what comes next may be a replay."""
        self._origin = loose.count(state.get("origin"))
        """When the first of what may be a replay was told; 0 before."""
        total = [loose.count(one) for one in loose.items(state.get("total"))]
        self._total: _Counts | None = tuple(total) if len(total) == len(_TOKENS) else None
        self._first: Usage | None = None
        """The first of what may be a replay: the next one tells."""
        self._rows: list[Usage] = []
        self._read = read_line

    def feed(self, line: bytes | bytearray, offset: int) -> None:
        if b'"token_count"' in line and (read := self._read(line)) is not None and read.type == "event_msg":
            told = read.payload
            if told is not None and told.type == "token_count" and told.info is not None:
                total, last = _of_wire(told.info.total_token_usage), _of_wire(told.info.last_token_usage)
                self._tell(loose.micros(read.timestamp), total, last, told.model or told.info.model or "")
            return
        value = loose.read_object(line.decode("utf-8", "replace"))
        if value is None:
            return
        kind, payload = value.get("type"), loose.mapping(value.get("payload"))
        if kind == "session_meta":
            self._begin(payload)
        elif kind == "turn_context":
            self._turn(payload)
        elif kind == "event_msg" and payload.get("type") == "token_count":
            info = loose.mapping(payload.get("info"))
            at = loose.micros(value.get("timestamp")) or _millis(value.get("timestamp"))
            total, last = _counts(info.get("total_token_usage")), _counts(info.get("last_token_usage"))
            self._tell(at, total, last, loose.string(payload.get("model")) or loose.string(info.get("model")))

    def state(self) -> str:
        kept = {
            "session": self._session,
            "workdir": self._workdir,
            "model": self._model,
            "fast": self._fast,
            "known": self._known,
            "replays": self._replays,
            "origin": self._origin,
            "total": self._total,
        }
        return json.dumps({name: value for name, value in kept.items() if value}, separators=(",", ":"))

    def rows(self) -> Sequence[Usage]:
        return self._rows if self._first is None else [*self._rows, self._first]

    def _begin(self, payload: Mapping[str, Any]) -> None:
        if self._known:
            return
        self._known = True
        source = loose.mapping(loose.mapping(payload.get("source")).get("subagent"))
        parent = loose.string(loose.mapping(source.get("thread_spawn")).get("parent_thread_id"))
        root = loose.string(payload.get("session_id"))
        self._session = parent or root or loose.string(payload.get("id")) or self._session
        self._workdir = loose.string(payload.get("cwd"))
        self._replays = bool(source) or bool(loose.string(payload.get("forked_from_id")))

    def _turn(self, payload: Mapping[str, Any]) -> None:
        self._model = loose.string(payload.get("model")) or self._model
        self._workdir = self._workdir or loose.string(payload.get("cwd"))
        tier = payload.get("service_tier", loose.mapping(payload.get("settings")).get("service_tier"))
        self._fast = tier in ("fast", "priority")

    def _tell(self, at: int | None, total: _Counts | None, last: _Counts | None, model: str) -> None:
        before = self._total
        if total is not None:
            self._total = total
        if at is None or (total is not None and total == before):
            return
        if last is None and total is not None:
            last = (
                total if before is None else tuple(max(0, now - then) for now, then in zip(total, before, strict=True))
            )
        if last is None or not any(last):
            return
        if self._replays:
            self._past_replay(self._row(last, at, model))
        else:
            self._rows.append(self._row(last, at, model))

    def _past_replay(self, row: Usage) -> None:
        first, self._first = self._first, None
        if not self._origin:
            self._first, self._origin = row, row.at
            return
        if 0 <= row.at - self._origin < _SECOND:
            return
        self._replays = False
        if first is not None:
            self._rows.append(first)
        self._rows.append(row)

    def _row(self, tokens: _Counts, at: int, model: str) -> Usage:
        given, cached, written, output, reasoning = tokens
        cached = min(cached, given)
        written = min(written, given - cached)
        model = model or self._model
        # Copies of a session, and what a branch brings along, tell the same at the same time.
        key = f"{at}/{model}/{given}/{cached}/{output}/{reasoning}"
        return Usage(
            key,
            "",
            0,
            False,
            self._session,
            self._workdir,
            model,
            "",
            at,
            given - cached - written,
            output,
            cached,
            written,
            0,
            reasoning,
            fast=self._fast,
        )


def _of_wire(counts: Counts | None) -> _Counts | None:
    if counts is None:
        return None
    return (
        counts.input_tokens,
        counts.cached_input_tokens,
        counts.cache_write_input_tokens,
        counts.output_tokens,
        counts.reasoning_output_tokens,
    )


def _counts(value: Any) -> _Counts | None:
    if not isinstance(value, dict):
        return None
    return tuple(loose.count(value.get(name)) for name in _TOKENS)


def _millis(value: Any) -> int | None:
    at = loose.number(value)
    return None if at is None or not 0 < at < 32_503_680_000_000 else int(at * 1000)
