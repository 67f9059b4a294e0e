"""Values of this room: homes of CLIs, files in them, and how far these were read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from agented.backends.contract import Kept


@dataclass(frozen=True, slots=True)
class Home:
    """A CLI home that belongs to an account; None is the person's own."""

    source: str
    account: str
    path: Path | None


class Found(NamedTuple):
    """A session file as it stands on the disk, and whose it is. size, mtime: of the database and its log together."""

    path: str
    source: str
    account: str
    kept: Kept
    size: int
    mtime: int
    inode: int


class Bookmark(NamedTuple):
    """How far a file was read. mark: a print of what stands before the offset; state: what its reader must know."""

    path: str
    size: int
    mtime: int
    inode: int
    offset: int
    mark: str
    state: str
