from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agented.kit.clock import SetClock
from agented.kit.db import Database, metadata
from agented.kit.ids import new_id
from agented.projects.add import add_by_path
from agented.projects.git import Git
from agented.projects.model import Project, Wanted, Workspace
from agented.projects.workspaces import Workspaces


@dataclass(frozen=True)
class Repo:
    """A repository that a person works in, with that person's own git."""

    path: Path
    env: Mapping[str, str]

    def git(self, *args: str, cwd: Path | None = None, stdin: bytes = b"") -> str:
        done = subprocess.run(
            ["git", *args], cwd=cwd or self.path, env=dict(self.env), input=stdin, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode("utf-8", "surrogateescape").strip()

    def write(self, name: str, text: str | bytes, *, folder: Path | None = None) -> Path:
        path = (folder or self.path) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def commit(self, message: str, *, folder: Path | None = None) -> str:
        self.git("add", "-A", cwd=folder)
        self.git("commit", "-q", "--allow-empty", "-m", message, cwd=folder)
        return self.git("rev-parse", "HEAD", cwd=folder)

    def refs(self) -> dict[str, str]:
        """Commits by the full names of refs."""
        rows = (line.split() for line in self.git("for-each-ref", "--format=%(objectname) %(refname)").splitlines())
        return {name: commit for commit, name in rows}

    def show(self, commit: str, name: str) -> str:
        return self.git("show", f"{commit}:{name}")


@dataclass
class House:
    """The room as the app builds it, over a repository in a temporary folder."""

    db: Database
    git: Git
    repo: Repo
    data: Path
    clock: SetClock = field(default_factory=SetClock)
    limit: int = 5
    over: set[str] = field(default_factory=set)
    """Executions that have ended for good."""

    def __post_init__(self) -> None:
        self.workspaces = self.restart()

    def restart(self) -> Workspaces:
        self.workspaces = Workspaces(self.db, self.git, self.data, self.clock, lambda: self.limit)
        return self.workspaces

    def project(self) -> Project:
        return add_by_path(self.db, self.git, str(self.repo.path), self.clock)

    def open(self, ref: str | None = None, execution_id: str | None = None) -> Workspace:
        workspace = self.workspaces.open(self.project(), Wanted(ref), execution_id or new_id("exe"))
        assert workspace is not None
        return workspace


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    home = tmp_path / "home"
    home.mkdir()
    return {
        "PATH": os.defpath + ":/usr/local/bin",
        "HOME": str(home),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
    }


@pytest.fixture
def person(env: dict[str, str]) -> dict[str, str]:
    names = {f"GIT_{who}_{what}": "Pat" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return {**env, **names}


@pytest.fixture
def git(env: dict[str, str]) -> Git:
    return Git(env)


@pytest.fixture
def empty_repo(tmp_path: Path, person: dict[str, str]) -> Repo:
    path = tmp_path / "code" / "tea"
    path.mkdir(parents=True)
    repo = Repo(path, person)
    repo.git("init", "-q", "-b", "trunk")
    return repo


@pytest.fixture
def repo(empty_repo: Repo) -> Repo:
    empty_repo.write("README.md", "tea\n")
    empty_repo.write("src/tea.py", "".join(f"line {n}\n" for n in range(1, 31)))
    empty_repo.write(".gitignore", "build/\n")
    empty_repo.commit("first")
    return empty_repo


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = Database("sqlite:///" + str(tmp_path / "t.db"))
    metadata.create_all(database.engine)
    yield database
    database.close()


@pytest.fixture
def house(db: Database, git: Git, repo: Repo, tmp_path: Path) -> House:
    return House(db, git, repo, tmp_path / "data")
