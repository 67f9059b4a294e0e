"""Work that is spread over copies of the process is done whole, whatever becomes of them."""

from __future__ import annotations

import os
import signal

import psutil

from agented.kit.forks import can_fork, spread

SHARES = [[1, 2, 3], [4, 5], []]


def copies() -> list[psutil.Process]:
    """Children that are copies of this very process; others belong to other tests' fixtures."""
    mine = psutil.Process()
    return [one for one in mine.children() if one.cmdline() == mine.cmdline()]


def test_every_part_is_done_once_and_no_copy_is_left() -> None:
    done = sorted(spread(SHARES, lambda part: [part * part, "x" * 200_000]))
    assert [(share, index, result[0]) for share, index, result in done] == [
        (0, 0, 1),
        (0, 1, 4),
        (0, 2, 9),
        (1, 0, 16),
        (1, 1, 25),
    ]
    assert copies() == []


def test_what_a_killed_copy_leaves_is_done_here() -> None:
    here = os.getpid()

    def work(part: int) -> int:
        if part == 2 and os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return part

    assert can_fork()
    assert sorted(result for _, _, result in spread(SHARES, work)) == [1, 2, 3, 4, 5]
    assert copies() == []
