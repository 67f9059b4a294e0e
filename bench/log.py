"""Pages and searches anywhere in a million lines, beside ripgrep on the same bytes."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from agented.executions import keeping
from agented.executions.output import Kept
from bench.keeper import start
from bench.measure import Row, once, quantile, timed

_WRITE = (
    "import sys\n"
    "for start in range(0, 1_000_000, 1000):\n"
    "    sys.stdout.write(''.join('2026-11-23 12:00:00 INFO worker handled item %07d, queue depth 12, took 34 ms, ok'"
    " ' %s\\n' % (n, 'x' * 20) for n in range(start + 1, start + 1001)))\n"
)


def rows() -> list[Row]:
    folder = Path(tempfile.mkdtemp(prefix="agented-bench-"))
    try:
        child = start(folder, [sys.executable, "-I", "-S", "-c", _WRITE])
        child.reap(120)
        assert keeping.read_exit(folder / "attempt-1") is not None
        whole = folder / "whole.txt"
        with Kept(folder) as kept, whole.open("wb") as file:
            for block in kept.raw(0, kept.size()):
                file.write(block)
        return [*_pages(folder), *_searches(folder, whole)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _pages(folder: Path) -> list[Row]:
    chance = random.Random(7)
    times = []
    for _ in range(1000):
        first = chance.randrange(1, 999_800)

        def page(first: int = first) -> None:
            with Kept(folder) as kept:
                assert kept.lines(first, 200)[0].n == first

        times.append(once(page) * 1000)
    p99 = quantile(times, 0.99)
    return [
        Row("page of 200 lines in a million, median", quantile(times, 0.5), "ms"),
        Row("page of 200 lines in a million, p99", p99, "ms", aim="<= 2", met=p99 <= 2),
    ]


def _searches(folder: Path, whole: Path) -> list[Row]:
    found = []
    for name, text in (("one match", "item 0777777,"), ("no match", "not in there"), ("1,000 matches", "item 0777")):

        def search(text: str = text) -> None:
            with Kept(folder) as kept:
                kept.search(text, 1000)

        def grep(text: str = text) -> None:
            subprocess.run(["rg", "-F", "-n", "--no-config", text, str(whole)], stdout=subprocess.DEVNULL, check=False)

        ours = timed(search, 9) * 1000
        if shutil.which("rg") is None:
            found.append(Row(f"search in a million lines, {name}", ours, "ms", note="ripgrep is not installed"))
            continue
        peer = timed(grep, 9) * 1000
        found.append(
            Row(f"search in a million lines, {name}", ours, "ms", "ripgrep", peer, "<= 1.5x", ours <= 1.5 * peer)
        )
    return found
