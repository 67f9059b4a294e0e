"""Projects in the browser, kept up to date with a real remote."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.e2e.browsing import open_page, sign_in, violations
from tests.e2e.served import Served, make_repository, wait_for

WIDTHS = (390, 1280)


@dataclass(frozen=True)
class Remote:
    """A bare repository and a clone of it that a person works in."""

    served: Served
    bare: Path
    mine: Path

    def git(self, *words: str, cwd: Path | None = None) -> str:
        named = ["-c", "user.name=T", "-c", "user.email=t@example.test"]
        done = subprocess.run(
            ["git", *named, *words], cwd=cwd or self.mine, env=self.served.env, check=True, capture_output=True
        )
        return done.stdout.decode().strip()

    def push(self, name: str) -> None:
        """A commit that only the bare repository has."""
        other = self.mine.with_name("other")
        if not other.exists():
            self.git("clone", "-q", str(self.bare), str(other), cwd=self.bare)
        (other / name).write_text("new\n")
        self.git("add", "-A", cwd=other)
        self.git("commit", "-qm", name, cwd=other)
        self.git("push", "-q", "origin", "trunk", cwd=other)


@pytest.fixture
def remote(served: Served, tmp_path: Path) -> Remote:
    begin = make_repository(tmp_path / "begin", served.env)
    remote = Remote(served, tmp_path / "tea.git", tmp_path / "tea")
    remote.git("clone", "-q", "--bare", str(begin), str(remote.bare), cwd=tmp_path)
    remote.git("clone", "-q", f"file://{remote.bare}", str(remote.mine), cwd=tmp_path)
    return remote


def shown(page: Page, text: str) -> Locator:
    """A narrow and a wide screen have the same words in different places."""
    return page.get_by_text(text).locator("visible=true")


def test_projects_are_added_synced_and_forgotten(served: Served, remote: Remote, browser: Browser) -> None:
    seen = open_page(browser, served)
    page = seen.page
    sign_in(seen, served)
    page.keyboard.press("g")
    page.keyboard.press("p")
    expect(page.get_by_text("No projects yet")).to_be_visible()
    page.keyboard.press("n")
    expect(page).to_have_url(re.compile("add=1"))
    assert violations(page) == []
    source = page.get_by_label("Folder or address")
    source.fill("/nowhere/at/all")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("/nowhere/at/all")
    source.fill(str(remote.mine))
    source.press("Enter")
    expect(page).to_have_url(re.compile("/projects/prj_"))
    expect(page.get_by_role("heading", name="tea")).to_be_visible()
    remote.push("one.txt")
    page.get_by_role("button", name="Sync now").click()
    expect(page.get_by_text("1 commit new")).to_be_visible()
    assert (remote.mine / "one.txt").exists()
    remote.push("two.txt")
    (remote.mine / "README.md").write_text("mine\n")
    page.keyboard.press("s")
    expect(page.get_by_text("1 behind: changes not committed")).to_be_visible()
    expect(page.get_by_text("Not committed there: README.md.")).to_be_visible()
    expect(page.get_by_text("Commit or stash the changes there.")).to_be_visible()
    assert not (remote.mine / "two.txt").exists()
    page.get_by_role("link", name="Projects").first.click()
    expect(page.get_by_role("list", name="Projects").get_by_role("listitem")).to_have_count(1)
    page.keyboard.press("/")
    page.keyboard.type("coffee")
    expect(page.get_by_text("No project fits")).to_be_visible()
    expect(page).to_have_url(re.compile("filter=coffee"))
    page.get_by_role("button", name="Show all projects").click()
    (remote.mine / "README.md").write_text("# Sample\n")
    page.get_by_role("button", name="Sync tea now").click()
    expect(shown(page, "1 commit new")).to_be_visible()
    shutil.move(remote.bare, remote.bare.with_name("away"))
    page.get_by_role("button", name="Sync all").click()
    expect(shown(page, "Failed: not found")).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_text("There is no repository there.")).to_be_visible()
    page.get_by_role("button", name="Forget").click()
    expect(page).to_have_url(re.compile("confirm=forget"))
    expect(page.get_by_role("dialog")).to_be_visible()
    assert violations(page) == []
    page.get_by_role("dialog").get_by_role("button", name="Forget").click()
    expect(page.get_by_text("No projects yet")).to_be_visible()
    assert (remote.mine / ".git").is_dir()
    # The server refused the folder that is not there: the browser's console tells of the 422, and of nothing else.
    assert [one for one in seen.wrong if "422" not in one] == []


def test_a_projects_runs_and_worktrees(served: Served, remote: Remote, browser: Browser, tmp_path: Path) -> None:
    project = served.post("/api/projects", {"path": str(remote.mine)})["id"]
    remote.git("remote", "add", "upstream", "https://host.invalid/pat/tea.git")
    sample = served.post("/api/projects/sample")["id"]
    kept = served.submit(project, "say done")
    served.ended(kept)
    # A repository that a run leaves inside its folder: its close keeps the folder.
    run = served.submit(project, "say begin\nsleep 60")
    folder = served.data / "workspaces" / run
    wait_for(lambda: (folder / "README.md").exists(), what="the worktree")
    inner = make_repository(folder / "inner", served.env)
    wait_for(lambda: served.execution(run)["state"] == "running", what="the run")
    busy = served.submit(project, "say begin\nsleep 60")
    wait_for(lambda: served.execution(busy)["state"] == "running", what="the other run")
    served.post(f"/api/executions/{run}/cancel", {})
    served.ended(run)
    assert inner.exists()
    served.post(f"/api/projects/{project}/sync")
    served.post(f"/api/projects/{sample}/sync")

    seen = open_page(browser, served)
    page = seen.page
    sign_in(seen, served)
    for path in ("/projects", f"/projects/{project}", f"/projects/{project}?remove={run}"):
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(served.url + path)
            expect(shown(page, "Up to date").first).to_be_visible()
            expect(page.get_by_text("Reading the")).to_have_count(0)
            if path != "/projects":
                expect(shown(page, "Kept, holds unsaved work")).to_be_visible()
            assert violations(page) == [], (path, width)
            fits = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
            assert page.evaluate(fits), (path, width)
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Save and remove").click()
    expect(page.get_by_text("Kept, holds unsaved work")).to_have_count(0)
    expect(shown(page, "In use")).to_be_visible()
    assert not folder.exists()
    saved = remote.git("ls-tree", "--name-only", f"refs/agented/snapshots/{run}").split()
    assert "inner.repository.tar" in saved
    page.get_by_role("link", name="All its runs").click()
    expect(page.get_by_role("list", name="Runs").get_by_role("listitem")).to_have_count(3)
    assert seen.wrong == []
