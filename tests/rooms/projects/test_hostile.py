"""What a repository, a ref or an address brings along is never run: a canary file would show it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agented.kit.errors import AgentedError, Conflict, Invalid
from agented.kit.ids import new_id
from agented.projects.add import add_by_path, add_by_url
from agented.projects.git import Git
from agented.projects.model import Wanted
from tests.rooms.projects.conftest import House, Repo


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


def use_everything(house: House, ref: str | None = None) -> None:
    """Each verb of the room once, on a workspace with changes."""
    workspace = house.open(ref)
    house.repo.write("README.md", "changed\n", folder=workspace.path)
    house.repo.write("evil.dat", "changed\n", folder=workspace.path)
    house.workspaces.collect(workspace)
    house.workspaces.patch(workspace)
    closed = house.workspaces.close(workspace)
    house.workspaces.collect(closed)
    house.workspaces.patch(closed)
    reopened = house.open(execution_id=workspace.execution_id)
    house.workspaces.close(reopened)
    house.workspaces.sweep([])
    house.git.refs(house.repo.path / ".git")
    house.project()


@pytest.mark.parametrize(
    "ref",
    [
        "--upload-pack=touch CANARY",
        "-x",
        "--orphan",
        "$(touch CANARY)",
        ";touch CANARY",
        "`touch CANARY`",
        "a..b",
        "HEAD@{1}",
        "@",
        "a" * 300,
        "a\nb",
        "trunk^{/x}",
        "trunk:README.md",
        "trunk~1",
        "",
        "ref.lock",
        "/trunk",
        "trunk/",
        "a//b",
        ".hidden",
        "\ud800",
    ],
)
def test_hostile_refs_are_refused_before_git_sees_them(house: House, canary: Path, ref: str) -> None:
    with pytest.raises(Invalid) as caught:
        house.open(ref.replace("CANARY", str(canary)))
    assert caught.value.field == "ref"
    assert not canary.exists()


@pytest.mark.parametrize(
    "url",
    [
        "--upload-pack=touch CANARY",
        "-u",
        "ext::sh -c touch% CANARY",
        "ext::touch%20CANARY",
        "fd::17",
        "ssh://-oProxyCommand=touch%20CANARY/x",
        "ssh://-oProxyCommand=touch${IFS}CANARY/x",
        "-oProxyCommand=touch:x",
        "git@-oProxyCommand=x:y",
        "host:-oProxyCommand=x",
        "ssh://user@-host/x",
        "https://user:password@host.invalid/x",
        "https://token@host.invalid/x",
        "http://host.invalid/x",
        "git://host.invalid/x",
        "ftp://host.invalid/x",
        "file://host/share",
        "https://host.invalid",
        "https:///x",
        "https://ho st.invalid/x",
        "https://host.invalid/x\ny",
        "https://host.invalid:99999/x",
        "https://[::1/x",
        "relative/path",
        "./x",
        "",
        "x" * 3000,
    ],
)
def test_hostile_addresses_are_refused_before_git_sees_them(house: House, canary: Path, url: str) -> None:
    with pytest.raises(Invalid) as caught:
        add_by_url(house.db, house.git, url.replace("CANARY", str(canary)), None, house.data, house.clock)
    assert caught.value.field == "url"
    assert not canary.exists()
    assert not (house.data / "repositories").exists()


def test_git_itself_is_told_to_refuse_helpers_and_other_protocols(house: House, canary: Path) -> None:
    """The second wall: also when an address passed the check."""
    for url in (f"ext::touch {canary}", "http://127.0.0.1:9/x", "git://127.0.0.1:9/x"):
        with pytest.raises(AgentedError):
            house.git.clone(url, house.data.parent / "clone")
    assert not canary.exists()
    assert not (house.data.parent / "clone").exists()


def test_hooks_of_the_repository_do_not_run(house: House, canary: Path) -> None:
    hooks = house.repo.path / ".git" / "hooks"
    for name in ("post-checkout", "pre-commit", "post-index-change", "reference-transaction", "post-commit", "update"):
        hook = hooks / name
        hook.write_text(f"#!/bin/sh\ntouch {canary}\n")
        hook.chmod(0o755)
    house.repo.git("config", "core.hooksPath", str(hooks))
    use_everything(house)
    assert not canary.exists()


@pytest.mark.parametrize(
    "key",
    [
        "core.fsmonitor",
        "core.sshCommand",
        "core.pager",
        "core.editor",
        "core.askPass",
        "core.alternateRefsCommand",
        "core.gitProxy",
        "diff.external",
        "diff.evil.command",
        "diff.evil.textconv",
        "filter.evil.clean",
        "filter.evil.smudge",
        "filter.evil.process",
        "merge.evil.driver",
        "credential.helper",
        "gpg.program",
        "uploadpack.packObjectsHook",
        "remote.origin.uploadpack",
        "alias.worktree",
        "interactive.diffFilter",
    ],
)
@pytest.mark.parametrize("how", ["config", "include"])
def test_programs_that_the_repositorys_configuration_names_do_not_run(
    house: House, canary: Path, tmp_path: Path, key: str, how: str
) -> None:
    command = f"!touch {canary}" if key.startswith(("alias", "credential")) else f"touch {canary}; cat"
    house.repo.write(".gitattributes", "*.dat diff=evil filter=evil merge=evil\n")
    house.repo.write("evil.dat", "a\nb\n")
    house.repo.commit("attributes")
    target = str(house.repo.path / ".git" / "config")
    if how == "include":
        house.repo.git("config", "include.path", str(tmp_path / "included"))
        target = str(tmp_path / "included")
    house.repo.git("config", "-f", target, key, command)
    house.repo.git("config", "-f", target, "filter.evil.required", "true")
    house.repo.git("config", "-f", target, "commit.gpgSign", "true")
    use_everything(house)
    assert not canary.exists()


def test_filters_of_the_persons_own_configuration_work(
    db_house: Callable[[dict[str, str]], House], env: dict[str, str], tmp_path: Path
) -> None:
    """As Git LFS needs it."""
    (tmp_path / "global").write_text('[filter "upper"]\n smudge = tr a-z A-Z\n clean = tr A-Z a-z\n')
    house = db_house({**env, "GIT_CONFIG_GLOBAL": str(tmp_path / "global")})
    house.repo.write(".gitattributes", "*.up filter=upper\n")
    house.repo.write("x.up", "word\n")
    house.repo.commit("filtered")
    workspace = house.open()
    assert (workspace.path / "x.up").read_text() == "WORD\n"
    assert house.workspaces.collect(workspace).files == ()


@pytest.fixture
def db_house(house: House) -> Callable[[dict[str, str]], House]:
    return lambda env: House(house.db, Git(env), house.repo, house.data)


def test_a_bare_repository_inside_the_tree_is_not_entered(house: House, canary: Path) -> None:
    """git would take it for the repository when somebody works in that folder, and run its monitor."""
    evil = house.repo.path / "docs" / "evil"
    house.repo.git("init", "-q", "--bare", str(evil))
    (evil / "config").write_text(f'[core]\n bare = false\n worktree = ..\n fsmonitor = "touch {canary};:"\n')
    house.repo.commit("with a bare repository")
    use_everything(house)
    assert not canary.exists()


def test_submodules_are_not_fetched(house: House, tmp_path: Path, canary: Path) -> None:
    house.repo.write(".gitmodules", f'[submodule "x"]\n path = x\n url = ext::touch {canary}\n')
    house.repo.git("add", "-A")
    tip = house.repo.git("rev-parse", "HEAD")
    house.repo.git("update-index", "--add", "--cacheinfo", f"160000,{tip},x")
    house.repo.git("commit", "-q", "-m", "submodule")
    house.repo.git("config", "submodule.recurse", "true")
    house.repo.git("config", "submodule.x.url", f"ext::touch {canary}")
    use_everything(house)
    project = add_by_url(house.db, house.git, str(house.repo.path), "clone", house.data, house.clock)
    assert list((project.path / "x").iterdir()) == []
    assert not canary.exists()


def test_a_partial_clone_fetches_nothing_by_itself(house: House, canary: Path, tmp_path: Path) -> None:
    house.repo.git("config", "uploadpack.allowFilter", "true")
    partial = tmp_path / "partial"
    url = f"file://{house.repo.path}"
    house.repo.git("clone", "-q", "--filter=blob:none", "--no-checkout", url, str(partial))
    other = House(house.db, house.git, Repo(partial, house.repo.env), house.data)
    other.repo.git("config", "remote.origin.url", "ssh://host.invalid/x")
    other.repo.git("config", "core.sshCommand", f"touch {canary};")
    with pytest.raises(AgentedError) as caught:
        other.open()
    assert caught.value.code == "partial_clone"
    assert not canary.exists()
    assert not any((house.data / "workspaces").glob("exe_*"))


def test_variables_of_the_environment_that_steer_git_are_dropped(
    house: House, env: dict[str, str], canary: Path, tmp_path: Path
) -> None:
    evil = {
        "GIT_DIR": str(tmp_path),
        "GIT_WORK_TREE": str(tmp_path),
        "GIT_INDEX_FILE": str(canary),
        "GIT_SSH_COMMAND": f"touch {canary}",
        "GIT_EXTERNAL_DIFF": f"touch {canary}",
        "GIT_PROXY_COMMAND": f"touch {canary}",
        "GIT_TRACE": str(canary),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.fsmonitor",
        "GIT_CONFIG_VALUE_0": f"touch {canary}",
    }
    use_everything(House(house.db, Git({**env, **evil}), house.repo, house.data))
    assert not canary.exists()


def test_a_clone_whose_configuration_names_programs_is_not_fetched(house: House, canary: Path) -> None:
    project = add_by_url(house.db, house.git, str(house.repo.path), None, house.data, house.clock)
    clone = project.path / ".git"
    house.repo.git("config", "remote.origin.uploadpack", f"touch {canary};git-upload-pack", cwd=project.path)
    with pytest.raises(Conflict, match=r"remote\.origin\.uploadpack"):
        house.git.fetch(clone, str(house.repo.path), 10)
    assert house.workspaces.open(project, Wanted(), new_id("exe")) is not None
    assert not canary.exists()


def test_a_repository_of_another_user_is_explained(house: House, tmp_path: Path, env: dict[str, str]) -> None:
    program = tmp_path / "git-of-another"
    program.write_text('#!/bin/sh\nGIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec git "$@"\n')
    program.chmod(0o755)
    with pytest.raises(Invalid) as caught:
        add_by_path(house.db, Git(env, str(program)), str(house.repo.path), house.clock)
    assert caught.value.code == "dubious_ownership"
    assert "safe.directory" in (caught.value.hint or "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_root_is_told_that_a_repository_belongs_to_another(house: House) -> None:
    for path in [house.repo.path, *house.repo.path.rglob("*")]:
        os.chown(path, 12345, 12345, follow_symlinks=False)
    with pytest.raises(Invalid) as caught:
        house.project()
    assert caught.value.code == "dubious_ownership"
