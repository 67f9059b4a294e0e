"""Notices leave a served product: tested by a person, kept through kill -9, seen on their page."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from agented.kit.bus import Bus
from agented.kit.clock import SystemClock
from agented.kit.db import Database
from agented.kit.errors import Invalid, NotFound, Refused
from agented.kit.http import JsonClient
from agented.notices.model import Notice, Topic
from agented.notices.outbox import Outbox
from tests.e2e.browsing import open_page, sign_in, violations
from tests.e2e.served import Served, wait_for
from tests.receiver import Got, Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as started:
        yield started


def add(served: Served, address: str, kind: str = "webhook", name: str = "ops", **more: Any) -> dict[str, Any]:
    body = {"kind": kind, "name": name, "address": address, **more}
    return dict(served.post("/api/notices/targets", body))


def publish(served: Served, *keys: str) -> None:
    """As the product's own rooms do: in a transaction on its database."""
    db = Database(f"sqlite:///{served.data / 'agented.db'}")
    outbox = Outbox(db=db, bus=Bus(), clock=SystemClock())
    with db.write() as conn:
        for key in keys:
            facts = {"state": "failed", "bot": "greeter"}
            told = {"title": f"Run {key} failed", "body": "", "link": f"/runs/{key}", "facts": facts, "key": key}
            outbox.publish(conn, Notice(topic=Topic.RUN_ENDED, **told))  # type: ignore[arg-type]
    db.close()


def notices(served: Served, **params: Any) -> list[dict[str, Any]]:
    return list(served.get("/api/notices", **params)["items"])


def is_signed(got: Got, secret: str) -> bool:
    signed = f"{got.headers['webhook-id']}.{got.headers['webhook-timestamp']}.".encode() + got.body
    digest = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256).digest()
    return got.headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()


def test_a_target_is_added_tested_changed_and_removed(served: Served, receiver: Receiver) -> None:
    made = add(served, f"{receiver.url}/hook/very-secret?x=y")
    assert made["place"] == receiver.url
    path = f"/api/notices/targets/{made['id']}"
    tested = served.post(f"{path}/test")
    assert (tested["state"], tested["target"], tested["error"]) == ("sent", "ops", None)
    assert is_signed(receiver.got[0], made["secret"])
    receiver.answer(401, b"who are you?")
    assert served.post(f"{path}/test")["error"] == "It answered 401: who are you?"
    [listed] = served.get("/api/notices/targets")["items"]
    assert listed["last_error"] == "It answered 401: who are you?"
    with served.client() as client:
        changed = client.put(path, {"name": "ops", "topics": ["bot.paused"], "enabled": False})
        assert (changed["secret"], changed["topics"], changed["enabled"]) == (None, ["bot.paused"], False)
        again = client.put(path, {"name": "ops", "new_secret": True})
        assert again["secret"] not in (None, made["secret"])
    # Nothing that was typed in as an address or made as a secret is told again, by the API or in the log.
    told = json.dumps([served.get("/api/notices/targets"), notices(served)]) + served.log()
    for hidden in ("very-secret", made["secret"], again["secret"]):
        assert hidden not in told
    with served.client() as client:
        client.delete(path)
    assert served.get("/api/notices/targets")["items"] == notices(served) == []


def test_what_is_wrong_is_named_and_who_may_not_is_refused(served: Served) -> None:
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("address", {"address": "gopher://x"}),
        ("address", {"address": "nonesuch://x", "kind": "apprise"}),
        ("secret", {"secret": "short"}),
        ("topics", {"topics": ["weather"]}),
        ("kind", {"kind": "pigeon"}),
    ]
    for field, change in wrong:
        with pytest.raises(Invalid) as refused:
            served.post("/api/notices/targets", {"name": "a", "kind": "webhook", "address": "http://a/", **change})
        assert refused.value.field == field
    with JsonClient(served.url, served.run("token", "--role", "operator").strip()) as operator:
        assert operator.get("/api/notices")["items"] == []
        for act in (
            lambda: operator.get("/api/notices/targets"),
            lambda: operator.post("/api/notices/targets", {"name": "a", "kind": "webhook", "address": "http://a/"}),
            lambda: operator.post("/api/notices/targets/tgt_x/test"),
            lambda: operator.delete("/api/notices/targets/tgt_x"),
        ):
            with pytest.raises(Refused):
                act()
    for path in ("/api/notices/targets/tgt_x/test", "/api/notices/ntc_x/resend"):
        with pytest.raises(NotFound):
            served.post(path)


def test_what_was_published_is_sent_by_the_next_server(served: Served, receiver: Receiver) -> None:
    """kill -9 comes between the writing and the sending, and once more while the answer is awaited."""
    secret = add(served, f"{receiver.url}/hook")["secret"]
    add(served, f"json://127.0.0.1:{receiver.port}/chat", kind="apprise", name="chat")
    served.kill()
    publish(served, "one", "two")
    publish(served, "one")
    receiver.held.set()
    served.start()
    wait_for(lambda: {got.path.rstrip("/") for got in receiver.got} == {"/hook", "/chat"}, what="the first attempts")
    served.kill()
    receiver.let_go()
    served.start()
    wait_for(lambda: {one["state"] for one in notices(served)} == {"sent"}, what="the sending")
    sent = notices(served)
    assert len(sent) == 4
    hooks = [got for got in receiver.got if got.path == "/hook"]
    assert all(is_signed(got, secret) for got in hooks)
    # What was cut off came again under its own id; nothing else came twice.
    assert len(hooks) == 3
    assert {got.headers["webhook-id"] for got in hooks} == {one["id"] for one in sent if one["target"] == "ops"}
    assert hooks[0].headers["webhook-id"] == hooks[1].headers["webhook-id"]
    chats = [json.loads(got.body)["title"] for got in receiver.got if got.path != "/hook"]
    assert chats == ["Run one failed", "Run one failed", "Run two failed"]


def test_notices_are_paged_filtered_and_sent_again(served: Served, receiver: Receiver) -> None:
    receiver.answer(410)
    ops = add(served, receiver.url)
    publish(served, "one", "two", "three")
    wait_for(lambda: notices(served, state="failed"), what="the refusal")
    [failed] = notices(served, state="failed")
    assert len(notices(served, state="waiting", target=ops["id"])) == 2
    first = served.get("/api/notices", limit=2)
    assert len(first["items"]) == 2
    assert len(notices(served, cursor=first["next_cursor"])) == 1
    receiver.answer(200)
    with served.client() as client:
        client.put(f"/api/notices/targets/{ops['id']}", {"name": "ops", "enabled": True})
    assert served.post(f"/api/notices/{failed['id']}/resend")["state"] == "waiting"
    wait_for(lambda: {one["state"] for one in notices(served)} == {"sent"}, what="the sending")


def test_targets_are_kept_on_their_page(served: Served, receiver: Receiver, browser: Browser) -> None:
    seen = open_page(browser, served)
    page = seen.page
    sign_in(seen, served)
    page.keyboard.press("g")
    page.keyboard.press("s")
    expect(page.get_by_text("Nobody is told yet")).to_be_visible()
    assert violations(page) == []
    page.keyboard.press("n")
    page.get_by_label("Name", exact=True).fill("ops")
    page.get_by_label("Address", exact=True).fill("not an address")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("address")
    assert violations(page) == []
    page.get_by_label("Address", exact=True).fill(f"{receiver.url}/hook/very-secret")
    page.get_by_label("A run ended").check()
    page.get_by_label("Failed", exact=True).check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_label("The secret", exact=True)).to_have_value(re.compile("^whsec_"))
    secret = page.get_by_label("The secret", exact=True).input_value()
    assert violations(page) == []
    page.get_by_role("button", name="Done").click()
    row = page.get_by_role("list", name="Targets").get_by_role("listitem")
    expect(row).to_contain_text(receiver.url)
    row.get_by_role("button", name="Test").click()
    expect(row.get_by_role("status")).to_contain_text("It arrived")
    assert is_signed(receiver.got[0], secret)
    receiver.answer(503, b"closed for today")
    row.get_by_role("button", name="Test").click()
    expect(row.get_by_role("status")).to_contain_text("It answered 503: closed for today")
    assert secret not in page.content()
    receiver.answer(410, b"moved away")
    publish(served, "one")
    sent = page.get_by_role("list", name="Deliveries").get_by_role("listitem").filter(has_text="Run one failed")
    # Written by another process: no bell rings, the server and then the page look by themselves.
    expect(sent).to_contain_text("moved away", timeout=20_000)
    expect(row.get_by_text("off", exact=True)).to_be_visible()
    assert violations(page) == []
    row.get_by_role("button", name="Change").click()
    expect(page.get_by_label("Address", exact=True)).to_have_value("")
    page.get_by_label("Send notices there").check()
    page.get_by_role("button", name="Save").click()
    receiver.answer(204)
    sent.get_by_role("button", name="Send again").click()
    expect(sent.get_by_text("Sent", exact=True)).to_be_visible()
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        expect(page.locator("h1")).to_be_visible()
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    row.get_by_role("button", name="Change").click()
    page.get_by_role("button", name="Remove", exact=True).click()
    page.get_by_role("button", name="Remove it").click()
    expect(page.get_by_text("Nobody is told yet")).to_be_visible()
    assert [one for one in seen.wrong if "422" not in one] == []
