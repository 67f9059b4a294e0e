"""Session files on the disk: which there are, what in them is new, and the answers that they tell of.

A gigabyte is never held: lines are looked for in a buffer that is filled again and again, and only those with one of
the CLI's needles are read as JSON.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Generic, TypeVar

from agented.backends.contract import Kept, LineReader, Place, Sessions
from agented.sessions.model import Bookmark, Found

_BUFFER = 4 << 20
_LONGEST = 64 << 20
"""A longer line tells nothing of use; a larger whole file is none of ours."""
_HEAD = 1024
_TAIL = 64
_DEEPEST = 12
_MOST_SPARE = 2
_spare: list[bytearray] = []
_UNSURE_NS = 2_000_000_000
Row = TypeVar("Row")


class Finder:
    """The session files of one home. What stands in a folder is listed again only when the folder has changed."""

    def __init__(self, places: Sequence[Place], source: str, account: str) -> None:
        self._places = places
        self._source = source
        self._account = account
        self._folders: dict[tuple[int, str], _Folder] = {}

    def look(self, marks: Mapping[str, Bookmark]) -> list[Found]:
        """The files in which there may be something new. Folders that cannot be read hold none."""
        fresh: list[Found] = []
        for number, place in enumerate(self._places):
            self._visit(number, place, str(place.folder), not place.within, 0, marks, fresh)
        return fresh

    def look_at(self, paths: Iterable[str], marks: Mapping[str, Bookmark]) -> list[Found]:
        """As `look`, among these paths alone. What is a folder is looked through."""
        fresh: dict[str, Found] = {}
        for number, place in enumerate(self._places):
            above = f"{place.folder}{os.sep}"
            for path in paths:
                if not path.startswith(above):
                    continue
                found = self._found(place, path.removesuffix("-wal"), marks)
                if found is not None:
                    fresh[found.path] = found
                elif place.deep and os.path.isdir(path):
                    within = not place.within or place.within in path[len(above) :].split(os.sep)
                    depth = path[len(above) :].count(os.sep) + 1
                    more: list[Found] = []
                    self._visit(number, place, path, within, depth, marks, more)
                    fresh.update((one.path, one) for one in more)
        return list(fresh.values())

    def _found(self, place: Place, path: str, marks: Mapping[str, Bookmark]) -> Found | None:
        folder, _, name = path.rpartition(os.sep)
        if not (name.endswith(place.suffix) and name.startswith(place.prefix)):
            return None
        inner = folder[len(str(place.folder)) + 1 :].split(os.sep) if len(folder) > len(str(place.folder)) else []
        if (inner and not place.deep) or (place.within and place.within not in inner) or len(inner) > _DEEPEST:
            return None
        try:
            now = os.stat(path)
        except OSError:
            return None
        size, mtime = now.st_size, now.st_mtime_ns
        if place.kept is Kept.DATABASE:
            size, mtime = _with_log(path, size, mtime)
        mark = marks.get(path)
        if mark is not None and (mark.mtime, mark.size, mark.inode) == (mtime, size, now.st_ino):
            return None
        return Found(path, self._source, self._account, place.kept, size, mtime, now.st_ino)

    def paths(self) -> Iterator[str]:
        """Of all files that were seen when it looked last."""
        for folder in self._folders.values():
            yield from folder.files

    def _visit(
        self,
        number: int,
        place: Place,
        path: str,
        within: bool,
        depth: int,
        marks: Mapping[str, Bookmark],
        fresh: list[Found],
    ) -> None:
        stat = os.stat
        folders, visit = self._folders, self._visit
        try:
            changed = stat(path).st_mtime_ns
        except OSError:
            self._drop(number, path)
            return
        folder = folders.get((number, path))
        if folder is None or folder.changed != changed or folder.unsure:
            listed = _list(path, place, within, depth, changed)
            for inner in () if folder is None else folder.folders.keys() - listed.folders.keys():
                self._drop(number, inner)
            folder = folders[number, path] = listed
        get, database = marks.get, place.kept is Kept.DATABASE
        for file in folder.files:
            try:
                now = stat(file)
            except OSError:
                continue
            size, mtime = now.st_size, now.st_mtime_ns
            if database:
                size, mtime = _with_log(file, size, mtime)
            mark = get(file)
            if mark is None or mark[2] != mtime or mark[1] != size or mark[3] != now.st_ino:
                fresh.append(Found(file, self._source, self._account, place.kept, size, mtime, now.st_ino))
        for inner, inside in folder.folders.items():
            visit(number, place, inner, inside, depth + 1, marks, fresh)

    def _drop(self, number: int, path: str) -> None:
        folder = self._folders.pop((number, path), None)
        for inner in () if folder is None else folder.folders:
            self._drop(number, inner)


class _Folder:
    """What stood in a folder. unsure: it changed so lately that a further change could not be told by its time."""

    __slots__ = ("changed", "files", "folders", "unsure")

    def __init__(self, changed: int, files: list[str], folders: dict[str, bool], *, unsure: bool) -> None:
        self.changed = changed
        self.files = files
        self.folders = folders
        self.unsure = unsure


def _list(path: str, place: Place, within: bool, depth: int, changed: int) -> _Folder:
    files: list[str] = []
    folders: dict[str, bool] = {}
    unsure = time.time_ns() - changed < _UNSURE_NS
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                name = entry.name
                if within and name.endswith(place.suffix) and name.startswith(place.prefix) and entry.is_file():
                    files.append(entry.path)
                elif place.deep and depth < _DEEPEST and entry.is_dir(follow_symlinks=False):
                    folders[entry.path] = within or name == place.within
    except OSError:
        return _Folder(changed, files, folders, unsure=True)
    return _Folder(changed, files, folders, unsure=unsure)


def _with_log(path: str, size: int, mtime: int) -> tuple[int, int]:
    """What was added to a database may stand in the log beside it alone."""
    try:
        log = os.stat(f"{path}-wal")
    except OSError:
        return size, mtime
    return size + log.st_size, max(mtime, log.st_mtime_ns)


def read_new(
    found: Found, mark: Bookmark | None, sessions: Sessions[Row], most: int | None = None
) -> tuple[list[Row], Bookmark]:
    """What a file tells since the bookmark, and the next one. A file that was cut or replaced is read anew.

    most: bytes after which no further line is read; then the bookmark does not fit the file, which is looked at again.
    """
    path = Path(found.path)
    if found.kept is Kept.DATABASE:
        state = mark.state if mark is not None and mark.inode == found.inode else ""
        rows, state = sessions.read_database(path, state)
        before = "" if mark is None else mark.state
        return list(rows), _mark(found, size=-1 if most is not None and state != before else None, state=state)
    try:
        if found.kept is Kept.WHOLE:
            return _read_whole(found, path, sessions)
        with path.open("rb", buffering=0) as file:
            return _Lines(file, sessions, most).read(found, path, mark)
    except OSError:
        # It is gone, or not for us; when it comes back it is looked at again.
        return [], _mark(found, size=-1)


def _read_whole(found: Found, path: Path, sessions: Sessions[Row]) -> tuple[list[Row], Bookmark]:
    data = path.read_bytes() if found.size <= _LONGEST else b""
    return list(sessions.read_whole(path, data)), _mark(found)


def _mark(found: Found, *, size: int | None = None, offset: int = 0, mark: str = "", state: str = "") -> Bookmark:
    return Bookmark(found.path, found.size if size is None else size, found.mtime, found.inode, offset, mark, state)


class _Lines(Generic[Row]):
    """Reads the lines of one open file."""

    def __init__(self, file: Any, sessions: Sessions[Row], most: int | None) -> None:
        self._file = file
        self._sessions = sessions
        self._most = most
        self._cut = False

    def read(self, found: Found, path: Path, mark: Bookmark | None) -> tuple[list[Row], Bookmark]:
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
        end, rest = self._follow(reader, offset)
        state = reader.state()
        if rest:
            # A last line without its end: counted when it is whole, and read again when more is there.
            reader.feed(rest, end)
        next_mark = _print(descriptor, end) if end else ""
        size = -1 if self._cut else None
        return list(reader.rows()), _mark(found, size=size, offset=end, mark=next_mark, state=state)

    def _follow(self, reader: LineReader[Row], offset: int) -> tuple[int, bytes]:
        """Feeds the complete lines. Gives where they end, and the line that has no end yet if it may tell something."""
        needles = self._sessions.needles
        self._file.seek(offset)
        buffer = _spare.pop() if _spare else bytearray(_BUFFER)
        try:
            return self._fill(reader, buffer, offset, needles)
        finally:
            # Memory that was touched before is filled twice as fast as new one.
            if len(buffer) == _BUFFER and len(_spare) < _MOST_SPARE:
                _spare.append(buffer)

    def _fill(
        self, reader: LineReader[Row], buffer: bytearray, offset: int, needles: Sequence[bytes]
    ) -> tuple[int, bytes]:
        filled, start = 0, offset
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
            if filled > last:
                buffer[: filled - last] = buffer[last:filled]
            filled -= last
            offset += last
            if self._most is not None and offset - start >= self._most:
                self._cut = True
                return offset, b""

    def _skip_line(self) -> int | None:
        """Goes to the next line; None when there is none."""
        while piece := self._file.read(_BUFFER):
            at = piece.find(b"\n")
            if at >= 0:
                after: int = self._file.seek(at + 1 - len(piece), os.SEEK_CUR)
                return after
        return None

    def _search(
        self, reader: LineReader[Row], buffer: bytearray, end: int, needles: Sequence[bytes], offset: int
    ) -> None:
        """Feeds the lines before `end` that hold a needle, in order."""
        feed, seek, back = reader.feed, buffer.find, buffer.rfind
        if len(needles) == 1:
            needle = needles[0]
            at = find(buffer, needle, 0, end)
            while at >= 0:
                start = back(b"\n", 0, at) + 1
                stop = seek(b"\n", at, end)
                feed(buffer[start:stop], offset + start)
                at = find(buffer, needle, stop, end)
            return
        where = [_find_before(buffer, needle, 0, end) for needle in needles]
        while (at := min(where, default=end)) < end:
            start = back(b"\n", 0, at) + 1
            stop = seek(b"\n", at, end)
            feed(buffer[start:stop], offset + start)
            for number, position in enumerate(where):
                if position < stop:
                    where[number] = _find_before(buffer, needles[number], stop, end)


def _find_before(buffer: bytearray, needle: bytes, start: int, end: int) -> int:
    at: int = find(buffer, needle, start, end)
    return at if at >= 0 else end


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
