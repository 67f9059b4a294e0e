"""All SQL of projects and workspaces."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from agented.kit.db import UtcTime, metadata
from agented.kit.errors import NotFound
from agented.projects.model import Project, Sync, Synced, SyncState, Workspace, WorkspaceState

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
    sa.Column("resting", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.UniqueConstraint("execution_id"),
)
sa.Index("ix_workspaces_project_id_state", workspaces.c.project_id, workspaces.c.state)
sa.Index("ix_workspaces_state", workspaces.c.state)

project_sync = sa.Table(
    "project_sync",
    metadata,
    sa.Column("project_id", sa.String(40), sa.ForeignKey("projects.id"), primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("cause", sa.String(40)),
    sa.Column("detail", sa.Text),
    sa.Column("hint", sa.Text),
    sa.Column("before", sa.String(64)),
    sa.Column("after", sa.String(64)),
    sa.Column("commits", sa.Integer),
    sa.Column("ahead", sa.Integer),
    sa.Column("behind", sa.Integer),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("next_at", UtcTime, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
)


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
        .where(
            workspaces.c.project_id == project_id,
            workspaces.c.state == WorkspaceState.OPEN,
            workspaces.c.resting.is_(False),
        )
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


def left_workspaces(conn: sa.Connection, project_id: str) -> list[Workspace]:
    """Workspaces of a project that are open, or whose folder stayed; the newest first."""
    left = sa.or_(workspaces.c.state == WorkspaceState.OPEN, workspaces.c.kept_path.is_not(None))
    query = sa.select(workspaces).where(workspaces.c.project_id == project_id, left).order_by(workspaces.c.id.desc())
    return [_workspace(row) for row in conn.execute(query)]


def count_snapshots(conn: sa.Connection, project_id: str) -> int:
    query = (
        sa.select(sa.func.count())
        .select_from(workspaces)
        .where(workspaces.c.project_id == project_id, workspaces.c.snapshot_ref.is_not(None))
    )
    return int(conn.execute(query).scalar_one())


def open_counts(conn: sa.Connection, ids: Collection[str]) -> dict[str, int]:
    """How many workspaces are open, by project; those without one are not named."""
    query = (
        sa.select(workspaces.c.project_id, sa.func.count())
        .where(workspaces.c.project_id.in_(list(ids)), workspaces.c.state == WorkspaceState.OPEN)
        .group_by(workspaces.c.project_id)
    )
    return {str(project_id): int(count) for project_id, count in conn.execute(query)}


# --- syncs


def save_sync(conn: sa.Connection, sync: Sync) -> None:
    synced = sync.synced
    values = {
        "state": synced.state,
        "cause": synced.cause,
        "detail": synced.detail,
        "hint": synced.hint,
        "before": synced.before,
        "after": synced.after,
        "commits": synced.commits,
        "ahead": synced.ahead,
        "behind": synced.behind,
        "at": sync.at,
        "next_at": sync.next_at,
        "failures": sync.failures,
    }
    known = conn.execute(project_sync.update().where(project_sync.c.project_id == sync.project_id).values(**values))
    if known.rowcount == 0:
        conn.execute(project_sync.insert().values(project_id=sync.project_id, **values))


def find_sync(conn: sa.Connection, project_id: str) -> Sync | None:
    return syncs(conn, [project_id]).get(project_id)


def syncs(conn: sa.Connection, ids: Collection[str]) -> dict[str, Sync]:
    """The last syncs, by project."""
    query = sa.select(project_sync).where(project_sync.c.project_id.in_(list(ids)))
    return {row.project_id: _sync(row) for row in conn.execute(query)}


def sync_counts(conn: sa.Connection) -> dict[str, int]:
    """How many projects that are not forgotten stand in each state of their last sync."""
    query = (
        sa.select(project_sync.c.state, sa.func.count())
        .join(projects, projects.c.id == project_sync.c.project_id)
        .where(projects.c.forgotten_at.is_(None))
        .group_by(project_sync.c.state)
    )
    return {str(state): 0 for state in SyncState} | {str(state): int(count) for state, count in conn.execute(query)}


def due_syncs(conn: sa.Connection, now: datetime) -> list[Project]:
    """Projects whose next sync is due or that never had one; who waits longest first."""
    query = (
        sa.select(projects)
        .outerjoin(project_sync, projects.c.id == project_sync.c.project_id)
        .where(
            projects.c.forgotten_at.is_(None),
            sa.or_(project_sync.c.next_at.is_(None), project_sync.c.next_at <= now),
        )
        .order_by(sa.func.coalesce(project_sync.c.next_at, 0), projects.c.id)
    )
    return [_project(row) for row in conn.execute(query)]


def _sync(row: sa.Row[Any]) -> Sync:
    parts = ("cause", "detail", "hint", "before", "after", "commits", "ahead", "behind")
    synced = Synced(state=SyncState(row.state), **{part: getattr(row, part) for part in parts})
    return Sync(project_id=row.project_id, synced=synced, at=row.at, next_at=row.next_at, failures=row.failures)


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
        resting=row.resting,
    )
