"""What the readers of transcripts share: names for lines, arguments as JSON, and no more of either than people read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from agented.kit import loose

MOST = 64_000
"""Characters of one thing that are kept."""
_MOST_OF_ARGUMENT = 16_000
_MOST_ARGUMENTS = 60


def clip(text: str) -> str:
    return text if len(text) <= MOST else f"{text[:MOST]}\n… {len(text) - MOST:,} more characters"


def key_of(line: bytes | bytearray) -> str:
    """Names a line by what it says: the same in every copy of the file."""
    return blake2b(line, digest_size=9).hexdigest()


def as_json(arguments: Any) -> str:
    """A tool's arguments; what is very long in them is cut, so that it stays JSON."""
    return json.dumps(_short(loose.plain(arguments)), ensure_ascii=False)


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _MOST_OF_ARGUMENT else f"{value[:_MOST_OF_ARGUMENT]}…"
    if isinstance(value, dict):
        return {name: _short(one) for name, one in list(value.items())[:_MOST_ARGUMENTS]}
    if isinstance(value, list):
        return [_short(one) for one in value[:_MOST_ARGUMENTS]]
    return value


def text_of(content: Any) -> str:
    """Of a text, or of a list of parts that each may have a text."""
    if isinstance(content, str):
        return loose.string(content)
    parts = [part if isinstance(part, str) else loose.mapping(part).get("text") for part in loose.items(content)]
    return "\n".join(text for part in parts if (text := loose.string(part)))


class NoLines:
    """For a CLI that keeps no lines."""

    def feed(self, line: bytes | bytearray, offset: int) -> None:
        pass

    def state(self) -> str:
        return ""

    def rows(self) -> Sequence[Any]:
        return ()
