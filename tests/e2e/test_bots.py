"""Bots from files, started by hand and by signed webhooks, each delivery once."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.e2e.served import Served, wait_for

SECRET = "a secret that signs"


def document(repository: Path, **more: Any) -> dict[str, Any]:
    return {
        "kind": "Bot",
        "name": "deploy-notes",
        "prompt": "say {{delivery.payload.service}} by {{bot.name}}\nwrite notes.txt done",
        "chain": [{"backend": "rehearsal"}],
        "projects": [str(repository)],
        "triggers": [
            {
                "webhook": {
                    "name": "deploys",
                    "verify": {"style": "agented", "secret": "deploys"},
                    "match": {"path": "payload.env", "op": "equals", "value": "production"},
                }
            }
        ],
        **more,
    }


def apply(served: Served, *documents: dict[str, Any]) -> str:
    return served.run("bots", "apply", "-", stdin=yaml.safe_dump_all(documents))


@pytest.fixture
def address(served: Served, repository: Path) -> str:
    """The path of the bot's webhook."""
    served.run("secrets", "set", "deploys", stdin=SECRET)
    apply(served, document(repository))
    return str(served.get("/api/bots/deploy-notes")["webhooks"][0]["path"])


def send(
    served: Served, path: str, body: bytes, method: str = "POST", secret: str | None = SECRET, **headers: str
) -> tuple[int, dict[str, Any]]:
    """A delivery as a stranger sends it: without a token."""
    parts = urlsplit(served.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    told = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    if secret is not None:
        told["X-Webhook-Signature-256"] = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    try:
        connection.request(method, path, body, told)
        reply = connection.getresponse()
        text = reply.read()
        return reply.status, json.loads(text) if text.startswith(b"{") else {"text": text.decode()}
    finally:
        connection.close()


def payload(**values: Any) -> bytes:
    return json.dumps({"env": "production", "service": "api", **values}).encode()


def handled(served: Served, delivery: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = served.get(f"/api/deliveries/{delivery}")
        return found if found["state"] != "stored" else None

    return dict(wait_for(look, what="the handling of the delivery"))


def test_a_signed_delivery_starts_its_bot_once(served: Served, address: str) -> None:
    status, told = send(served, address, payload(), x_webhook_id="one")
    assert status == 202
    found = handled(served, told["id"])
    assert found["state"] == "handled"
    assert found["matches"][0]["met"]
    [run] = found["executions"]
    ended = served.ended(run)
    assert (ended["state"], ended["origin"], ended["changes"]["files"]) == ("succeeded", "bot:deploy-notes", 1)
    assert "came from outside" in ended["prompt"]
    # The same delivery again is known, and starts nothing.
    assert send(served, address, payload(), x_webhook_id="one") == (200, {"id": told["id"], "known": True})
    assert served.get("/api/bots/deploy-notes/runs")["items"] == [{"execution": run, "version": 1}]


def test_what_does_not_match_is_kept_with_the_reason(served: Served, address: str) -> None:
    _, told = send(served, address, payload(env="staging"))
    found = handled(served, told["id"])
    assert not found["matches"][0]["met"]
    assert "payload.env is 'staging', not equals 'production'" in found["matches"][0]["why"]
    assert found["executions"] == []
    again = served.post(f"/api/deliveries/{told['id']}/replay")
    assert handled(served, again["id"])["replay_of"] == told["id"]


def test_what_is_wrong_gets_an_answer_of_its_own(served: Served, address: str) -> None:
    wrong: list[tuple[int, str, bytes, dict[str, Any]]] = [
        (401, "not_signed", payload(), {"secret": None}),
        (401, "not_signed", payload(), {"secret": "another"}),
        (401, "not_signed", payload(), {"x_webhook_timestamp": "1"}),
        (415, "unsupported_media_type", payload(), {"Content_Type": "image/png"}),
        (422, "invalid", b"{broken", {}),
        (422, "invalid", b"[" * 5000 + b"]" * 5000, {}),
        (422, "invalid", b'{"a":' * 100 + b"1" + b"}" * 100, {}),
        (413, "body_too_large", b" " * 11_000_000, {}),
    ]
    for status, code, body, changes in wrong:
        answered, told = send(served, address, body, **changes)
        assert (answered, told["error"]["code"]) == (status, code)
    for path in ("nobody-knows", "%00", "%FF%FE", "..%2f..%2fsecrets", "x" * 3000):
        assert send(served, f"/api/webhooks/{path}", payload())[0] == 404
    assert served.get("/api/deliveries")["items"] == []


def test_a_pattern_that_explodes_elsewhere_keeps_no_delivery_waiting(served: Served, repository: Path) -> None:
    served.run("secrets", "set", "deploys", stdin=SECRET)
    bomb = {"path": "payload.service", "op": "matches", "value": "^(([a-z])+.)+[A-Z]([a-z])+$"}
    hook = {"name": "deploys", "verify": {"style": "agented", "secret": "deploys"}, "match": bomb}
    apply(served, document(repository, triggers=[{"webhook": hook}]))
    path = served.get("/api/bots/deploy-notes")["webhooks"][0]["path"]
    ids = [send(served, path, payload(service="a" * 50_000))[1]["id"] for _ in range(5)]
    assert {handled(served, one)["matches"][0]["met"] for one in ids} == {False}


def test_what_no_argument_can_hold_still_starts_the_bot(served: Served, repository: Path, address: str) -> None:
    """JSON can say NUL and half a surrogate pair."""
    body = b'{"env": "production", "service": "x\\ud800y\\u0000z"}'
    _, told = send(served, address, body)
    [run] = handled(served, told["id"])["executions"]
    assert "x?y\ufffdz" in served.ended(run)["prompt"]


def test_a_bot_that_could_never_work_is_refused_with_its_field(served: Served, repository: Path) -> None:
    for field, more in (
        ("documents[0].prompt", {"prompt": "say {{nobody.name}}"}),
        ("documents[0].prompt", {"prompt": "say {{snippets.none}}"}),
        ("chain[0].backend", {"chain": [{"backend": "nonesuch"}]}),
        ("projects", {"projects": ["no such project"]}),
        ("documents[0].colour", {"colour": "red"}),
        ("documents[0].triggers[0].webhook.verify.style", {"triggers": [{"webhook": {}}]}),
    ):
        with served.client() as client, pytest.raises(Exception) as error:
            client.post("/api/bots/apply", {"documents": [{**document(repository), **more}]})
        assert getattr(error.value, "field", None) == field
    refused = served.call("bots", "apply", "-", stdin="kind: Bot\nname: [broken")
    assert refused.returncode != 0
    assert "Traceback" not in refused.stderr
    assert "no YAML" in refused.stderr
    assert served.get("/api/bots")["items"] == []


def test_files_are_applied_as_planned_and_exported_as_written(served: Served, repository: Path) -> None:
    wanted = document(repository)
    assert "deploy-notes would be made" in served.run("bots", "apply", "--plan", "-", stdin=yaml.safe_dump(wanted))
    assert served.get("/api/bots")["items"] == []
    assert "deploy-notes made" in apply(served, wanted)
    first = served.get("/api/bots/deploy-notes")["webhooks"][0]["path"]
    assert "stays as it is" in apply(served, wanted)
    changed = {**wanted, "prompt": "say something else"}
    assert "deploy-notes changed: prompt" in apply(served, changed)
    assert served.get("/api/bots/deploy-notes")["webhooks"][0]["path"] == first
    assert [one["version"] for one in served.get("/api/bots/deploy-notes/versions")["items"]] == [2, 1]
    exported = yaml.safe_load(served.run("bots", "export", "deploy-notes"))
    assert exported == {**changed, "enabled": True}


def test_a_bot_is_tried_dry_and_started_by_hand(served: Served, repository: Path) -> None:
    apply(served, document(repository, prompt="say hello {{input.name}}\nwrite a.txt {{project.name}}", triggers=[]))
    shown = served.run("bots", "run", "deploy-notes", "--input", "name=you", "--dry-run")
    assert "you" in shown
    assert repository.name in shown
    assert served.get("/api/executions")["items"] == []
    assert "no value: input.name" in served.run("bots", "run", "deploy-notes", "--dry-run")
    done = served.call("bots", "run", "deploy-notes", "--input", "name=you", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout.splitlines()[-1])["execution"]["origin"] == "bot:deploy-notes"


def test_a_burst_loses_nothing_and_doubles_nothing_through_a_kill(served: Served, address: str) -> None:
    count = 60
    with ThreadPoolExecutor(12) as pool:
        same = list(pool.map(lambda _: send(served, address, payload(), x_webhook_id="same"), range(30)))
        sent = [pool.submit(send, served, address, payload(n=n), x_webhook_id=f"n-{n}") for n in range(count)]
        for one in sent[: count // 2]:
            one.result()
        served.kill()
        served.start()
        # What got no answer is sent again by whoever sent it.
        answers = list(pool.map(lambda n: send(served, address, payload(n=n), x_webhook_id=f"n-{n}"), range(count)))
    assert {told["id"] for _, told in same} == {same[0][1]["id"]}
    assert {status for status, _ in answers} <= {200, 202}
    ids = {told["id"] for _, told in answers}
    assert len(ids) == count
    until = time.monotonic() + 120
    while any(one["state"] == "stored" for one in served.get("/api/deliveries", limit=200)["items"]):
        assert time.monotonic() < until
        time.sleep(0.2)
    runs = [run for delivery in ids for run in served.get(f"/api/deliveries/{delivery}")["executions"]]
    assert len(set(runs)) == len(runs) == count
    assert len(served.get("/api/executions", limit=200)["items"]) == count + 1
