from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from agented.kit.errors import AgentedError
from agented.kit.ids import new_id
from agented.projects import store
from agented.projects.model import Workspace, WorkspaceState
from tests.rooms.projects.conftest import House, Repo


def worktrees(repo: Repo) -> list[str]:
    listed = repo.git("worktree", "list", "--porcelain").splitlines()
    return [line.removeprefix("worktree ") for line in listed if line.startswith("worktree ")]


def paths(house: House, workspace: Workspace) -> list[str]:
    return [file.path for file in house.workspaces.collect(workspace).files]


def test_a_clean_workspace_leaves_nothing(house: House) -> None:
    workspace = house.open()
    house.repo.write("build/cache.o", "ignored", folder=workspace.path)
    before = {name for name in house.repo.refs() if "agented" not in name}
    closed = house.workspaces.close(workspace)
    assert (closed.state, closed.head, closed.snapshot_ref) == (WorkspaceState.CLOSED, workspace.base, None)
    assert not workspace.path.exists()
    assert worktrees(house.repo) == [str(house.repo.path)]
    assert set(house.repo.refs()) == before
    assert house.workspaces.collect(closed).files == ()
    assert house.workspaces.get(workspace.execution_id) == closed


def test_commits_stay_on_their_branch(house: House) -> None:
    workspace = house.open()
    house.repo.write("new", "new\n", folder=workspace.path)
    tip = house.repo.commit("made", folder=workspace.path)
    closed = house.workspaces.close(workspace)
    assert (closed.head, closed.snapshot_ref) == (tip, None)
    assert house.repo.refs()[f"refs/heads/{workspace.branch}"] == tip
    assert not workspace.path.exists()
    assert paths(house, closed) == ["new"]


def test_unsaved_work_is_in_a_snapshot_before_the_folder_goes(house: House) -> None:
    workspace = house.open()
    house.repo.write("made", "made\n", folder=workspace.path)
    tip = house.repo.commit("made", folder=workspace.path)
    house.repo.write("README.md", "coffee\n", folder=workspace.path)
    house.repo.write("new file\n.txt", "untracked\n", folder=workspace.path)
    house.repo.write("build/ignored", "ignored\n", folder=workspace.path)
    closed = house.workspaces.close(workspace)
    assert closed.snapshot_ref == f"refs/agented/snapshots/{workspace.execution_id}"
    assert house.repo.refs()[closed.snapshot_ref] == closed.head
    assert closed.head is not None
    assert house.repo.git("rev-parse", f"{closed.head}^") == tip
    assert house.repo.git("log", "-1", "--format=%an <%ae>", closed.head) == "Agented <agented@localhost>"
    assert house.repo.show(closed.head, "README.md") == "coffee"
    assert house.repo.show(closed.head, "new file\n.txt") == "untracked"
    assert paths(house, closed) == ["README.md", "made", "new file\n.txt"]
    assert not workspace.path.exists()


def test_a_snapshot_restores_what_was_there(house: House, tmp_path: Path) -> None:
    workspace = house.open()
    house.repo.write("deep/er/new", b"\x00binary", folder=workspace.path)
    (workspace.path / "README.md").chmod(0o755)
    (workspace.path / "link").symlink_to("deep")
    (workspace.path / "src/tea.py").unlink()
    closed = house.workspaces.close(workspace)
    assert closed.snapshot_ref is not None
    house.repo.git("worktree", "add", "-q", "--detach", str(tmp_path / "back"), closed.snapshot_ref)
    back = tmp_path / "back"
    assert (back / "deep/er/new").read_bytes() == b"\x00binary"
    assert os.access(back / "README.md", os.X_OK)
    assert (back / "link").readlink() == Path("deep")
    assert not (back / "src/tea.py").exists()


def test_work_on_a_detached_head_is_kept(house: House) -> None:
    workspace = house.open()
    house.repo.git("checkout", "-q", "--detach", cwd=workspace.path)
    house.repo.write("new", "new\n", folder=workspace.path)
    made = house.repo.commit("on no branch", folder=workspace.path)
    closed = house.workspaces.close(workspace)
    assert closed.head == made
    assert house.repo.refs()[f"refs/agented/snapshots/{workspace.execution_id}"] == made


def test_all_files_deleted_is_a_change_like_another(house: House) -> None:
    workspace = house.open()
    for child in list(workspace.path.iterdir()):
        shutil.rmtree(child) if child.is_dir() else child.unlink()
    closed = house.workspaces.close(workspace)
    assert paths(house, closed) == [".gitignore", "README.md", "src/tea.py"]
    assert closed.snapshot_ref is not None


def test_closing_twice_is_closing_once(house: House) -> None:
    workspace = house.open()
    house.repo.write("new", "new", folder=workspace.path)
    closed = house.workspaces.close(workspace)
    house.clock.forward(60)
    assert house.workspaces.close(workspace) == closed


def test_a_closed_workspace_opens_again_with_all_it_had(house: House) -> None:
    workspace = house.open()
    house.repo.write("made", "made\n", folder=workspace.path)
    tip = house.repo.commit("made", folder=workspace.path)
    house.repo.write("unsaved", "unsaved\n", folder=workspace.path)
    house.workspaces.close(workspace)
    again = house.open(execution_id=workspace.execution_id)
    assert again.id == workspace.id
    assert house.repo.git("rev-parse", "HEAD", cwd=again.path) == tip
    assert house.repo.git("status", "--porcelain", cwd=again.path) == "?? unsaved"
    assert paths(house, again) == ["made", "unsaved"]


def test_a_close_that_was_cut_off_after_the_folder_went_keeps_the_snapshot(house: House) -> None:
    workspace = house.open()
    house.repo.write("unsaved", "unsaved\n", folder=workspace.path)
    closed = house.workspaces.close(workspace)
    with house.db.write() as conn:
        store.change_workspace(conn, workspace.id, state="open", head=None, snapshot_ref=None, closed_at=None)
    again = house.workspaces.close(workspace)
    assert (again.head, again.snapshot_ref) == (closed.head, closed.snapshot_ref)
    assert paths(house, again) == ["unsaved"]


def test_a_folder_that_vanished_is_closed_with_what_its_branch_holds(house: House) -> None:
    workspace = house.open()
    house.repo.write("made", "made\n", folder=workspace.path)
    tip = house.repo.commit("made", folder=workspace.path)
    shutil.rmtree(workspace.path)
    assert house.workspaces.close(workspace).head == tip
    assert worktrees(house.repo) == [str(house.repo.path)]


def test_nested_repositories_keep_their_folder(house: House) -> None:
    workspace = house.open()
    nested = workspace.path / "nested"
    nested.mkdir()
    house.repo.git("init", "-q", cwd=nested)
    house.repo.write("only-here", "precious", folder=nested)
    house.repo.commit("inside", folder=nested)
    house.repo.write("beside", "beside\n", folder=workspace.path)
    closed = house.workspaces.close(workspace)
    assert closed.kept_path == workspace.path
    assert (nested / "only-here").read_text() == "precious"
    assert closed.head is not None
    assert house.repo.show(closed.head, "beside") == "beside"
    assert not house.workspaces.is_full(workspace.project_id)
    house.restart().sweep([])
    assert (nested / "only-here").read_text() == "precious"


def test_a_git_folder_of_the_runs_own_in_the_place_of_ours_keeps_the_folder(house: House) -> None:
    workspace = house.open()
    (workspace.path / ".git").unlink()
    house.repo.git("init", "-q", cwd=workspace.path)
    house.repo.commit("another history", folder=workspace.path)
    assert house.workspaces.close(workspace).kept_path == workspace.path
    assert (workspace.path / ".git" / "HEAD").exists()


def test_a_worktree_that_the_repository_has_forgotten_is_saved_too(house: House) -> None:
    workspace = house.open()
    house.repo.write("unsaved", "unsaved\n", folder=workspace.path)
    shutil.rmtree(house.repo.path / ".git" / "worktrees")
    assert paths(house, workspace) == ["unsaved"]
    closed = house.workspaces.close(workspace)
    assert closed.snapshot_ref is not None
    assert paths(house, closed) == ["unsaved"]
    assert not workspace.path.exists()


def test_a_repository_that_is_gone_frees_the_place_and_keeps_the_folder(house: House) -> None:
    workspace = house.open()
    house.repo.write("unsaved", "unsaved\n", folder=workspace.path)
    away = house.repo.path.rename(house.repo.path.with_name("away"))
    closed = house.workspaces.close(workspace)
    assert (closed.state, closed.head, closed.kept_path) == (WorkspaceState.CLOSED, None, workspace.path)
    assert (workspace.path / "unsaved").exists()
    away.rename(house.repo.path)
    assert paths(house, closed) == ["unsaved"]


def test_a_folder_that_a_run_has_locked_up_is_removed(house: House) -> None:
    workspace = house.open()
    sealed = workspace.path / "build" / "sealed"
    sealed.mkdir(parents=True)
    (sealed / "file").touch()
    sealed.chmod(0o500)
    house.repo.git("worktree", "lock", str(workspace.path))
    house.workspaces.close(workspace)
    assert not workspace.path.exists()
    assert list((house.data / "workspaces" / ".trash").iterdir()) == []


def test_a_disk_that_takes_no_snapshot_keeps_everything(house: House) -> None:
    workspace = house.open()
    house.repo.write("unsaved", "unsaved\n", folder=workspace.path)
    blocked = house.repo.path / ".git" / "refs" / "agented"
    blocked.write_text("a file where a folder must be")
    with pytest.raises(AgentedError):
        house.workspaces.close(workspace)
    assert (workspace.path / "unsaved").exists()
    now = house.workspaces.get(workspace.execution_id)
    assert now is not None
    assert now.state is WorkspaceState.OPEN
    blocked.unlink()
    assert house.workspaces.close(workspace).snapshot_ref is not None


def test_the_persons_own_work_is_not_touched(house: House, tmp_path: Path) -> None:
    house.repo.write("README.md", "in the middle of something\n")
    house.repo.write("staged", "staged\n")
    house.repo.git("add", "staged")
    house.repo.git("worktree", "add", "-q", "--detach", str(tmp_path / "theirs"))
    before = house.repo.git("status", "--porcelain"), house.repo.git("rev-parse", "HEAD")
    workspace = house.open()
    house.repo.write("README.md", "coffee\n", folder=workspace.path)
    house.workspaces.close(workspace)
    house.workspaces.sweep([])
    assert (house.repo.git("status", "--porcelain"), house.repo.git("rev-parse", "HEAD")) == before
    assert (house.repo.path / "README.md").read_text() == "in the middle of something\n"
    assert str(tmp_path / "theirs") in worktrees(house.repo)


def test_the_sweep_closes_what_no_live_execution_holds(house: House) -> None:
    live, dead = house.open(), house.open()
    house.repo.write("unsaved", "unsaved\n", folder=dead.path)
    (closed,) = house.restart().sweep([live.execution_id])
    assert closed.execution_id == dead.execution_id
    assert closed.snapshot_ref is not None
    assert not dead.path.exists()
    assert live.path.exists()
    assert house.restart().sweep([live.execution_id]) == []


def test_the_sweep_saves_and_clears_folders_without_a_row(house: House) -> None:
    dirty, clean = house.open(), house.open()
    house.repo.write("unsaved", "unsaved\n", folder=dirty.path)
    with house.db.write() as conn:
        store.remove_workspace(conn, dirty.id)
        store.remove_workspace(conn, clean.id)
    empty, strange = house.data / "workspaces" / "empty", house.data / "workspaces" / "strange"
    empty.mkdir()
    house.repo.write("mine", "mine", folder=strange)
    house.restart().sweep([])
    snapshot = house.repo.refs()[f"refs/agented/snapshots/{dirty.execution_id}"]
    assert house.repo.show(snapshot, "unsaved") == "unsaved"
    assert not dirty.path.exists()
    assert not clean.path.exists()
    assert not empty.exists()
    assert (strange / "mine").read_text() == "mine"
    assert worktrees(house.repo) == [str(house.repo.path)]


def test_the_sweep_clears_registrations_of_ours_and_leaves_those_of_people(house: House, tmp_path: Path) -> None:
    gone = house.open()
    house.repo.git("worktree", "add", "-q", "--detach", str(tmp_path / "unmounted"))
    shutil.rmtree(tmp_path / "unmounted")
    shutil.rmtree(gone.path)
    with house.db.write() as conn:
        store.remove_workspace(conn, gone.id)
    (house.data / "repositories" / ".new-prj_x").mkdir(parents=True)
    (house.data / "workspaces" / ".trash" / "x").mkdir(parents=True)
    house.restart().sweep([])
    assert worktrees(house.repo) == [str(house.repo.path), str(tmp_path / "unmounted")]
    assert list((house.data / "repositories").iterdir()) == []
    assert not (house.data / "workspaces" / ".trash").exists()


def test_one_broken_workspace_does_not_stop_the_sweep(house: House) -> None:
    broken, fine = house.open(), house.open()
    house.repo.write("unsaved", "unsaved\n", folder=broken.path)
    lock = house.repo.path / ".git" / "refs" / "agented" / "snapshots" / f"{broken.execution_id}"
    (lock / "in-the-way").mkdir(parents=True)
    (lock / "in-the-way" / "ref").write_text(f"{broken.base}\n")
    closed = house.restart().sweep([])
    assert [workspace.execution_id for workspace in closed] == [fine.execution_id]
    assert (broken.path / "unsaved").exists()


def test_a_sweep_of_a_new_house_does_nothing(house: House) -> None:
    assert house.workspaces.sweep([new_id("exe")]) == []
