"""Session files on the disk: which there are, what in them is new, and the answers that they tell of.

A gigabyte is never held: lines are looked for in a buffer that is filled again and again, and only those with one of
the CLI's needles are read as JSON.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from agented.backends.contract import Kept, LineReader, Place, Sessions, Usage
from agented.costs.model import Bookmark, Found

_BUFFER = 4 << 20
_LONGEST = 64 << 20
"""A longer line tells nothing of use; a larger whole file is none of ours."""
_HEAD = 1024
_TAIL = 64
_DEEPEST = 12


def find_files(places: Iterable[Place], source: str, account: str) -> Iterator[Found]:
    """The session files of an account, each once. Folders that cannot be read hold none."""
    for place in places:
        yield from _walk(str(place.folder), place, source, account, not place.within, 0)


def _walk(folder: str, place: Place, source: str, account: str, within: bool, depth: int) -> Iterator[Found]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        name = entry.name
        try:
            if name.endswith(place.suffix) and within and name.startswith(place.prefix) and entry.is_file():
                stat = entry.stat()
                size, mtime = stat.st_size, stat.st_mtime_ns
                if place.kept is Kept.DATABASE:
                    size, mtime = _with_log(entry.path, size, mtime)
                yield Found(entry.path, source, account, place.kept, size, mtime, stat.st_ino)
            elif place.deep and depth < _DEEPEST and entry.is_dir(follow_symlinks=False):
                inside = within or name == place.within
                yield from _walk(entry.path, place, source, account, inside, depth + 1)
        except OSError:
            continue


def _with_log(path: str, size: int, mtime: int) -> tuple[int, int]:
    """What was added to a database may stand in the log beside it alone."""
    try:
        log = os.stat(f"{path}-wal")  # noqa: PTH116 - hot
    except OSError:
        return size, mtime
    return size + log.st_size, max(mtime, log.st_mtime_ns)


def is_read(found: Found, mark: Bookmark | None) -> bool:
    """Whether there is nothing new in it."""
    return mark is not None and mark.mtime == found.mtime and mark.size == found.size and mark.inode == found.inode


def read_new(found: Found, mark: Bookmark | None, sessions: Sessions) -> tuple[list[Usage], Bookmark]:
    """What a file tells since the bookmark, and the next one. A file that was cut or replaced is read anew."""
    path = Path(found.path)
    if found.kept is Kept.DATABASE:
        state = mark.state if mark is not None and mark.inode == found.inode else ""
        rows, state = sessions.read_database(path, state)
        return list(rows), _mark(found, state=state)
    try:
        if found.kept is Kept.WHOLE:
            return _read_whole(found, path, sessions)
        with path.open("rb", buffering=0) as file:
            return _Lines(file, sessions).read(found, path, mark)
    except OSError:
        # It is gone, or not for us; when it comes back it is looked at again.
        return [], _mark(found, size=-1)


def _read_whole(found: Found, path: Path, sessions: Sessions) -> tuple[list[Usage], Bookmark]:
    data = path.read_bytes() if found.size <= _LONGEST else b""
    return list(sessions.read_whole(path, data)), _mark(found)


def _mark(found: Found, *, size: int | None = None, offset: int = 0, mark: str = "", state: str = "") -> Bookmark:
    return Bookmark(found.path, found.size if size is None else size, found.mtime, found.inode, offset, mark, state)


class _Lines:
    """Reads the lines of one open file."""

    def __init__(self, file: Any, sessions: Sessions) -> None:
        self._file = file
        self._sessions = sessions

    def read(self, found: Found, path: Path, mark: Bookmark | None) -> tuple[list[Usage], Bookmark]:
        offset, state = 0, ""
        descriptor = self._file.fileno()
        if (
            mark is not None
            and mark.inode == found.inode
            and 0 < mark.offset <= found.size
            and mark.mark == _print(descriptor, mark.offset)
        ):
            offset, state = mark.offset, mark.state
        reader = self._sessions.new_reader(path, state)
        end, rest = self._follow(reader, offset, found.size)
        state = reader.state()
        if rest:
            # A last line without its end: counted when it is whole, and read again when more is there.
            reader.feed(rest, end)
        next_mark = _print(descriptor, end) if end else ""
        return list(reader.rows()), _mark(found, offset=end, mark=next_mark, state=state)

    def _follow(self, reader: LineReader, offset: int, size: int) -> tuple[int, bytes]:
        """Feeds the complete lines. Gives where they end, and the line that has no end yet if it may tell something."""
        needles = self._sessions.needles
        self._file.seek(offset)
        room = min(_BUFFER, max(4096, size - offset + 1))
        buffer = bytearray(room)
        filled = 0
        while True:
            if filled == len(buffer):
                if filled >= _LONGEST:
                    skipped = self._skip_line()
                    if skipped is None:
                        return offset, b""
                    offset, filled = skipped, 0
                    continue
                buffer.extend(bytes(len(buffer)))
            with memoryview(buffer) as view, view[filled:] as free:
                count = self._file.readinto(free)
            if not count:
                rest = bytes(buffer[:filled])
                return offset, rest if any(needle in rest for needle in needles) else b""
            last = buffer.rfind(b"\n", filled, filled + count)
            filled += count
            if last < 0:
                continue
            last += 1
            self._search(reader, buffer, last, needles, offset)
            buffer[: filled - last] = buffer[last:filled]
            filled -= last
            offset += last

    def _skip_line(self) -> int | None:
        """Goes to the next line; None when there is none."""
        while piece := self._file.read(_BUFFER):
            at = piece.find(b"\n")
            if at >= 0:
                after: int = self._file.seek(at + 1 - len(piece), os.SEEK_CUR)
                return after
        return None

    def _search(self, reader: LineReader, buffer: bytearray, end: int, needles: Sequence[bytes], offset: int) -> None:
        """Feeds the lines before `end` that hold a needle, in order."""
        feed, seek, back = reader.feed, buffer.find, buffer.rfind
        if len(needles) == 1:
            needle = needles[0]
            at = find(buffer, needle, 0, end)
            while at >= 0:
                start = back(b"\n", 0, at) + 1
                stop = seek(b"\n", at, end)
                feed(bytes(buffer[start:stop]), offset + start)
                at = find(buffer, needle, stop, end)
            return
        where = [find(buffer, needle, 0, end) for needle in needles]
        while (at := min((one for one in where if one >= 0), default=-1)) >= 0:
            start = back(b"\n", 0, at) + 1
            stop = seek(b"\n", at, end)
            feed(bytes(buffer[start:stop]), offset + start)
            for number, needle in enumerate(needles):
                if 0 <= where[number] < stop:
                    where[number] = find(buffer, needle, stop, end)


def _print(descriptor: int, offset: int) -> str:
    """Tells whether what stood before an offset still stands there."""
    head = os.pread(descriptor, min(_HEAD, offset), 0)
    tail = os.pread(descriptor, min(_TAIL, offset), max(0, offset - _TAIL))
    return blake2b(head + tail, digest_size=8).hexdigest()


def _load_find() -> Any:
    """The quickest search there is: sixteen times that of the standard library, where its wheel could be had."""
    try:
        import stringzilla
    except ImportError:
        return bytearray.find
    return stringzilla.find


find = _load_find()
