"""The parts of a session line that tell of usage, read without building the rest. Loaded when a file is read."""

from __future__ import annotations

import msgspec


class Counts(msgspec.Struct):
    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_output_tokens: int = 0


class Info(msgspec.Struct):
    total_token_usage: Counts | None = None
    last_token_usage: Counts | None = None
    model: str | None = None


class Payload(msgspec.Struct):
    type: str | None = None
    info: Info | None = None
    model: str | None = None


class Line(msgspec.Struct):
    type: str = ""
    payload: Payload | None = None
    timestamp: str = ""


_decode = msgspec.json.Decoder(Line).decode


def read_line(line: bytes | bytearray) -> Line | None:
    """None for a line that is not quite so; it may still tell something."""
    try:
        return _decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
