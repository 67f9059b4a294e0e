"""Counts the session files of one home folder, without a server: what is known is kept in a folder that is named."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from agented.backends.contract import Backend
from agented.costs import store
from agented.costs.ledger import Counting, Days, Ledger, reprice
from agented.costs.model import Answer, CellKey, Filter, Group, Source, Sums
from agented.costs.prices import SHIPPED, Prices, load_prices, to_dollars
from agented.kit.forks import can_fork, spread
from agented.sessions.model import Bookmark, Found
from agented.sessions.reading import Finder, read_new

_FILE = "costs.db"
_WORTH_FORKING = 48 << 20
_BATCH = 15_000
_MOST_FORKS = 4

_Read = tuple[list[Any], list[Any], tuple[Any, ...]]


def scan(
    home: Path,
    folder: Path,
    backends: Sequence[Backend],
    *,
    prices_file: Path | None = None,
    zone: str | None = None,
    fork_from: int = _WORTH_FORKING,
) -> dict[str, Any]:
    """Reads what is new below the home folder and gives the sums of all ever read, by source, model and day.

    zone: whose days; by default the machine's. fork_from: as many new bytes are read by several processes.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    sources = {one.name: Source(one.name, one.sessions) for one in backends if one.sessions is not None}
    path = folder / _FILE
    # What is built for the first time has its name only when it is whole: no journal is needed for that.
    built = None if path.exists() else folder / f".{_FILE}.{os.getpid()}"
    try:
        answer = _scan(
            home, path if built is None else built, sources, prices_file, zone, fork_from, new=built is not None
        )
        if built is not None:
            built.replace(path)
    finally:
        if built is not None:
            built.unlink(missing_ok=True)
    return answer


def _scan(
    home: Path,
    path: Path,
    sources: dict[str, Source],
    prices_file: Path | None,
    zone: str | None,
    fork_from: int,
    *,
    new: bool,
) -> dict[str, Any]:
    with closing(store.open_own(str(path), new=new)) as kept:
        shelf = store.Shelf(kept.cursor())
        finders = [_finder(home, source) for source in sources.values()]
        marks, stamp = store.files(shelf), _stamp(prices_file)
        fresh = [found for finder in finders for found in finder.look(marks)]
        gone = marks.keys() - {path for finder in finders for path in finder.paths()}
        if fresh or gone:
            counting = Counting(load_prices(prices_file), Days(zone))
            _collect(shelf, fresh, gone, sources, counting, fork_from)
        if store.noted(shelf, "price files") != stamp:
            _price_again(shelf, prices_file, stamp, zone)
        return {"totals": [_total(*row) for row in store.sums(shelf, _GROUPS, Filter())]}


_GROUPS = (Group.SOURCE, Group.MODEL, Group.DAY)


def _total(names: Sequence[str], sums: Sums) -> dict[str, Any]:
    source, model, day = names
    return {
        "source": source,
        "model": model,
        "date": day,
        "messages": sums.messages,
        "input": sums.input,
        "output": sums.output,
        "cache_read": sums.cache_read,
        "cache_write": sums.cache_write,
        "cache_write_1h": sums.cache_write_1h,
        "reasoning": sums.reasoning,
        "cost_usd": None if sums.messages == sums.unpriced else float(to_dollars(sums.cost)),
    }


def _finder(home: Path, source: Source) -> Finder:
    return Finder(source.sessions.own_places(home), source.name, f"{source.name}:default")


def _stamp(own: Path | None) -> str:
    """Tells one state of the price files from another without reading them."""
    stats = [one.stat() for one in (SHIPPED, own) if one is not None and one.exists()]
    return " ".join(f"{stat.st_size}/{stat.st_mtime_ns}" for stat in stats)


def _collect(
    shelf: store.Shelf,
    fresh: Sequence[Found],
    gone: Iterable[str],
    sources: dict[str, Source],
    counting: Counting,
    fork_from: int,
) -> None:
    """One transaction: a scan that is killed has read nothing, and two at once wait for each other."""
    shelf.act("BEGIN IMMEDIATE")
    try:
        marks = store.files(shelf)
        ledger = Ledger()
        ledger.begin(shelf)
        for answers, next_marks in _batches(_read_all(fresh, marks, sources, counting, fork_from)):
            ledger.put(shelf, answers, next_marks)
        store.drop_files(shelf, gone)
        shelf.act("COMMIT")
    except BaseException:
        shelf.act("ROLLBACK")
        raise


def _read_all(
    todo: Sequence[Found],
    marks: dict[str, Bookmark],
    sources: dict[str, Source],
    counting: Counting,
    fork_from: int,
) -> Iterator[_Read]:
    def read(found: Found) -> _Read:
        rows, mark = read_new(found, marks.get(found.path), sources[found.source].sessions)
        return _plain(counting.answers(rows, found.source, found.account), mark)

    fresh = sum(found.size - (mark.offset if (mark := marks.get(found.path)) else 0) for found in todo)
    count = min(os.cpu_count() or 1, _MOST_FORKS)
    if fresh < fork_from or count < 2 or not can_fork():
        yield from map(read, todo)
        return
    for _, _, result in spread(_shares(todo, count), read):
        yield result


def _shares(todo: Sequence[Found], count: int) -> list[list[Found]]:
    """About the same number of bytes for each."""
    shares: list[list[Found]] = [[] for _ in range(count)]
    sizes = [0] * count
    for found in sorted(todo, key=lambda one: -one.size):
        least = sizes.index(min(sizes))
        shares[least].append(found)
        sizes[least] += found.size
    return shares


def _plain(answers: Sequence[Answer], mark: Bookmark) -> _Read:
    """As it may go from one process to another; each cell once."""
    numbers: dict[CellKey, int] = {}
    rows = [(*answer[:-1], numbers.setdefault(answer.cell, len(numbers))) for answer in answers]
    return rows, [tuple(key) for key in numbers], tuple(mark)


def _batches(reads: Iterable[_Read]) -> Iterator[tuple[list[Answer], list[Bookmark]]]:
    answers: list[Answer] = []
    marks: list[Bookmark] = []
    make: Callable[[Iterable[Any]], Answer] = Answer._make
    for rows, keys, mark in reads:
        cells = [CellKey._make(key) for key in keys]
        answers += [make((*row[:-1], cells[row[-1]])) for row in rows]
        marks.append(Bookmark._make(mark))
        if len(answers) >= _BATCH:
            yield answers, marks
            answers, marks = [], []
    yield answers, marks


def _price_again(shelf: store.Shelf, prices_file: Path | None, stamp: str, zone: str | None) -> None:
    """A new table prices what had no price; a person's own file has a say about everything."""
    shelf.act("BEGIN IMMEDIATE")
    try:
        prices: Prices = load_prices(prices_file)
        before = store.noted(shelf, "prices")
        if before and before != prices.version:
            own = before.partition("+")[2] != prices.version.partition("+")[2]
            reprice(shelf, Counting(prices, Days(zone)), all=own)
        store.note(shelf, "prices", prices.version)
        store.note(shelf, "price files", stamp)
        shelf.act("COMMIT")
    except BaseException:
        shelf.act("ROLLBACK")
        raise
