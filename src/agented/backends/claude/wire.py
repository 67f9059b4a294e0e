"""The parts of a session line that tell of usage, read without building the rest. Loaded when a file is read."""

from __future__ import annotations

import msgspec


class Created(msgspec.Struct):
    ephemeral_5m_input_tokens: int = 0
    ephemeral_1h_input_tokens: int = 0


class Tokens(msgspec.Struct):
    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation: Created | None = None
    speed: str | None = None


class Message(msgspec.Struct):
    usage: Tokens | None = None
    id: str | None = None
    model: str | None = None


class Line(msgspec.Struct):
    message: Message
    timestamp: str = ""
    sessionId: str | None = None  # noqa: N815 - as the CLI writes it
    requestId: str | None = None  # noqa: N815
    cwd: str | None = None
    isSidechain: bool | None = None  # noqa: N815
    costUSD: float | None = None  # noqa: N815


_decode = msgspec.json.Decoder(Line).decode


def read_line(line: bytes | bytearray) -> Line | None:
    """None for a line that is not quite so; it may still tell something."""
    try:
        return _decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def make_line(
    names: tuple[str, str, str, str, str],
    tokens: tuple[int, int, int, int, int, int],
    *,
    created: bool,
    timestamp: str,
    side: bool,
    speed: str,
    cost: float | None,
) -> Line:
    """A line out of parts that were looked at one by one: message, request, session, folder, model; and its tokens."""
    message, request, session, cwd, model = names
    given, output, written, read, short, hour = tokens
    usage = Tokens(given, output, written, read, Created(short, hour) if created else None, speed or None)
    return Line(Message(usage, message, model), timestamp, session, request, cwd, side, cost)
