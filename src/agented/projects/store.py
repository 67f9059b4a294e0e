"""All SQL of projects and workspaces."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from agented.kit.db import UtcTime, metadata
from agented.kit.errors import NotFound
from agented.projects.model import Project, Workspace, WorkspaceState

projects = sa.Table(
    "projects",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("name", sa.String(120), nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("url", sa.Text),
    sa.Column("default_branch", sa.String(255), nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("last_used_at", UtcTime),
    sa.Column("forgotten_at", UtcTime),
    sa.UniqueConstraint("path"),
)

workspaces = sa.Table(
    "workspaces",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("project_id", sa.String(40), sa.ForeignKey("projects.id"), nullable=False),
    sa.Column("execution_id", sa.String(64), nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("branch", sa.String(255), nullable=False),
    sa.Column("base", sa.String(64), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("opened_at", UtcTime, nullable=False),
    sa.Column("closed_at", UtcTime),
    sa.Column("snapshot_ref", sa.String(255)),
    sa.Column("head", sa.String(64)),
    sa.Column("kept_path", sa.Text),
    sa.UniqueConstraint("execution_id"),
)
sa.Index("ix_workspaces_project_id_state", workspaces.c.project_id, workspaces.c.state)
sa.Index("ix_workspaces_state", workspaces.c.state)


def add(conn: sa.Connection, project: Project) -> None:
    """Raises IntegrityError when a project of this path is known."""
    conn.execute(
        projects.insert().values(
            id=project.id,
            name=project.name,
            path=str(project.path),
            url=project.url,
            default_branch=project.default_branch,
            created_at=project.created_at,
            last_used_at=project.last_used_at,
        )
    )


def find(conn: sa.Connection, project_id: str) -> Project | None:
    """A project, also a forgotten one."""
    row = conn.execute(sa.select(projects).where(projects.c.id == project_id)).one_or_none()
    return None if row is None else _project(row)


def get(conn: sa.Connection, project_id: str) -> Project:
    """Raises NotFound for a project that is not known or is forgotten."""
    project = find(conn, project_id)
    if project is None or project.forgotten_at is not None:
        raise NotFound(
            f"There is no project {project_id[:60]}.", hint="`GET /api/projects` lists them.", field="project"
        )
    return project


def by_path(conn: sa.Connection, path: Path) -> Project | None:
    """The project of this path, also a forgotten one."""
    row = conn.execute(sa.select(projects).where(projects.c.path == str(path))).one_or_none()
    return None if row is None else _project(row)


def by_url(conn: sa.Connection, url: str) -> list[Project]:
    rows = conn.execute(sa.select(projects).where(projects.c.url == url).order_by(projects.c.id))
    return [_project(row) for row in rows]


def list_page(conn: sa.Connection, limit: int, before: str | None = None) -> list[Project]:
    """Projects that are not forgotten, newest first, those older than the id `before`."""
    query = sa.select(projects).where(projects.c.forgotten_at.is_(None)).order_by(projects.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(projects.c.id < before)
    return [_project(row) for row in conn.execute(query)]


def every(conn: sa.Connection) -> list[Project]:
    """All projects, forgotten ones too."""
    return [_project(row) for row in conn.execute(sa.select(projects).order_by(projects.c.id))]


def names(conn: sa.Connection, ids: Collection[str]) -> dict[str, str]:
    """Names by id, of forgotten projects too."""
    query = sa.select(projects.c.id, projects.c.name).where(projects.c.id.in_(list(ids)))
    return {row.id: row.name for row in conn.execute(query)}


def change(conn: sa.Connection, project_id: str, **values: Any) -> None:
    conn.execute(projects.update().where(projects.c.id == project_id).values(**values))


def remove(conn: sa.Connection, project_id: str, at: datetime) -> None:
    """Forgets the project; its row stays for the runs it had."""
    change(conn, project_id, forgotten_at=at)


def hold(conn: sa.Connection, project_id: str) -> None:
    """Others that count and add workspaces of this project wait until the transaction ends (PostgreSQL)."""
    conn.execute(sa.select(projects.c.id).where(projects.c.id == project_id).with_for_update())


def count_open(conn: sa.Connection, project_id: str) -> int:
    query = (
        sa.select(sa.func.count())
        .select_from(workspaces)
        .where(workspaces.c.project_id == project_id, workspaces.c.state == WorkspaceState.OPEN)
    )
    return int(conn.execute(query).scalar_one())


def add_workspace(conn: sa.Connection, workspace: Workspace) -> None:
    conn.execute(
        workspaces.insert().values(
            id=workspace.id,
            project_id=workspace.project_id,
            execution_id=workspace.execution_id,
            path=str(workspace.path),
            branch=workspace.branch,
            base=workspace.base,
            state=workspace.state,
            opened_at=workspace.opened_at,
        )
    )


def find_workspace(conn: sa.Connection, execution_id: str) -> Workspace | None:
    row = conn.execute(sa.select(workspaces).where(workspaces.c.execution_id == execution_id)).one_or_none()
    return None if row is None else _workspace(row)


def open_workspaces(conn: sa.Connection) -> list[Workspace]:
    query = sa.select(workspaces).where(workspaces.c.state == WorkspaceState.OPEN).order_by(workspaces.c.id)
    return [_workspace(row) for row in conn.execute(query)]


def change_workspace(conn: sa.Connection, workspace_id: str, **values: Any) -> None:
    conn.execute(workspaces.update().where(workspaces.c.id == workspace_id).values(**values))


def remove_workspace(conn: sa.Connection, workspace_id: str) -> None:
    conn.execute(workspaces.delete().where(workspaces.c.id == workspace_id))


def _project(row: sa.Row[Any]) -> Project:
    return Project(
        id=row.id,
        name=row.name,
        path=Path(row.path),
        url=row.url,
        default_branch=row.default_branch,
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        forgotten_at=row.forgotten_at,
    )


def _workspace(row: sa.Row[Any]) -> Workspace:
    return Workspace(
        id=row.id,
        project_id=row.project_id,
        execution_id=row.execution_id,
        path=Path(row.path),
        branch=row.branch,
        base=row.base,
        state=WorkspaceState(row.state),
        opened_at=row.opened_at,
        closed_at=row.closed_at,
        snapshot_ref=row.snapshot_ref,
        head=row.head,
        kept_path=None if row.kept_path is None else Path(row.kept_path),
    )
