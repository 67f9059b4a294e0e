"""What can be sent to bots, webhooks, deliveries and secrets of a served product: it answers, and never breaks.

The same cases in every run: a fault that is found here can be looked for again.
"""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from agented.bots.signatures import Style
from tests.e2e.served import Served, make_repository, wait_for

SECRET = "whsec_" + "c2VjcmV0IHRoYXQgc2lnbnM="
ROUTES = re.compile(r"/api/(bots|deliveries|secrets)(/|$)")
# `run` starts a CLI for every case; all else of these rooms ends by itself.
LEFT_OUT = re.compile(r"/run$")
CHECKS = [
    schemathesis.checks.not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
]
# No shrinking of what fails and no database of examples: the run is bounded, and the same everywhere.
FEW = settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
MANY = settings(FEW, max_examples=250)


class Target:
    """A server with one bot that has a trigger of every style, and none that a fuzzed delivery meets."""

    def __init__(self, served: Served, repository: Path) -> None:
        self.served = served
        served.run("secrets", "set", "deploys", stdin=SECRET)
        never = {"all": [{"path": "payload", "op": "matches", "value": "^(a+)+never$"}, _never("payload.a")]}
        triggers = [
            {"webhook": {"name": str(style), "verify": {"style": str(style), "secret": "deploys"}, "match": never}}
            for style in Style
        ]
        self.document: dict[str, Any] = {
            "kind": "Bot",
            "name": "fuzzed",
            "prompt": "say {{delivery.payload}} {{delivery.headers}} {{delivery.query}} {{input.x}}",
            "chain": [{"backend": "rehearsal"}],
            "projects": [str(repository)],
            "triggers": triggers,
        }
        with served.client() as client:
            client.post("/api/bots/apply", {"documents": [self.document]})
            hooks = client.get("/api/bots/fuzzed")["webhooks"]
        self.paths = {Style(hook["style"]): str(hook["path"]) for hook in hooks}
        status, _, body = self.send(self.paths[Style.NONE], b"{}", [(b"Content-Type", b"application/json")])
        assert status == 202
        self.delivery = str(json.loads(body)["id"])

    def send(
        self, path: str, body: bytes, headers: list[tuple[bytes, bytes]], method: bytes = b"POST", chunks: int = 0
    ) -> tuple[int, str, bytes]:
        """Bytes as they stand: a client's library would not send most of this. Gives status, content type and body."""
        parts = urlsplit(self.served.url)
        lines = [method + b" " + path.encode("latin-1") + b" HTTP/1.1", b"Host: " + parts.netloc.encode()]
        lines += [name + b": " + value for name, value in headers]
        framing = b"Transfer-Encoding: chunked" if chunks else b"Content-Length: %d" % len(body)
        raw = b"\r\n".join([*lines, framing, b"Connection: close"]) + b"\r\n\r\n" + (_chunked(body, chunks) or body)
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=30) as connection:
            with suppress(ConnectionError):  # it may answer before it has read all
                connection.sendall(raw)
            return _read(connection)


def _never(path: str) -> dict[str, Any]:
    return {"path": path, "op": "equals", "value": "a value that is never sent"}


def _chunked(body: bytes, size: int) -> bytes:
    if not size:
        return b""
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def _read(connection: socket.socket) -> tuple[int, str, bytes]:
    told = b""
    with suppress(ConnectionError):
        while data := connection.recv(1 << 16):
            told += data
    head, _, body = told.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    kind = re.search(rb"(?im)^content-type: *([^\r\n]*)", head)
    return status, kind[1].decode("latin-1") if kind else "", body


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("fuzz")
    served = Served(folder)
    try:
        served.start()
        yield Target(served, make_repository(folder / "repository", served.env))
        # Nothing that came in keeps what came after it waiting, and nothing broke unseen.
        wait_for(
            lambda: not served.get("/api/deliveries", state="stored")["items"], 60, "the handling of all deliveries"
        )
        assert "Traceback" not in served.log()
    finally:
        served.close()


def operations() -> list[str]:
    document = json.loads((Path(__file__).parents[2] / "frontend" / "openapi.json").read_text())
    return [
        f"{method.upper()} {path}"
        for path, methods in sorted(document["paths"].items())
        if ROUTES.search(path) and not LEFT_OUT.search(path)
        for method in sorted(methods)
    ]


@pytest.mark.parametrize("operation", operations())
def test_what_is_described_is_what_is_answered(target: Target, operation: str) -> None:
    method, _, path = operation.partition(" ")
    served = target.served
    schema = schemathesis.openapi.from_dict(served.get("/openapi.json"))
    known = {"bot": "fuzzed", "delivery_id": target.delivery, "name": "fuzzed"}

    @seed(1)
    @settings(FEW)
    @given(case=schema[path][method].as_strategy(), real=st.booleans())
    def ask(case: schemathesis.Case[Any], real: bool) -> None:
        if real and method != "DELETE":
            case.path_parameters = {name: known[name] for name in case.path_parameters or {}}
        reply = case.call(base_url=served.url, headers={"Authorization": f"Bearer {served.token}"})
        case.validate_response(reply, checks=CHECKS)

    ask()


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["\ud800", "\0", "{{input.x}}", 10**400]),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=8), one, max_size=3),
    max_leaves=8,
)


@st.composite
def spoiled(draw: st.DrawFn) -> list[tuple[str | int, ...]]:
    """Where a good document is spoiled."""
    places: list[tuple[str | int, ...]] = [
        (),
        *[(name,) for name in ("kind", "name", "prompt", "chain", "projects", "triggers", "snippets", "limits")],
        *[(name,) for name in ("priority", "ref", "permission", "enabled", "description", "colour")],
        *[("chain", 0), ("chain", 0, "backend"), ("chain", 0, "account"), ("chain", 0, "model"), ("projects", 0)],
        *[("triggers", 0), ("triggers", 0, "webhook"), ("triggers", 0, "webhook", "name")],
        *[("triggers", 0, "webhook", name) for name in ("verify", "match")],
        *[("triggers", 0, "webhook", "verify", name) for name in ("style", "secret", "tolerance_s")],
        *[("triggers", 0, "webhook", "match", "all", 0, name) for name in ("path", "op", "value")],
    ]
    return draw(st.lists(st.sampled_from(places), min_size=1, max_size=2))


def test_no_document_of_a_bot_breaks_the_server(target: Target) -> None:
    @seed(1)
    @settings(MANY)
    @given(places=spoiled(), value=values, dry=st.booleans())
    def ask(places: list[tuple[str | int, ...]], value: Any, dry: bool) -> None:
        document = {**json.loads(json.dumps(target.document)), "name": "spoiled"}
        for place in places:
            document = _put(document, place, value)
        body = json.dumps({"documents": [document], "dry_run": dry}).encode()
        token = f"Bearer {target.served.token}".encode()
        status, _, told = target.send(
            "/api/bots/apply", body, [(b"Authorization", token), (b"Content-Type", b"application/json")]
        )
        assert status < 500, told

    ask()


def _put(document: Any, place: tuple[str | int, ...], value: Any) -> Any:
    if not place:
        return copy.deepcopy(value)
    at: Any = document
    for step in place[:-1]:
        at = at[step] if _has(at, step) else {}
    last: Any = place[-1]
    if isinstance(at, dict) or (isinstance(at, list) and _has(at, last)):
        at[last] = copy.deepcopy(value)
    return document


def _has(at: Any, step: str | int) -> bool:
    if isinstance(at, dict):
        return step in at
    return isinstance(at, list) and isinstance(step, int) and step < len(at)


bodies = st.one_of(
    st.binary(max_size=300),
    values.map(lambda value: json.dumps(value).encode()),
    st.sampled_from(
        [
            b'{"a": "\\ud800", "\\udfff": 1}',
            b'{"a": 1, "a": 2}',
            b'{"a": ' + b"9" * 401 + b"}",
            b'{"a": ' + b"9" * 6000 + b"}",
            b'{"a": 1e400, "b": -1e400}',
            b"[" * 59 + b"]" * 59,
            b"[" * 100_000,
            b'{"a":' * 2000 + b"1" + b"}" * 2000,
            b'{"a": "\\u0000"}',
            b"\xef\xbb\xbf{}",
            '{"a": "ü"}'.encode("utf-16"),
            b"payload=%7B%22a%22%3A1%7D",
            b"payload=" + b"%FF" * 20,
            b"&".join(b"a%d=1" % n for n in range(2000)),
            b"{" + b",".join(b'"k%d":[]' % n for n in range(5000)) + b"}",
            b"<script>alert(1)</script>",
            b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!",
            b"null",
            b'{"type":"url_verification","challenge":"<script>alert(1)</script>"}',
            b'{"event":"endpoint.url_validation","payload":{"plainToken":"<b>"}}',
        ]
    ),
)
kinds = st.sampled_from(
    [
        *[b"application/json", b"APPLICATION/JSON ; charset=utf-16", b"application/json; charset=\xff", b"text/html"],
        *[b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=x", b"text/plain; charset=utf-7"],
        *[b"application/vnd.x+json", b"application/cloudevents+json", b"", b"/", b";;;", b"x" * 5000, b"image/png"],
    ]
)
texts = st.binary(max_size=40).map(lambda raw: raw.translate(None, b"\r\n\0"))
SIGNING = (
    *[b"X-Webhook-Signature-256", b"X-Webhook-Timestamp", b"X-Hub-Signature-256", b"X-Slack-Signature"],
    *[b"X-Slack-Request-Timestamp", b"Stripe-Signature", b"webhook-id", b"webhook-timestamp", b"webhook-signature"],
    *[b"X-Gitlab-Token", b"X-Dropbox-Signature", b"X-Signature-Ed25519", b"X-Signature-Timestamp", b"Authorization"],
    *[b"x-zm-signature", b"x-zm-request-timestamp", b"X-Okta-Verification-Challenge", b"WebHook-Request-Origin"],
    *[b"X-Webhook-Id", b"X-GitHub-Delivery", b"Cookie", b"Origin", b"Expect", b"X-Forwarded-For"],
)
signatures = st.one_of(
    texts,
    st.sampled_from(
        [
            *[b"sha256=", b"sha256=" + b"0" * 64, b"v0=" + b"\xff" * 64, b"t=1,v1=", b"t=" + b"9" * 400 + b",v1=x"],
            *[b"Bearer x", b"v1," * 500, b"9" * 30, b"-1", "١٢٣".encode(), b"x" * 60_000, b"", b",,,===,"],
        ]
    ),
)
headers = st.lists(st.tuples(st.sampled_from(SIGNING), signatures), max_size=6)
queries = st.sampled_from(
    [
        *["", "?", "?a=%FF&a=%00", "?validationToken=<script>alert(1)</script>", "?challenge=%3Cscript%3E"],
        *["?hub.mode=subscribe&hub.challenge=%3Cb%3E", "?=&==&&", "?%ED%A0%80=%ED%A0%80"],
        "?" + "&".join(f"k{n}={n}" for n in range(500)),
    ]
)
methods = st.sampled_from([*[b"POST"] * 3, b"GET", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"HEAD", b"TRACE"])


def _signature(body: bytes) -> bytes:
    return b"sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest().encode()


def _is_harmless(target: Target, status: int, kind: str, body: bytes) -> None:
    assert status < 500, body
    assert kind.partition(";")[0] in ("application/json", "text/plain", ""), kind
    if b"<" in body:
        assert kind.startswith(("text/plain", "application/json"))


@pytest.mark.parametrize("style", [style for style in Style if style is not Style.NONE])
def test_an_unsigned_delivery_is_never_taken(target: Target, style: Style) -> None:
    @seed(1)
    @settings(FEW, max_examples=60)
    @given(
        body=bodies, kind=kinds, more=headers, query=queries, method=methods, chunks=st.sampled_from([0, 0, 1, 7, 4000])
    )
    def ask(body: bytes, kind: bytes, more: list[tuple[bytes, bytes]], query: str, method: bytes, chunks: int) -> None:
        sent = [(b"Content-Type", kind), *more]
        reply = target.send(target.paths[style] + query, body[:20_000], sent, method, min(chunks, len(body)))
        _is_harmless(target, *reply)
        assert reply[0] != 202

    ask()


def test_a_signed_delivery_of_anything_is_taken_or_refused_with_a_reason(target: Target) -> None:
    taken: list[str] = []

    @seed(1)
    @settings(MANY)
    @given(body=bodies, kind=kinds, more=headers, query=queries)
    def ask(body: bytes, kind: bytes, more: list[tuple[bytes, bytes]], query: str) -> None:
        more = [pair for pair in more if pair[0] not in (b"X-Webhook-Signature-256", b"X-Webhook-Timestamp")]
        sent = [(b"Content-Type", kind), *more, (b"X-Webhook-Signature-256", _signature(body))]
        status, told_as, told = target.send(target.paths[Style.AGENTED] + query, body, sent)
        _is_harmless(target, status, told_as, told)
        assert status in (200, 202, 400, 403, 413, 415, 422), told
        if status == 202:
            taken.append(json.loads(told)["id"])

    ask()
    assert taken
    with target.served.client() as client:
        for delivery in taken[:60]:
            # It can be looked at, and a prompt can be made of it.
            client.get(f"/api/deliveries/{delivery}")
            client.post("/api/bots/fuzzed/dry-run", {"delivery": delivery})


def test_of_two_signatures_a_wrong_one_is_enough_to_refuse(target: Target) -> None:
    body = b"{}"
    right = (b"X-Webhook-Signature-256", _signature(body))
    wrong = (b"x-webhook-signature-256", b"sha256=" + b"0" * 64)
    kind = (b"Content-Type", b"application/json")
    for pair in ([right, wrong], [wrong, right]):
        assert target.send(target.paths[Style.AGENTED], body, [kind, *pair])[0] == 401
