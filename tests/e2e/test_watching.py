"""The log of a run as people read it: found, marked, copied, and whole whatever the network does."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.e2e.browsing import open_page, sign_in
from tests.e2e.served import Served, wait_for


def numbers(page: Page) -> list[int]:
    """The numbers of the lines on screen."""
    return [int(text) for text in page.locator(".log a").all_inner_texts()]


def line(page: Page, n: int) -> Locator:
    return page.locator(f"#L{n}")


def test_errors_alone_and_the_matches_alone_are_shown(served: Served, repository: Path, browser: Browser) -> None:
    run = served.submit(repository, "lines 5000\nstderr fatal: it broke\nlines 300\nsay failed to care")
    served.ended(run)
    seen = open_page(browser, served)
    page = seen.page
    sign_in(seen, served)
    page.goto(f"{served.url}/runs/{run}")
    expect(page.get_by_text("fatal: it broke")).to_have_count(0)
    expect(page.get_by_text("line 1", exact=True)).to_be_visible()
    page.keyboard.press("e")
    expect(page.get_by_text("2 shown")).to_be_visible()
    expect(page.get_by_text("fatal: it broke")).to_be_visible()
    expect(page.get_by_text("failed to care", exact=True)).to_be_visible()
    assert "only=errors" in page.url
    page.reload()
    expect(page.get_by_text("2 shown")).to_be_visible()
    page.keyboard.press("e")
    page.get_by_label("Search the log").fill("line 4999")
    expect(page.get_by_text("1 of 1", exact=True)).to_be_visible()
    expect(line(page, 4999 + _offset(served, run))).to_be_in_viewport()
    page.get_by_role("button", name="Only these").click()
    expect(page.get_by_text("1 shown")).to_be_visible()
    assert numbers(page) == [4999 + _offset(served, run)]
    page.reload()
    expect(page.get_by_text("1 shown")).to_be_visible()
    assert seen.wrong == []


def _offset(served: Served, run: str) -> int:
    """How many lines come before `line 1`."""
    return served.lines(run).index("line 1")


def test_a_range_of_lines_is_marked_linked_and_copied(served: Served, repository: Path, browser: Browser) -> None:
    run = served.submit(repository, "lines 3000")
    served.ended(run)
    texts = served.lines(run)
    seen = open_page(browser, served, permissions=["clipboard-read", "clipboard-write"])
    page = seen.page
    sign_in(seen, served)
    page.goto(f"{served.url}/runs/{run}#L2000")
    expect(line(page, 2000)).to_be_in_viewport()
    line(page, 2004).get_by_role("link").click(modifiers=["Shift"])
    assert page.url.endswith("#L2000-L2004")
    page.get_by_role("button", name="Copy the marked lines").click()
    expect(page.get_by_text("5 lines copied.")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "\n".join(texts[1999:2004]) + "\n"
    page.keyboard.press("y")
    expect(page.get_by_text("Address copied.")).to_be_visible()
    page.goto(page.evaluate("navigator.clipboard.readText()"))
    expect(line(page, 2003)).to_be_in_viewport()
    page.keyboard.press("Escape")
    expect(page).to_have_url(re.compile(r"/runs/exe_\w+$"))
    assert seen.wrong == []


def test_long_lines_wrap_and_unfold_without_moving_what_is_read(
    served: Served, repository: Path, browser: Browser
) -> None:
    wide = "word " * 120
    run = served.submit(repository, f"lines 500\nsay {wide}\nlines 500\nlongline 1\nsay end")
    served.ended(run)
    seen = open_page(browser, served)
    page = seen.page
    sign_in(seen, served)
    n = next(number for number, text in enumerate(served.lines(run), 1) if text.startswith("word word"))
    page.goto(f"{served.url}/runs/{run}?wrap=1&time=elapsed#L{n}")
    expect(line(page, n)).to_be_in_viewport()
    box, after = line(page, n).bounding_box(), line(page, n + 1).bounding_box()
    assert box is not None
    assert after is not None
    assert box["height"] > 60
    # Nothing lies over anything: each line begins where the one before it ends.
    assert after["y"] == pytest.approx(box["y"] + box["height"], abs=1)
    inner = line(page, n).locator("span").last.bounding_box()
    assert inner is not None
    assert inner["height"] <= box["height"] + 1
    page.get_by_label("Search the log").fill("xxxxxxxxxx")
    button = page.get_by_role("button", name=re.compile(r"(kB|MB) more")).first
    expect(button).to_be_visible()
    before = page.locator(".log").evaluate("(log) => log.scrollTop")
    button.click()
    expect(button).to_have_count(0)
    assert abs(page.locator(".log").evaluate("(log) => log.scrollTop") - before) < 2000
    assert seen.wrong == []


class Relay:
    """A network between browser and server that can be cut."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                incoming, _ = self._listener.accept()
                outgoing = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                return
            with self._lock:
                self._open |= {incoming, outgoing}
            for source, target in ((incoming, outgoing), (outgoing, incoming)):
                threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> int:
        """Breaks every connection in mid-stream; gives how many there were."""
        with self._lock:
            torn, self._open = self._open, set()
        for end in torn:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        return len(torn)

    def close(self) -> None:
        self._listener.close()
        self.cut()


@pytest.fixture
def relay(served: Served) -> Iterator[Relay]:
    between = Relay(int(served.url.rpartition(":")[2]))
    yield between
    between.close()


def test_fifty_broken_connections_leave_the_log_whole(
    served: Served, repository: Path, browser: Browser, relay: Relay
) -> None:
    run = served.submit(repository, "lines 6000 5")
    seen = open_page(browser, served)
    page = seen.page
    through = f"http://127.0.0.1:{relay.port}"
    page.goto(served.sign_in_link().replace(served.url, through))
    expect(page.get_by_role("heading", name="Home")).to_be_visible()
    page.goto(f"{through}/runs/{run}")
    expect(page.get_by_role("button", name="Following")).to_be_visible()
    # From here on nothing is read by page: every line comes by the stream, or is missing.
    page.route("**/log?*", lambda route: route.abort())
    cuts = 0
    while cuts < 50:
        if relay.cut():
            cuts += 1
        time.sleep(0.6)  # the stream asks for half a second before it is opened anew
    served.ended(run, 120)
    stored = served.lines(run)
    expect(page.get_by_text(f"{len(stored):,} lines").first).to_be_visible(timeout=30_000)
    seen_rows: dict[int, str] = {}
    for _ in range(3):
        # A row may be looked at before it is drawn; what is not here never comes, for nothing is read by page.
        seen_rows |= {int(n): text for n, text in page.evaluate(_EVERY_ROW, len(stored)).items()}
        if len(seen_rows) == len(stored):
            break
    assert seen_rows == dict(enumerate(stored, 1))


_EVERY_ROW = """async (total) => {
  const log = document.querySelector(".log");
  const found = {};
  const frame = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  for (let top = 0; top < total * 20 + 400; top += 500) {
    log.scrollTop = top;
    await frame();
    for (const row of log.querySelectorAll("[id^=L]"))
      if (row.lastElementChild.innerText) found[row.id.slice(1)] = row.lastElementChild.innerText;
  }
  return found;
}"""


def test_ten_tabs_watch_over_one_connection(served: Served, repository: Path, browser: Browser) -> None:
    run = served.submit(repository, "lines 100000 20")
    seen = open_page(browser, served)
    sign_in(seen, served)
    pages = [seen.page, *(seen.page.context.new_page() for _ in range(9))]
    for page in pages:
        page.goto(f"{served.url}/runs/{run}")
    for page in pages:
        last = max(numbers(page), default=0)
        page.bring_to_front()
        expect(page.get_by_text("live", exact=True)).to_be_visible()
        wait_for(lambda page=page, last=last: max(numbers(page), default=0) > last, what="new lines")  # type: ignore[misc]
    metrics = served.metrics()
    assert "agented_stream_viewers 1.0" in metrics
    served.post(f"/api/executions/{run}/cancel")


def test_a_list_that_breaks_off_among_its_rows_is_told_all_of_them(served: Served, repository: Path) -> None:
    runs = {served.submit(repository, f"say {n}") for n in range(3)}
    for run in runs:
        served.ended(run)
    path, start = "/api/stream?topics=executions", "executions=0"
    (cursor, _, first), *_ = served.told(path, 1, start)
    again = served.told(path, 4, cursor)
    assert first["id"] in runs
    assert {told["id"] for _, name, told in again if name == "execution"} == runs
    assert [name for _, name, _ in again] == ["execution"] * 3 + ["counts"]
    assert again[-1][0] != start
