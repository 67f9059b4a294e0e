"""Collects changes as files, hunks and counts, from git itself, within bounds."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from agented.kit.errors import Conflict
from agented.projects.diff import Changed, FilePatch, Pair, read_list, read_patch
from agented.projects.git import Git, Place
from agented.projects.model import ChangedFile, Changes, FileStatus, Hunk, Stats

MOST_FILE_BYTES = 1 << 20
MOST_FILE_LINES = 20_000
MOST_BYTES = 8 << 20
"""Of hunks in one answer; the files beyond are listed and counted without theirs."""
MOST_READ_BYTES = 64 << 20
"""Of contents that are compared line by line for one answer."""
MOST_BLOB_BYTES = 16 << 20
MOST_PATCH_BYTES = 256 << 20
_MOST_ARGUMENT_BYTES = 60_000
_LONG_S = 600.0

_FLAGS = (
    "-r",
    "--find-renames",
    "--no-color",
    "--no-abbrev",
    "--full-index",
    "--no-ext-diff",
    "--no-textconv",
    "--ignore-submodules=dirty",
    "--submodule=short",
    "--src-prefix=a/",
    "--dst-prefix=b/",
)


@dataclass(frozen=True, slots=True)
class Span:
    """What to compare. head: a commit, or None for the temporary index of the place."""

    place: Place
    base: str
    head: str | None

    def args(self, *flags: str, paths: Iterable[str] = ()) -> list[str]:
        if self.head is None:
            return ["diff-index", "--cached", *_FLAGS, *flags, self.base, "--", *paths]
        return ["diff-tree", *_FLAGS, *flags, self.base, self.head, "--", *paths]


def collect(git: Git, span: Span) -> Changes:
    listed = _list(git, span)
    readable = _within_bounds(git, span, listed)
    patches = _patches(git, span, readable, whole=len(readable) == sum(file.additions is not None for file in listed))
    files = tuple(_files(listed, {id(file) for file in readable}, patches))
    stats = Stats(len(files), sum(file.additions for file in files), sum(file.deletions for file in files))
    return Changes(base=span.base, head=span.head, stats=stats, files=files)


def nothing(base: str, head: str | None) -> Changes:
    return Changes(base=base, head=head, stats=Stats(0, 0, 0), files=())


def make_patch(git: Git, span: Span) -> bytes:
    """The whole difference, binary files too, as `git apply` takes it. Raises Conflict when it is too large."""
    sizes = _sizes(git, span, _list(git, span))
    if sum(sizes) > MOST_PATCH_BYTES:
        raise Conflict(
            f"The patch would be larger than {MOST_PATCH_BYTES >> 20} MiB.",
            code="patch_too_large",
            hint="Take the branch or the snapshot ref of this run from the repository instead.",
        )
    return git.run(span.args("--patch", "--binary"), place=span.place, timeout_s=_LONG_S)


def _list(git: Git, span: Span) -> list[Changed]:
    return read_list(git.run(span.args("--raw", "--numstat", "-z"), place=span.place, timeout_s=_LONG_S))


def _sizes(git: Git, span: Span, files: Sequence[Changed]) -> list[int]:
    """Bytes of the old and the new content of each file together."""
    names = [oid for file in files for oid in (file.old_oid, file.new_oid)]
    sizes = [0 if entry is None else entry.size for entry in git.look_up(span.place, names)]
    return [old + new for old, new in zip(sizes[::2], sizes[1::2], strict=True)]


def _within_bounds(git: Git, span: Span, listed: Sequence[Changed]) -> list[Changed]:
    """The text files whose hunks are to be shown, in git's order, until the answer is full."""
    texts = [file for file in listed if file.additions is not None and file.deletions is not None]
    chosen, read = [], 0
    for file, size in zip(texts, _sizes(git, span, texts), strict=True):
        lines = (file.additions or 0) + (file.deletions or 0)
        if lines <= MOST_FILE_LINES and size <= MOST_BLOB_BYTES and read + size <= MOST_READ_BYTES:
            chosen.append(file)
            read += size
    return chosen


def _patches(git: Git, span: Span, files: Sequence[Changed], *, whole: bool) -> dict[Pair, FilePatch]:
    if not files:
        return {}
    if whole:
        return read_patch(git.run(span.args("--patch"), place=span.place, timeout_s=_LONG_S))
    found: dict[Pair, FilePatch] = {}
    for names in _batches(files):
        args = span.args("--patch", paths=map(os.fsdecode, names))
        found |= read_patch(git.run(args, place=span.place, timeout_s=_LONG_S))
    return found


def _batches(files: Iterable[Changed]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for file in files:
        names = [file.path] if file.old_path is None else [file.old_path, file.path]
        if batch and size + sum(map(len, names)) > _MOST_ARGUMENT_BYTES:
            yield batch
            batch, size = [], 0
        batch += names
        size += sum(len(name) + 8 for name in names)
    if batch:
        yield batch


def _files(listed: Iterable[Changed], readable: set[int], patches: dict[Pair, FilePatch]) -> Iterator[ChangedFile]:
    shown = 0
    for file in listed:
        hunks: tuple[Hunk, ...] = ()
        binary = file.additions is None
        truncated = not binary and id(file) not in readable
        if not binary and not truncated:
            parts = [patches[pair] for pair in file.pairs if pair in patches]
            size = sum(part.size for part in parts)
            hunks = tuple(hunk for part in parts for hunk in part.hunks)
            # Git pairs renames anew when it is given a part of the files: then a pair can be missing.
            lost = not hunks and bool(file.additions or file.deletions)
            truncated = lost or size > MOST_FILE_BYTES or shown + size > MOST_BYTES
            hunks = () if truncated else hunks
            shown += 0 if truncated else size
        yield ChangedFile(
            path=file.path.decode("utf-8", "replace"),
            old_path=None if file.old_path is None else file.old_path.decode("utf-8", "replace"),
            status=FileStatus(file.status),
            old_mode=file.old_mode,
            new_mode=file.new_mode,
            binary=binary,
            additions=file.additions or 0,
            deletions=file.deletions or 0,
            hunks=hunks,
            truncated=truncated,
        )
