"""Notices from the outbox to a real web server: signed, retried, once each."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from agented.kit.bus import Bus
from agented.kit.clock import SetClock
from agented.kit.db import Database
from agented.kit.errors import AgentedError, Conflict, Invalid, NotFound
from agented.kit.http import addresses_of
from agented.kit.vault import Vault
from agented.notices import store, webhook
from agented.notices.model import Notice, NoticeState, Outgoing, Target, TargetKind, Topic, Wanted
from agented.notices.outbox import KEPT, Outbox
from agented.notices.sending import PAUSES_S, Sender
from agented.notices.targets import Saved, Targets, Wish
from tests.receiver import Got, Receiver, receiving

KNOWN_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as started:
        yield started


@dataclass
class Room:
    db: Database
    clock: SetClock
    bus: Bus
    outbox: Outbox
    sender: Sender
    targets: Targets

    def add(self, address: str, kind: TargetKind = TargetKind.WEBHOOK, name: str = "ops", **more: Any) -> Saved:
        secret = more.pop("secret", KNOWN_SECRET if kind is TargetKind.WEBHOOK else None)
        wish = Wish(name=name, address=address, secret=secret, wanted=Wanted(**more), enabled=True)
        return self.targets.add(kind, wish)

    def publish(self, key: str = "one", topic: Topic = Topic.RUN_ENDED, **facts: Any) -> None:
        notice = Notice(
            topic=topic, title="It ended", body="All is well.", link="/runs/exe_1", facts=facts, key=f"{topic}:{key}"
        )
        with self.db.write() as conn:
            self.outbox.publish(conn, notice)

    def send_due(self) -> None:
        """Everything that is due now, as the sender's threads do it."""
        with self.db.read() as conn:
            due = store.due_targets(conn, self.clock.now())
        for target_id in due:
            while self.sender.send_one(target_id):
                pass

    def all(self) -> list[Outgoing]:
        with self.db.read() as conn:
            return store.page(conn, 100, None, None, None)

    def only(self) -> Outgoing:
        [one] = self.all()
        return one

    def target(self, name: str = "ops") -> Target:
        with self.db.read() as conn:
            return next(one for one in store.every_target(conn) if one.name == name)


@pytest.fixture
def room(db: Database) -> Room:
    clock, bus, vault = SetClock(), Bus(), Vault(b"k" * 32)
    return Room(
        db=db,
        clock=clock,
        bus=bus,
        outbox=Outbox(db=db, bus=bus, clock=clock),
        sender=Sender(db=db, vault=vault, bus=bus, clock=clock, chance=lambda: 0.0),
        targets=Targets(db=db, vault=vault, clock=clock),
    )


def signature_of(got: Got, secret: str = KNOWN_SECRET) -> str:
    """Recomputed from what arrived, as a receiver does."""
    signed = f"{got.headers['webhook-id']}.{got.headers['webhook-timestamp']}.".encode() + got.body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def test_the_signature_is_that_of_the_published_vector() -> None:
    message, stamp, body = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    assert webhook.sign(KNOWN_SECRET, message, stamp, body) == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_notice_arrives_signed_and_whole(room: Room, receiver: Receiver) -> None:
    room.add(f"{receiver.url}/hooks/T0P?token=x")
    room.publish(state="failed", bot="greeter", cost=1.5)
    room.send_due()
    [got] = receiver.got
    assert got.path == "/hooks/T0P?token=x"
    assert got.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert got.headers["content-type"] == "application/json"
    assert got.headers["webhook-signature"] == signature_of(got)
    assert got.headers["webhook-timestamp"] == str(int(room.clock.now().timestamp()))
    assert json.loads(got.body) == {
        "type": "run.ended",
        "timestamp": "2026-01-01T00:00:00Z",
        "data": {
            "state": "failed",
            "bot": "greeter",
            "cost": 1.5,
            "title": "It ended",
            "body": "All is well.",
            "link": "/runs/exe_1",
        },
    }
    sent = room.only()
    assert (sent.state, sent.id, sent.error) == (NoticeState.SENT, got.headers["webhook-id"], None)
    assert (room.target().last_at, room.target().last_error) == (room.clock.now(), None)


def test_the_same_key_is_written_once_and_nothing_without_a_commit(room: Room) -> None:
    room.add("http://127.0.0.1:9/")
    rung = room.bus.count("notices")
    notice = Notice(topic=Topic.RUN_ENDED, title="t", body="b", link="/", facts={}, key="k")
    with pytest.raises(RuntimeError), room.db.write() as conn:
        room.outbox.publish(conn, notice)
        raise RuntimeError("the work that was to be told of failed")
    assert (room.all(), room.bus.count("notices")) == ([], rung)
    with room.db.write() as conn:
        room.outbox.publish(conn, notice)
        assert room.bus.count("notices") == rung
    assert room.bus.count("notices") == rung + 1
    for _ in range(3):
        with room.db.write() as conn:
            room.outbox.publish(conn, replace(notice, title="again"))
    assert room.only().title == "t"


def test_two_who_publish_the_same_at_once_both_go_on(room: Room) -> None:
    room.add("http://127.0.0.1:9/")
    threads = [threading.Thread(target=room.publish) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(room.all()) == 1


def test_targets_hear_what_they_want(room: Room) -> None:
    room.add("http://127.0.0.1:9/", name="all")
    room.add("http://127.0.0.1:9/", name="failures", topics=("run.ended",), states=("failed",))
    room.add("http://127.0.0.1:9/", name="one bot", bots=("greeter",))
    off = room.add("http://127.0.0.1:9/", name="off").target
    room.targets.change(
        off.id, Wish(name="off", address=None, secret=None, wanted=Wanted(), enabled=False), new_secret=False
    )
    names = {room.target(name).id: name for name in ("all", "failures", "one bot", "off")}

    def who(**facts: Any) -> set[str]:
        topic = facts.pop("topic", Topic.RUN_ENDED)
        before = {one.id for one in room.all()}
        room.publish(key=str(len(before)), topic=topic, **facts)
        return {names[one.target_id] for one in room.all() if one.id not in before}

    assert who(state="failed", bot="greeter") == {"all", "failures", "one bot"}
    assert who(state="succeeded", bot="greeter") == {"all", "one bot"}
    assert who(state="failed", bot="another") == {"all", "failures"}
    assert who(state="failed") == {"all", "failures"}
    assert who(topic=Topic.BOT_PAUSED, bot="greeter") == {"all", "one bot"}
    # What is about no bot at all is kept from nobody who asked for its topic.
    assert who(topic=Topic.SYNC_FAILED) == {"all", "one bot"}


def test_it_is_tried_again_in_growing_pauses_and_then_has_failed(room: Room, receiver: Receiver) -> None:
    room.add(receiver.url)
    receiver.answer(500, b"down for repair")
    room.publish()
    for number, pause_s in enumerate(PAUSES_S, start=1):
        room.send_due()
        assert len(receiver.got) == number
        waiting = room.only()
        assert (waiting.state, waiting.tries) == (NoticeState.WAITING, number)
        assert waiting.error == "It answered 500: down for repair"
        assert waiting.due_at == room.clock.now() + timedelta(seconds=pause_s)
        room.clock.forward(pause_s - 1)
        room.send_due()
        assert len(receiver.got) == number
        room.clock.forward(1)
    room.send_due()
    failed = room.only()
    assert (failed.state, failed.tries, failed.ended_at) == (NoticeState.FAILED, len(PAUSES_S) + 1, room.clock.now())
    assert room.target().last_error == "It answered 500: down for repair"
    assert {got.headers["webhook-id"] for got in receiver.got} == {failed.id}
    assert {got.body for got in receiver.got} == {receiver.got[0].body}
    assert all(got.headers["webhook-signature"] == signature_of(got) for got in receiver.got)
    # A person sends it again: the same notice, with all its attempts before it.
    receiver.answer(200)
    assert room.outbox.send_again(failed.id).state is NoticeState.WAITING
    room.send_due()
    assert (room.only().state, room.only().id) == (NoticeState.SENT, failed.id)


def test_pauses_are_spread_so_that_not_all_come_back_at_once(room: Room, receiver: Receiver) -> None:
    room.add(receiver.url)
    receiver.answer(500)
    room.sender.chance = lambda: 1.0
    room.publish()
    room.send_due()
    assert room.only().due_at == room.clock.now() + timedelta(seconds=6)


def test_who_asks_to_be_left_alone_is(room: Room, receiver: Receiver) -> None:
    room.add(receiver.url)
    receiver.answer(429, Retry_After="90")
    room.publish()
    room.send_due()
    assert room.only().due_at == room.clock.now() + timedelta(seconds=90)
    # What is published meanwhile waits as well once the target asked again, by a date this time.
    room.publish(key="two")
    receiver.answer(503, Retry_After=format_datetime(room.clock.now() + timedelta(minutes=10), usegmt=True))
    room.send_due()
    assert {one.due_at for one in room.all()} == {room.clock.now() + timedelta(minutes=10)}
    receiver.answer(500, Retry_After="whenever")
    room.clock.forward(600)
    room.send_due()
    assert {one.due_at for one in room.all()} == {
        room.clock.now() + timedelta(seconds=PAUSES_S[0 if one.tries == 1 else 1]) for one in room.all()
    }


def test_gone_turns_the_target_off(room: Room, receiver: Receiver) -> None:
    room.add(receiver.url)
    receiver.answer(410)
    room.publish()
    room.publish(key="two")
    room.send_due()
    assert len(receiver.got) == 1
    assert not room.target().enabled
    assert "410" in (room.target().last_error or "")
    [waiting, gone] = room.all()
    assert (gone.state, waiting.state) == (NoticeState.FAILED, NoticeState.WAITING)
    with pytest.raises(Conflict):
        room.outbox.send_again(gone.id)
    room.publish(key="three")
    assert len(room.all()) == 2


def test_a_redirect_is_not_followed(room: Room, receiver: Receiver) -> None:
    room.add(f"{receiver.url}/first")
    receiver.answer(307, Location=f"{receiver.url}/second")
    room.publish()
    room.send_due()
    assert [got.path for got in receiver.got] == ["/first"]
    assert room.only().error == "It answered 307; redirects are not followed."


@pytest.mark.parametrize(
    "address",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://[fe80::1]/",
        "http://[::ffff:169.254.169.254]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://2852039166/",
        "http://[fd00:ec2::254]/",
    ],
)
def test_addresses_where_a_machine_keeps_its_secrets_are_refused(room: Room, address: str) -> None:
    room.add(address)
    room.publish()
    room.send_due()
    refused = room.only()
    assert refused.state is NoticeState.FAILED
    assert "link-local" in (refused.error or "")


def test_a_name_is_judged_by_what_it_leads_to_when_it_is_sent(room: Room, receiver: Receiver) -> None:
    leads_to = {"hooks.example": ["127.0.0.1"]}
    room.sender.resolve = lambda host, port: leads_to.get(host) or addresses_of(host, port)
    room.add(f"http://hooks.example:{receiver.port}/in")
    room.publish()
    room.send_due()
    assert receiver.got[0].headers["host"] == f"hooks.example:{receiver.port}"
    leads_to["hooks.example"] = ["127.0.0.1", "169.254.0.7"]
    room.publish(key="two")
    room.send_due()
    assert len(receiver.got) == 1
    assert room.all()[0].state is NoticeState.FAILED
    leads_to.clear()
    room.publish(key="three")
    room.send_due()
    assert "hooks.example is not found" in (room.all()[0].error or "")


def test_a_second_address_of_a_name_is_used_when_the_first_does_not_answer(room: Room, receiver: Receiver) -> None:
    room.sender.resolve = lambda host, port: ["::1", "127.0.0.1"]
    room.add(f"http://localhost:{receiver.port}/")
    room.publish()
    room.send_due()
    assert room.only().state is NoticeState.SENT


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What the server would log at its most talkative."""
    text, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(text), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield text
    root.removeHandler(handler)
    root.setLevel(level)


def test_nobody_there_is_told_without_the_address(room: Room, logged: io.StringIO) -> None:
    room.add("http://127.0.0.1:1/hooks/very-secret-path")
    room.add("json://127.0.0.1:1/very-secret-path/?:token=very-secret-token", TargetKind.APPRISE, name="chat")
    room.publish()
    room.send_due()
    for one in room.all():
        assert one.state is NoticeState.WAITING
        assert "onnection" in (one.error or "")
    assert "very-secret" not in logged.getvalue() + "".join(one.error or "" for one in room.all())


def test_an_answer_without_end_is_not_read_to_its_end(room: Room, receiver: Receiver) -> None:
    room.add(receiver.url)
    receiver.answer(500, b"x" * 20_000_000)
    room.publish()
    room.send_due()
    assert len(room.only().error or "") < 300


def test_apprise_sends_and_tells_why_not(room: Room, receiver: Receiver) -> None:
    room.add(f"json://127.0.0.1:{receiver.port}/chat", TargetKind.APPRISE)
    assert room.target().place == "json://127.0.0.1"
    room.publish()
    room.send_due()
    [got] = receiver.got
    told = json.loads(got.body)
    assert (got.path.rstrip("/"), told["title"]) == ("/chat", "It ended")
    assert told["message"] == "All is well.\n\n/runs/exe_1"
    receiver.answer(503)
    room.publish(key="two")
    room.send_due()
    assert "503" in (room.all()[0].error or "")
    room.add("json://169.254.169.254/", TargetKind.APPRISE, name="metadata")
    room.publish(key="three")
    room.send_due()
    assert "link-local" in (room.target("metadata").last_error or "")


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", "slack://…"),
        ("discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js", "discord://…"),
        ("ntfy://a-topic-that-nobody-knows", "ntfy://…"),
        ("mailto://user:password@example.com", "mailto://example.com"),
    ],
)
def test_what_is_shown_of_an_address_gives_nothing_away(room: Room, address: str, place: str) -> None:
    assert room.add(address, TargetKind.APPRISE).target.place == place


def test_what_is_wrong_with_a_target_is_named(room: Room) -> None:
    wrong: list[tuple[str, Callable[[], object]]] = [
        ("address", lambda: room.add("ftp://example.com/")),
        ("address", lambda: room.add("http://")),
        ("address", lambda: room.add("http://host:port/")),
        ("address", lambda: room.add("http://a b/")),
        ("address", lambda: room.add("nonesuch://x", TargetKind.APPRISE)),
        ("address", lambda: room.add("no address", TargetKind.APPRISE)),
        ("secret", lambda: room.add("http://a/", secret="whsec_c2hvcnQ=")),
        ("secret", lambda: room.add("http://a/", secret="whsec_not base64!")),
        ("secret", lambda: room.add("json://a/", TargetKind.APPRISE, secret=KNOWN_SECRET)),
        ("topics", lambda: room.add("http://a/", topics=("run.begun",))),
        ("name", lambda: room.add("http://a/", name=" spaces ")),
        ("name", lambda: room.add("http://a/", name="")),
    ]
    for field, act in wrong:
        with pytest.raises(Invalid) as refused:
            act()
        assert refused.value.field == field
    room.add("http://a/")
    with pytest.raises(Conflict):
        room.add("http://b/")
    with pytest.raises(NotFound):
        room.targets.remove("tgt_none")


def test_a_secret_is_made_once_and_kept_until_another_is_asked_for(room: Room, receiver: Receiver) -> None:
    saved = room.add(receiver.url, secret=None)
    assert (saved.made_secret or "").startswith("whsec_")
    wish = Wish(name="ops", address=f"{receiver.url}/moved", secret=None, wanted=Wanted(), enabled=True)
    assert room.targets.change(saved.target.id, wish, new_secret=False).made_secret is None
    room.publish()
    room.send_due()
    assert receiver.got[0].path == "/moved"
    assert receiver.got[0].headers["webhook-signature"] == signature_of(receiver.got[0], saved.made_secret or "")
    another = room.targets.change(saved.target.id, replace(wish, address=None), new_secret=True).made_secret
    assert another not in (None, saved.made_secret)
    room.publish(key="two")
    room.send_due()
    assert receiver.got[1].path == "/moved"
    assert receiver.got[1].headers["webhook-signature"] == signature_of(receiver.got[1], another or "")


def test_a_test_tells_the_truth_and_is_tried_once(room: Room, receiver: Receiver) -> None:
    target = room.add(receiver.url, topics=("bot.paused",)).target
    assert room.sender.test(target).state is NoticeState.SENT
    assert json.loads(receiver.got[0].body)["type"] == "test"
    receiver.answer(404, b"no such hook")
    failed = room.sender.test(target)
    assert (failed.state, failed.error) == (NoticeState.FAILED, "It answered 404: no such hook")
    room.clock.forward(100_000)
    room.send_due()
    assert len(receiver.got) == 2
    assert room.target().last_error == failed.error


def test_another_key_does_not_lose_the_notice(room: Room, receiver: Receiver) -> None:
    room.add(receiver.url)
    room.publish()
    right = room.sender.vault
    room.sender.vault = Vault(b"x" * 32)
    room.send_due()
    assert "another key" in (room.only().error or "")
    room.sender.vault = right
    room.clock.forward(5)
    room.send_due()
    assert room.only().state is NoticeState.SENT


def test_what_is_old_is_forgotten_unless_it_still_waits(room: Room, receiver: Receiver) -> None:
    room.add(receiver.url)
    room.publish()
    room.send_due()
    receiver.answer(500)
    room.publish(key="two")
    room.clock.forward(KEPT.total_seconds() + 1)
    assert room.outbox.forget_old() == 1
    assert room.only().state is NoticeState.WAITING
    room.targets.remove(room.target().id)
    assert room.all() == []


@pytest.fixture
def running(room: Room) -> Iterator[Room]:
    thread = threading.Thread(target=room.sender.run)
    thread.start()
    yield room
    room.sender.stop()
    thread.join()


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_bell_wakes_the_sender_and_one_that_hangs_delays_no_other(running: Room, receiver: Receiver) -> None:
    with receiving() as slow:
        slow.held.set()
        running.add(slow.url, name="slow")
        running.add(receiver.url, name="quick")
        for number in range(5):
            running.publish(key=str(number))
        until(lambda: len(receiver.got) == 5)
        assert len(slow.got) == 1
        slow.let_go()
        until(lambda: all(one.state is NoticeState.SENT for one in running.all()))
        assert [got.headers["webhook-id"] for got in receiver.got] == sorted(
            got.headers["webhook-id"] for got in receiver.got
        )


def test_a_fault_of_one_send_stops_nothing(running: Room, receiver: Receiver) -> None:
    good = running.sender.resolve

    def broken(host: str, port: int) -> list[str]:
        running.sender.resolve = good
        raise ValueError("a fault of our own")

    running.sender.resolve = broken
    running.add(receiver.url)
    running.publish()
    until(lambda: running.only().state is NoticeState.SENT)


def test_only_what_is_ours_is_sent_again(room: Room) -> None:
    with pytest.raises(AgentedError) as refused:
        room.outbox.send_again("ntc_none")
    assert refused.value.status == 404
