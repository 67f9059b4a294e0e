"""Takes the pictures of the docs from a demo of its own: `make screenshots`."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.e2e.served import Served, wait_for  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
DEMO = [
    "Add a health endpoint\nsay I read the routes first.\nwrite health.py HEALTHY = True\ntokens 18200 940",
    "Find why the nightly build is slow\nsay **Most of the time goes into linking.**\nlines 220",
    "Update the changelog\nwrite CHANGELOG.md Everything is new.\nstderr no tag found, taking all commits",
    "Fix the flaky login test\nsay The test needs a browser that is not there.\nexit 3",
    "Watch the migration\nlines 4000 30",
]


def seed(served: Served) -> dict[str, str]:
    served.post("/api/projects/sample", {})
    project = served.get("/api/projects")["items"][0]["id"]
    runs = {}
    for prompt in DEMO:
        body = {"project": project, "backend": "rehearsal", "prompt": prompt}
        run = runs[prompt.partition("\n")[0]] = served.post("/api/executions", body)["id"]
        if not prompt.startswith("Watch"):
            served.ended(run)
    wait_for(lambda: served.get(f"/api/executions/{run}")["lines"] > 90, what="lines of the running one")
    return runs


def shoot(page: Page, url: str, name: str, scheme: str) -> None:
    page.goto(url)
    page.locator("h1").wait_for()
    page.get_by_text("Reading the").wait_for(state="detached")
    page.wait_for_timeout(800)
    page.screenshot(path=PICTURES / f"{name}-{scheme}.png")


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("The pictures need chromium: sudo apt-get install chromium")
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        served = Served(Path(folder)).start()
        try:
            runs = seed(served)
            browser = playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox"], env={"HOME": folder, "PATH": "/usr/bin:/bin"}
            )
            context = browser.new_context(viewport={"width": 1280, "height": 800})
            page = context.new_page()
            page.goto(served.sign_in_link())
            page.get_by_role("heading", name="Home").wait_for()
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                shoot(page, f"{served.url}/runs", "runs", scheme)
                shoot(page, f"{served.url}/runs/{runs['Watch the migration']}", "run", scheme)
            browser.close()
        finally:
            served.close()


if __name__ == "__main__":
    main()
