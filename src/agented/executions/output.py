"""What was kept of an execution's output: pieces for the translators, pages and matches for people.

The keeper writes it (see `keeper` for the form of the files); nothing here changes it. All reading is by position:
no lock is held and nothing is buffered between calls, so a reader can neither slow a run nor miss a byte.
"""

from __future__ import annotations

import heapq
import mmap
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from agented.executions.keeper import INSERTED, RECORD, SEGMENT, STDERR
from agented.kit.clock import from_micros

SHOWN_BYTES = 64 * 1024
"""A line longer than this is cut when shown; the download holds all of it."""
COUNTED = 200_000
"""A search counts no further: nobody steps through more, and the count would take seconds."""
_ERROR = re.compile(rb"(?i)(?<![\w\"'])(?:error|fatal|panic|exception|traceback|failed)(?![\w\"'])")
_ERROR_BYTES = 12
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
        records = _Records(self, position)
        budget = _PAGE_BYTES
        n = first
        while len(shown) < limit and position < size and budget > 0:
            chunk = self._read(position, min(_READ // 4, size - position))
            start = 0
            while len(shown) < limit and budget > 0:
                stop = chunk.find(b"\n", start)
                if stop < 0:
                    break
                shown.append(records.line(n, position + start, chunk[start:stop], stop - start))
                budget -= stop - start + 32
                n += 1
                start = stop + 1
            if start > 0:
                position += start
                continue
            end = self._line_end(position + len(chunk), size)
            if end is None and whole_only:
                break
            stop_at = size if end is None else end
            shown.append(records.line(n, position, chunk[: SHOWN_BYTES + 4], stop_at - position))
            budget -= SHOWN_BYTES
            n += 1
            position = stop_at + 1
        return shown

    def search(self, text: str, limit: int, *, ignore_case: bool = False) -> Found:
        """Numbers of the lines that hold `text`, the first `limit` of them, and how many there are, up to COUNTED."""
        needle = text.encode()
        size = self.size()
        found: list[int] = []
        total = 0
        known = (0, 0)
        done = 0
        pattern = re.compile(re.escape(needle), re.IGNORECASE) if ignore_case else None
        for at in self._matches(needle, pattern, len(needle) - 1, size):
            if at < done:
                continue
            total += 1
            if len(found) < limit:
                known = self._lines_before(at, known)
                found.append(known[1] + 1)
            end = self._line_end(at, size)
            if end is None or total >= COUNTED:
                break
            done = end + 1
        return Found(found, total, total > len(found))

    def errors(self, limit: int) -> Found:
        """Numbers of the lines on stderr and of those that speak of an error, the first `limit` of them."""
        size = self.size()
        found: list[int] = []
        for n in heapq.merge(self._speaking_of_errors(size), self._on_stderr(size)):
            if found and n == found[-1]:
                continue
            if len(found) == limit:
                return Found(found, len(found), capped=True)
            found.append(n)
        return Found(found, len(found), capped=False)

    def _speaking_of_errors(self, size: int) -> Iterator[int]:
        known, done = (0, 0), 0
        for at in self._matches(b"", _ERROR, _ERROR_BYTES, size):
            if at < done:
                continue
            known = self._lines_before(at, known)
            yield known[1] + 1
            end = self._line_end(at, size)
            if end is None:
                return
            done = end + 1

    def _on_stderr(self, size: int) -> Iterator[int]:
        records = self._records()
        for number in range(records):
            offset, line, _, kind, _ = self._record(number)
            if (kind & 0xFF) != STDERR or kind & INSERTED or offset >= size:
                continue
            last = number + 1 == records
            until, after = (size, line + self._count(offset, size)) if last else self._record(number + 1)[:2]
            ended = self._read(min(until, size) - 1, 1) == b"\n"
            yield from range(line + 1, after + (1 if ended else 2))

    def _matches(self, needle: bytes, pattern: re.Pattern[bytes] | None, overlap: int, size: int) -> Iterator[int]:
        """Offsets of a needle, or of a pattern, in order; `overlap`: so much may lie across the border of segments."""
        for number in range((size + SEGMENT - 1) // SEGMENT):
            base = number * SEGMENT
            if number and overlap:
                start = max(0, base - overlap)
                for at in _find_all(self._read(start, 2 * overlap), needle, pattern):
                    yield start + at
            length = min(SEGMENT, size - base)
            with _mapped(self._segment(number), length) as data:
                for at in _find_all(data, needle, pattern):
                    yield base + at

    def _lines_before(self, offset: int, known: tuple[int, int]) -> tuple[int, int]:
        """(offset, line ends before it), counted from what is known or from the index, whichever is nearer."""
        start, line = known
        if offset - start > _READ // 4:
            record, before, *_ = self._record(self._find(offset, 0, self._records()))
            if record > start:
                start, line = record, before
        return offset, line + self._count(start, offset)

    def raw(self, start: int, end: int) -> Iterator[bytes]:
        """The kept bytes from start to end, in blocks."""
        while start < end:
            block = self._read(start, min(_READ, end - start))
            if not block:
                return
            start += len(block)
            yield block

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
        step = 4096
        while position < size:
            block = self._read(position, min(step, size - position))
            at = block.find(b"\n")
            if at >= 0:
                return position + at
            position += len(block)
            step = min(_READ, step * 8)
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


class _Records:
    """Walks the index along with the lines of a page: each record is read once."""

    def __init__(self, kept: Kept, offset: int) -> None:
        self._kept = kept
        self._count = kept._records()
        self._number = kept._find(offset, 0, self._count)
        self._load()

    def line(self, n: int, offset: int, text: bytes, size: int) -> ShownLine:
        if offset >= self._until:
            self._number = self._kept._find(offset, self._number, self._count)
            self._load()
        cut = size > SHOWN_BYTES
        shown = text[:SHOWN_BYTES] if cut else text.removesuffix(b"\r")
        return ShownLine(n, self._at, self._stderr, shown.decode("utf-8", "replace"), size, cut)

    def _load(self) -> None:
        _, _, micros, kind, _ = self._kept._record(self._number)
        self._at = from_micros(micros)
        self._stderr = (kind & 0xFF) == STDERR
        more = self._number + 1 < self._count
        self._until = self._kept._record(self._number + 1)[0] if more else 1 << 62


@contextmanager
def _mapped(descriptor: int, length: int) -> Iterator[Any]:
    """A file's bytes without copying them."""
    if descriptor < 0 or length == 0:
        yield b""
        return
    with mmap.mmap(descriptor, length, flags=mmap.MAP_SHARED | _POPULATE, prot=mmap.PROT_READ) as data:
        yield data


_POPULATE = getattr(mmap, "MAP_POPULATE", 0)


def _find_all(data: Any, needle: bytes, pattern: re.Pattern[bytes] | None) -> Iterator[int]:
    """Where the needle starts, at most once in each of its own lengths.

    stringzilla scans several times faster than bytes.find; it is imported when the first search comes.
    """
    if pattern is not None:
        for match in pattern.finditer(data):
            yield match.start()
        return
    from stringzilla import find

    with memoryview(data) as view:
        at = int(find(view, needle))
        while at >= 0:
            yield at
            at = int(find(view, needle, at + len(needle)))
