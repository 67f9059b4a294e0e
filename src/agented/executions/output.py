"""What was kept of an execution's output: pieces for the translators, pages and matches for people.

The keeper writes it (see `keeper` for the form of the files); nothing here changes it. All reading is by position:
no lock is held and nothing is buffered between calls, so a reader can neither slow a run nor miss a byte.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from agented.executions.keeper import INSERTED, RECORD, SEGMENT, STDERR
from agented.kit.clock import from_micros

SHOWN_BYTES = 64 * 1024
"""A line longer than this is cut when shown; the download holds all of it."""
_READ = 1024 * 1024
_PAGE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of one stream, printed at about one time."""

    offset: int
    data: bytes
    stderr: bool
    inserted: bool
    micros: int
    attempt: int


@dataclass(frozen=True, slots=True)
class ShownLine:
    """n counts from 1; `size` is the whole line's length in bytes, also when the text was cut."""

    n: int
    at: datetime
    stderr: bool
    text: str
    size: int
    cut: bool


@dataclass(frozen=True, slots=True)
class Found:
    lines: list[int]
    total: int
    capped: bool


class Kept:
    """The kept output of one execution. Open it, read, close it; it may grow meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._index = -1
        self._segments: dict[int, int] = {}

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for descriptor in (*self._segments.values(), self._index):
            if descriptor >= 0:
                os.close(descriptor)
        self._segments.clear()
        self._index = -1

    def size(self) -> int:
        """Bytes kept so far."""
        records = self._records()
        if records == 0:
            return 0
        number = self._record(records - 1)[0] // SEGMENT
        while True:
            descriptor = self._segment(number)
            if descriptor < 0:
                return number * SEGMENT
            length = os.fstat(descriptor).st_size
            if length < SEGMENT:
                return number * SEGMENT + length
            number += 1

    def end(self) -> tuple[int, int, bool]:
        """Offset of the end, line ends before it, and whether it stands within an unfinished line."""
        size = self.size()
        if size == 0:
            return 0, 0, False
        offset, line, *_ = self._record(self._records() - 1)
        if offset > size:
            offset, line = 0, 0
        in_line = self._read(size - 1, 1) != b"\n"
        return size, line + self._count(offset, size), in_line

    def total(self) -> int:
        """Lines so far, an unfinished last one included."""
        _, lines, in_line = self.end()
        return lines + (1 if in_line else 0)

    def pieces(self, offset: int, limit: int = _READ) -> list[Piece]:
        """Pieces from `offset` on, about `limit` bytes at most; empty when there is nothing new."""
        size = self.size()
        found: list[Piece] = []
        if offset >= size:
            return found
        taken = 0
        records = self._records()
        number = self._find(offset, 0, records)
        while offset < size and taken < limit:
            _, _, micros, kind, attempt = self._record(number)
            until = self._record(number + 1)[0] if number + 1 < records else size
            until = min(until, size, offset + limit - taken)
            if until > offset:
                data = self._read(offset, until - offset)
                flags = (kind & 0xFF) == STDERR, bool(kind & INSERTED)
                found.append(Piece(offset, data, *flags, micros, attempt))
                taken += len(data)
                offset = until
            if number + 1 < records and offset >= self._record(number + 1)[0]:
                number += 1
        return found

    def lines(self, first: int, limit: int, *, whole_only: bool = False) -> list[ShownLine]:
        """Lines `first`, `first + 1`, … at most `limit` of them and about 4 MiB of text.

        whole_only leaves out a last line that has no line end yet.
        """
        size = self.size()
        position = self._line_start(first, size)
        if position is None:
            return []
        shown: list[ShownLine] = []
        number = self._find(position, 0, self._records())
        budget = _PAGE_BYTES
        n = first
        while len(shown) < limit and position < size and budget > 0:
            chunk = self._read(position, min(_READ // 4, size - position))
            start = 0
            while len(shown) < limit and budget > 0:
                stop = chunk.find(b"\n", start)
                if stop < 0:
                    break
                line = chunk[start:stop]
                number = self._find(position + start, number, self._records())
                shown.append(self._shown(n, number, line, len(line)))
                budget -= len(line) + 32
                n += 1
                start = stop + 1
            if start > 0:
                position += start
                continue
            end = self._line_end(position + len(chunk), size)
            if end is None and whole_only:
                break
            number = self._find(position, number, self._records())
            stop_at = size if end is None else end
            shown.append(self._shown(n, number, chunk[: SHOWN_BYTES + 4], stop_at - position))
            budget -= SHOWN_BYTES
            n += 1
            position = stop_at + 1
        return shown

    def search(self, text: str, limit: int, *, ignore_case: bool = False) -> Found:
        """Numbers of the lines that hold `text`, the first `limit` of them, and how many there are."""
        needle = text.encode()
        found: list[int] = []
        total = 0
        line = 1
        for block in self._blocks():
            if ignore_case:
                haystack, wanted = block.lower(), needle.lower()
            else:
                haystack, wanted = block, needle
            counted = 0
            at = _find(haystack, wanted, 0)
            while at >= 0:
                line += block.count(b"\n", counted, at)
                counted = at
                total += 1
                if len(found) < limit:
                    found.append(line)
                next_line = block.find(b"\n", at)
                if next_line < 0:
                    break
                at = _find(haystack, wanted, next_line + 1)
            line += block.count(b"\n", counted)
        return Found(found, total, total > len(found))

    def raw(self, start: int, end: int) -> Iterator[bytes]:
        """The kept bytes from start to end, in blocks."""
        while start < end:
            block = self._read(start, min(_READ, end - start))
            if not block:
                return
            start += len(block)
            yield block

    def _blocks(self) -> Iterator[bytes]:
        """Everything in large blocks that end at line ends (or at 64 MiB within one endless line)."""
        size = self.size()
        position = 0
        carry = b""
        while position < size:
            data = self._read(position, min(SEGMENT, size - position))
            position += len(data)
            cut = data.rfind(b"\n") + 1
            if cut == 0 and position < size and len(carry) < 4 * SEGMENT:
                carry += data
                continue
            if cut == 0:
                cut = len(data)
            yield carry + data[:cut] if carry else data[:cut]
            carry = data[cut:]
        if carry:
            yield carry

    def _shown(self, n: int, record: int, line: bytes, size: int) -> ShownLine:
        _, _, micros, kind, _ = self._record(record)
        cut = size > SHOWN_BYTES
        text = line[:SHOWN_BYTES] if cut else line
        if text.endswith(b"\r"):
            text = text[:-1]
        return ShownLine(n, from_micros(micros), (kind & 0xFF) == STDERR, text.decode("utf-8", "replace"), size, cut)

    def _line_start(self, n: int, size: int) -> int | None:
        """The offset where line n starts, None when there is no such line yet."""
        if n < 1 or size == 0:
            return None
        wanted = n - 1
        low, high = 0, self._records()
        while low < high - 1:
            middle = (low + high) // 2
            offset, line, *_ = self._record(middle)
            if line < wanted and offset < size:
                low = middle
            else:
                high = middle
        offset, line, *_ = self._record(low)
        missing = wanted - line
        while missing > 0:
            block = self._read(offset, min(_READ // 4, size - offset))
            if not block:
                return None
            ends = block.count(b"\n")
            if ends < missing:
                missing -= ends
                offset += len(block)
                continue
            at = -1
            for _ in range(missing):
                at = block.find(b"\n", at + 1)
            offset += at + 1
            missing = 0
        return offset if offset < size else None

    def _line_end(self, position: int, size: int) -> int | None:
        while position < size:
            block = self._read(position, min(_READ, size - position))
            at = block.find(b"\n")
            if at >= 0:
                return position + at
            position += len(block)
        return None

    def _count(self, start: int, end: int) -> int:
        return sum(block.count(b"\n") for block in self.raw(start, end))

    def _find(self, offset: int, low: int, records: int) -> int:
        """The last index record at or before the offset, from record `low` on."""
        step = 1
        high = low + 1
        while high < records and self._record(high)[0] <= offset:
            low = high
            high = min(records, high + step)
            step *= 2
        high = min(high, records)
        while low < high - 1:
            middle = (low + high) // 2
            if self._record(middle)[0] <= offset:
                low = middle
            else:
                high = middle
        return low

    def _records(self) -> int:
        if self._index < 0:
            try:
                self._index = os.open(self.folder / "index", os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return 0
        return os.fstat(self._index).st_size // RECORD.size

    def _record(self, number: int) -> tuple[int, int, int, int, int]:
        offset, line, micros, kind, attempt = RECORD.unpack(os.pread(self._index, RECORD.size, number * RECORD.size))
        return offset, line, micros, kind, attempt

    def _segment(self, number: int) -> int:
        descriptor = self._segments.get(number, -1)
        if descriptor < 0:
            try:
                descriptor = os.open(self.folder / f"out.{number:06d}", os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return -1
            if len(self._segments) > 8:
                os.close(self._segments.pop(next(iter(self._segments))))
            self._segments[number] = descriptor
        return descriptor

    def _read(self, offset: int, length: int) -> bytes:
        parts = []
        while length > 0:
            number, inside = divmod(offset, SEGMENT)
            descriptor = self._segment(number)
            data = os.pread(descriptor, min(length, SEGMENT - inside), inside) if descriptor >= 0 else b""
            if not data:
                break
            parts.append(data)
            offset += len(data)
            length -= len(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _find(haystack: bytes, needle: bytes, start: int) -> int:
    """stringzilla scans at several times the speed of bytes.find; it is imported when the first search comes."""
    from stringzilla import find

    return int(find(haystack, needle, start))
