"""Executions on both databases: moves, pages, fairness, counters."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from agented.executions import store
from agented.executions.model import MOVES, TERMINAL, Attempt, AttemptState, AttemptVerdict, Request, State
from agented.kit.clock import SetClock
from agented.kit.db import Database
from agented.kit.ids import new_id

NOW = SetClock().now()
ASKED = Request(origin="usr_1", project_id="prj_1", backend="rehearsal", prompt="say hello\nexit 0")


def add(db: Database, **changes: object) -> str:
    with db.write() as conn:
        return store.add(conn, replace(ASKED, **changes), NOW)[0].id  # type: ignore[arg-type]  # names come from the test


def test_a_request_comes_back_as_it_was_stored(db: Database) -> None:
    request = replace(ASKED, model="m", ref="main", account="work", key="k", priority=9, wall_s=1.5, silence_s=2.5)
    with db.write() as conn:
        execution, new = store.add(conn, request, NOW)
    with db.read() as conn:
        again = store.get(conn, execution.id)
    assert new
    assert again == execution
    assert again.request == request
    assert (again.title, again.state, again.created_at) == ("say hello", State.QUEUED, NOW)


def test_the_same_key_is_the_same_execution(db: Database) -> None:
    first = add(db, key="once")
    with db.write() as conn:
        second, new = store.add(conn, replace(ASKED, key="once"), NOW + timedelta(seconds=1))
    assert (second.id, new) == (first, False)


def test_moves_follow_the_table(db: Database) -> None:
    for origin in State:
        for to in State:
            execution_id = add(db)
            with db.write() as conn:
                conn.execute(
                    store.executions.update().where(store.executions.c.id == execution_id).values(state=origin)
                )
                moved = store.move(conn, execution_id, to)
            assert (moved is not None) == (to in MOVES.get(origin, frozenset())), (origin, to)


def test_a_terminal_state_is_written_once(db: Database) -> None:
    execution_id = add(db)
    with db.write() as conn:
        assert store.move(conn, execution_id, State.CANCELLED, reason="cancelled") is not None
        assert store.move(conn, execution_id, State.PREPARING) is None
        store.change(conn, execution_id, lines=7)
        assert store.get(conn, execution_id).lines == 0


def test_of_two_that_race_for_a_move_one_wins(db: Database) -> None:
    execution_id = add(db)
    won = []
    gate = threading.Barrier(4)

    def race() -> None:
        gate.wait()
        with db.write() as conn:
            if store.move(conn, execution_id, State.PREPARING) is not None:
                won.append(1)

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [1]


def test_counters_stay_true_to_the_rows(db: Database) -> None:
    ids = [add(db) for _ in range(5)]
    with db.write() as conn:
        store.move(conn, ids[0], State.PREPARING)
        store.move(conn, ids[0], State.RUNNING)
        store.move(conn, ids[1], State.CANCELLED)
    with db.read() as conn:
        counts = store.counts(conn)
    assert {name: count for name, count in counts.items() if count} == {"queued": 3, "running": 1, "cancelled": 1}


def test_pages_go_through_all_newest_first(db: Database) -> None:
    ids = [add(db, prompt=f"prompt {n}") for n in range(7)]
    seen: list[str] = []
    before = None
    while True:
        with db.read() as conn:
            page = store.page(conn, limit=3, before=before)
        if not page:
            break
        assert all(item.request.prompt == "" for item in page)
        seen += [item.id for item in page]
        before = page[-1].id
    assert seen == list(reversed(ids))


def test_pages_filter(db: Database) -> None:
    one = add(db, prompt="fix 100% of it", backend="other")
    two = add(db, project_id="prj_2")
    with db.write() as conn:
        store.move(conn, two, State.CANCELLED)
    with db.read() as conn:
        assert [e.id for e in store.page(conn, limit=9, text="100%")] == [one]
        assert [e.id for e in store.page(conn, limit=9, text="%_%")] == []
        assert [e.id for e in store.page(conn, limit=9, backend="other")] == [one]
        assert [e.id for e in store.page(conn, limit=9, project_id="prj_2")] == [two]
        assert [e.id for e in store.page(conn, limit=9, states=["cancelled", "queued"])] == [two, one]


def test_two_origins_take_turns(db: Database) -> None:
    for _ in range(4):
        add(db, origin="many")
    add(db, origin="few")
    add(db, origin="few")
    with db.read() as conn:
        waiting = sorted(store.unfinished(conn), key=lambda e: (e.fair_tag, e.id))
    assert [e.request.origin for e in waiting] == ["many", "few", "many", "few", "many", "many"]


def test_who_was_idle_gains_no_advantage_over_the_present(db: Database) -> None:
    busy = [add(db, origin="busy") for _ in range(3)]
    with db.write() as conn:
        for execution_id in busy:
            store.advance_fair_time(conn, store.get(conn, execution_id).fair_tag)
    late = add(db, origin="late")
    with db.read() as conn:
        assert store.get(conn, late).fair_tag == store.get(conn, busy[-1]).fair_tag + 1


def test_every_change_has_its_own_revision(db: Database) -> None:
    one = add(db)
    two = add(db)
    with db.write() as conn:
        store.move(conn, one, State.PREPARING)
    with db.read() as conn:
        changed = store.changed_since(conn, 0, 10)
        assert [e.id for e in changed] == [two, one]
        assert store.last_rev(conn) == changed[-1].rev
        assert store.changed_since(conn, changed[-1].rev, 10) == []


def test_an_ended_attempt_is_not_changed_again(db: Database) -> None:
    execution_id = add(db)
    attempt = Attempt(
        id=new_id("att"),
        execution_id=execution_id,
        number=1,
        state=AttemptState.STARTING,
        started_at=NOW,
        log_offset=0,
        first_event=0,
        command=("a", "b"),
    )
    with db.write() as conn:
        store.add_attempt(conn, attempt)
        assert store.change_attempt(conn, attempt.id, state=AttemptState.ENDED, verdict=AttemptVerdict.SUCCEEDED)
        assert not store.change_attempt(conn, attempt.id, verdict=AttemptVerdict.FAILED)
        assert store.attempts_of(conn, execution_id)[0].verdict is AttemptVerdict.SUCCEEDED


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_nothing_terminal_is_left_to_drive(db: Database, state: State) -> None:
    execution_id = add(db)
    with db.write() as conn:
        conn.execute(store.executions.update().where(store.executions.c.id == execution_id).values(state=state))
    with db.read() as conn:
        assert store.unfinished(conn) == []
