from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agented.kit.clock import SetClock
from agented.kit.db import Database
from agented.kit.errors import AgentedError, Conflict, Invalid, NotFound
from agented.kit.ids import new_id
from agented.projects import store
from agented.projects.add import add_by_path, add_by_url, add_sample, forget
from agented.projects.git import Git, find_repository
from agented.projects.model import Project, RefKind, Wanted
from tests.rooms.projects.conftest import House, Repo


def test_a_folder_inside_a_work_tree_means_its_top(house: House) -> None:
    project = add_by_path(house.db, house.git, str(house.repo.path / "src"), house.clock)
    assert (project.path, project.name, project.default_branch) == (house.repo.path, "tea", "trunk")
    assert (project.url, project.created_at, project.last_used_at) == (None, house.clock.now(), None)


def test_the_same_repository_by_another_way_is_the_same_project(house: House, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(house.repo.path)
    first = house.project()
    assert add_by_path(house.db, house.git, str(tmp_path / "link"), house.clock) == first


def test_eight_adds_at_once_make_one_project(house: House) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len({project.id for project in pool.map(lambda _: house.project(), range(8))}) == 1


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("tea", "absolute"),
        ("~/tea", "absolute"),
        ("", "absolute"),
        ("/no/such/folder", "no folder"),
        ("/\0", "not a path"),
        ("/\ud800", "not a path"),
        ("/" + "x" * 3000, "cannot be looked at"),
        ("/tmp", "not inside a git work tree"),
    ],
)
def test_a_path_that_will_not_do_is_named(house: House, path: str, words: str) -> None:
    with pytest.raises(Invalid, match=words) as caught:
        add_by_path(house.db, house.git, path, house.clock)
    assert caught.value.field == "path"


def test_a_git_folder_itself_is_no_project(house: House) -> None:
    with pytest.raises(Invalid, match="not inside a git work tree"):
        add_by_path(house.db, house.git, str(house.repo.path / ".git"), house.clock)


def test_an_empty_repository_is_refused_until_it_has_a_commit(
    db: Database, git: Git, empty_repo: Repo, tmp_path: Path
) -> None:
    house = House(db, git, empty_repo, tmp_path / "data")
    with pytest.raises(Invalid, match="no commit yet") as caught:
        house.project()
    assert caught.value.field == "path"
    empty_repo.commit("first")
    assert house.project().default_branch == "trunk"


def test_an_empty_address_leaves_no_clone(db: Database, git: Git, empty_repo: Repo, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="no commit yet"):
        add_by_url(db, git, str(empty_repo.path), None, tmp_path / "data", SetClock())
    assert list((tmp_path / "data" / "repositories").iterdir()) == []


def test_the_default_branch_is_what_origin_says(house: House) -> None:
    repo, git_dir = house.repo, house.repo.path / ".git"
    repo.git("checkout", "-q", "-b", "feature")
    repo.git("update-ref", "refs/remotes/origin/develop", "HEAD")
    repo.git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/develop")
    assert house.git.default_branch(git_dir) == "develop"
    assert house.open().base == repo.git("rev-parse", "HEAD")


def test_without_origin_it_is_the_branch_checked_out_then_the_only_one(house: House) -> None:
    repo, git_dir = house.repo, house.repo.path / ".git"
    repo.git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/gone")
    repo.git("checkout", "-q", "-b", "feature")
    assert house.git.default_branch(git_dir) == "feature"
    repo.git("checkout", "-q", "--detach")
    with pytest.raises(Invalid, match="does not say"):
        house.git.default_branch(git_dir)
    repo.git("branch", "-D", "feature")
    assert house.git.default_branch(git_dir) == "trunk"
    repo.git("symbolic-ref", "HEAD", "refs/heads/not-born")
    assert house.git.default_branch(git_dir) == "trunk"


def test_a_default_branch_that_cannot_be_named_is_explained(house: House) -> None:
    house.repo.git("branch", "-m", "trunk", "$(id)")
    with pytest.raises(Invalid, match="default branch") as caught:
        house.project()
    assert caught.value.field == "path"


def test_a_worktree_of_a_repository_is_a_project_too(house: House, tmp_path: Path) -> None:
    house.repo.git("worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    side = House(house.db, house.git, Repo(tmp_path / "side", house.repo.env), house.data)
    assert find_repository(side.project().path) == house.repo.path / ".git"
    workspace = side.open()
    side.repo.write("x", "x", folder=workspace.path)
    assert side.workspaces.close(workspace).snapshot_ref in house.repo.refs()


def test_a_clone_is_whole_or_absent(house: House, tmp_path: Path) -> None:
    with pytest.raises(AgentedError):
        add_by_url(house.db, house.git, str(tmp_path / "nothing"), None, house.data, house.clock)
    assert list((house.data / "repositories").iterdir()) == []
    url = str(house.repo.path)
    project = add_by_url(house.db, house.git, url, None, house.data, house.clock)
    assert (project.name, project.url, project.default_branch) == ("tea", url, "trunk")
    assert project.path == house.data / "repositories" / project.id
    assert (project.path / "README.md").read_text() == "tea\n"
    assert [path.name for path in (house.data / "repositories").iterdir()] == [project.id]
    assert add_by_url(house.db, house.git, url, "other", house.data, house.clock) == project


@pytest.mark.parametrize("name", ["   ", "x" * 121, "a\nb", "a\x1b[31m"])
def test_a_name_that_will_not_do_is_named(house: House, name: str) -> None:
    with pytest.raises(Invalid) as caught:
        add_by_url(house.db, house.git, str(house.repo.path), name, house.data, house.clock)
    assert caught.value.field == "name"


def test_an_address_that_does_not_answer_says_what_to_do(house: House) -> None:
    with pytest.raises(AgentedError) as caught:
        add_by_url(house.db, house.git, "https://127.0.0.1:9/x.git", None, house.data, house.clock)
    assert caught.value.code in ("clone_failed", "command_failed")
    assert list((house.data / "repositories").iterdir()) == []


def clone(house: House) -> Project:
    return add_by_url(house.db, house.git, str(house.repo.path), "clone", house.data, house.clock)


def test_a_clone_is_brought_up_to_date_before_work_starts(house: House) -> None:
    project = clone(house)
    newer = house.repo.commit("newer")
    workspace = house.workspaces.open(project, Wanted(), new_id("exe"))
    assert workspace is not None
    assert workspace.base == newer
    house.repo.git("checkout", "-q", "-b", "topic")
    topic = house.repo.commit("topic")
    house.clock.forward(60)
    again = house.workspaces.open(project, Wanted("topic"), new_id("exe"))
    assert again is not None
    assert again.base == topic


def test_a_clone_follows_a_default_branch_that_was_renamed(house: House) -> None:
    project = clone(house)
    house.repo.git("branch", "-m", "trunk", "stem")
    newer = house.repo.commit("newer")
    workspace = house.workspaces.open(project, Wanted(), new_id("exe"))
    assert workspace is not None
    assert workspace.base == newer
    with house.db.read() as conn:
        assert store.get(conn, project.id).default_branch == "stem"


def test_a_clone_whose_origin_is_gone_goes_on_with_what_it_has(house: House) -> None:
    project = clone(house)
    tip = house.repo.git("rev-parse", "HEAD")
    house.repo.path.rename(house.repo.path.with_name("away"))
    workspace = house.workspaces.open(project, Wanted(), new_id("exe"))
    assert workspace is not None
    assert workspace.base == tip


def test_the_sample_is_made_once_and_works(house: House) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: add_sample(house.db, house.git, house.data, house.clock), range(4)))
    sample = made[0]
    assert {project.id for project in made} == {sample.id}
    repo = Repo(sample.path, house.repo.env)
    assert repo.git("status", "--porcelain") == ""
    assert repo.git("rev-list", "--count", "HEAD") == "2"
    assert {path.name for path in sample.path.iterdir()} >= {"README.md", "teatime.py", "test_teatime.py"}
    assert [path.name for path in (house.data / "repositories").iterdir()] == ["sample"]
    workspace = house.workspaces.open(sample, Wanted(), new_id("exe"))
    assert workspace is not None
    house.workspaces.close(workspace)


def test_refs_are_listed_with_their_commits(house: House) -> None:
    repo = house.repo
    tip = repo.git("rev-parse", "HEAD")
    repo.git("tag", "-a", "-m", "one", "v1")
    repo.git("update-ref", "refs/remotes/origin/trunk", "HEAD")
    repo.git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/trunk")
    refs = {(ref.name, ref.kind, ref.commit) for ref in house.git.refs(repo.path / ".git")}
    assert refs == {
        ("trunk", RefKind.BRANCH, tip),
        ("v1", RefKind.TAG, tip),
        ("origin/trunk", RefKind.REMOTE, tip),
    }


def test_forgetting_deletes_nothing_and_adding_again_brings_it_back(house: House) -> None:
    workspace = house.open()
    project = house.project()
    with pytest.raises(Conflict, match="1 open workspace"):
        forget(house.db, project.id, house.clock)
    house.repo.write("new", "new\n", folder=workspace.path)
    closed = house.workspaces.close(workspace)
    forget(house.db, project.id, house.clock)
    assert house.repo.path.is_dir()
    with house.db.read() as conn:
        assert store.list_page(conn, 10) == []
        assert store.names(conn, [project.id]) == {project.id: "tea"}
        with pytest.raises(NotFound):
            store.get(conn, project.id)
    with pytest.raises(NotFound):
        forget(house.db, project.id, house.clock)
    assert len(house.workspaces.collect(closed).files) == 1
    assert house.project().id == project.id
    with house.db.read() as conn:
        assert store.get(conn, project.id).forgotten_at is None


def test_a_project_remembers_when_it_was_used(house: House) -> None:
    house.project()
    house.clock.forward(60)
    house.open()
    assert house.project().last_used_at == house.clock.now()


def test_a_repository_whose_name_is_not_utf8_is_refused(house: House, tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff"))
    house.repo.path.rename(odd)
    (tmp_path / "link").symlink_to(odd)
    with pytest.raises(Invalid, match="UTF-8"):
        add_by_path(house.db, house.git, str(tmp_path / "link"), house.clock)
