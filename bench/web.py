"""The web app in Chromium: live logs, permalinks, long conversations and diffs, first load. Floors: an empty page's
frames, and the bare fetch of the same data."""

from __future__ import annotations

import gzip
import json
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, CDPSession, Page, sync_playwright
from tests.e2e.browsing import CHROMIUM
from tests.e2e.served import Served, make_repository, wait_for

from bench.measure import Row
from bench.server import _served

DIST = Path(__file__).parent.parent / "src" / "agented" / "web" / "dist"
LINES, FILES, EVENTS = 1_000_000, 300, 5000

_WATCH = """() => {
  const seen = { frames: [], tasks: [], last: 0, on: true };
  window.__seen = seen;
  const frame = (at) => {
    if (seen.last) seen.frames.push(at - seen.last);
    seen.last = at;
    if (seen.on) requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
  seen.observer = new PerformanceObserver((list) => seen.tasks.push(...list.getEntries().map((e) => e.duration)));
  seen.observer.observe({ type: "longtask" });
}"""
_SEEN = """() => {
  const { frames, tasks, observer } = window.__seen;
  window.__seen.on = false;
  observer.disconnect();
  return { frames, tasks };
}"""
_SCROLL = """async ([selector, px, seconds]) => {
  const box = document.querySelector(selector);
  const until = performance.now() + seconds * 1000;
  while (performance.now() < until) {
    box.scrollTop += px;
    await new Promise((done) => requestAnimationFrame(done));
  }
}"""
# Presses a key and waits until a text stands on the page.
_PRESS = """async ([key, selector]) => {
  const begun = performance.now();
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  while (!document.querySelector(selector)) await new Promise((done) => requestAnimationFrame(done));
  return performance.now() - begun;
}"""
_FETCH = """async (path) => {
  const begun = performance.now();
  await (await fetch(path)).json();
  return performance.now() - begun;
}"""


def rows() -> list[Row]:
    if CHROMIUM is None:
        raise SystemExit("The web app's figures need chromium: sudo apt-get install chromium")
    with _served() as served, _browser() as browser:
        repository = make_repository(served.data.parent / "repository", served.env)
        page = _signed_in(browser, served)
        floor = _fps(_frames_of_nothing(page))
        return [
            *_live_rows(page, served, repository, floor),
            _permalink_row(page, served, repository),
            _conversation_row(page, served, repository),
            *_diff_rows(page, served, repository, floor),
            *_load_rows(page, served),
        ]


@contextmanager
def _browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"], env={"PATH": "/usr/bin:/bin"}
        )
        try:
            yield browser
        finally:
            browser.close()


def _signed_in(browser: Browser, served: Served) -> Page:
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.goto(served.sign_in_link())
    page.get_by_role("heading", name="Home").wait_for()
    return page


def _cdp(page: Page) -> CDPSession:
    return page.context.new_cdp_session(page)


def _heap_mb(cdp: CDPSession) -> float:
    cdp.send("HeapProfiler.collectGarbage")
    cdp.send("Performance.enable")
    metrics = {one["name"]: one["value"] for one in cdp.send("Performance.getMetrics")["metrics"]}
    return float(metrics["JSHeapUsedSize"]) / 1e6


def _fps(frames: list[float]) -> float:
    return 1000 / statistics.mean(frames) if frames else 0.0


def _frames_of_nothing(page: Page) -> list[float]:
    page.goto("about:blank")
    page.evaluate(_WATCH)
    page.wait_for_timeout(3000)
    return list(page.evaluate(_SEEN)["frames"])


def _watch_live(page: Page, served: Served, run: str, seconds: float, slowed: int = 1) -> tuple[dict[str, Any], float]:
    cdp = _cdp(page)
    page.goto(f"{served.url}/runs/{run}")
    page.get_by_role("button", name="Following").wait_for()
    page.locator(".log a").first.wait_for()
    cdp.send("Emulation.setCPUThrottlingRate", {"rate": slowed})
    page.evaluate(_WATCH)
    page.wait_for_timeout(seconds * 1000)
    seen = page.evaluate(_SEEN)
    cdp.send("Emulation.setCPUThrottlingRate", {"rate": 1})
    heap = _heap_mb(cdp)
    cdp.detach()
    served.post(f"/api/executions/{run}/cancel")
    return seen, heap


def _live_rows(page: Page, served: Served, repository: Path, floor: float) -> list[Row]:
    found = []
    for name, script, seconds, slowed in (
        ("1,000 lines/s for 100 s", "lines 1000000 1", 100, 1),
        ("20,000 lines/s for 10 s", "rate 20000 600", 10, 1),
        ("1,000 lines/s, CPU slowed 4x", "lines 1000000 1", 20, 4),
    ):
        run = _submit_rate(served, repository, script)
        seen, heap = _watch_live(page, served, run, seconds, slowed)
        fps, worst = _fps(seen["frames"]), max(seen["tasks"], default=0.0)
        least = 60 if slowed == 1 else 40
        # Frames come at the display's own rate: 59.5 is 60 but for the edges of the window that was measured.
        good = fps >= least - 0.5 and (slowed > 1 or (worst <= 50 and heap <= 30))
        aim = f">= {least}" + ("" if slowed > 1 else ", no task over 50 ms, heap <= 30 MB")
        note = f"longest task {worst:.0f} ms, {len(seen['tasks'])} over 50 ms, heap {heap:.1f} MB"
        found.append(Row(f"live log, {name}", fps, "frames/s", "empty page", floor, aim, good, note))
    return found


def _submit_rate(served: Served, repository: Path, script: str) -> str:
    if not script.startswith("rate "):
        return served.submit(repository, script)
    _, per_s, seconds = script.split()
    return served.submit(repository, "say start", account=_printer(served, int(per_s), int(seconds)))


def _printer(served: Served, per_s: int, seconds: int) -> str:
    """An account whose CLI prints so many lines a second, a hundredth of them at a time."""
    return _account(
        served,
        f"rate{per_s}",
        f"""
n = 0
begun = time.monotonic()
while n < {per_s * seconds}:
    part = []
    for _ in range({per_s // 100}):
        n += 1
        part.append(f"line {{n}} of a flow that does not end")
    sys.stdout.write("\\n".join(part) + "\\n")
    sys.stdout.flush()
    time.sleep(max(0.0, begun + n / {per_s} - time.monotonic()))
""",
    )


def _account(served: Served, name: str, body: str) -> str:
    folder = served.data.parent
    program = folder / f"{name}.py"
    program.write_text(
        f"#!{sys.executable} -IS\nimport json, os, sys, time\n{body}\n"
        'print(\'{"rehearsal":"done","ok":true}\', flush=True)\n'
    )
    program.chmod(0o755)
    served.run(
        *("accounts", "add", name, "--backend", "rehearsal", "--home", str(folder / name), "--program", str(program))
    )
    return name


def _permalink_row(page: Page, served: Served, repository: Path) -> Row:
    run = served.submit(repository, f"lines {LINES}")
    served.ended(run, 120)
    wanted = LINES // 2
    times, floors = [], []
    for n in range(wanted, wanted + 5):
        page.goto("about:blank")
        page.goto(f"{served.url}/runs/{run}#L{n}")
        times.append(
            float(
                page.evaluate(
                    """async (id) => {
  const there = () => document.getElementById(id)?.lastElementChild?.innerText;
  while (!there()) await new Promise((done) => requestAnimationFrame(done));
  return performance.now() - performance.getEntriesByName("first-contentful-paint")[0].startTime;
}""",
                    f"L{n}",
                )
            )
        )
        floors.append(float(page.evaluate(_FETCH, f"/api/executions/{run}/log?from={n}&limit=500")))
    middle = statistics.median(times)
    return Row(
        "permalink into a million lines, after the first paint",
        middle,
        "ms",
        "fetch of its page",
        statistics.median(floors),
        "<= 500",
        middle <= 500,
        note="an upper bound: measured from navigation's end where that came later",
    )


def _conversation_row(page: Page, served: Served, repository: Path) -> Row:
    prompt = "\n".join(f"say Turn **{n}** of a long talk\nwrite a.txt {n}" for n in range(EVENTS // 3))
    run = served.submit(repository, prompt)
    served.ended(run, 120)
    times = []
    for _ in range(5):
        page.goto(f"{served.url}/runs/{run}?view=input")
        page.get_by_role("heading", name="Prompt").wait_for()
        page.wait_for_timeout(500)
        times.append(float(page.evaluate(_PRESS, ["2", "[aria-label=Conversation] strong"])))
    floor = float(page.evaluate(_FETCH, f"/api/executions/{run}/events?limit=5000"))
    events = served.get(f"/api/executions/{run}/events", limit=1)["last_seq"]
    middle = statistics.median(times)
    return Row(
        f"conversation of {events:,} events opens",
        middle,
        "ms",
        "bare fetch",
        floor,
        "<= 500",
        middle <= 500,
        note="the first of five loads its code",
    )


def _diff_rows(page: Page, served: Served, repository: Path, floor: float) -> list[Row]:
    lines = 50_000 // FILES + 1
    account = _account(
        served,
        "writer",
        f"""
for n in range({FILES}):
    os.makedirs(f"src/part{{n % 20}}", exist_ok=True)
    with open(f"src/part{{n % 20}}/module{{n}}.py", "w") as file:
        for line in range({lines}):
            file.write(f"def function_{{line}}(value: int) -> str:  # line {{line}}\\n")
""",
    )
    run = served.submit(repository, "say write", account=account)
    wait_for(lambda: served.ended(run)["changes"], what="the changes")
    opens = []
    for _ in range(5):
        page.goto(f"{served.url}/runs/{run}?view=input")
        page.get_by_role("heading", name="Prompt").wait_for()
        page.wait_for_timeout(500)
        opens.append(float(page.evaluate(_PRESS, ["3", "[aria-label=Changes] .bg-add"])))
    bare = float(page.evaluate(_FETCH, f"/api/executions/{run}/changes"))
    page.wait_for_timeout(1000)
    box = "[aria-label=Changes] .diff"
    page.evaluate(_WATCH)
    page.evaluate(_SCROLL, [box, 200, 5])
    seen = page.evaluate(_SEEN)
    middle, fps, worst = statistics.median(opens), _fps(seen["frames"]), max(seen["tasks"], default=0.0)
    return [
        Row(
            f"diff of {FILES} files and {FILES * lines:,} lines opens",
            middle,
            "ms",
            "bare fetch",
            bare,
            "<= 700",
            middle <= 700,
        ),
        Row(
            "the same diff scrolls, 12,000 pixels a second",
            fps,
            "frames/s",
            "empty page",
            floor,
            ">= 60",
            fps >= 59.5,
            f"longest task {worst:.0f} ms",
        ),
    ]


def _load_rows(signed_in: Page, served: Served) -> list[Row]:
    def zipped(path: Path) -> float:
        return len(gzip.compress(path.read_bytes(), 9)) / 1000

    html = (DIST / "index.html").read_text()
    first = [DIST / name.lstrip("/") for name in _named(html)]
    assets = [path for path in (DIST / "assets").glob("*.js") if path not in first]
    largest = max(assets, key=zipped)
    entry, most = sum(zipped(path) for path in first), zipped(largest)
    paints, floors = [], []
    browser, state = signed_in.context.browser, signed_in.context.storage_state()
    assert browser is not None
    for _ in range(3):
        page = browser.new_context(storage_state=state).new_page()
        cdp = _cdp(page)
        cdp.send("Network.enable")
        slow = {"offline": False, "latency": 150, "downloadThroughput": 200_000, "uploadThroughput": 93_750}
        cdp.send("Network.emulateNetworkConditions", slow)
        cdp.send("Emulation.setCPUThrottlingRate", {"rate": 4})
        floors.append(_first_paint(page, f"{served.url}/icon.svg", of="first-paint"))
        paints.append(_first_paint(page, f"{served.url}/runs"))
        page.context.close()
    paint = statistics.median(paints)
    return [
        Row("first load", entry, "kB gzip", aim="<= 110", met=entry <= 110),
        Row("largest other chunk", most, "kB gzip", aim="<= 60", met=most <= 60, note=largest.name),
        Row(
            "first content at 4x and 1.6 Mbit/s, 150 ms",
            paint,
            "ms",
            "an icon alone",
            statistics.median(floors),
            "<= 1200",
            paint <= 1200,
        ),
    ]


def _named(html: str) -> list[str]:
    import re

    return re.findall(r'(?:src|href)="(/[^"]+\.(?:js|css))"', html)


def _first_paint(page: Page, url: str, of: str = "first-contentful-paint") -> float:
    page.goto(url)
    asked = f"() => performance.getEntriesByName({json.dumps(of)})[0]?.startTime ?? 0"
    return float(wait_for(lambda: page.evaluate(asked), what="the first paint"))
