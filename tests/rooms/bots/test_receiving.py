"""Deliveries that come at the same time: one commit for all, and each its own end."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import hmac
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from agented.bots import saving, store
from agented.bots.deliveries import Accepted, Deliveries, NotSigned
from agented.bots.signatures import Incoming
from agented.bots.store import Delivery
from agented.kit.bus import Bus
from agented.kit.clock import SetClock
from agented.kit.db import Database
from agented.kit.errors import Invalid, NotFound
from agented.kit.groups import Gather, Group
from agented.kit.vault import Vault

SECRET = "a secret that signs"


class Door:
    def __init__(self, db: Database) -> None:
        self.db, vault, clock = db, Vault(b"k" * 32), SetClock()
        webhook = {"name": "push", "verify": {"style": "github", "secret": "push"}}
        source = {
            "prompt": "x",
            "chain": [{"backend": "rehearsal"}],
            "projects": ["p"],
            "triggers": [{"webhook": webhook}],
        }
        with db.write() as conn:
            store.put_secret(conn, "push", vault.seal(SECRET, "secrets/push"), clock.now())
        self.key = saving.create(db, clock, "b", source, enabled=True, by="t").spec.webhooks[0].key
        self.deliveries = Deliveries(db=db, vault=vault, bus=Bus(), clock=clock, group=Group(db, store.add_deliveries))

    def signed(self, body: bytes, own_id: str) -> tuple[str, Incoming]:
        said = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        headers = {"content-type": "application/json", "x-hub-signature-256": said, "x-github-delivery": own_id}
        return self.key, Incoming("POST", {}, headers, body, 0)

    def stored(self) -> list[Delivery]:
        with self.db.read() as conn:
            return store.page_of_deliveries(conn, 1000, None)


@pytest.fixture
def door(db: Database) -> Door:
    return Door(db)


def test_each_of_a_group_gets_what_is_its_own(door: Door) -> None:
    key, good = door.signed(b'{"a": "\xc3\xbc"}', "one")
    came = [
        (key, good),
        (key, dataclasses.replace(good, body=b"other")),
        door.signed(b"{broken", "two"),
        ("no\0key", good),
        ("x" * 5000, good),
        (key, good),
        door.signed(b"[]", "three"),
    ]
    told = door.deliveries.receive_all(came)
    assert [type(one) for one in told] == [Accepted, NotSigned, Invalid, NotFound, NotFound, Accepted, Accepted]
    first, again = told[0], told[5]
    assert isinstance(first, Accepted)
    assert isinstance(again, Accepted)
    assert (again.id, again.known, first.known) == (first.id, True, False)
    found = {one.external_id: one for one in door.stored()}
    assert found.keys() == {"one", "three"}
    assert found["one"].body == good.body
    assert found["one"].headers["x-github-delivery"] == "one"
    assert found["one"].received_at == door.deliveries.clock.now()
    assert door.deliveries.receive_all([]) == []


def test_many_threads_lose_nothing_and_double_nothing(door: Door) -> None:
    def send(n: int) -> str:
        [told] = door.deliveries.receive_all([door.signed(b"{}", f"n-{n % 100}")])
        assert isinstance(told, Accepted)
        return told.id

    with ThreadPoolExecutor(16) as pool:
        ids = list(pool.map(send, range(300)))
    assert len(set(ids)) == 100
    assert {one.id for one in door.stored()} == set(ids)


class Numbers:
    """Writes numbers; notes the groups they came in. Waits in the first until it is let go."""

    table = sa.Table("group_numbers", sa.MetaData(), sa.Column("n", sa.Integer, primary_key=True))

    def __init__(self, db: Database) -> None:
        self.db = db
        self.groups: list[list[int]] = []
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.table.create(db.engine)
        self.group = Group(db, self._write)

    def _write(self, conn: sa.Connection, numbers: Sequence[int]) -> list[str]:
        self.groups.append(list(numbers))
        self.entered.set()
        assert self.go_on.wait(30)
        conn.execute(self.table.insert(), [{"n": number} for number in numbers])
        if 13 in numbers:
            raise Invalid("Not 13.", field="n")
        return [f"number {number}" for number in numbers]

    def put_while_busy(self, wanted: Sequence[int]) -> list[str | Exception]:
        """One alone, and the wanted while it is being written."""

        def put(number: int) -> str | Exception:
            try:
                return self.group.put(number)
            except Exception as error:  # noqa: BLE001 - looked at by the test
                return error

        with ThreadPoolExecutor(20) as pool:
            first = pool.submit(put, 0)
            assert self.entered.wait(30)
            others = [pool.submit(put, number) for number in wanted]
            while len(self.group._waiting) < len(wanted):
                threading.Event().wait(0.01)
            self.go_on.set()
            return [first.result(30), *(other.result(30) for other in others)]

    def stored(self) -> set[int]:
        with self.db.read() as conn:
            return set(conn.execute(sa.select(self.table.c.n)).scalars())


@pytest.fixture
def numbers(db: Database) -> Numbers:
    return Numbers(db)


def test_what_comes_during_a_commit_is_the_next_group(numbers: Numbers) -> None:
    assert numbers.put_while_busy(range(1, 11)) == [f"number {n}" for n in range(11)]
    assert [sorted(group) for group in numbers.groups] == [[0], list(range(1, 11))]
    assert numbers.stored() == set(range(11))


def test_one_that_fails_takes_no_other_along(numbers: Numbers) -> None:
    # 0 is there already: the database refuses it a second time.
    told = numbers.put_while_busy([11, 12, 13, 0, 14])
    assert [one for one in told if isinstance(one, str)] == ["number 0", "number 11", "number 12", "number 14"]
    assert isinstance(told[3], Invalid)
    assert isinstance(told[4], sa.exc.IntegrityError)
    assert numbers.stored() == {0, 11, 12, 14}


def test_coroutines_gather_while_one_is_worked_off() -> None:
    groups: list[list[int]] = []
    entered, go_on = threading.Event(), threading.Event()

    def work(items: Sequence[int]) -> list[int | Exception]:
        groups.append(list(items))
        entered.set()
        assert go_on.wait(30)
        if 99 in items:
            raise OSError("all of them")
        return [Invalid("no", field="n") if item == 3 else item * 2 for item in items]

    async def main() -> list[int | BaseException]:
        gather = Gather(work, "test")
        first = asyncio.create_task(gather(1))
        await asyncio.to_thread(entered.wait, 30)
        others = [asyncio.create_task(gather(n)) for n in (2, 3, 4, 5)]
        await asyncio.sleep(0)
        others[2].cancel()
        go_on.set()
        told = await asyncio.gather(first, *others, return_exceptions=True)
        return [*told, *await asyncio.gather(gather(99), gather(6), return_exceptions=True)]

    told = asyncio.run(main())
    assert told[:2] == [2, 4]
    assert told[4] == 10
    assert [type(one) for one in (told[2], told[3], *told[5:])] == [Invalid, asyncio.CancelledError, OSError, OSError]
    assert groups == [[1], [2, 3, 4, 5], [99, 6]]
