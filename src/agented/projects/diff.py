"""Reads what git prints about differences. Pure; outside text: file names and contents are whatever a run has made."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, cast

from agented.projects.model import FileStatus, Hunk, HunkLine

_STATUS: Mapping[str, FileStatus] = {
    "A": FileStatus.ADDED,
    "M": FileStatus.MODIFIED,
    "D": FileStatus.DELETED,
    "R": FileStatus.RENAMED,
    "C": FileStatus.COPIED,
    "T": FileStatus.TYPE_CHANGED,
}
_RANGE = re.compile(rb"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@ ?(.*)", re.DOTALL)
_INDEX = re.compile(rb"index ([0-9a-f]+)\.\.([0-9a-f]+)")

Pair: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """One file of `--raw --numstat -z`. additions is None for a binary file."""

    old_mode: str
    new_mode: str
    old_oid: str
    new_oid: str
    status: FileStatus
    path: bytes
    old_path: bytes | None
    additions: int | None
    deletions: int | None

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The pairs of objects under which a patch shows this file: git splits a change of type into two."""
        if self.status is FileStatus.TYPE_CHANGED:
            nothing = "0" * len(self.old_oid)
            return ((self.old_oid, nothing), (nothing, self.new_oid))
        return ((self.old_oid, self.new_oid),)


@dataclass(frozen=True, slots=True)
class FilePatch:
    hunks: tuple[Hunk, ...]
    size: int


def read_list(output: bytes) -> list[Changed]:
    """The files in `git diff-… --raw --numstat -z`: first all raw records, then all counts, in one order."""
    words = iter(output.split(b"\0"))
    raw: list[tuple[list[str], bytes, bytes | None]] = []
    counts: list[tuple[int | None, int | None]] = []
    for word in words:
        if word.startswith(b":"):
            fields = word[1:].decode().split(" ")
            moved = fields[4][0] in "RC"
            first = next(words)
            raw.append((fields, next(words), first) if moved else (fields, first, None))
        elif word:
            added, deleted, path = word.lstrip(b"\n").split(b"\t", 2)
            counts.append((_count(added), _count(deleted)))
            if not path:
                next(words)
                next(words)
    return [
        Changed(
            old_mode=fields[0],
            new_mode=fields[1],
            old_oid=fields[2],
            new_oid=fields[3],
            status=_STATUS.get(fields[4][0], FileStatus.MODIFIED),
            path=path,
            old_path=old_path,
            additions=added,
            deletions=deleted,
        )
        for (fields, path, old_path), (added, deleted) in zip(raw, counts, strict=True)
    ]


def _count(text: bytes) -> int | None:
    return None if text == b"-" else int(text)


def read_patch(output: bytes) -> dict[Pair, FilePatch]:
    """Hunks by the pair of objects they lead from and to (`--full-index`).

    The pair names the content, so equal pairs have equal hunks and no file name needs to be read out of the text.
    """
    found: dict[Pair, FilePatch] = {}
    pair: Pair | None = None
    hunks: list[Hunk] = []
    size = 0
    lines = iter(output.split(b"\n"))
    for line in lines:
        if line.startswith(b"diff --git "):
            if pair is not None:
                found[pair] = FilePatch(tuple(hunks), size)
            pair, hunks, size = None, [], 0
        elif line.startswith(b"index ") and (match := _INDEX.match(line)):
            pair = (match[1].decode(), match[2].decode())
        elif line.startswith(b"@@ ") and (match := _RANGE.match(line)):
            hunk, taken = _read_hunk(match, lines)
            hunks.append(hunk)
            size += taken
        elif line.startswith(b"\\") and hunks:
            body = list(hunks[-1].lines)
            _mark_unended(body)
            hunks[-1] = replace(hunks[-1], lines=tuple(body))
    if pair is not None:
        found[pair] = FilePatch(tuple(hunks), size)
    return found


def _read_hunk(match: re.Match[bytes], lines: Iterator[bytes]) -> tuple[Hunk, int]:
    old_start, old_lines, new_start, new_lines = (1 if part is None else int(part) for part in match.groups()[:4])
    left_old, left_new, size = old_lines, new_lines, len(match.group())
    body: list[HunkLine] = []
    while left_old > 0 or left_new > 0:
        line = next(lines, None)
        if line is None:
            break
        size += len(line) + 1
        if line.startswith(b"\\"):
            _mark_unended(body)
            continue
        kind = cast("Literal[' ', '+', '-']", line[:1].decode("ascii", "replace") or " ")
        left_old -= kind != "+"
        left_new -= kind != "-"
        body.append(HunkLine(kind, line[1:].decode("utf-8", "replace")))
    heading = match[5].decode("utf-8", "replace")
    return Hunk(old_start, old_lines, new_start, new_lines, heading, tuple(body)), size


def _mark_unended(body: list[HunkLine]) -> None:
    """`\\ No newline at end of file` speaks of the line before it."""
    if body:
        body[-1] = replace(body[-1], no_newline=True)
