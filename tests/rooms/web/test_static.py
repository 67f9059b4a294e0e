"""The files of the web app, over a real socket where paths are sent as they are."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rooms.web.conftest import NewSite, Site, serving

HTML = {"accept": "text/html,application/xhtml+xml"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    dist = tmp_path / "dist"
    (dist / "assets").mkdir(parents=True)
    (dist / "index.html").write_text("<!doctype html><title>the app</title>")
    (dist / "assets" / "app-1a2b.js").write_text("let a = 1")
    (dist / "assets" / "app-1a2b.js.gz").write_bytes(gzip.compress(b"let a = 1"))
    (dist / "theme.js").write_text("let theme")
    (dist / ".hidden").write_text("hidden")
    (tmp_path / "outside.txt").write_text("outside")
    (dist / "link.txt").symlink_to(tmp_path / "outside.txt")
    return dist


@pytest.fixture
def built(new_site: NewSite, folder: Path) -> Site:
    return new_site(static=folder)


@pytest.fixture
def port(built: Site) -> Iterator[int]:
    with serving(built) as number:
        yield number


def raw_get(port: int, target: str) -> tuple[int, bytes]:
    """One request with the target exactly as given."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        request = f"GET {target} HTTP/1.1\r\nHost: localhost:{port}\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
        line.sendall(request.encode("latin-1"))
        answer = b""
        while piece := line.recv(65536):
            answer += piece
    return int(answer.split(b" ", 2)[1]), answer


@pytest.mark.parametrize(
    "target",
    [
        "/../outside.txt",
        "/assets/../../outside.txt",
        "/%2e%2e/outside.txt",
        "/assets/%2e%2e/%2e%2e/outside.txt",
        "/..%2foutside.txt",
        "/assets/..%5c..%5coutside.txt",
        "//etc/passwd",
        "/%2fetc/passwd",
        "/link.txt",
        "/.hidden",
        "/assets/%00",
        "/outside.txt%00.js",
    ],
)
def test_nothing_outside_the_folder_is_read(port: int, target: str) -> None:
    status, answer = raw_get(port, target)
    assert status in (200, 400, 404)
    assert b"\r\n\r\noutside" not in answer and b"root:" not in answer and b"hidden" not in answer
    assert status != 200 or b"the app" in answer


def test_names_with_a_hash_are_kept_for_ever_and_packed(built: Site) -> None:
    reply = built.client().get("/assets/app-1a2b.js", headers={"accept-encoding": "gzip, br"})
    assert (reply.text, reply.headers["content-encoding"]) == ("let a = 1", "gzip")
    assert reply.headers["content-type"].startswith("text/javascript")
    assert reply.headers["cache-control"] == "public, max-age=31536000, immutable"
    plain = built.client().get("/assets/app-1a2b.js", headers={"accept-encoding": "identity"})
    assert plain.text == "let a = 1" and "content-encoding" not in plain.headers
    assert plain.headers["vary"] == "accept-encoding"


def test_the_page_is_asked_for_each_time(built: Site) -> None:
    client = built.client()
    first = client.get("/", headers=HTML)
    assert "the app" in first.text
    assert first.headers["cache-control"] == "no-cache"
    again = client.get("/", headers=HTML | {"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/theme.js").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["/", "/runs/exe_1", "/sign-in?token=abc", "/apifoo", "/a.b/c"])
def test_the_apps_own_paths_give_its_page(built: Site, path: str) -> None:
    reply = built.client().get(path, headers=HTML)
    assert (reply.status_code, "the app" in reply.text) == (200, True)
    assert built.client().get(path.partition("?")[0] + "x", headers={"accept": "*/*"}).status_code == 404
    assert built.client().post(path, headers=HTML).status_code == 405


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/none", "/health", "/metrics/x", "/docs/x", "/assets/none.js"])
def test_data_and_asset_paths_never_give_the_page(built: Site, path: str) -> None:
    reply = built.client().get(path, headers=HTML)
    assert reply.status_code == 404
    assert reply.json()["error"]["code"] == "not_found"


def test_without_a_build_the_page_says_how_to_make_one(new_site: NewSite, tmp_path: Path) -> None:
    for missing in (None, tmp_path / "nowhere"):
        reply = new_site(static=missing).client().get("/sign-in", headers=HTML)
        assert "make setup" in reply.text
    late = tmp_path / "late"
    client = new_site(static=late).client()
    late.mkdir()
    (late / "index.html").write_text("built meanwhile")
    assert client.get("/", headers=HTML).text == "built meanwhile"
