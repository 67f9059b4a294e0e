"""Folders of runs that are still there: how large they are, and what in them git alone cannot keep."""

from __future__ import annotations

import os
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agented.projects.git import Git, Place

MOST_ENTRIES = 50_000
MOST_S = 0.5
ARCHIVE = ".repository.tar"
_CLOCK_EVERY = 256


@dataclass(slots=True)
class Measured:
    """bytes: of the files seen. partial: not all were. odd: there is a repository inside, or what cannot be read.
    newest: when the file changed last that did.
    """

    bytes: int = 0
    entries: int = 0
    partial: bool = False
    odd: bool = False
    newest: float = 0.0


def measure(folder: Path, *, most_entries: int = MOST_ENTRIES, most_s: float = MOST_S) -> Measured:
    """Looks through a folder without following links, no longer than allowed."""
    found, until = Measured(), time.monotonic() + most_s
    todo = [str(folder)]
    while todo:
        parent = todo.pop()
        for entry in _entries(parent, found):
            found.entries += 1
            if found.entries > most_entries or (found.entries % _CLOCK_EVERY == 0 and time.monotonic() > until):
                found.partial = True
                return found
            _count(entry, parent == str(folder), found, todo)
    return found


def _entries(folder: str, found: Measured) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError:
        found.odd = True


def _count(entry: os.DirEntry[str], at_top: bool, found: Measured, todo: list[str]) -> None:
    try:
        is_folder = entry.is_dir(follow_symlinks=False)
        stat = entry.stat(follow_symlinks=False)
    except OSError:
        # Gone since: a run may be at work.
        return
    # The worktree's own link to its repository is a file at the top.
    if entry.name == ".git" and (is_folder or not at_top):
        found.odd = True
    if is_folder:
        todo.append(entry.path)
        return
    found.bytes += stat.st_size
    found.newest = max(found.newest, stat.st_mtime)


def archive_repositories(git: Git, place: Place, scratch: Path) -> bool:
    """Puts each repository inside the work tree as an archive of all it holds into the place's temporary index.

    False when one cannot be read.
    """
    assert place.work_tree is not None
    names = [str(folder.relative_to(place.work_tree)) for folder in git.nested(place)]
    if (place.work_tree / ".git").is_dir():
        names.append(".git")
    try:
        for number, name in enumerate(names):
            packed = scratch / f"{number}.tar"
            with tarfile.open(packed, "w") as archive:
                archive.add(place.work_tree / name, arcname=Path(name).name)
            # Git takes no entry called `.git`.
            git.put_file(place, packed, ("git" if name == ".git" else name) + ARCHIVE, None if name == ".git" else name)
            packed.unlink()
    except OSError:
        return False
    return True
