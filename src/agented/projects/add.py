"""Makes a repository known as a project: one of this machine, a clone by address, or the sample."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import sqlalchemy as sa

from agented.kit.clock import Clock
from agented.kit.db import Database
from agented.kit.errors import Conflict, Invalid
from agented.kit.ids import new_id
from agented.projects import store
from agented.projects.checks import check_ref, check_url
from agented.projects.folders import REPOSITORIES, UNFINISHED, erase
from agented.projects.git import Git, find_repository
from agented.projects.model import Project
from agented.projects.sample import write_sample

LONGEST_NAME = 120
SAMPLE = "Sample"


def add_by_path(db: Database, git: Git, path: str, clock: Clock) -> Project:
    """The project of the repository around a folder of this machine, made known if it is not yet.

    Raises Invalid that names the field `path`.
    """
    top = git.top_level(_check_path(path))
    if not _is_text(str(top)):
        raise Invalid("The path of the repository is not valid UTF-8.", field="path", hint="Rename its folder.")
    return _register(db, git, top.resolve(), clock, name=top.name.removesuffix(".git") or top.name)


def _check_path(path: str) -> Path:
    if not _is_text(path) or "\0" in path:
        raise Invalid("The path is not a path.", field="path")
    folder = Path(path)
    if not folder.is_absolute():
        raise Invalid("The path must be absolute.", field="path", hint="Begin it with /; ~ is not replaced.")
    try:
        there = folder.is_dir()
    except OSError as error:
        raise Invalid(f"The path cannot be looked at: {error.strerror}.", field="path") from error
    if not there:
        raise Invalid(
            f"There is no folder {folder}, or the user that runs Agented may not see it.",
            field="path",
            hint="Name a folder on the machine that runs the server.",
        )
    return folder


def add_by_url(db: Database, git: Git, url: str, name: str | None, folder: Path, clock: Clock) -> Project:
    """Clones a repository into the data folder; one that was cloned from this address before is taken again.

    Raises Invalid that names `url` or `name`, and CommandFailed with git's words when the clone fails.
    """
    check_url(url)
    chosen = _check_name(name) if name else _name_in(url)
    with db.read() as conn:
        known = store.by_url(conn, url)
    for project in known:
        if project.path.is_dir():
            return _revive(db, project)
    project_id = new_id("prj")
    repositories = folder.resolve() / REPOSITORIES
    repositories.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished, path = repositories / f"{UNFINISHED}{project_id}", repositories / project_id
    try:
        git.clone(url, unfinished)
        git.default_branch(find_repository(unfinished))
        unfinished.rename(path)
    finally:
        erase(unfinished)
    try:
        return _register(db, git, path, clock, name=chosen, url=url, project_id=project_id)
    except BaseException:
        erase(path)
        raise


def add_sample(db: Database, git: Git, folder: Path, clock: Clock) -> Project:
    """A small repository to try things on, made in the data folder the first time."""
    repositories = folder.resolve() / REPOSITORIES
    path = repositories / "sample"
    if not path.exists():
        repositories.mkdir(parents=True, exist_ok=True, mode=0o700)
        unfinished = repositories / f"{UNFINISHED}{new_id('prj')}"
        try:
            write_sample(git, unfinished, clock.now())
            unfinished.rename(path)
        except OSError:
            # Somebody else made it in the same moment.
            if not path.exists():
                raise
        finally:
            erase(unfinished)
    return _register(db, git, path, clock, name=SAMPLE)


def forget(db: Database, project_id: str, clock: Clock) -> None:
    """Forgets a project and deletes nothing. Raises NotFound, and Conflict while runs work in it."""
    with db.write() as conn:
        project = store.get(conn, project_id)
        store.hold(conn, project_id)
        count = store.count_open(conn, project_id)
        if count:
            raise Conflict(
                f"{project.name} has {count} open workspace{'' if count == 1 else 's'}.",
                code="project_in_use",
                hint="Wait until its runs have ended, or cancel them.",
            )
        store.remove(conn, project_id, clock.now())


def _register(
    db: Database,
    git: Git,
    path: Path,
    clock: Clock,
    *,
    name: str,
    url: str | None = None,
    project_id: str | None = None,
) -> Project:
    with db.read() as conn:
        known = store.by_path(conn, path)
    if known is not None:
        return _revive(db, known)
    branch = git.default_branch(find_repository(path))
    try:
        check_ref(branch)
    except Invalid as error:
        raise Invalid(
            f"The repository's default branch has a name that cannot be used: {error.message}",
            field="path",
            hint="Check out another branch there.",
        ) from error
    project = Project(
        id=project_id or new_id("prj"),
        name=name[:LONGEST_NAME],
        path=path,
        url=url,
        default_branch=branch,
        created_at=clock.now(),
    )
    try:
        with db.write() as conn:
            store.add(conn, project)
    except sa.exc.IntegrityError:
        # Added by another request between the look and the insert.
        with db.read() as conn:
            other = store.by_path(conn, path)
        if other is None:
            raise
        return _revive(db, other)
    return project


def _revive(db: Database, project: Project) -> Project:
    if project.forgotten_at is None:
        return project
    with db.write() as conn:
        store.change(conn, project.id, forgotten_at=None)
    return replace(project, forgotten_at=None)


def _name_in(url: str) -> str:
    last = url.rstrip("/").rsplit("/", 1)[-1].rsplit(":", 1)[-1]
    return last.removesuffix(".git") or url


def _check_name(name: str) -> str:
    stripped = name.strip()
    if not stripped or len(stripped) > LONGEST_NAME or not stripped.isprintable():
        raise Invalid(f"A name has 1 to {LONGEST_NAME} printable characters.", field="name")
    return stripped


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
