from __future__ import annotations

import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from agented.kit.db import Database, metadata
from agented.kit.errors import AgentedError, Conflict, Invalid, NotFound
from agented.kit.ids import new_id
from agented.projects import store
from agented.projects.git import Git
from agented.projects.model import Wanted, WorkspaceState
from agented.projects.workspaces import Workspaces
from tests.rooms.projects.conftest import House, Repo


def counting_git(tmp_path: Path, env: dict[str, str]) -> tuple[Git, Path]:
    """A git that notes each of its starts by us."""
    calls = tmp_path / "calls"
    program = tmp_path / "counted-git"
    program.write_text(f'#!/bin/sh\necho "$@" >> {calls}\nexec git "$@"\n')
    program.chmod(0o755)
    return Git(env, str(program)), calls


def test_a_workspace_is_a_worktree_on_its_own_branch_from_the_default_branch(house: House) -> None:
    workspace = house.open()
    tip = house.repo.git("rev-parse", "trunk")
    assert workspace.base == tip
    assert workspace.state is WorkspaceState.OPEN
    assert workspace.path == house.data / "workspaces" / workspace.execution_id
    assert (workspace.path / "README.md").read_text() == "tea\n"
    assert house.repo.git("symbolic-ref", "HEAD", cwd=workspace.path) == f"refs/heads/{workspace.branch}"
    assert workspace.branch == f"agented/{workspace.execution_id.lower()}"
    assert house.repo.git("symbolic-ref", "HEAD") == "refs/heads/trunk"


def test_opening_costs_two_git_processes(house: House, tmp_path: Path, env: dict[str, str]) -> None:
    project = house.project()
    git, calls = counting_git(tmp_path, env)
    Workspaces(house.db, git, house.data, house.clock, lambda: 5).open(project, Wanted(), new_id("exe"))
    assert len(calls.read_text().splitlines()) == 2


def test_the_same_execution_gets_the_same_workspace_again(house: House) -> None:
    first = house.open()
    house.repo.write("new.txt", "mine", folder=first.path)
    again = house.open(execution_id=first.execution_id)
    assert again == first
    assert (again.path / "new.txt").read_text() == "mine"


def test_a_folder_that_vanished_is_made_again_on_its_branch(house: House) -> None:
    first = house.open()
    house.repo.write("done.txt", "done", folder=first.path)
    made = house.repo.commit("work", folder=first.path)
    shutil.rmtree(first.path)
    again = house.open(execution_id=first.execution_id)
    assert (again.path / "done.txt").read_text() == "done"
    assert house.repo.git("rev-parse", "HEAD", cwd=again.path) == made


def test_locks_of_a_killed_git_and_a_deleted_link_are_mended_when_opened_again(house: House) -> None:
    first = house.open()
    lock = house.repo.path / ".git" / "worktrees" / first.path.name / "index.lock"
    lock.touch()
    (first.path / ".git").unlink()
    again = house.open(execution_id=first.execution_id)
    house.repo.write("x", "x", folder=again.path)
    house.repo.commit("works", folder=again.path)


@pytest.mark.parametrize("kind", ["branch", "tag", "annotated tag", "commit", "short commit", "full ref", "remote"])
def test_every_kind_of_ref_can_be_the_start(house: House, kind: str) -> None:
    repo = house.repo
    repo.git("checkout", "-q", "-b", "feat/größe")
    wanted = repo.commit("on a branch")
    repo.git("tag", "v1", wanted)
    repo.git("tag", "-a", "-m", "two", "v2", wanted)
    repo.git("update-ref", "refs/remotes/origin/theirs", wanted)
    repo.git("checkout", "-q", "trunk")
    names = {
        "branch": "feat/größe",
        "tag": "v1",
        "annotated tag": "v2",
        "commit": wanted,
        "short commit": wanted[:10],
        "full ref": "refs/heads/feat/größe",
        "remote": "theirs",
    }
    assert house.open(names[kind]).base == wanted


def test_a_branch_wins_over_a_tag_of_its_name(house: House) -> None:
    house.repo.git("tag", "both")
    house.repo.git("checkout", "-q", "-b", "both")
    wanted = house.repo.commit("newer")
    assert house.open("both").base == wanted


def test_a_ref_the_project_does_not_have_is_refused_and_takes_no_place(house: House) -> None:
    with pytest.raises(Invalid, match="no branch, tag or commit named nope") as caught:
        house.open("nope")
    assert caught.value.field == "ref"
    assert not house.workspaces.is_full(house.project().id)
    with house.db.read() as conn:
        assert store.count_open(conn, house.project().id) == 0


def test_a_default_branch_that_was_renamed_is_found(house: House) -> None:
    project = house.project()
    house.repo.git("branch", "-m", "trunk", "stem")
    workspace = house.workspaces.open(project, Wanted(), new_id("exe"))
    assert workspace is not None
    assert house.project().default_branch == "stem"


def test_a_full_project_gives_none_until_one_is_closed(house: House) -> None:
    house.limit = 2
    project = house.project()
    first, _second = house.open(), house.open()
    waiting = new_id("exe")
    assert house.workspaces.open(project, Wanted(), waiting) is None
    assert house.workspaces.is_full(project.id)
    assert house.workspaces.open(project, Wanted(), first.execution_id) == first
    house.workspaces.close(first)
    assert house.workspaces.open(project, Wanted(), waiting) is not None


def test_twenty_opens_at_once_never_exceed_the_limit_and_all_work(house: House) -> None:
    house.limit = 12
    project = house.project()
    with ThreadPoolExecutor(20) as pool:
        given = list(pool.map(lambda _: house.workspaces.open(project, Wanted(), new_id("exe")), range(20)))
    opened = [workspace for workspace in given if workspace is not None]
    assert len(opened) == 12
    for workspace in opened:
        assert house.repo.git("status", "--porcelain", cwd=workspace.path) == ""
    with house.db.read() as conn:
        assert store.count_open(conn, project.id) == 12


def test_the_limit_holds_on_postgresql_too(house: House, new_postgres: str) -> None:
    db = Database(new_postgres)
    metadata.create_all(db.engine)
    there = House(db, house.git, house.repo, house.data, limit=5)
    project = there.project()
    rooms = [there.restart() for _ in range(4)]
    with ThreadPoolExecutor(12) as pool:
        given = list(pool.map(lambda n: rooms[n % 4].open(project, Wanted(), new_id("exe")), range(12)))
    assert len([workspace for workspace in given if workspace]) == 5
    db.close()


def test_opens_of_one_execution_at_once_give_one_workspace(house: House) -> None:
    project, execution_id = house.project(), new_id("exe")
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda _: house.workspaces.open(project, Wanted(), execution_id), range(8)))
    assert len({workspace.id for workspace in given if workspace}) == 1
    assert None not in given


def test_a_lock_that_another_git_holds_is_waited_for(house: House) -> None:
    execution_id = new_id("exe")
    lock = house.repo.path / ".git" / "refs" / "heads" / "agented" / f"{execution_id.lower()}.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    # Longer than git itself waits for a ref.
    with subprocess.Popen([sys.executable, "-c", f"import time, os; time.sleep(3); os.unlink({str(lock)!r})"]):
        begun = time.monotonic()
        house.open(execution_id=execution_id)
        assert time.monotonic() - begun > 1


def test_a_branch_named_agented_is_explained_and_takes_no_place(house: House) -> None:
    house.repo.git("branch", "agented")
    begun = time.monotonic()
    with pytest.raises(Conflict, match="`agented`"):
        house.open()
    assert time.monotonic() - begun < 10
    with house.db.read() as conn:
        assert store.count_open(conn, house.project().id) == 0


def test_a_folder_in_the_way_is_left_alone(house: House) -> None:
    execution_id = new_id("exe")
    mine = house.data / "workspaces" / execution_id / "precious"
    mine.parent.mkdir(parents=True)
    mine.write_text("keep")
    with pytest.raises(Conflict, match="in the way"):
        house.open(execution_id=execution_id)
    assert mine.read_text() == "keep"


def test_a_repository_that_is_gone_is_named(house: House) -> None:
    project = house.project()
    house.repo.path.rename(house.repo.path.with_name("elsewhere"))
    with pytest.raises(NotFound, match="no repository at"):
        house.workspaces.open(project, Wanted(), new_id("exe"))


@pytest.mark.parametrize("execution_id", ["", "../x", "a/b", "-x y", "a" * 61, "x\n"])
def test_ids_that_are_no_ids_make_no_folder(house: House, execution_id: str) -> None:
    with pytest.raises(Invalid):
        house.workspaces.open(house.project(), Wanted(), execution_id)


def test_a_bare_repository_is_a_project(house: House, tmp_path: Path) -> None:
    house.repo.git("clone", "-q", "--bare", str(house.repo.path), str(tmp_path / "tea.git"))
    bare = House(house.db, house.git, Repo(tmp_path / "tea.git", house.repo.env), house.data)
    assert bare.project().name == "tea"
    workspace = bare.open()
    house.repo.write("new", "new\n", folder=workspace.path)
    assert [file.path for file in bare.workspaces.collect(workspace).files] == ["new"]
    closed = bare.workspaces.close(workspace)
    assert closed.head is not None
    assert not workspace.path.exists()


@pytest.mark.parametrize("healing", ["open", "close", "sweep"])
def test_an_open_that_was_killed_half_way_heals(
    house: House, tmp_path: Path, env: dict[str, str], healing: str
) -> None:
    """The whole server dies while git fills the worktree: a filter of the person's own holds it there."""
    reached = tmp_path / "reached"
    (tmp_path / "global").write_text(f'[filter "hold"]\n smudge = "touch {reached}; exec sleep 60"\n clean = cat\n')
    house.repo.write(".gitattributes", "*.hold filter=hold\n")
    house.repo.write("z.hold", "held\n")
    house.repo.commit("held")
    project, execution_id = house.project(), new_id("exe")
    held = {**env, "GIT_CONFIG_GLOBAL": str(tmp_path / "global")}
    script = f"""
from pathlib import Path
from agented.kit.clock import SystemClock
from agented.kit.db import Database
from agented.projects import store
from agented.projects.git import Git
from agented.projects.model import Wanted
from agented.projects.workspaces import Workspaces
db = Database({house.db.url.render_as_string()!r})
with db.read() as conn:
    project = store.get(conn, {project.id!r})
rooms = Workspaces(db, Git({held!r}), Path({str(house.data)!r}), SystemClock(), lambda: 5)
rooms.open(project, Wanted(), {execution_id!r})
"""
    with subprocess.Popen([sys.executable, "-c", script]) as child:
        until = time.monotonic() + 30
        while not reached.exists():
            assert time.monotonic() < until and child.poll() is None
            time.sleep(0.01)
        family = [*psutil.Process(child.pid).children(recursive=True), psutil.Process(child.pid)]
        # All at once: a git that outlives its helper cleans up after it.
        for process in family:
            process.suspend()
        for process in family:
            process.kill()
        psutil.wait_procs(family[:-1], timeout=10)
    half_made = house.restart().get(execution_id)
    assert half_made is not None
    assert (half_made.path / "README.md").exists()
    assert not (half_made.path / "z.hold").exists()
    if healing == "open":
        workspace = house.open(execution_id=execution_id)
        assert (workspace.path / "z.hold").read_text() == "held\n"
        assert house.repo.git("status", "--porcelain", cwd=workspace.path) == ""
        assert house.workspaces.collect(workspace).files == ()
        house.workspaces.close(workspace)
    elif healing == "close":
        assert house.workspaces.collect(half_made).files == ()
        house.workspaces.close(half_made)
    else:
        house.workspaces.sweep([])
    assert not half_made.path.exists()
    assert not any("agented" in name for name in house.repo.refs())
    assert house.repo.git("worktree", "list").count("\n") == 0


def test_git_that_is_missing_is_named_and_takes_no_place(house: House, env: dict[str, str]) -> None:
    project = house.project()
    rooms = Workspaces(house.db, Git(env, "no-such-git"), house.data, house.clock, lambda: 5)
    with pytest.raises(AgentedError, match="not installed"):
        rooms.open(project, Wanted(), new_id("exe"))
    with house.db.read() as conn:
        assert store.count_open(conn, project.id) == 0


def test_what_a_killed_git_has_begun_keeps_no_other_workspace_from_being_made(house: House) -> None:
    first = house.open()
    entry = house.repo.path / ".git" / "worktrees" / "stillborn"
    entry.mkdir()
    (entry / "locked").write_text("initializing")
    (entry / "gitdir").write_text(f"{first.path}-stillborn/.git\n")
    (entry / "commondir").touch()
    assert (house.open().path / "README.md").exists()
    assert not entry.exists()
