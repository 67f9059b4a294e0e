"""What a sign-in shows in its terminal: the address to open and the code to type there. Pure.

What a CLI prints is hostile: only an https address of a host with a name is offered.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import urlsplit

from agented.kit.text import printable

_LOOKED_AT = 64 * 1024
_LONGEST = 4096
_MOST_LINES = 40
_LINK = re.compile(r"\x1b\]8;[^;\x07\x1b]*;([^\x07\x1b]*)(?:\x07|\x1b\\)")
_FORWARD = re.compile(r"\x1b\[(\d{0,3})C")
_ADDRESS = re.compile(r"https://[^\s<>\"'`│┃|\\^{}\ufffd]+")
_REST = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}")
_FRAME = " │┃|"
_MEANT = re.compile(r"oauth|authori[sz]|device|log-?in|sign-?in|activate|verify|\bauth\b", re.IGNORECASE)
_CODE = re.compile(r"(?<![\w-])([A-Z0-9]{4,6}-[A-Z0-9]{4,6})(?![\w-])")
_WHOLE_CODE = re.compile(r"\bcode\b[^:\n]{0,40}:\s*([A-Z0-9]{6,10})\s*$", re.IGNORECASE)
_SAYS_CODE = re.compile(r"\bcode\b", re.IGNORECASE)
_BEFORE = 3


@dataclass(frozen=True, slots=True)
class Shown:
    """url: where the person signs in. code: what is typed there."""

    url: str | None = None
    code: str | None = None


def shown(output: bytes, columns: int) -> Shown:
    """columns: how wide the terminal is, so that an address that was broken at its edge is put together again."""
    text = output[-_LOOKED_AT:].decode("utf-8", "replace")
    lines = _lines(text)
    found = [one for one in (*_addresses(lines, columns), *_LINK.findall(text)) if is_offered(one)]
    meant = [one for one in found if _MEANT.search(one)]
    return Shown((meant or found or [None])[-1], _code(lines))


def is_offered(address: str) -> bool:
    """Whether an address may be shown as a link: https, a host with a name, nobody's name or password in it."""
    if len(address) > _LONGEST or not address.startswith("https://") or not _REST.fullmatch(address[len("https://") :]):
        return False
    try:
        parts = urlsplit(address)
        named = parts.username is None and parts.password is None and parts.port != 0
        return named and _HOST.fullmatch(parts.hostname or "") is not None
    except ValueError:
        return False


def _lines(text: str) -> list[str]:
    spaced = _FORWARD.sub(lambda found: " " * min(int(found[1] or 1), 200), text)
    return printable(spaced.replace("\r\n", "\n").replace("\r", "\n")).split("\n")


def _addresses(lines: Sequence[str], columns: int) -> Iterator[str]:
    for number, line in enumerate(lines):
        for match in _ADDRESS.finditer(line):
            address = match[0]
            if match.end() == len(line.rstrip(_FRAME)):
                address += _goes_on(lines[number : number + _MOST_LINES], columns)
            yield address.rstrip(".,;:!)]")


def _goes_on(lines: Sequence[str], columns: int) -> str:
    """What of the lines after the first belongs to its end: each is full to the edge and the next is one word."""
    rest = ""
    for before, after in pairwise(lines):
        word = after.strip(_FRAME)
        if len(before.rstrip()) < columns - 1 or not _REST.fullmatch(word):
            break
        rest += word
        if len(after.strip()) < columns - 4 and after.rstrip() == after.rstrip(_FRAME):
            break
    return rest


def _code(lines: Sequence[str]) -> str | None:
    found = None
    for number, line in enumerate(lines):
        near = " ".join(lines[max(0, number - _BEFORE) : number + 1])
        if "://" in line or not _SAYS_CODE.search(near):
            continue
        if match := _CODE.search(line) or _WHOLE_CODE.search(line):
            found = match[1]
    return found
