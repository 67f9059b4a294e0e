"""The journal: an execution's events in order, numbered from 1. Derived from the kept output, so it can be rebuilt.

<execution>/events         one JSON object a line
<execution>/events.index   where each event starts, 8 bytes each; written after the event
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

_OFFSET = struct.Struct("<Q")


class Journal:
    """One writer appends; any number of readers read by number."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._events = -1
        self._index = -1

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in (self._events, self._index):
            if descriptor >= 0:
                os.close(descriptor)
        self._events = self._index = -1

    def open_to_write(self) -> int:
        """Prepares for appending: drops a torn end. Gives the number of the last event."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._events = os.open(self._folder / "events", flags, 0o600)
        self._index = os.open(self._folder / "events.index", flags, 0o600)
        count = self.count()
        os.ftruncate(self._index, count * _OFFSET.size)
        end = 0
        if count:
            start = self._start_of(count)
            tail = os.pread(self._events, os.fstat(self._events).st_size - start, start)
            end = start + tail.find(b"\n") + 1
        os.ftruncate(self._events, end)
        os.lseek(self._events, 0, os.SEEK_END)
        os.lseek(self._index, 0, os.SEEK_END)
        self._end = end
        return count

    def append(self, entries: Sequence[dict[str, Any]]) -> int:
        """Adds events; gives the number of the last one."""
        parts = []
        starts = []
        for entry in entries:
            line = orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE)
            starts.append(_OFFSET.pack(self._end))
            self._end += len(line)
            parts.append(line)
        _write_all(self._events, b"".join(parts))
        _write_all(self._index, b"".join(starts))
        return self.count()

    def count(self) -> int:
        return os.fstat(self._index).st_size // _OFFSET.size if self._open() else 0

    def read(self, after: int, limit: int, budget: int = 4 * 1024 * 1024) -> list[dict[str, Any]]:
        """Events after number `after`, at most `limit` and about `budget` bytes of them, each with its `seq`."""
        count = self.count()
        if after >= count:
            return []
        last = min(count, after + limit)
        start = self._start_of(after + 1)
        end = self._start_of(last + 1) if last < count else os.fstat(self._events).st_size
        data = os.pread(self._events, min(end - start, max(budget, self._size_of(after + 1, count))), start)
        events = []
        for number, line in enumerate(data.split(b"\n")[:-1], after + 1):
            if number > last:
                break
            events.append({"seq": number, **orjson.loads(line)})
        return events

    def _size_of(self, number: int, count: int) -> int:
        end = self._start_of(number + 1) if number < count else os.fstat(self._events).st_size
        return end - self._start_of(number)

    def _start_of(self, number: int) -> int:
        (offset,) = _OFFSET.unpack(os.pread(self._index, _OFFSET.size, (number - 1) * _OFFSET.size))
        return int(offset)

    def _open(self) -> bool:
        if self._index < 0:
            try:
                self._index = os.open(self._folder / "events.index", os.O_RDONLY | os.O_CLOEXEC)
                self._events = os.open(self._folder / "events", os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return False
        return True


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
