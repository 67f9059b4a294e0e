"""Puts what session files tell into the ledger: each answer once, whatever tells of it, in the cell of its kind."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any

from agented.backends.contract import Usage
from agented.costs import store
from agented.costs.model import SYNTHETIC, Answer, CellKey, Sums
from agented.costs.prices import Prices, to_pico
from agented.sessions.model import Bookmark

_QUARTER = 900 * 1_000_000
_MOST_TOKENS = 10**8
"""No answer takes more; a file that says so is not one of a CLI's."""
_LONGEST_NAME = 200
_LONGEST_PATH = 4000
_ROW_COUNTS = slice(6, 12)
_CELL, _RANK, _SIDE, _COST = 2, 3, 4, 13


class Days:
    """The day of a time, where this machine is or in a zone. Zones differ by whole quarters of an hour."""

    def __init__(self, zone: str | None = None) -> None:
        self._zone = None if zone is None else _zone_of(zone)
        self._known: dict[int, str] = {}

    def of(self, at: int) -> str:
        quarter = at // _QUARTER
        day = self._known.get(quarter)
        if day is None:
            day = self._known[quarter] = self._day(at // 1_000_000)
        return day

    def _day(self, seconds: int) -> str:
        if self._zone is not None:
            return datetime.fromtimestamp(seconds, UTC).astimezone(self._zone).date().isoformat()
        return time.strftime("%Y-%m-%d", time.localtime(seconds))


def _zone_of(name: str) -> tzinfo:
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)


class Counting:
    """Makes answers of usage rows: prices them and says to which cell they belong."""

    def __init__(self, prices: Prices, days: Days) -> None:
        self._prices = prices
        self._days = days
        self._cells: dict[tuple[str, ...], CellKey] = {}
        self._texts: dict[str, str] = {}

    def answers(self, rows: Iterable[Usage], source: str, account: str) -> list[Answer]:
        """One file's, each once."""
        best: dict[tuple[str, str], Usage] = {}
        for row in rows:
            name = (row[0], row[1])
            other = best.get(name)
            if other is None or row[2] > other[2] or (row[2] == other[2] and row[8] < other[8]):
                best[name] = row
        self._cells.clear()
        self._texts.clear()
        prefix = f"{source}:"
        answers = [self._answer(row, prefix, source, account) for row in best.values()]
        return [answer for answer in answers if answer is not None]

    def _answer(self, row: Usage, prefix: str, source: str, account: str) -> Answer | None:
        (key, part, rank, side, session, workdir, model, provider, at) = row[:9]
        given, output, read, write, hour, reasoning, beside, fast, own = row[9:]
        if given > _MOST_TOKENS or output > _MOST_TOKENS or read > _MOST_TOKENS or write > _MOST_TOKENS:
            return None
        if hour > _MOST_TOKENS or reasoning > _MOST_TOKENS or beside > _MOST_TOKENS:
            return None
        cost, version = self.price(model, provider, fast, (given, output + beside, read, write, hour), own)
        day = self._days.of(at)
        kind = (session, model, provider, day, version, "fast" if fast else "")
        cell = self._cells.get(kind)
        if cell is None:
            cell = CellKey(source, account, _text(session), _text(model), _text(provider), day, fast, version)
            self._cells[kind] = cell
        folder = self._texts.get(workdir)
        if folder is None:
            folder = self._texts[workdir] = _text(workdir, _LONGEST_PATH)
        return Answer(
            prefix + (key if len(key) <= _LONGEST_NAME and "\0" not in key else _text(key)),
            part if len(part) <= _LONGEST_NAME and "\0" not in part else _text(part),
            rank,
            side,
            at,
            given,
            output,
            read,
            write,
            hour,
            reasoning,
            beside,
            cost,
            own is not None,
            folder,
            cell,
        )

    def price(
        self, model: str, provider: str, fast: bool, counts: tuple[int, int, int, int, int], own: float | None = None
    ) -> tuple[int | None, str]:
        """Picodollars and the version of the table they come from; nothing and no version for an unknown model."""
        if own is not None:
            return to_pico(own), ""
        if model == SYNTHETIC:
            return 0, self._prices.version
        price = self._prices.find(model, provider)
        if price is None:
            return None, ""
        return price.cost(*counts, fast=fast), self._prices.version


def _text(text: str, longest: int = _LONGEST_NAME) -> str:
    """As every database takes it."""
    return text[:longest].replace("\0", " ")


class Ledger:
    """Takes answers in and keeps the sums right. `put` and `flush` want a shelf on which it alone writes."""

    def __init__(self) -> None:
        self._known: set[int] | None = None

    def begin(self, shelf: store.Shelf) -> None:
        """Before a run of `put`: an empty ledger knows all it will hold, and need not look."""
        self._known = set() if store.is_empty(shelf) else None

    def end(self) -> None:
        self._known = None

    def put(self, shelf: store.Shelf, answers: Sequence[Answer], marks: Sequence[Bookmark]) -> int:
        """Within one transaction: the answers and how far their files were read. Gives how many were not known."""
        families: dict[str, list[Answer]] = {}
        for answer in answers:
            family = families.get(answer[0])
            if family is None:
                families[answer[0]] = [answer]
            else:
                _join(family, answer)
        there = store.messages(shelf, self._to_look_up(families))
        change = _Change(shelf)
        for name, family in families.items():
            before = there.get(name)
            if before is None:
                for answer in family:
                    change.add(answer)
            else:
                _merge(change, before, family)
        change.write(families.values())
        store.put_files(shelf, marks)
        return change.added

    def _to_look_up(self, families: Mapping[str, list[Answer]]) -> list[str]:
        if self._known is None:
            return list(families)
        known = self._known
        wanted = [name for name in families if hash(name) in known]
        known.update(hash(name) for name in families)
        return wanted


def _join(family: list[Answer], answer: Answer) -> None:
    """Adds to the answers of one name; of one part the higher rank stays, and replays go where something else is."""
    for number, other in enumerate(family):
        if other.part == answer.part or other.side or answer.side:
            if answer.rank > other.rank:
                family[number] = answer
                if not answer.side:
                    family[:] = [one for one in family if one is answer or not (one.side or one.part == answer.part)]
            return
    family.append(answer)


def _merge(change: _Change, before: list[tuple[Any, ...]], family: list[Answer]) -> None:
    """As `_join`, with what is in the ledger."""
    kept = list(before)
    for answer in family:
        rivals = [row for row in kept if row[1] == answer.part or row[_SIDE] or answer.side]
        if any(row[_RANK] >= answer.rank for row in rivals):
            continue
        for row in rivals:
            kept.remove(row)
            change.remove(row, replaced=row[1] == answer.part)
        change.add(answer, new=not any(row[1] == answer.part for row in rivals))


class _Change:
    """What a transaction changes, gathered before it is written."""

    def __init__(self, shelf: store.Shelf) -> None:
        self._shelf = shelf
        self._new: list[Answer] = []
        self._changed: list[Answer] = []
        self._dropped: list[tuple[str, str]] = []
        self._sums: dict[int, list[int]] = {}
        self.added = 0

    def add(self, answer: Answer, *, new: bool = True) -> None:
        (self._new if new else self._changed).append(answer)
        self.added += new

    def remove(self, row: Sequence[Any], *, replaced: bool) -> None:
        """replaced: another row is put in its place."""
        sums = self._sums.setdefault(row[_CELL], [0] * len(Sums._fields))
        _add(sums, row[_ROW_COUNTS], row[_COST], -1)
        if not replaced:
            self._dropped.append((row[0], row[1]))

    def write(self, families: Iterable[list[Answer]]) -> None:
        shelf = self._shelf
        ids = self._cells([*self._new, *self._changed])
        new, changed = self._rows(self._new, ids), self._rows(self._changed, ids)
        store.drop_messages(shelf, self._dropped)
        store.put_messages(shelf, new, new=True)
        store.put_messages(shelf, changed, new=False)
        store.add_to_cells(shelf, self._sums)
        store.note_sessions(shelf, _sessions(families))

    def _rows(self, answers: Iterable[Answer], ids: Mapping[CellKey, int]) -> list[tuple[Any, ...]]:
        """As they are stored. What they took is added to their cells."""
        rows, sums = [], self._sums
        for answer in answers:
            name, part, rank, side, at, given, output, read, write, hour, reasoning, beside, cost, own, _, key = answer
            cell = ids[key]
            counts = (given, output, read, write, hour, reasoning)
            rows.append((name, part, cell, rank, int(side), at, *counts, beside, cost, int(own)))
            sum_of = sums.get(cell)
            if sum_of is None:
                sum_of = sums[cell] = [0] * len(Sums._fields)
            _add(sum_of, counts, cost, 1)
        return rows

    def _cells(self, answers: Iterable[Answer]) -> dict[CellKey, int]:
        """The id of each cell; those that are not there are made."""
        wanted = {answer.cell for answer in answers}
        known = store.cells(self._shelf, sorted({key.session for key in wanted}))
        missing = sorted(wanted - known.keys())
        following = store.last_cell(self._shelf) + 1 if missing else 0
        new = {key: following + number for number, key in enumerate(missing)}
        store.add_cells(self._shelf, new)
        return {**known, **new}


def _add(sums: list[int], counts: Sequence[int], cost: int | None, sign: int) -> None:
    given, output, read, write, hour, reasoning = counts
    sums[0] += sign
    if cost is None:
        sums[1] += sign
    else:
        sums[8] += sign * cost
    sums[2] += sign * given
    sums[3] += sign * output
    sums[4] += sign * read
    sums[5] += sign * write
    sums[6] += sign * hour
    sums[7] += sign * reasoning


def _sessions(families: Iterable[list[Answer]]) -> list[tuple[str, str, str, int, int]]:
    seen: dict[CellKey, list[Any]] = {}
    for family in families:
        for answer in family:
            at = answer[4]
            known = seen.get(answer[15])
            if known is None:
                seen[answer[15]] = [answer[14], at, at]
                continue
            if at < known[1]:
                known[1] = at
            elif at > known[2]:
                known[2] = at
            if not known[0]:
                known[0] = answer[14]
    return [(key.source, key.session, *value) for key, value in seen.items()]


def reprice(shelf: store.Shelf, counting: Counting, *, all: bool, most: int = 2000) -> int:
    """Prices what had none, or all, by a new table. Gives how many changed."""
    after, changed = ("", ""), 0
    while rows := store.to_price(shelf, all=all, after=after, most=most):
        after = (rows[-1][0], rows[-1][1])
        keys = store.cells_by_id(shelf, sorted({row[_CELL] for row in rows}))
        change = _Change(shelf)
        for row in rows:
            key = keys[row[_CELL]]
            name, part, _cell, rank, side, at, given, output, read, write, hour, reasoning, beside, cost, own = row
            paid = (given, output + beside, read, write, hour)
            new_cost, new_version = counting.price(key.model, key.provider, key.fast, paid)
            if own or (new_cost, new_version) == (cost, key.prices) or new_cost is None:
                continue
            change.remove(row, replaced=True)
            cell = key._replace(prices=new_version)
            counts = (given, output, read, write, hour, reasoning, beside)
            change.add(Answer._make((name, part, rank, bool(side), at, *counts, new_cost, False, "", cell)), new=False)
            changed += 1
        change.write(())
    return changed
