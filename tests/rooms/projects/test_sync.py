"""Projects are kept up to date with their origin, and nothing of the person's is touched on the way."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from agented.kit.clock import SetClock
from agented.kit.db import Database
from agented.kit.errors import Conflict
from agented.migrations.upgrade import upgrade
from agented.projects import store
from agented.projects.add import add_by_path, add_by_url, forget
from agented.projects.git import Git
from agented.projects.model import Project, Sync, Synced, SyncState
from agented.projects.sync import Syncing
from tests.rooms.projects.conftest import House, Repo


@dataclass
class Pair:
    """A bare repository, a person's clone of it, and another person's who pushes to it."""

    bare: Path
    mine: Repo
    other: Repo
    house: House
    syncing: Syncing

    def push(self, name: str = "README.md", text: str = "more tea\n") -> str:
        self.other.write(name, text)
        tip = self.other.commit(f"change {name}")
        self.other.git("push", "-q", "origin", "trunk")
        return tip

    def project(self) -> Project:
        return add_by_path(self.house.db, self.house.git, str(self.mine.path), self.house.clock)

    def sync(self) -> Sync:
        return self.syncing.sync(self.project())

    def kept(self) -> Sync | None:
        with self.house.db.read() as conn:
            return store.find_sync(conn, self.project().id)


def make_syncing(db: Database, git: Git, clock: SetClock, **more: float) -> Syncing:
    settings = {"interval_s": 1800.0, "parallel": 4, **more}
    return Syncing(
        db,
        git,
        clock,
        interval_s=settings["interval_s"],
        parallel=int(settings["parallel"]),
        spread=lambda _low, _high: 1.0,
    )


@pytest.fixture
def pair(house: House, tmp_path: Path) -> Pair:
    bare = tmp_path / "tea.git"
    house.repo.git("clone", "-q", "--bare", str(house.repo.path), str(bare))
    for name in ("mine", "other"):
        house.repo.git("clone", "-q", f"file://{bare}", str(tmp_path / name))
    mine, other = (Repo(tmp_path / name, house.repo.env) for name in ("mine", "other"))
    return Pair(bare, mine, other, house, make_syncing(house.db, house.git, house.clock))


def picture(repo: Repo) -> dict[str, object]:
    """Everything that a sync must leave alone when it only fetches: all but the remote branches."""
    files = {
        str(path.relative_to(repo.path)): (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted(repo.path.rglob("*"))
        if ".git/objects" not in str(path)
        and ".git/refs/remotes" not in str(path)
        and ".git/logs/refs/remotes" not in str(path)
        and path.is_file()
    }
    return {"files": files, "refs": {name: tip for name, tip in repo.refs().items() if "remotes" not in name}}


# --- what comes of one sync


def test_nothing_new_is_up_to_date(pair: Pair) -> None:
    tip = pair.mine.git("rev-parse", "HEAD")
    before = picture(pair.mine)
    synced = pair.sync().synced
    assert (synced.state, synced.cause, synced.before, synced.after) == (SyncState.UP_TO_DATE, None, tip, tip)
    assert (synced.ahead, synced.behind) == (0, 0)
    assert picture(pair.mine) == before


def test_a_clean_checkout_is_fast_forwarded(pair: Pair) -> None:
    begin = pair.mine.git("rev-parse", "HEAD")
    pair.push("new/file.txt", "new\n")
    tip = pair.push()
    pair.mine.write("untracked.txt", "mine\n")
    pair.mine.write("build/ignored.o", "mine\n")
    synced = pair.sync().synced
    assert (synced.state, synced.before, synced.after, synced.commits) == (SyncState.FAST_FORWARDED, begin, tip, 2)
    assert pair.mine.git("rev-parse", "HEAD") == tip
    assert pair.mine.git("symbolic-ref", "HEAD") == "refs/heads/trunk"
    assert pair.mine.git("status", "--porcelain") == "?? untracked.txt"
    assert (pair.mine.path / "new/file.txt").read_text() == "new\n"
    assert (pair.mine.path / "build/ignored.o").read_text() == "mine\n"
    assert "agented sync: Fast-forward" in pair.mine.git("reflog", "-1")
    assert pair.sync().synced.state is SyncState.UP_TO_DATE


def test_a_file_that_was_only_touched_is_no_change(pair: Pair) -> None:
    pair.push()
    (pair.mine.path / "src/tea.py").touch()
    assert pair.sync().synced.state is SyncState.FAST_FORWARDED


def test_a_file_may_become_a_folder_and_a_folder_a_file(pair: Pair) -> None:
    for repo in (pair.other, pair.mine):
        repo.write(".git/info/exclude", "*.o\n")
    pair.push("a/one", "1\n")
    pair.push("b", "2\n")
    pair.sync()
    shutil.rmtree(pair.other.path / "a")
    (pair.other.path / "b").unlink()
    pair.other.write("a", "file\n")
    tip = pair.push("b/two", "2\n")
    pair.mine.write("a/ignored.o", "mine\n")
    assert pair.sync().synced.cause == "dirty"
    (pair.mine.path / "a/ignored.o").unlink()
    assert pair.sync().synced.after == tip
    assert (pair.mine.path / "b/two").read_text() == "2\n"


def test_the_note_of_where_a_reset_began_stays(pair: Pair) -> None:
    noted = pair.mine.git("rev-parse", "HEAD")
    pair.mine.write("mine.txt", "mine\n")
    lost = pair.mine.commit("mine")
    pair.mine.git("reset", "-q", "--hard", noted)
    pair.push()
    assert pair.sync().synced.state is SyncState.FAST_FORWARDED
    assert pair.mine.git("rev-parse", "ORIG_HEAD") == lost


def test_commits_that_are_not_pushed_are_up_to_date(pair: Pair) -> None:
    pair.mine.write("mine.txt", "mine\n")
    pair.mine.commit("mine")
    synced = pair.sync().synced
    assert (synced.state, synced.ahead, synced.behind) == (SyncState.UP_TO_DATE, 1, 0)


def test_remote_branches_come_and_go(pair: Pair) -> None:
    pair.other.git("push", "-q", "origin", "trunk:topic")
    pair.sync()
    assert "refs/remotes/origin/topic" in pair.mine.refs()
    pair.other.git("push", "-q", "origin", ":topic")
    pair.sync()
    assert "refs/remotes/origin/topic" not in pair.mine.refs()


def test_a_repository_that_follows_few_branches_gets_no_more(pair: Pair) -> None:
    pair.mine.git("config", "remote.origin.fetch", "+refs/heads/trunk:refs/remotes/origin/trunk")
    pair.other.git("push", "-q", "origin", "trunk:topic")
    tip = pair.push()
    pair.sync()
    assert "refs/remotes/origin/topic" not in pair.mine.refs()
    assert pair.mine.refs()["refs/remotes/origin/trunk"] == tip


def test_where_a_fetch_would_put_branches_elsewhere_is_not_followed(pair: Pair) -> None:
    pair.mine.git("config", "remote.origin.fetch", "+refs/heads/*:refs/heads/*")
    pair.mine.git("switch", "-q", "-c", "topic")
    before = picture(pair.mine)
    tip = pair.push()
    assert pair.sync().synced.cause == "other_branch"
    assert picture(pair.mine) == before
    assert pair.mine.refs()["refs/remotes/origin/trunk"] == tip


# --- what keeps a checkout as it is


def edit(pair: Pair) -> None:
    pair.mine.write("src/tea.py", "mine\n")


def stage(pair: Pair) -> None:
    pair.mine.write("staged.txt", "mine\n")
    pair.mine.git("add", "staged.txt")


def stand_in_the_way(pair: Pair) -> None:
    pair.mine.write("new.txt", "mine\n")


def stand_in_the_way_ignored(pair: Pair) -> None:
    pair.mine.write(".git/info/exclude", "new.txt\n")
    pair.mine.write("new.txt", "mine\n")


def stand_in_the_way_as_a_folder(pair: Pair) -> None:
    pair.mine.write("new.txt/mine", "mine\n")


def skip_a_change(pair: Pair) -> None:
    pair.mine.git("update-index", "--skip-worktree", "README.md")
    pair.mine.write("README.md", "mine\n")


def hide_a_change(pair: Pair) -> None:
    pair.mine.git("update-index", "--assume-unchanged", "README.md")
    pair.mine.write("README.md", "mine\n")


def switch(pair: Pair) -> None:
    pair.mine.git("switch", "-q", "-c", "topic")


def detach(pair: Pair) -> None:
    pair.mine.git("switch", "-q", "--detach")


def diverge(pair: Pair) -> None:
    pair.mine.write("mine.txt", "mine\n")
    pair.mine.commit("mine")


def merge(pair: Pair) -> None:
    pair.mine.git("switch", "-q", "-c", "side")
    pair.mine.write("side.txt", "side\n")
    pair.mine.commit("side")
    pair.mine.git("switch", "-q", "trunk")
    pair.mine.git("merge", "-q", "--no-ff", "--no-commit", "side")


def rebase(pair: Pair) -> None:
    pair.mine.git("-c", "sequence.editor=sed -i 1ibreak", "rebase", "-q", "-i", "--root")


def bisect(pair: Pair) -> None:
    pair.mine.git("bisect", "start")


def lock(pair: Pair) -> None:
    pair.mine.write(".git/index.lock", "")


def lock_branch(pair: Pair) -> None:
    pair.mine.write(".git/refs/heads/trunk.lock", "")


def filters(pair: Pair) -> None:
    pair.mine.git("config", "filter.mine.smudge", "tr a-z A-Z")


@pytest.mark.parametrize(
    ("prepare", "cause", "named"),
    [
        (edit, "dirty", "src/tea.py"),
        (stage, "dirty", "staged.txt"),
        (stand_in_the_way, "dirty", "new.txt"),
        (stand_in_the_way_ignored, "dirty", "new.txt"),
        (stand_in_the_way_as_a_folder, "dirty", "new.txt"),
        (skip_a_change, "dirty", "README.md"),
        (hide_a_change, "dirty", "README.md"),
        (switch, "other_branch", "topic"),
        (detach, "other_branch", "no branch"),
        (diverge, "diverged", "1 commit of trunk only here, 2 commits only at origin"),
        (merge, "operation_in_progress", "A merge"),
        (rebase, "operation_in_progress", "A rebase"),
        (bisect, "operation_in_progress", "A bisection"),
        (lock, "operation_in_progress", "index.lock"),
        (lock_branch, "operation_in_progress", "trunk.lock"),
        (filters, "local_filters", "filters"),
    ],
)
def test_a_checkout_that_is_in_use_is_left_as_it_is(
    pair: Pair, prepare: Callable[[Pair], None], cause: str, named: str
) -> None:
    pair.project()
    prepare(pair)
    pair.push()
    tip = pair.push("new.txt", "new\n")
    before = picture(pair.mine)
    synced = pair.sync().synced
    assert (synced.state, synced.cause) == (SyncState.FETCHED_ONLY, cause)
    assert named in (synced.detail or "")
    assert synced.hint
    assert synced.behind == 2
    assert picture(pair.mine) == before
    assert pair.mine.refs()["refs/remotes/origin/trunk"] == tip


def test_a_bare_repository_has_no_work_tree(pair: Pair, tmp_path: Path) -> None:
    bare = Repo(tmp_path / "second.git", pair.mine.env)
    pair.mine.git("clone", "-q", "--bare", f"file://{pair.bare}", str(bare.path))
    project = add_by_path(pair.house.db, pair.house.git, str(bare.path), pair.house.clock)
    tip = pair.push()
    synced = pair.syncing.sync(project).synced
    assert (synced.state, synced.cause, synced.behind) == (SyncState.FETCHED_ONLY, "no_work_tree", 1)
    assert bare.refs()["refs/remotes/origin/trunk"] == tip


def test_a_worktree_of_the_persons_is_a_checkout_like_another(pair: Pair, tmp_path: Path) -> None:
    pair.mine.git("switch", "-q", "-c", "topic")
    pair.mine.git("worktree", "add", "-q", str(tmp_path / "second"), "trunk")
    project = add_by_path(pair.house.db, pair.house.git, str(tmp_path / "second"), pair.house.clock)
    with pair.house.db.write() as conn:
        store.change(conn, project.id, default_branch="trunk")
    project = replace(project, default_branch="trunk")
    tip = pair.push()
    pair.mine.write("README.md", "dirty, but elsewhere\n")
    assert pair.syncing.sync(project).synced.state is SyncState.FAST_FORWARDED
    assert pair.mine.git("rev-parse", "HEAD", cwd=tmp_path / "second") == tip
    assert pair.mine.git("status", "--porcelain", cwd=tmp_path / "second") == ""


def test_a_default_branch_that_origin_does_not_have(pair: Pair) -> None:
    pair.mine.git("switch", "-q", "-c", "mine")
    pair.mine.git("remote", "set-head", "origin", "--delete")
    synced = pair.sync().synced
    assert (synced.state, synced.cause) == (SyncState.FETCHED_ONLY, "no_upstream")


@pytest.mark.parametrize(
    "url", [None, "git://host.invalid/x", "../tea.git", "ext::sh -c true", "http://host.invalid/x"]
)
def test_no_origin_that_may_be_fetched_from_is_no_remote(pair: Pair, url: str | None) -> None:
    if url is None:
        pair.mine.git("remote", "remove", "origin")
    else:
        pair.mine.git("config", "remote.origin.url", url)
    sync = pair.sync()
    assert (sync.synced.state, sync.failures) == (SyncState.NO_REMOTE, 0)
    assert sync.synced.detail
    assert sync.synced.hint


# --- clones of ours


def test_a_clone_of_ours_follows_its_origin(pair: Pair) -> None:
    house = pair.house
    project = add_by_url(house.db, house.git, f"file://{pair.bare}", None, house.data, house.clock)
    tip = pair.push()
    assert pair.syncing.sync(project).synced.state is SyncState.FAST_FORWARDED
    assert Repo(project.path, pair.mine.env).git("rev-parse", "HEAD") == tip


def test_a_clone_of_ours_follows_a_renamed_default_branch(pair: Pair) -> None:
    house = pair.house
    project = add_by_url(house.db, house.git, f"file://{pair.bare}", None, house.data, house.clock)
    pair.other.git("push", "-q", "origin", "trunk:main")
    pair.other.git("symbolic-ref", "HEAD", "refs/heads/main", cwd=pair.bare)
    pair.other.git("push", "-q", "origin", ":trunk")
    pair.syncing.sync(project)
    with house.db.read() as conn:
        assert store.get(conn, project.id).default_branch == "main"


# --- failures


def test_failures_say_why_and_are_tried_less_and_less_often(pair: Pair) -> None:
    pair.project()
    shutil.move(pair.bare, pair.bare.with_name("away"))
    pauses = []
    for _ in range(6):
        sync = pair.sync()
        assert (sync.synced.state, sync.synced.cause) == (SyncState.FAILED, "missing")
        pauses.append((sync.next_at - sync.at).total_seconds() / 1800)
    assert pauses == [1, 2, 4, 8, 8, 8]
    assert sync.failures == 6
    assert "There is no repository there" in (sync.synced.detail or "")
    assert sync.synced.hint
    shutil.move(pair.bare.with_name("away"), pair.bare)
    again = pair.sync()
    assert (again.synced.state, again.failures) == (SyncState.UP_TO_DATE, 0)
    assert (again.next_at - again.at).total_seconds() == 1800


@pytest.mark.parametrize(
    ("url", "cause"), [("https://127.0.0.1:9/x/y", "host"), ("https://user:t0ken@127.0.0.1:9/x/y", "host")]
)
def test_a_host_that_does_not_answer(pair: Pair, url: str, cause: str) -> None:
    pair.mine.git("config", "remote.origin.url", url)
    synced = pair.sync().synced
    assert (synced.state, synced.cause) == (SyncState.FAILED, cause)
    assert "t0ken" not in f"{synced.detail} {synced.hint}"


def test_a_repository_that_is_gone(pair: Pair) -> None:
    project = pair.project()
    shutil.rmtree(pair.mine.path)
    synced = pair.syncing.sync(project).synced
    assert (synced.state, synced.cause) == (SyncState.FAILED, "repository_missing")


# --- hostile repositories


@pytest.mark.parametrize(
    "key",
    [
        "core.sshCommand",
        "core.gitProxy",
        "core.askPass",
        "core.alternateRefsCommand",
        "core.fsmonitor",
        "core.editor",
        "core.pager",
        "credential.helper",
        "remote.origin.uploadpack",
        "uploadpack.packObjectsHook",
        "filter.evil.smudge",
        "filter.evil.clean",
        "filter.evil.process",
        "merge.evil.driver",
        "diff.external",
        "diff.evil.textconv",
        "gpg.program",
        "alias.merge",
        "alias.fetch",
        "url.ext::touch CANARY;.insteadOf",
        "url.ssh://-oProxyCommand=touch CANARY/.insteadOf",
    ],
)
@pytest.mark.parametrize("how", ["config", "include", "worktree"])
def test_nothing_that_the_configuration_names_is_run(pair: Pair, tmp_path: Path, key: str, how: str) -> None:
    canary = tmp_path / "canary"
    pair.project()
    pair.mine.write(".git/info/attributes", "*.md diff=evil filter=evil merge=evil\n")
    command = f"!touch {canary}" if key.startswith(("alias", "credential")) else f"touch {canary}; cat"
    value = f"file://{pair.bare}" if key.startswith("url.") else command
    target = pair.mine.path / ".git/config"
    if how == "worktree":
        pair.mine.git("config", "extensions.worktreeConfig", "true")
        target = pair.mine.path / ".git/config.worktree"
    if how == "include":
        target = tmp_path / "included"
        pair.mine.git("config", "include.path", str(target))
    (tmp_path / "home/.ssh").mkdir(parents=True, exist_ok=True)
    for name, given in {
        key.replace("CANARY", str(canary)): value,
        "merge.verifySignatures": "true",
        "filter.evil.required": "true",
        "merge.autoStash": "true",
        "branch.trunk.mergeOptions": "--no-ff --squash -s ours",
    }.items():
        pair.mine.git("config", "-f", str(target), name, given)
    pair.push()
    pair.sync()
    assert not canary.exists()
    if key.startswith(("core.ssh", "core.gitP", "core.ask", "core.alt", "credential", "remote")):
        assert pair.sync().synced.cause == "programs_in_config"
    pair.mine.git("config", "remote.origin.url", "ssh://git@127.0.0.1:9/x/y")
    pair.sync()
    assert not canary.exists()


def test_hooks_do_not_run(pair: Pair, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    hooks = pair.mine.path / ".git/hooks"
    for name in ("post-merge", "post-checkout", "reference-transaction", "post-index-change", "pre-merge-commit"):
        hook = pair.mine.write(f".git/hooks/{name}", f"#!/bin/sh\ntouch {canary}\n")
        hook.chmod(0o755)
    pair.mine.git("config", "core.hooksPath", str(hooks))
    canary.unlink(missing_ok=True)
    pair.push()
    assert pair.sync().synced.state is SyncState.FAST_FORWARDED
    assert not canary.exists()


def test_what_is_to_merge_by_configuration_is_not_merged(pair: Pair) -> None:
    pair.mine.git("config", "branch.trunk.mergeOptions", "--no-ff --squash --no-commit")
    pair.mine.git("config", "merge.ff", "false")
    tip = pair.push()
    assert pair.sync().synced.after == tip
    assert pair.mine.git("rev-parse", "HEAD") == tip


# --- when


def test_each_project_is_synced_once_per_interval(pair: Pair) -> None:
    house = pair.house
    pair.project()
    add_by_path(house.db, house.git, str(pair.other.path), house.clock)
    assert [pair.syncing.sync_due(), pair.syncing.sync_due()] == [2, 0]
    house.clock.forward(1799)
    assert pair.syncing.sync_due() == 0
    house.clock.forward(1)
    assert [pair.syncing.sync_due(), pair.syncing.sync_due()] == [2, 0]


def test_a_server_that_slept_for_a_day_syncs_once(pair: Pair) -> None:
    pair.project()
    pair.syncing.sync_due()
    pair.house.clock.forward(86400)
    awake = make_syncing(pair.house.db, pair.house.git, pair.house.clock)
    assert [awake.sync_due(), awake.sync_due()] == [1, 0]


def test_who_asks_syncs_before_it_is_due(pair: Pair) -> None:
    pair.syncing.sync(pair.project())
    pair.house.clock.forward(60)
    assert pair.sync().at == pair.house.clock.now()
    assert pair.kept() == pair.sync()


def test_forgotten_projects_are_left_alone(pair: Pair) -> None:
    forget(pair.house.db, pair.project().id, pair.house.clock)
    assert pair.syncing.sync_due() == 0


def test_an_interval_of_nothing_is_never(pair: Pair) -> None:
    pair.project()
    assert make_syncing(pair.house.db, pair.house.git, pair.house.clock, interval_s=0).sync_due() == 0


def test_a_stopped_server_notes_nothing_more(pair: Pair) -> None:
    pair.syncing.start()
    pair.syncing.stop()
    with pytest.raises(Conflict):
        pair.sync()
    assert pair.kept() is None


def test_syncs_are_kept_and_found_due_on_both_databases(database_url: str) -> None:
    clock = SetClock()
    db = Database(database_url)
    upgrade(db)
    projects = [
        Project(id=f"prj_{n}", name=f"p{n}", path=Path(f"/{n}"), url=None, default_branch="t", created_at=clock.now())
        for n in range(3)
    ]
    with db.write() as conn:
        for project in projects:
            store.add(conn, project)
        for failures in (0, 1):
            synced = Synced(state=SyncState.FAILED, cause="host", detail="x")
            later = clock.now() + timedelta(seconds=60)
            store.save_sync(
                conn, Sync(project_id="prj_0", synced=synced, at=clock.now(), next_at=later, failures=failures)
            )
    with db.read() as conn:
        assert [project.id for project in store.due_syncs(conn, clock.now())] == ["prj_1", "prj_2"]
        assert [one.id for one in store.due_syncs(conn, later)] == ["prj_1", "prj_2", "prj_0"]
        assert store.sync_counts(conn)["failed"] == 1
        kept = store.find_sync(conn, "prj_0")
        assert kept is not None
        assert (kept.failures, kept.next_at) == (1, later)
    db.close()


def test_the_spread_keeps_projects_apart(pair: Pair) -> None:
    house = pair.house
    apart = iter([0.9, 1.1])
    syncing = Syncing(
        house.db, house.git, house.clock, interval_s=1800, parallel=1, spread=lambda low, high: next(apart)
    )
    pauses = []
    for repo in (pair.mine, pair.other):
        sync = syncing.sync(add_by_path(house.db, house.git, str(repo.path), house.clock))
        pauses.append((sync.next_at - sync.at).total_seconds())
    assert pauses == [1620, 1980]


class Slow(Git):
    """Waits in each fetch until it is let go, and counts how many wait at once."""

    def __init__(self, env: dict[str, str]) -> None:
        super().__init__(env)
        self.go = threading.Event()
        self.began = threading.Semaphore(0)
        self.count = self.now = self.most = 0
        self._lock = threading.Lock()

    def fetch(self, repository: Path, url: str, timeout_s: float, branches: object = None) -> None:
        with self._lock:
            self.count += 1
            self.now += 1
            self.most = max(self.most, self.now)
        self.began.release()
        assert self.go.wait(30)
        with self._lock:
            self.now -= 1


def test_who_asks_while_a_sync_is_under_way_gets_what_comes_of_it(pair: Pair, env: dict[str, str]) -> None:
    slow = Slow(env)
    syncing = make_syncing(pair.house.db, slow, pair.house.clock)
    project = pair.project()
    found: list[Sync] = []
    threads = [threading.Thread(target=lambda: found.append(syncing.sync(project))) for _ in range(5)]
    for thread in threads:
        thread.start()
    assert slow.began.acquire(timeout=30)
    assert syncing.is_running(project.id)
    due = threading.Thread(target=syncing.sync_due)
    due.start()
    slow.go.set()
    for thread in [*threads, due]:
        thread.join(30)
    assert len(found) == 5
    assert not syncing.is_running(project.id)
    assert slow.most == 1


def test_no_more_than_allowed_are_synced_at_once(pair: Pair, env: dict[str, str], tmp_path: Path) -> None:
    house = pair.house
    for number in range(5):
        copy = tmp_path / f"copy{number}"
        pair.mine.git("clone", "-q", f"file://{pair.bare}", str(copy))
        add_by_path(house.db, house.git, str(copy), house.clock)
    slow = Slow(env)
    syncing = make_syncing(house.db, slow, house.clock, parallel=2)
    worker = threading.Thread(target=syncing.sync_due)
    worker.start()
    for _ in range(2):
        assert slow.began.acquire(timeout=30)
    slow.go.set()
    worker.join(60)
    assert (slow.count, slow.most) == (5, 2)


def test_two_checkouts_of_one_repository_wait_for_each_other(pair: Pair, env: dict[str, str], tmp_path: Path) -> None:
    house = pair.house
    pair.project()
    pair.mine.git("worktree", "add", "-q", "-b", "second", str(tmp_path / "second"))
    add_by_path(house.db, house.git, str(tmp_path / "second"), house.clock)
    slow = Slow(env)
    slow.go.set()
    syncing = make_syncing(house.db, slow, house.clock)
    syncing.sync_due()
    assert (slow.count, slow.most) == (2, 1)
