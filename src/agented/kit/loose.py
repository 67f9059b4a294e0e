"""JSON from programs and files that are not ours: what is not as hoped for is simply not there. Nothing here raises."""

from __future__ import annotations

import json
import math
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

_EMPTY: Mapping[str, Any] = {}
_BIGGEST = 2**53
_DEEPEST = 50
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FILE_CAP = 16 * 1024 * 1024
_MOST_MINUTES = 100_000
_minutes: dict[str, int] = {}


def read_json(text: str) -> Any:
    """The value, or None when it is no JSON or is nested beyond reason."""
    try:
        return _decode(text)
    except (ValueError, RecursionError):
        return None


def read_object(text: str) -> Mapping[str, Any] | None:
    """The JSON object that the whole text is, or None."""
    value = read_json(text) if text.lstrip(" \t").startswith("{") else None
    return value if isinstance(value, dict) else None


def read_file(path: Path) -> Mapping[str, Any]:
    """The JSON object in a file; empty for a file that is missing, unreadable, torn or not JSON."""
    return mapping(read_json(read_text(path)))


def read_text(path: Path) -> str:
    """A file's text; empty when it is missing, unreadable or far too big to be what is looked for."""
    try:
        if path.stat().st_size > _FILE_CAP:
            return ""
        return path.read_bytes().decode("utf-8-sig", "replace")
    except (OSError, ValueError):
        return ""


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else _EMPTY


def items(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def string(value: Any) -> str:
    if not isinstance(value, str):
        return ""
    # Half of a character pair, as a cut in the middle of an emoji leaves it, cannot be written as UTF-8.
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def count(value: Any) -> int:
    """A whole number from 0 up; 0 for everything else."""
    if isinstance(value, bool) or not isinstance(value, int):
        return 0
    return min(value, _BIGGEST) if value > 0 else 0


def number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int):
        return float(max(-_BIGGEST, min(value, _BIGGEST)))
    return value if math.isfinite(value) else None


def moment(seconds: Any) -> datetime | None:
    """The time of seconds since the epoch; None when that is no time of this age."""
    value = number(seconds)
    if value is None or not 0 < value < 32_503_680_000:
        return None
    return _EPOCH + timedelta(seconds=value)


def iso_moment(value: Any) -> datetime | None:
    """The time of an ISO 8601 text; one without a zone is not taken."""
    try:
        at = datetime.fromisoformat(string(value))
        return None if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def micros(value: Any) -> int | None:
    """Microseconds since the epoch of an ISO 8601 text with a zone. Quick for the many of one minute."""
    text = value if isinstance(value, str) else ""
    minute = _minutes.get(text[:17])
    if minute is not None and len(text) == 24 and text[19] == "." and text[23] == "Z":
        digits = text[17:19] + text[20:23]
        if digits.isdecimal():
            return minute + int(digits) * 1000
    at = iso_moment(text)
    if at is None:
        return None
    since = at - _EPOCH
    found = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    if len(text) == 24 and text[23] == "Z" and text[16] == ":":
        if len(_minutes) > _MOST_MINUTES:
            _minutes.clear()
        _minutes[text[:17]] = found - found % 60_000_000
    return found


def later(at: datetime, seconds: float) -> datetime | None:
    try:
        return at + timedelta(seconds=seconds)
    except OverflowError:
        return None


def plain(value: Any, depth: int = _DEEPEST) -> Any:
    """A copy that every JSON writer takes: no depth, number or half character that one of them refuses."""
    if isinstance(value, str):
        return string(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return max(-_BIGGEST, min(value, _BIGGEST))
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth <= 0:
        return "…"
    if isinstance(value, dict):
        return {string(name): plain(inner, depth - 1) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner, depth - 1) for inner in value]
    return None


def arguments(value: Any) -> Mapping[str, Any]:
    """A tool's arguments as a plain mapping."""
    return mapping(plain(value))


def claims(token: str) -> Mapping[str, Any]:
    """What a JSON Web Token says, unverified: to be shown, never to be trusted."""
    parts = token.split(".")
    if len(parts) != 3:
        return _EMPTY
    try:
        text = urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)).decode("utf-8", "replace")
    except ValueError:
        return _EMPTY
    return mapping(read_json(text))


def one_line(text: str, longest: int = 300) -> str:
    """The text on one line, shortened."""
    line = " ".join(string(text).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def money(value: Any) -> Decimal | None:
    """An amount that JSON gave as a number; never negative."""
    amount = number(value)
    return None if amount is None or amount < 0 else Decimal(str(round(amount, 10)))


def _nothing(_: str) -> None:
    """NaN and Infinity are no JSON, though Python reads them."""


_decode = json.JSONDecoder(parse_constant=_nothing).decode
