"""Who may pass: roles on every route, hosts, origins, CSRF, sizes; and how every refusal looks."""

from __future__ import annotations

import itertools
import json
import logging
import socket
from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
from fastapi import APIRouter, Response

from agented.kit.errors import Broken, Invalid
from agented.kit.web import ROLES, Role, encode_cursor, role, straight
from agented.web.gate import Way, table_of
from tests.rooms.web.conftest import OWN, NewSite, Site, serving


def ways(site: Site) -> list[tuple[str, Way]]:
    """Every method of every route, with its path filled in."""
    table = table_of([route for route in site.app.routes if getattr(route, "name", "") != "web-app"])
    return [(method, way) for way in table for method in sorted(way.methods)]


def path_of(way: Way) -> str:
    return way.path.replace("{", "").replace("}", "")


def check_shape(body: dict[str, Any]) -> None:
    assert set(body) == {"error"}
    assert (
        {"code", "message", "hint", "field"} <= set(body["error"]) <= {"code", "message", "hint", "field", "retry_at"}
    )
    assert body["error"]["message"].endswith(".")


def test_every_route_lets_in_exactly_its_roles(site: Site) -> None:
    clients = {None: site.client()} | {name: site.client(site.token(name)) for name in ROLES}
    seen = 0
    for (method, way), (held, client) in itertools.product(ways(site), clients.items()):
        status = client.request(method, path_of(way)).status_code
        if way.role == "open":
            assert status != 403 or held is None, (method, way.path, held)
        elif held is None:
            assert status == 401, (method, way.path)
        elif ROLES.index(held) < ROLES.index(way.role):
            assert status == 403, (method, way.path, held)
        else:
            assert status not in (401, 403) or way.path == "/api/session/password", (method, way.path, held, status)
        seen += 1
    assert seen > 60


def test_on_the_first_start_only_signing_in_and_health_are_open(site: Site) -> None:
    assert {(method, way.path) for method, way in ways(site) if way.role == "open" and "odd" not in way.path} == {
        ("GET", "/api/session"),
        ("POST", "/api/session"),
        ("GET", "/health/liveness"),
        ("GET", "/health/readiness"),
    }


def test_a_route_without_a_role_is_not_served(new_site: NewSite) -> None:
    router = APIRouter()

    @router.get("/api/forgotten")
    def forgotten() -> None: ...

    with pytest.raises(Broken, match="/api/forgotten"):
        new_site(routers=[router])
    misspelt = APIRouter()

    @misspelt.get("/api/misspelt", openapi_extra={"x-role": "everybody"})
    def wrong() -> None: ...

    with pytest.raises(Broken):
        new_site(routers=[misspelt])


def test_a_route_added_later_is_not_served(site: Site) -> None:
    @site.app.get("/api/late", openapi_extra=role("open"))
    def late() -> None: ...

    assert site.client().get("/api/late").status_code == 404


@pytest.mark.parametrize(
    "host",
    ["evil.com", "127.0.0.1.evil.com", "localhost.evil.com", "", "evil.com:20000", "[::1", "0.0.0.0", "localhost."],
)
def test_a_foreign_host_reaches_nothing(site: Site, host: str) -> None:
    client = site.client(site.token("admin"), host=host)
    for method, way in ways(site):
        reply = client.request(method, path_of(way))
        assert reply.status_code == 421, (method, way.path)
    for path in ("/", "/sign-in", "/assets/x.js", "/api/none"):
        assert client.get(path).status_code == 421
    check_shape(client.get("/").json())


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:20000", "localhost:1", "LOCALHOST", "[::1]:20000", "[::1]"])
def test_loopback_names_are_ours(site: Site, host: str) -> None:
    assert site.client(host=host).get("/health/liveness").status_code == 200


def test_configured_hosts_are_ours(new_site: NewSite) -> None:
    site = new_site(allowed_hosts=["Agented.Example", "10.0.0.5"])
    for host in ("agented.example", "agented.example:443", "10.0.0.5:20000"):
        assert site.client(host=host).get("/health/liveness").status_code == 200
    assert site.client(host="other.example").get("/health/liveness").status_code == 421


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "http://evil.com",
        "http://127.0.0.1",
        "http://127.0.0.1:3000",
        "http://localhost:20000",
        "http://127.0.0.1:20000.evil.com",
        "http://evil.com@127.0.0.1:20000",
        "http://127.0.0.1:20000/",
        "file://",
        "chrome-extension://abc",
        "http://127.0.0.1:x",
        "",
    ],
)
def test_a_foreign_origin_changes_and_watches_nothing(site: Site, origin: str) -> None:
    client = site.signed_in()
    client.headers["origin"] = origin
    assert client.get("/api/odd/stream").status_code == 403
    for method, way in ways(site):
        reply = client.request(method, path_of(way))
        assert (reply.status_code, reply.json()["error"]["code"]) == (403, "foreign_origin"), (method, way.path)
        assert "access-control-allow-origin" not in reply.headers
    assert client.options("/api/session").status_code == 403


def test_our_own_origin_may(site: Site) -> None:
    client = site.signed_in()
    for origin in (OWN, OWN.replace("http", "https")):
        client.headers["origin"] = origin
        assert client.post("/api/tokens", json={"name": "a", "role": "viewer"}).status_code == 201


@pytest.mark.parametrize(
    ("said", "status"), [("cross-site", 403), ("same-site", 403), ("none", 200), ("same-origin", 200)]
)
def test_the_browsers_own_word_of_the_site_counts(site: Site, said: str, status: int) -> None:
    client = site.signed_in()
    client.headers["sec-fetch-site"] = said
    assert client.get("/api/tokens").status_code == status
    assert client.get("/", headers={"accept": "text/html"}).status_code == 200


def test_cookies_need_the_csrf_token_and_tokens_do_not(site: Site) -> None:
    browser = site.signed_in()
    good = browser.headers.pop("x-csrf-token")
    for said in (None, "", "wrong", good[:-1], good + "x", "é"):
        headers: Any = {} if said is None else {"x-csrf-token": said.encode("latin-1")}
        for method, way in ways(site):
            if method == "GET" or way.role == "open":
                continue
            reply = browser.request(method, path_of(way), headers=headers)
            assert (reply.status_code, reply.json()["error"]["code"]) == (403, "csrf_token_missing"), way.path
    body = {"name": "a", "role": "viewer"}
    assert browser.post("/api/tokens", json=body, headers={"x-csrf-token": good}).status_code == 201
    assert site.client(site.token("admin")).post("/api/tokens", json=body).status_code == 201


def test_a_token_counts_before_the_cookie(site: Site) -> None:
    browser = site.signed_in()
    browser.headers["authorization"] = f"Bearer {site.token('viewer')}"
    assert browser.get("/api/tokens").status_code == 403
    for wrong in ("Bearer agt_wrong", "Bearer", "Basic YTpi", "agt_x", "Bearer \xff"):
        sent: Any = {"authorization": wrong.encode("latin-1")}
        reply = browser.get("/api/tokens", headers=sent)
        assert (reply.status_code, reply.headers["www-authenticate"]) == (401, "Bearer")


def test_other_pages_are_shut_out_unless_named(new_site: NewSite) -> None:
    page = "https://page.example"
    preflight = {
        "origin": page,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }
    closed = new_site()
    assert closed.client().options("/api/tokens", headers=preflight).status_code == 403
    named = new_site(cors_origins=[page])
    reply = named.client().options("/api/tokens", headers=preflight)
    assert (reply.status_code, reply.headers["access-control-allow-origin"]) == (200, page)
    assert (
        named.client().options("/api/tokens", headers={**preflight, "origin": "https://b.example"}).status_code == 403
    )


@pytest.mark.parametrize("origins", [["https://page.example"], ["*"]])
def test_a_named_page_calls_with_a_token_and_never_with_cookies(new_site: NewSite, origins: list[str]) -> None:
    site = new_site(cors_origins=origins)
    page = {"origin": "https://page.example", "sec-fetch-site": "cross-site"}
    body = {"name": "a", "role": "viewer"}
    by_token = site.client(site.token("admin"), **page).post("/api/tokens", json=body)
    assert by_token.status_code == 201
    assert by_token.headers["access-control-allow-origin"] in (origins[0], "https://page.example")
    browser = site.signed_in()
    browser.headers.update(page)
    by_cookie = browser.post("/api/tokens", json=body)
    assert by_cookie.status_code == 401
    for reply in (by_token, by_cookie):
        assert "access-control-allow-credentials" not in reply.headers
    assert site.client(site.token("admin"), origin="null").post("/api/tokens", json=body).status_code == 403


def test_every_answer_carries_the_safe_headers(site: Site) -> None:
    client = site.client()
    replies = [
        client.get("/", headers={"accept": "text/html"}),
        client.get("/api/session"),
        client.get("/api/odd/broken"),
        client.get("/api/none"),
        client.get("/api/tokens"),
        client.get("/", headers={"host": "evil.com"}),
    ]
    assert [reply.status_code for reply in replies] == [200, 200, 500, 404, 401, 421]
    for reply in replies:
        policy = dict(part.split(" ", 1) for part in reply.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == policy["script-src"] == policy["style-src"] == "'self'"
        assert policy["frame-ancestors"] == policy["object-src"] == policy["base-uri"] == "'none'"
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["cross-origin-opener-policy"] == "same-origin"
        assert reply.headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in reply.headers
    for reply in replies[1:5]:
        assert reply.headers["cache-control"] == "no-store"


def test_a_body_over_the_limit_is_refused(new_site: NewSite) -> None:
    site = new_site(max_body_bytes=1000)
    client = site.client()
    assert client.post("/api/odd/size", content=b"x" * 1000).json() == 1000

    def pieces() -> Iterator[bytes]:
        for _ in range(3):
            yield b"x" * 400

    for body in (b"x" * 1001, pieces()):
        for path in ("/api/odd/size", "/api/session"):
            content: Any = body if isinstance(body, bytes) else pieces()
            reply = client.post(path, content=content, headers={"content-type": "application/json"})
            assert (reply.status_code, reply.json()["error"]["code"]) == (413, "body_too_large")
            check_shape(reply.json())


def test_a_large_body_is_refused_before_it_is_sent(site: Site) -> None:
    with serving(site) as port, socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        line.sendall(b"POST /api/session HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 99999999999\r\n\r\n" % port)
        assert line.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_two_hosts_in_one_request_are_refused(site: Site) -> None:
    with serving(site) as port, socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        line.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nHost: evil.com\r\nConnection: close\r\n\r\n" % port)
        assert line.recv(4096).split(b" ")[1] in (b"421", b"400")


def test_a_fault_of_ours_is_told_without_its_secrets(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        reply = site.client().get("/api/odd/broken")
    check_shape(reply.json())
    assert (reply.status_code, reply.json()["error"]["code"]) == (500, "broken")
    assert "secret detail" not in reply.text and "Traceback" not in reply.text
    fault_id = next(word for word in reply.json()["error"]["hint"].split() if word.startswith("err_")).rstrip(".")
    assert fault_id in caplog.text and "the secret detail" in caplog.text


def test_every_error_has_one_shape(site: Site) -> None:
    client = site.signed_in()
    json_type = {"content-type": "application/json"}
    wrong = [
        client.get("/api/none"),
        client.get("/health/none"),
        client.put("/api/session"),
        client.post("/api/tokens", content=b"{", headers=json_type),
        client.post("/api/tokens", content=b"[]", headers=json_type),
        client.post("/api/tokens", content=b'{"name":"a","role":"viewer"}', headers={"content-type": "text/plain"}),
        client.post("/api/tokens", json={"name": 5, "role": "viewer"}),
        client.get("/api/odd/page"),
        client.get("/nothing.js"),
        client.post("/"),
    ]
    for reply in wrong:
        check_shape(reply.json())
    assert [reply.status_code for reply in wrong] == [404, 404, 405, 422, 422, 422, 422, 422, 404, 405]
    assert [reply.json()["error"]["field"] for reply in wrong[3:8]] == ["body", "body", "body", "name", "cursor"]
    assert wrong[2].headers["allow"] == "DELETE, GET, POST"


@pytest.mark.parametrize("cursor", ["", "x", "e30", "W10", "bnVsbA", "/../", "eyJpZCI6", "A" * 3000, "é", "W" * 1999])
def test_a_cursor_that_is_not_ours_is_refused(site: Site, cursor: str) -> None:
    reply = site.client().get("/api/odd/page", params={"cursor": cursor})
    assert (reply.status_code, reply.json()["error"]["field"]) == (422, "cursor")


def test_our_own_cursor_comes_back(site: Site) -> None:
    cursor = encode_cursor({"id": "exe_1", "n": "é"})
    assert site.client().get("/api/odd/page", params={"cursor": cursor}).json() == {"id": "exe_1"}


def test_readiness_names_what_fails(site: Site) -> None:
    assert site.client().get("/health/readiness").json() == {"status": "ready", "checks": ["database"]}
    site.faults.append("the disk is full of secrets")
    reply = site.client().get("/health/readiness")
    assert reply.status_code == 503
    check_shape(reply.json())
    assert "database" in reply.json()["error"]["message"] and "secrets" not in reply.text
    assert site.client().get("/health/liveness").json() == {"status": "alive"}


def test_metrics_are_for_viewers(new_site: NewSite) -> None:
    from prometheus_client import CollectorRegistry, Gauge

    registry = CollectorRegistry()
    Gauge("agented_test", "A test.", registry=registry).set(3)
    site = new_site(measure=lambda: registry)
    assert site.client().get("/metrics").status_code == 401
    reply = site.client(site.token("viewer")).get("/metrics")
    assert "agented_test 3.0" in reply.text
    assert reply.headers["content-type"].startswith("text/plain")


def test_the_api_is_described_without_other_servers(site: Site) -> None:
    client = site.client(site.token("viewer"))
    page = client.get("/docs").text
    assert "POST /api/tokens" in page and "<script" not in page and "https://" not in page
    assert client.get("/docs/style.css").headers["content-type"].startswith("text/css")
    api = client.get("/openapi.json").json()
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            assert operation["x-role"] in ("open", *ROLES), (method, path)
            assert bool(operation["security"]) == (operation["x-role"] != "open")
            assert "422" not in operation["responses"]
    assert api["components"]["schemas"]["ErrorOut"]
    assert json.dumps(api) == json.dumps(client.get("/openapi.json").json())


def test_accounts_and_backends_are_served(site: Site) -> None:
    admin: Role = "admin"
    client = site.client(site.token(admin))
    made = client.post("/api/accounts", json={"name": "work", "backend": "trained", "env": {"API_KEY": "secret-value"}})
    assert made.status_code == 201
    assert made.json()["env"] == [{"name": "API_KEY", "secret": True, "value": None}]
    assert client.get("/api/accounts").json() == {"items": [made.json()], "next_cursor": None}
    wrong = client.post("/api/accounts", json={"name": "w", "backend": "trained", "env": {"PATH": "x"}})
    assert (wrong.status_code, wrong.json()["error"]["field"]) == (422, "env.PATH")
    assert client.delete(f"/api/accounts/{made.json()['id']}").status_code == 204
    backends = client.get("/api/backends").json()["items"]
    assert [(item["name"], item["found"], item["signed_in"]) for item in backends] == [
        ("trained", False, False),
        ("other", False, None),
    ]
    assert backends[0]["tested_range"] == "1.0 – <2"
    assert client.get("/api/backends/trained/models").json()["items"] == [
        {"id": "small", "title": "small"},
        {"id": "big", "title": "Big one"},
    ]
    assert client.get("/api/backends/nobody/models").status_code == 404


@pytest.fixture
def short(new_site: NewSite) -> Site:
    """A site with a route that has a short way; it tells which way was gone."""
    router = APIRouter(prefix="/api/often")

    async def answer(scope: MutableMapping[str, Any], body: bytes) -> Response:
        if body == b"broken":
            raise ValueError("the secret detail")
        if body == b"wrong":
            raise Invalid("Wrong.", field="body")
        return Response(f"{scope['path_params']['key']} {len(body)}", 202)

    @router.post("/{key}", openapi_extra={**role("open"), **straight(answer)}, include_in_schema=False)
    async def usual(key: str) -> Response:
        return Response(f"{key} the usual way", 202)

    return new_site(routers=[router], max_body_bytes=1000)


def test_the_short_way_answers_as_the_usual_one(short: Site) -> None:
    client = short.client()
    reply = client.post("/api/often/k", content=b"x" * 900)
    assert (reply.status_code, reply.text) == (202, "k 900")
    usual = client.post("/api/often/k", content=iter([b"in pieces, so of no stated size"]))
    assert usual.text == "k the usual way"
    safe = {"content-security-policy", "x-content-type-options", "referrer-policy", "cache-control"}
    assert {name: reply.headers[name] for name in safe} == {name: usual.headers[name] for name in safe}
    assert client.post("/api/often/k", content=b"wrong").json()["error"]["field"] == "body"
    broken = client.post("/api/often/k", content=b"broken")
    assert broken.status_code == 500
    assert "secret detail" not in broken.text


def test_the_short_way_goes_round_no_guard(short: Site) -> None:
    for status, headers, content in (
        (421, {"host": "elsewhere.example"}, b""),
        (403, {"origin": "https://elsewhere.example"}, b""),
        (403, {"sec-fetch-site": "cross-site"}, b""),
        (413, {}, b"x" * 1001),
        (413, {"content-length": "9" * 30}, b""),
    ):
        reply = short.client().post("/api/often/k", content=content, headers=headers)
        assert (reply.status_code, list(reply.json())) == (status, ["error"])
    assert short.client().get("/api/often/k").status_code == 405
    assert short.client().post("/api/often/k/more").status_code == 404
