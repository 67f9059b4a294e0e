"""Claude Code's session files: one JSON value a line; the lines of an answer repeat its usage as it grows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agented.backends.contract import Place, Usage
from agented.kit import loose

if TYPE_CHECKING:
    from agented.backends.claude.wire import Line

_OWN = 1 << 60
"""Ranks an answer above every replay of it."""


class ClaudeSessions:
    needles: Sequence[bytes] = (b'"usage"',)

    def places(self, home: Path) -> Sequence[Place]:
        return (Place(folder=home / "projects", suffix=".jsonl"),)

    def own_places(self, person: Path) -> Sequence[Place]:
        return (*self.places(person / ".claude"), *self.places(person / ".config" / "claude"))

    def new_reader(self, path: Path, state: str = "") -> _Reader:
        return _Reader(path)

    def read_whole(self, path: Path, data: bytes) -> Iterable[Usage]:
        return ()

    def read_database(self, path: Path, state: str) -> tuple[Iterable[Usage], str]:
        return (), ""


class _Reader:
    def __init__(self, path: Path) -> None:
        from agented.backends.claude.wire import read_line

        self._stem = path.stem
        self._read_line = read_line

    def feed(self, line: bytes, offset: int) -> Iterable[Usage]:
        read = self._read_line(line)
        if read is not None:
            return self._usage(read, line, offset)
        value = loose.read_object(line.decode("utf-8", "replace"))
        return () if value is None else self._tolerant(value, line, offset)

    def finish(self) -> Iterable[Usage]:
        return ()

    def state(self) -> str:
        return ""

    def _usage(self, line: Line, raw: bytes, offset: int) -> Iterable[Usage]:
        message, at = line.message, loose.micros(line.timestamp)
        usage = message.usage
        if at is None:
            return ()
        written, hour = usage.cache_creation_input_tokens, 0
        if usage.cache_creation is not None:
            hour = usage.cache_creation.ephemeral_1h_input_tokens
            written = max(written - hour, usage.cache_creation.ephemeral_5m_input_tokens)
        return self._row(
            (message.id, line.requestId, line.sessionId, line.cwd, message.model),
            (usage.input_tokens, usage.output_tokens, usage.cache_read_input_tokens, written, hour),
            at,
            side=bool(line.isSidechain),
            speed=usage.speed,
            cost=line.costUSD,
            raw=raw,
            offset=offset,
        )

    def _tolerant(self, line: Mapping[str, Any], raw: bytes, offset: int) -> Iterable[Usage]:
        """For a line of which some part is not what it should be."""
        message, at = loose.mapping(line.get("message")), loose.micros(line.get("timestamp"))
        usage = loose.mapping(message.get("usage"))
        if at is None or not usage:
            return ()
        created = loose.mapping(usage.get("cache_creation"))
        written = loose.count(usage.get("cache_creation_input_tokens"))
        hour = loose.count(created.get("ephemeral_1h_input_tokens"))
        if created:
            written = max(written - hour, loose.count(created.get("ephemeral_5m_input_tokens")))
        tokens = [loose.count(usage.get(f"{name}_tokens")) for name in ("input", "output", "cache_read_input")]
        names = (message.get("id"), line.get("requestId"), line.get("sessionId"), line.get("cwd"), message.get("model"))
        return self._row(
            tuple(loose.string(name) for name in names),
            (*tokens, written, hour),
            at,
            side=line.get("isSidechain") is True,
            speed=loose.string(usage.get("speed")) or None,
            cost=loose.number(line.get("costUSD")),
            raw=raw,
            offset=offset,
        )

    def _row(
        self,
        names: Sequence[str | None],
        tokens: Sequence[int],
        at: int,
        *,
        side: bool,
        speed: str | None,
        cost: float | None,
        raw: bytes,
        offset: int,
    ) -> Iterable[Usage]:
        message, request, session, workdir, model = names
        given, output, read, written, hour = tokens
        total = sum(tokens)
        if (total == 0 and not cost) or min(tokens) < 0:
            return ()
        session = session or self._stem
        if not message:
            # Nothing names it: it is told from others by where it stands, the same in every copy of the file.
            message = f"{session}@{offset}/{hashlib.blake2b(raw, digest_size=6).hexdigest()}"
        rank = (total << 1) | (speed is not None) | (0 if side else _OWN)
        return (
            Usage(
                message,
                request or "",
                rank,
                side,
                session,
                workdir or "",
                model or "",
                "",
                at,
                given,
                output,
                read,
                written,
                hour,
                fast=speed == "fast",
                cost_usd=cost,
            ),
        )
