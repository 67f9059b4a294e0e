"""The server's ledger, on both databases: homes of accounts, runs and people, and what is asked of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from agented.costs import store
from agented.costs.collector import Collector
from agented.costs.model import Filter, Group, Owner, Sums
from agented.costs.prices import PICO
from agented.kit.clock import SetClock
from agented.kit.db import Database
from agented.sessions.model import Home
from tests.fakes.sessions import COLUMNS, Tree, small
from tests.rooms.costs.conftest import BACKENDS, Rows, true_rows

_CLI = {"claude": ".claude", "codex": ".codex"}


@dataclass
class Desk:
    """A collector over a person's home and accounts' own, and what it knows."""

    db: Database
    person: Path
    homes: list[Home] = field(default_factory=list)
    runs: dict[str, Owner] = field(default_factory=dict)
    projects: dict[str, str] = field(default_factory=dict)
    asked: list[Sequence[tuple[str, str]]] = field(default_factory=list)

    def collector(self, **settings: Any) -> Collector:
        own = [Home(one.name, f"{one.name}:default", None) for one in BACKENDS]
        return Collector(
            db=self.db,
            clock=SetClock(datetime(2026, 10, 2, tzinfo=UTC)),
            backends=lambda: BACKENDS,
            person=self.person,
            homes=lambda: [*own, *self.homes],
            owners=self._owners,
            project_of=self.projects.get,
            zone="UTC",
            **settings,
        )

    def _owners(self, sessions: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Owner]:
        self.asked.append(sessions)
        return {key: self.runs[key[1]] for key in sessions if key[1] in self.runs}

    def sums(self, *groups: Group, **wanted: Any) -> dict[tuple[str, ...], Sums]:
        with self.db.read() as conn:
            return dict(store.sums(store.shelf_of(conn), groups, Filter(**wanted)))

    def rows(self) -> Rows:
        found = self.sums(Group.SOURCE, Group.MODEL, Group.DAY)
        return {
            (source, model, day): (
                *(getattr(sums, name) for name in COLUMNS),
                None if sums.unpriced == sums.messages else (Decimal(sums.cost) / PICO).quantize(Decimal("1e-8")),
            )
            for (source, model, day), sums in found.items()
        }


@pytest.fixture
def desk(db: Database, tmp_path: Path) -> Desk:
    return Desk(db, tmp_path / "home")


def test_the_ledger_says_the_truth_and_goes_on_from_where_it_was(desk: Desk) -> None:
    tree = small(desk.person)
    first = desk.collector()
    assert first.collect() == sum(row[0] for row in true_rows(tree).values())
    assert desk.rows() == true_rows(tree)
    tree.claude(3)
    tree.opencode(2)
    assert first.collect() == 3 + 1 + 1 + 2
    assert desk.rows() == true_rows(tree)
    tree.codex(4)
    again = desk.collector()
    again.collect()
    assert again.collect() == 0
    assert desk.rows() == true_rows(tree)


def test_a_copy_in_an_accounts_home_counts_for_who_had_it_first(desk: Desk, tmp_path: Path) -> None:
    tree = Tree(desk.person)
    path = tree.claude(5)
    collector = desk.collector()
    collector.collect()
    home = tmp_path / "account"
    shutil.copytree(desk.person / ".claude", home)
    desk.homes.append(Home("claude", "claude:acc_1", home))
    assert collector.collect() == 0
    with tree.file(home / path.relative_to(desk.person / ".claude"), "a") as out:
        out.write("\n")
        tree.claude_answer(out, path.stem)
    assert collector.collect("claude:acc_1") == 1
    by_account = {key[0]: sums.messages for key, sums in desk.sums(Group.ACCOUNT).items()}
    assert by_account == {"claude:default": 7, "claude:acc_1": 1}
    assert desk.rows() == true_rows(tree)


def test_a_session_of_a_run_is_the_runs_as_soon_as_it_is_known(desk: Desk) -> None:
    tree = Tree(desk.person)
    mine, bots = tree.claude(2, extras=False), tree.codex(3, extras=False)
    desk.projects["/work/sample"] = "prj_1"
    collector = desk.collector()
    collector.collect()
    assert set(desk.sums(Group.EXECUTION, Group.PROJECT)) == {("", "prj_1")}
    session = bots.stem.partition("thr-")[1] + bots.stem.partition("thr-")[2]
    desk.runs[session] = Owner("exe_1", "bot_1", "prj_2", "codex:acc_7")
    collector.wake()
    collector.collect()
    groups = (Group.EXECUTION, Group.BOT, Group.PROJECT, Group.ACCOUNT, Group.SESSION)
    told = {key: sums.messages for key, sums in desk.sums(*groups).items()}
    assert told == {
        ("", "", "prj_1", "claude:default", mine.stem): 2,
        ("exe_1", "bot_1", "prj_2", "codex:acc_7", session): 3,
    }
    assert desk.sums(Group.SOURCE, equal=[(Group.BOT, "bot_1")]).keys() == {("codex",)}
    assert desk.sums(Group.SOURCE, equal=[(Group.ACCOUNT, "codex:acc_7")]).keys() == {("codex",)}


def test_a_helpers_session_counts_as_its_callers(desk: Desk) -> None:
    tree = Tree(desk.person)
    tree.codex(4)
    desk.collector().collect()
    sessions = desk.sums(Group.SESSION)
    assert sorted(sums.messages for sums in sessions.values()) == [1, 5], "a branch is a session of its own"


def test_days_and_filters_narrow_what_is_told(desk: Desk) -> None:
    tree = small(desk.person)
    desk.collector().collect()
    days = sorted({key[2] for key in tree.truth})
    some = desk.sums(Group.DAY, since=days[1], until=days[2], equal=[(Group.SOURCE, "claude")])
    wanted = {(day,) for source, _, day in tree.truth if source == "claude" and day in days[1:3]}
    assert some.keys() == wanted
    assert sum(sums.messages for sums in desk.sums().values()) == sum(row[0] for row in true_rows(tree).values())


def test_nothing_new_writes_nothing(desk: Desk) -> None:
    small(desk.person)
    collector = desk.collector()
    collector.collect()
    collector.collect()
    written: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        written.append(statement)

    sa.event.listen(desk.db.engine, "before_cursor_execute", note)
    commits: list[int] = []
    sa.event.listen(desk.db.engine, "commit", lambda _: commits.append(1))
    before = len(desk.asked)
    collector.collect()
    assert [one for one in written if not one.startswith(("BEGIN", "SELECT"))] == []
    assert len(desk.asked) == before


def test_a_price_table_of_ones_own_prices_all_again(desk: Desk, tmp_path: Path) -> None:
    tree = small(desk.person)
    desk.collector().collect()
    own = tmp_path / "prices.json"
    own.write_text('{"house-model": {"input_cost_per_token": 1e-6, "output_cost_per_token": 0}}')
    collector = desk.collector(prices_file=own)
    collector.collect()
    told = desk.sums(Group.MODEL)
    assert told[("house-model",)].unpriced == 0
    assert sum(sums.messages for sums in told.values()) == sum(row[0] for row in true_rows(tree).values())
    assert collector.prices.version.startswith("litellm-")
    assert "+" in collector.prices.version
    assert {key: row[:-1] for key, row in desk.rows().items()} == {
        key: row[:-1] for key, row in true_rows(tree).items()
    }


def test_the_loop_reads_when_a_run_has_ended(desk: Desk) -> None:
    import threading

    tree = Tree(desk.person)
    tree.claude(1, extras=False)
    collector = desk.collector(interval_s=0)
    loop = threading.Thread(target=collector.run)
    loop.start()
    try:
        _await(lambda: desk.rows() == true_rows(tree))
        tree.codex(1, extras=False)
        collector.wake()
        _await(lambda: desk.rows() == true_rows(tree))
    finally:
        collector.stop()
        loop.join(10)
    assert not loop.is_alive()


def _await(holds: Callable[[], bool]) -> None:
    from tests.e2e.served import wait_for

    wait_for(holds, 15, "the reading")
