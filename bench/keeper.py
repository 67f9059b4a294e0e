"""The keeper between a CLI and the disk, beside `cat` writing the same bytes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from agented.executions import keeping
from agented.kit.ids import new_id
from bench.measure import Row, children_cpu_s, timed

_LINES = 3_000_000
_SPEW = (
    "import os\n"
    "block = b'x' * 99 + b'\\n'\n"
    "block *= 655\n"
    "left = {size}\n"
    "while left > 0: left -= os.write(1, block[:left])\n"
)


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="agented-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def start(folder: Path, argv: list[str], secrets: tuple[str, ...] = ()) -> keeping.Child:
    return keeping.start(
        keeping.Order(
            attempt_id=new_id("att"),
            number=1,
            log=folder,
            folder=folder / "attempt-1",
            argv=argv,
            env={"PATH": os.defpath},
            cwd=folder,
            stdin=None,
            secrets=secrets,
            wall_s=600,
            silence_s=600,
            max_bytes=1 << 40,
            grace_s=1,
        )
    )


def _keep(size: int, secrets: tuple[str, ...] = ()) -> tuple[float, float, float]:
    """Seconds, the keeper's own CPU seconds, and growth of its memory in MB."""
    with _folder() as folder:
        begun = time.perf_counter()
        child = start(folder, [sys.executable, "-I", "-S", "-c", _SPEW.format(size=size)], secrets)
        process = psutil.Process(child.pid)
        base = peak = process.memory_info().rss
        cpu = 0.0
        while keeping.read_exit(folder / "attempt-1") is None:
            try:
                peak = max(peak, process.memory_info().rss)
                times = process.cpu_times()
                cpu = times.user + times.system
            except psutil.Error:
                break
            time.sleep(0.005)
        child.reap()
        return time.perf_counter() - begun, cpu, (peak - base) / 1e6


def _cat(size: int) -> tuple[float, float]:
    with _folder() as folder:
        begun, cpu = time.perf_counter(), children_cpu_s()
        with (folder / "out").open("wb") as out:
            spew = subprocess.Popen([sys.executable, "-I", "-S", "-c", _SPEW.format(size=size)], stdout=subprocess.PIPE)
            subprocess.run(["cat"], stdin=spew.stdout, stdout=out, check=True)
            spew.wait()
        return time.perf_counter() - begun, children_cpu_s() - cpu


def rows(times: int = 3) -> list[Row]:
    size = _LINES * 100
    floor = sorted(_cat(size) for _ in range(times))[times // 2]
    ours = sorted(_keep(size) for _ in range(times))[times // 2]
    masked = sorted(_keep(size, ("a-secret-that-is-not-there", "another-secret")) for _ in range(times))[times // 2]
    flood = _keep(1_000_000_000)
    flood_cat = _cat(1_000_000_000)
    rate = _LINES / ours[0]
    return [
        Row("keeper to disk", rate, "lines/s", "cat", _LINES / floor[0], ">= 3,000,000", rate >= 3e6),
        Row("keeper to disk, 2 secrets masked", _LINES / masked[0], "lines/s", "cat", _LINES / floor[0]),
        Row("keeper's CPU per million lines", ours[1] / _LINES * 1e6, "s", note="user and system, without the CLI"),
        Row("1 GB flood", flood[0], "s", "cat", flood_cat[0]),
        Row("keeper's growth in the flood", flood[2], "MB", aim="<= 64", met=flood[2] <= 64),
        _start_row(),
    ]


def _start_row() -> Row:
    with _folder() as folder:
        count = iter(range(1000))

        def one() -> None:
            inner = folder / str(next(count))
            inner.mkdir()
            child = start(inner, ["/bin/true"])
            while keeping.read_exit(inner / "attempt-1") is None:
                time.sleep(0.001)
            child.reap()

        ours = timed(one, 21)
    floor = timed(lambda: os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0), 21)
    return Row("keeper: start, run `true`, end", ours * 1000, "ms", "posix_spawn + wait", floor * 1000)
