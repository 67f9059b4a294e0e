"""HTTP for projects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from agented.kit.clock import Clock
from agented.kit.db import Database
from agented.kit.errors import Invalid
from agented.kit.web import Cursor, Limit, Page, decode_cursor, encode_cursor, role
from agented.projects import store
from agented.projects.add import LONGEST_NAME, add_by_path, add_by_url, add_sample, forget
from agented.projects.git import Git, find_repository
from agented.projects.model import RefKind
from agented.projects.wire import project_to_dict


@dataclass(frozen=True, slots=True)
class ProjectsApi:
    """folder: the data folder; clones and the sample go there."""

    db: Database
    git: Git
    folder: Path
    clock: Clock


class NewProject(BaseModel):
    """Either `path` or `url`."""

    path: str | None = Field(default=None, max_length=4000, description="A repository on the server's machine.")
    url: str | None = Field(default=None, max_length=2000, description="An address to clone from: https or ssh.")
    name: str | None = Field(
        default=None, max_length=LONGEST_NAME, description="What to call a clone; by default its address says."
    )


class ProjectOut(BaseModel):
    id: str
    name: str
    path: str
    url: str | None
    default_branch: str
    created_at: str
    last_used_at: str | None


class RefOut(BaseModel):
    name: str
    kind: RefKind
    commit: str


def build_router(deps: ProjectsApi) -> APIRouter:
    router = APIRouter(prefix="/api/projects", tags=["projects"])

    @router.get("", response_model=Page[ProjectOut], openapi_extra=role("viewer"))
    def list_projects(limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
        before = None if cursor is None else _position(cursor)
        with deps.db.read() as conn:
            found = store.list_page(conn, limit + 1, before)
        items = found[:limit]
        following = encode_cursor({"id": items[-1].id}) if len(found) > limit else None
        return {"items": [project_to_dict(project) for project in items], "next_cursor": following}

    @router.post("", response_model=ProjectOut, status_code=201, openapi_extra=role("admin"))
    def add_project(new: NewProject) -> dict[str, Any]:
        if (new.path is None) == (new.url is None):
            raise Invalid("Give either `path` or `url`.", field="path")
        if new.path is not None:
            return project_to_dict(add_by_path(deps.db, deps.git, new.path, deps.clock))
        return project_to_dict(add_by_url(deps.db, deps.git, new.url or "", new.name, deps.folder, deps.clock))

    @router.post("/sample", response_model=ProjectOut, status_code=201, openapi_extra=role("operator"))
    def add_sample_project() -> dict[str, Any]:
        return project_to_dict(add_sample(deps.db, deps.git, deps.folder, deps.clock))

    @router.get("/{project_id}", response_model=ProjectOut, openapi_extra=role("viewer"))
    def get_project(project_id: str) -> dict[str, Any]:
        with deps.db.read() as conn:
            return project_to_dict(store.get(conn, project_id))

    @router.get("/{project_id}/refs", response_model=Page[RefOut], openapi_extra=role("viewer"))
    def list_refs(project_id: str) -> dict[str, Any]:
        with deps.db.read() as conn:
            project = store.get(conn, project_id)
        refs = deps.git.refs(find_repository(project.path))
        items = [{"name": ref.name, "kind": ref.kind, "commit": ref.commit} for ref in refs]
        return {"items": items, "next_cursor": None}

    @router.delete("/{project_id}", status_code=204, openapi_extra=role("admin"))
    def forget_project(project_id: str) -> None:
        forget(deps.db, project_id, deps.clock)

    return router


def _position(cursor: str) -> str:
    position = decode_cursor(cursor).get("id")
    if not isinstance(position, str):
        raise Invalid("The cursor is not one of ours.", field="cursor", hint="Ask for the first page without a cursor.")
    return position
