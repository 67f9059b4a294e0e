"""Spreads work over copies of this process, for as long as one piece of work takes."""

from __future__ import annotations

import fcntl
import marshal
import os
import selectors
import struct
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, TypeVar

Part = TypeVar("Part")
_LENGTH = struct.Struct("<I")
_PIECE = 1 << 20


def can_fork() -> bool:
    """Whether copies may be made: elsewhere libraries of the system do not survive it."""
    return sys.platform == "linux"


def spread(parts: Sequence[Sequence[Part]], work: Callable[[Part], Any]) -> Iterator[tuple[int, int, Any]]:
    """Does the parts of each share in a process of its own and gives share, number and result as they come.

    Results are plain values. What a process leaves undone because it dies is done here. The caller has no other thread.
    """
    pipes: dict[int, tuple[int, int]] = {}
    left = [set(range(len(share))) for share in parts]
    buffers: dict[int, bytearray] = {}
    try:
        for number, share in enumerate(parts):
            reads, writes = os.pipe()
            with suppress(OSError):
                # So that none waits while what came is put away.
                fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, _PIECE)
            with warnings.catch_warnings():
                # Newer Pythons warn of threads; the caller has none that holds a lock.
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
            if pid == 0:
                _be_child(share, work, writes, [reads, *pipes])
            os.close(writes)
            pipes[reads] = (number, pid)
            buffers[reads] = bytearray()
        with selectors.DefaultSelector() as selector:
            for reads in pipes:
                selector.register(reads, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select():
                    piece = os.read(key.fd, _PIECE)
                    if not piece:
                        selector.unregister(key.fd)
                        continue
                    buffer = buffers[key.fd]
                    buffer += piece
                    for index, result in _complete(buffer):
                        number = pipes[key.fd][0]
                        left[number].discard(index)
                        yield number, index, result
    finally:
        for reads, (_, pid) in pipes.items():
            os.close(reads)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)
    for number, missing in enumerate(left):
        for index in sorted(missing):
            yield number, index, work(parts[number][index])


def _complete(buffer: bytearray) -> list[tuple[int, Any]]:
    found, at = [], 0
    while len(buffer) - at >= _LENGTH.size:
        (length,) = _LENGTH.unpack_from(buffer, at)
        end = at + _LENGTH.size + length
        if end > len(buffer):
            break
        found.append(marshal.loads(memoryview(buffer)[at + _LENGTH.size : end]))  # noqa: S302 - of our own process
        at = end
    del buffer[:at]
    return found


def _be_child(share: Sequence[Part], work: Callable[[Part], Any], writes: int, others: Sequence[int]) -> None:
    """Never returns, and never runs what its parent would do at its end."""
    status = 1
    try:
        for other in others:
            os.close(other)
        with os.fdopen(writes, "wb", buffering=_PIECE) as pipe:
            for index, part in enumerate(share):
                told = marshal.dumps((index, work(part)))
                pipe.write(_LENGTH.pack(len(told)) + told)
                pipe.flush()
        status = 0
    finally:
        os._exit(status)
