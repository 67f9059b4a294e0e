"""HTTP for projects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from agented.kit.clock import Clock
from agented.kit.db import Database
from agented.kit.errors import Conflict, Invalid, NotFound
from agented.kit.web import Cursor, Limit, Page, decode_cursor, encode_cursor, role
from agented.projects import store
from agented.projects.add import LONGEST_NAME, add_by_path, add_by_url, add_sample, forget
from agented.projects.git import Git, find_repository
from agented.projects.kept import MOST_S, measure
from agented.projects.model import Project, RefKind, SyncState, Workspace, WorkspaceState
from agented.projects.remotes import Remotes
from agented.projects.sync import Syncing
from agented.projects.wire import project_to_dict, sync_to_dict, worktree_to_dict
from agented.projects.workspaces import Workspaces

_MEASURE_ALL_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectsApi:
    """folder: the data folder; clones and the sample go there. is_over: whether an execution has ended for good."""

    db: Database
    git: Git
    folder: Path
    clock: Clock
    workspaces: Workspaces
    syncing: Syncing
    is_over: Callable[[str], bool]


class NewProject(BaseModel):
    """Either `path` or `url`."""

    path: str | None = Field(default=None, max_length=4000, description="A repository on the server's machine.")
    url: str | None = Field(default=None, max_length=2000, description="An address to clone from: https or ssh.")
    name: str | None = Field(
        default=None, max_length=LONGEST_NAME, description="What to call a clone; by default its address says."
    )


class SyncOut(BaseModel):
    """How the last sync with origin ended."""

    state: SyncState
    cause: str | None = Field(description="Why the checkout stayed as it was, or the sync failed; for programs.")
    detail: str | None = Field(description="The same for people.")
    hint: str | None = Field(description="What to do about it.")
    before: str | None = Field(description="Where the default branch stood.")
    after: str | None = Field(description="Where it stands.")
    commits: int | None = Field(description="How many commits a fast-forward brought.")
    ahead: int | None = Field(description="Commits that origin does not have.")
    behind: int | None = Field(description="Commits that only origin has.")
    at: str
    next_at: str | None = Field(description="When it is synced again; null when only on request.")
    failures: int = Field(description="How many failed one after the other; each puts the next try off.")


class ProjectOut(BaseModel):
    id: str
    name: str
    path: str
    url: str | None = Field(description="Where it was cloned from, if Agented cloned it.")
    default_branch: str
    remote: str | None = Field(description="HOST/OWNER/REPO of its origin.")
    web_url: str | None
    created_at: str
    last_used_at: str | None
    open_worktrees: int
    syncing: bool = Field(description="A sync is under way.")
    sync: SyncOut | None


class WorktreeOut(BaseModel):
    execution_id: str
    branch: str
    path: str
    base: str
    opened_at: str
    closed_at: str | None
    state: Literal["open", "kept"]
    missing: bool = Field(description="The folder is gone.")
    size: int = Field(description="Bytes of its files.")
    size_partial: bool = Field(description="There is more than was counted.")
    unsaved: bool | None = Field(description="A kept folder holds what no commit of the project does; null: not known.")


class WorktreesOut(BaseModel):
    items: list[WorktreeOut]
    snapshots: int = Field(description="Runs of the project whose unsaved work is in a snapshot.")


class RemovedOut(BaseModel):
    execution_id: str
    outcome: Literal["removed", "was_gone"]
    head: str | None = Field(description="The commit that holds what was in the folder.")
    snapshot_ref: str | None


class RefOut(BaseModel):
    name: str
    kind: RefKind
    commit: str


def build_router(deps: ProjectsApi) -> APIRouter:
    router = APIRouter(prefix="/api/projects", tags=["projects"])
    remotes = Remotes(deps.git)

    def rows(projects: Sequence[Project]) -> list[dict[str, Any]]:
        ids = [project.id for project in projects]
        with deps.db.read() as conn:
            syncs, counts = store.syncs(conn, ids), store.open_counts(conn, ids)
        automatic = deps.syncing.is_automatic
        return [
            project_to_dict(
                project,
                remote=remotes.of(project),
                sync=sync_to_dict(syncs[project.id], is_automatic=automatic) if project.id in syncs else None,
                syncing=deps.syncing.is_running(project.id),
                open_worktrees=counts.get(project.id, 0),
            )
            for project in projects
        ]

    def row(project: Project) -> dict[str, Any]:
        return rows([project])[0]

    def known(project_id: str) -> Project:
        with deps.db.read() as conn:
            return store.get(conn, project_id)

    @router.get("", response_model=Page[ProjectOut], openapi_extra=role("viewer"))
    def list_projects(limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
        before = None if cursor is None else _position(cursor)
        with deps.db.read() as conn:
            found = store.list_page(conn, limit + 1, before)
        items = found[:limit]
        following = encode_cursor({"id": items[-1].id}) if len(found) > limit else None
        return {"items": rows(items), "next_cursor": following}

    @router.post("", response_model=ProjectOut, status_code=201, openapi_extra=role("admin"))
    def add_project(new: NewProject) -> dict[str, Any]:
        if (new.path is None) == (new.url is None):
            raise Invalid("Give either `path` or `url`.", field="path")
        if new.path is not None:
            return row(add_by_path(deps.db, deps.git, new.path, deps.clock))
        return row(add_by_url(deps.db, deps.git, new.url or "", new.name, deps.folder, deps.clock))

    @router.post("/sample", response_model=ProjectOut, status_code=201, openapi_extra=role("operator"))
    def add_sample_project() -> dict[str, Any]:
        return row(add_sample(deps.db, deps.git, deps.folder, deps.clock))

    @router.get("/{project_id}", response_model=ProjectOut, openapi_extra=role("viewer"))
    def get_project(project_id: str) -> dict[str, Any]:
        return row(known(project_id))

    @router.get("/{project_id}/refs", response_model=Page[RefOut], openapi_extra=role("viewer"))
    def list_refs(project_id: str) -> dict[str, Any]:
        refs = deps.git.refs(find_repository(known(project_id).path))
        items = [{"name": ref.name, "kind": ref.kind, "commit": ref.commit} for ref in refs]
        return {"items": items, "next_cursor": None}

    @router.delete("/{project_id}", status_code=204, openapi_extra=role("admin"))
    def forget_project(project_id: str) -> None:
        forget(deps.db, project_id, deps.clock)

    @router.post("/{project_id}/sync", response_model=SyncOut, openapi_extra=role("operator"))
    def sync_project(project_id: str) -> dict[str, Any]:
        """Syncs now and answers when that is done; who asks meanwhile gets the same answer."""
        sync = deps.syncing.sync(known(project_id))
        return sync_to_dict(sync, is_automatic=deps.syncing.is_automatic)

    @router.get("/{project_id}/worktrees", response_model=WorktreesOut, openapi_extra=role("viewer"))
    def list_worktrees(project_id: str) -> dict[str, Any]:
        """Folders of runs that are there: open ones, and those kept because git could not take in all of them."""
        known(project_id)
        with deps.db.read() as conn:
            found, snapshots = store.left_workspaces(conn, project_id), store.count_snapshots(conn, project_id)
        return {"items": _measured(found), "snapshots": snapshots}

    @router.post(
        "/{project_id}/worktrees/{execution_id}/remove", response_model=RemovedOut, openapi_extra=role("admin")
    )
    def remove_worktree(project_id: str, execution_id: str) -> dict[str, Any]:
        """Saves all that is in a kept folder in a snapshot, then deletes the folder."""
        workspace = deps.workspaces.get(execution_id)
        if workspace is None or workspace.project_id != known(project_id).id:
            raise NotFound(f"The project has no worktree of {execution_id[:60]}.", field="execution_id")
        if not deps.is_over(execution_id):
            raise Conflict(
                "The run is not over: its worktree is in use.",
                code="worktree_in_use",
                hint="Wait until it has ended, or cancel it.",
            )
        removed = deps.workspaces.remove_kept(execution_id)
        return {
            "execution_id": execution_id,
            "outcome": "was_gone" if removed.head is None else "removed",
            "head": removed.head,
            "snapshot_ref": removed.snapshot_ref,
        }

    return router


def _measured(found: Sequence[Workspace]) -> list[dict[str, Any]]:
    each_s = min(MOST_S, _MEASURE_ALL_S / max(1, len(found)))
    items = []
    for workspace in found:
        path = workspace.path if workspace.state is WorkspaceState.OPEN else workspace.kept_path
        size = measure(path, most_s=each_s) if path is not None and path.is_dir() else None
        items.append(worktree_to_dict(workspace, size))
    return items


def _position(cursor: str) -> str:
    position = decode_cursor(cursor).get("id")
    if not isinstance(position, str):
        raise Invalid("The cursor is not one of ours.", field="cursor", hint="Ask for the first page without a cursor.")
    return position
