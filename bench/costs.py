"""Reading session files for what they cost, beside `ccusage` on the same files in the same run.

Trees of 10 MB, 200 MB and 1 GB are made in a temporary folder, with the truth about them by construction. Each is read
for the first time, with nothing new, and after one part in a hundred was added: as a process (`agented costs scan`) and
within a running server (its collector, over a database of its own).
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from scripts.install_clis import DEFAULT_FOLDER, cost_oracle
from tests.fakes.sessions import Tree, large, told

from agented.backends.registry import Registry
from agented.costs.collector import Collector
from agented.kit.clock import SystemClock
from agented.kit.db import Database
from agented.migrations.upgrade import upgrade
from agented.sessions.model import Home
from agented.sessions.watching import Watching
from bench.measure import Row, base_env

_SIZES = (10, 200, 1000)
_ROUNDS = 3
_REFRESHES = 15
_ROOM = 3
_HEARD_S = 4.0


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a program: seconds, its CPU seconds, and the most memory that one of its processes took."""

    seconds: float
    cpu_s: float
    megabytes: float
    said: str


def rows() -> list[Row]:
    program = cost_oracle(DEFAULT_FOLDER)
    return [row for size in _SIZES for row in _rows_of(size, program)]


def _rows_of(size: int, program: Path | None) -> Iterator[Row]:
    with _folder(size) as folder:
        home = folder / "home"
        tree = large(home, size)
        known, peer = folder / "known", "ccusage" if program else "ccusage is not installed"
        first, theirs = [], []
        for _ in range(_ROUNDS):
            shutil.rmtree(known, ignore_errors=True)
            first.append(_scan(home, known))
            if program is not None:
                theirs.append(_peer(program, home))
        beside = _middle(theirs, lambda one: one.seconds)
        again = [_scan(home, known) for _ in range(_ROUNDS)]
        with _collector(folder, home) as collector:
            started = time.perf_counter()
            collector.collect()
            server_first = time.perf_counter() - started
            looked = _refreshes(collector, whole=True)
            with _watched(collector, home):
                idle = _refreshes(collector, whole=False)
                _append(tree)
                # As in the server, whose collector is rung when changes were heard of.
                time.sleep(_HEARD_S)
                started = time.perf_counter()
                collector.collect(whole=False)
                server_grown = time.perf_counter() - started
            assert collector.collect() == 0, "what was heard of is all there was"
            grown = [_scan(home, known)]
            if program is not None:
                theirs.append(_peer(program, home))
        wrong = _errors(tree, grown[-1])
        yield from _figures(size, first, again, grown, beside, peer, theirs)
        limit = None if beside is None else idle <= beside / 200
        yield Row(f"costs, {size} MB, server, first", server_first * 1000, "ms", peer, _ms(beside))
        yield Row(
            f"costs, {size} MB, server, nothing new, every file looked at", looked * 1000, "ms", peer, _ms(beside)
        )
        yield Row(
            f"costs, {size} MB, server, nothing new",
            idle * 1000,
            "ms",
            peer,
            _ms(beside),
            "<= 1/200" if size == 1000 else "",
            limit if size == 1000 else None,
        )
        yield Row(
            f"costs, {size} MB, server, 1 % more",
            server_grown * 1000,
            "ms",
            peer,
            _ms(theirs[-1].seconds if theirs else None),
        )
        yield Row(f"costs, {size} MB, errors in tokens and money", wrong, "of all", aim="0", met=wrong == 0)


def _figures(
    size: int, first: list[Run], again: list[Run], grown: list[Run], beside: float | None, peer: str, theirs: list[Run]
) -> Iterator[Row]:
    seconds = _middle(first, lambda one: one.seconds)
    assert seconds is not None
    aim = beside is not None and size == 1000
    yield Row(
        f"costs, {size} MB, process, first",
        seconds * 1000,
        "ms",
        peer,
        _ms(beside),
        "<= 0.45x" if aim else "",
        seconds <= 0.45 * beside if aim and beside else None,
    )
    for name, runs in (("nothing new", again), ("1 % more", grown)):
        yield Row(
            f"costs, {size} MB, process, {name}",
            _ms(_middle(runs, lambda one: one.seconds)) or 0,
            "ms",
            peer,
            _ms(beside),
        )
    yield Row(
        f"costs, {size} MB, process, first, CPU",
        _ms(_middle(first, lambda one: one.cpu_s)) or 0,
        "ms",
        peer,
        _ms(_middle(theirs, lambda one: one.cpu_s)),
    )
    yield Row(
        f"costs, {size} MB, process, first, memory",
        _middle(first, lambda one: one.megabytes) or 0,
        "MB",
        peer,
        _middle(theirs, lambda one: one.megabytes),
    )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def _middle(runs: list[Run], of: Callable[[Run], float]) -> float | None:
    return statistics.median(of(one) for one in runs) if runs else None


@contextmanager
def _folder(size: int) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="agented-bench-"))
    try:
        if shutil.disk_usage(folder).free < _ROOM * size * 1_000_000:
            raise SystemExit(f"{folder} has no room for {_ROOM * size} MB")
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _scan(home: Path, known: Path) -> Run:
    words = ["costs", "scan", "--home", str(home), "--data", str(known), "--json"]
    return _run([sys.executable, "-m", "agented", *words], {**base_env(), "TZ": "UTC"})


def _peer(program: Path, home: Path) -> Run:
    return _run([str(program), "daily", "--offline", "--json"], {**base_env(), "TZ": "UTC", "HOME": str(home)})


def _run(command: list[str], env: dict[str, str]) -> Run:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = child.stdout.read()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    if child.returncode != 0:
        raise SystemExit(f"{command[0]} ended with {child.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(seconds, cpu_s, used.ru_maxrss / 1000, said)


@contextmanager
def _collector(folder: Path, home: Path) -> Iterator[Collector]:
    backends = Registry().all()
    db = Database(f"sqlite:///{folder / 'agented.db'}")
    upgrade(db)
    yield Collector(
        db=db,
        clock=SystemClock(),
        backends=lambda: backends,
        person=home,
        homes=lambda: [Home(one.name, f"{one.name}:default", None) for one in backends],
        owners=lambda _: {},
        project_of=lambda _: None,
        zone="UTC",
    )
    db.close()


@contextmanager
def _watched(collector: Collector, home: Path) -> Iterator[None]:
    """As in the server: what changes is heard of."""
    kept = [one.sessions for one in Registry().all() if one.sessions is not None]
    watching = Watching(folders=lambda: [place.folder for one in kept for place in one.own_places(home)])
    collector.changes = watching.add(collector.hear)
    thread = threading.Thread(target=watching.run)
    thread.start()
    time.sleep(_HEARD_S)
    try:
        yield
    finally:
        watching.stop()
        thread.join()


def _refreshes(collector: Collector, *, whole: bool) -> float:
    taken = []
    # What was written within the last two seconds is looked at more closely.
    time.sleep(2.1)
    collector.collect()
    for _ in range(_REFRESHES):
        started = time.perf_counter()
        collector.collect(whole=whole)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def _append(tree: Tree) -> None:
    """A hundredth of the bytes, in as many files as that takes."""
    aim = tree.written + tree.written // 100
    size = tree.written
    for path in sorted((tree.home / ".claude").rglob("ses-*.jsonl")):
        with path.open("a", encoding="utf-8") as out:
            out.write("\n")
            for _ in range(20):
                size += sum(map(len, tree.claude_answer(out, path.stem)))
        if size >= aim:
            return


def _errors(tree: Tree, run: Run) -> int:
    cent = Decimal("1e-8")
    true = {
        key: (*row[:-1], None if row[-1] is None else row[-1].quantize(cent)) for key, row in tree.truth.rows().items()
    }
    ours = told(json.loads(run.said))
    return sum(ours.get(key) != true.get(key) for key in ours.keys() | true.keys())
