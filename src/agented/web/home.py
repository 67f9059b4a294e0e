"""Home's check-list: what is found, what is missing, and the exact next act. Computed here, for every client."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from agented.backends.api import Found
from agented.backends.contract import Backend, Login
from agented.kit.web import role


class Action(BaseModel):
    """kind: open a page of the app, POST to a path of the API, or copy a command."""

    kind: Literal["link", "post", "copy"]
    label: str
    target: str


class CheckItem(BaseModel):
    id: str
    title: str
    detail: str
    state: Literal["done", "todo", "warning"]
    action: Action | None = None


class CheckList(BaseModel):
    items: list[CheckItem]
    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeApi:
    """git_version: None when git is missing. has_project, has_run: whether there is one at all."""

    backends: Callable[[], Sequence[Backend]]
    detect: Callable[[bool], Mapping[str, Found]]
    read_login: Callable[[Backend], Login | None]
    git_version: Callable[[], str | None]
    has_project: Callable[[], bool]
    has_run: Callable[[], bool]


def build_router(ports: HomeApi) -> APIRouter:
    router = APIRouter(prefix="/api", tags=["home"])

    @router.get("/checklist", openapi_extra=role("viewer"))
    def checklist() -> CheckList:
        items = check(ports)
        return CheckList(items=items, done=sum(item.state == "done" for item in items), total=len(items))

    return router


def check(ports: HomeApi) -> list[CheckItem]:
    return [_git(ports), *_clis(ports), _project(ports), _first_run(ports)]


def _git(ports: HomeApi) -> CheckItem:
    version = ports.git_version()
    if version is None:
        act = Action(kind="copy", label="Copy command", target="apt-get install git")
        return CheckItem(id="git", title="Install git", detail="Runs work in git worktrees.", state="todo", action=act)
    return CheckItem(id="git", title="git found", detail=version, state="done")


def _clis(ports: HomeApi) -> list[CheckItem]:
    found = ports.detect(False)
    items = []
    missing = []
    for backend in ports.backends():
        seen = found.get(backend.name)
        if backend.builtin is not None:
            continue
        if seen is None or not seen.found:
            missing.append(backend)
            continue
        items.append(_found_cli(backend, seen, ports.read_login(backend)))
    if not items:
        items.append(
            CheckItem(
                id="cli",
                title="Install an AI CLI",
                detail="None was found on PATH. The rehearsal works without one.",
                state="todo",
                action=Action(kind="copy", label=f"Copy: {missing[0].title}", target=missing[0].install_hint)
                if missing
                else None,
            )
        )
    return items


def _found_cli(backend: Backend, seen: Found, login: Login | None) -> CheckItem:
    where = f"{seen.version or 'unknown version'} at {seen.path}"
    if backend.needs_login and backend.credentials is not None and login is None:
        act = Action(kind="copy", label="Copy command", target=backend.sign_in_hint)
        return CheckItem(
            id=f"cli-{backend.name}", title=f"Sign in to {backend.title}", detail=where, state="todo", action=act
        )
    if seen.warning:
        return CheckItem(
            id=f"cli-{backend.name}", title=f"{backend.title} found", detail=f"{where}. {seen.warning}", state="warning"
        )
    who = f", signed in as {login.email}" if login is not None and login.email else ""
    return CheckItem(id=f"cli-{backend.name}", title=f"{backend.title} found", detail=where + who, state="done")


def _project(ports: HomeApi) -> CheckItem:
    if ports.has_project():
        return CheckItem(id="project", title="A project is known", detail="", state="done")
    return CheckItem(
        id="project",
        title="Add a project",
        detail="A repository on this machine, or a small sample to try things on.",
        state="todo",
        action=Action(kind="post", label="Make the sample", target="/api/projects/sample"),
    )


def _first_run(ports: HomeApi) -> CheckItem:
    if ports.has_run():
        return CheckItem(id="run", title="The first run was made", detail="", state="done")
    return CheckItem(
        id="run",
        title="Start your first run",
        detail="The rehearsal needs no CLI and really edits a file.",
        state="todo",
        action=Action(kind="link", label="New run", target="/runs/new"),
    )
