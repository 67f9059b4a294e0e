"""Ids: a prefix that names the noun, and a ULID, so that ids sort by the time of their making.

ULID: 48 bits of milliseconds, 80 random bits, Crockford base 32 (github.com/ulid/spec).
"""

from __future__ import annotations

import re
import secrets
import threading
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [one + two for one in _ALPHABET for two in _ALPHABET]
_SHAPE = re.compile(r"[a-z]{2,5}_[0-9A-HJKMNP-TV-Z]{26}\Z")
_lock = threading.Lock()
_last = 0


def new_id(prefix: str) -> str:
    """An id such as `exe_01K…`; ids made by one process strictly increase."""
    global _last
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    with _lock:
        if value <= _last:
            value = _last + 1
        _last = value
    pairs = [_PAIRS[value >> shift & 1023] for shift in range(120, -1, -10)]
    return f"{prefix}_{''.join(pairs)}"


def is_id(text: str, prefix: str) -> bool:
    return text.startswith(prefix + "_") and _SHAPE.match(text) is not None
