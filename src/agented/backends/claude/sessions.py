"""Claude Code's session files: one JSON value a line; the lines of an answer repeat its usage as it grows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agented.backends.contract import Place, Usage
from agented.kit import loose

if TYPE_CHECKING:
    from agented.backends.claude.wire import Line

_OWN = 1 << 60
"""Ranks an answer above every replay of it."""
_MOST = 1 << 40


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
    """Of the lines that tell of one answer, only the one that tells most is kept, and looked at in the end."""

    def __init__(self, path: Path) -> None:
        from agented.backends.claude.wire import read_line

        self._stem = path.stem
        self._read = read_line
        self._best: dict[tuple[str, str | None], tuple[int, Line]] = {}

    def feed(self, line: bytes | bytearray, offset: int) -> None:
        read = self._read(line)
        if read is None:
            read = _read_tolerantly(line)
            if read is None:
                return
        message = read.message
        usage = message.usage
        if usage is None:
            return
        total = (
            usage.input_tokens + usage.output_tokens + usage.cache_creation_input_tokens + usage.cache_read_input_tokens
        )
        rank = (total << 1) | (usage.speed is not None) | (0 if read.isSidechain else _OWN)
        # What nothing names is told from others by where it stands, the same in every copy of the file.
        name = message.id or f"{read.sessionId or self._stem}@{offset}/{_print(line)}"
        known = self._best.get((name, read.requestId))
        if known is None or rank > known[0]:
            self._best[name, read.requestId] = (rank, read)

    def state(self) -> str:
        return ""

    def rows(self) -> Iterator[Usage]:
        micros, stem = loose.micros, self._stem
        for (name, request), (rank, line) in self._best.items():
            at, usage = micros(line.timestamp), line.message.usage
            if at is None or usage is None:
                continue
            written, hour = usage.cache_creation_input_tokens, 0
            if usage.cache_creation is not None:
                hour = usage.cache_creation.ephemeral_1h_input_tokens
                written = max(written - hour, usage.cache_creation.ephemeral_5m_input_tokens)
            tokens = (usage.input_tokens, usage.output_tokens, usage.cache_read_input_tokens, written, hour)
            if min(tokens) < 0 or max(tokens) > _MOST or not (any(tokens) or line.costUSD):
                continue
            yield Usage(
                name,
                request or "",
                rank,
                bool(line.isSidechain),
                line.sessionId or stem,
                line.cwd or "",
                line.message.model or "",
                "",
                at,
                *tokens,
                0,
                0,
                usage.speed == "fast",
                line.costUSD,
            )


def _print(line: bytes | bytearray) -> str:
    return hashlib.blake2b(line, digest_size=6).hexdigest()


def _read_tolerantly(raw: bytes | bytearray) -> Line | None:
    """For a line of which some part is not what it should be."""
    from agented.backends.claude.wire import make_line

    line = loose.read_object(raw.decode("utf-8", "replace"))
    if line is None:
        return None
    message = loose.mapping(line.get("message"))
    usage = loose.mapping(message.get("usage"))
    created = loose.mapping(usage.get("cache_creation"))
    counts = [
        *(usage.get(f"{name}_tokens") for name in ("input", "output", "cache_creation_input", "cache_read_input")),
        *(created.get(f"ephemeral_{name}_input_tokens") for name in ("5m", "1h")),
    ]
    given, output, written, read, short, hour = (loose.count(count) for count in counts)
    names = (message.get("id"), line.get("requestId"), line.get("sessionId"), line.get("cwd"), message.get("model"))
    identity, request, session, cwd, model = (loose.string(name) for name in names)
    return make_line(
        (identity, request, session, cwd, model),
        (given, output, written, read, short, hour),
        created=bool(created),
        timestamp=loose.string(line.get("timestamp")),
        side=line.get("isSidechain") is True,
        speed=loose.string(usage.get("speed")),
        cost=loose.number(line.get("costUSD")),
    )
