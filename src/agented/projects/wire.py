"""Projects and changes as the API shows them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from agented.projects.kept import Measured
from agented.projects.model import ChangedFile, Changes, Hunk, HunkLine, Project, Sync, Workspace, WorkspaceState
from agented.projects.remotes import Remote


def project_to_dict(
    project: Project, *, remote: Remote | None, sync: dict[str, Any] | None, syncing: bool, open_worktrees: int
) -> dict[str, Any]:
    return {
        "id": project.id,
        "name": project.name,
        "path": str(project.path),
        "url": project.url,
        "default_branch": project.default_branch,
        "remote": None if remote is None else remote.name,
        "web_url": None if remote is None else remote.web_url,
        "created_at": _time(project.created_at),
        "last_used_at": None if project.last_used_at is None else _time(project.last_used_at),
        "open_worktrees": open_worktrees,
        "syncing": syncing,
        "sync": sync,
    }


def sync_to_dict(sync: Sync, *, is_automatic: bool) -> dict[str, Any]:
    """next_at: left out where nothing is synced by itself."""
    return {
        **asdict(sync.synced),
        "at": _time(sync.at),
        "next_at": _time(sync.next_at) if is_automatic else None,
        "failures": sync.failures,
    }


def worktree_to_dict(workspace: Workspace, found: Measured | None) -> dict[str, Any]:
    """found: None for a folder that is gone."""
    is_open = workspace.state is WorkspaceState.OPEN
    return {
        "execution_id": workspace.execution_id,
        "branch": workspace.branch,
        "path": str(workspace.path if is_open else workspace.kept_path),
        "base": workspace.base,
        "opened_at": _time(workspace.opened_at),
        "closed_at": None if workspace.closed_at is None else _time(workspace.closed_at),
        "state": "open" if is_open else "kept",
        "missing": found is None,
        "size": 0 if found is None else found.bytes,
        "size_partial": found is not None and found.partial,
        "unsaved": None if is_open else _is_unsaved(workspace, found),
    }


def _is_unsaved(workspace: Workspace, found: Measured | None) -> bool | None:
    """Whether a kept folder holds what no commit of the project does; None where not all of it was looked at."""
    if found is None:
        return False
    closed = workspace.closed_at.timestamp() if workspace.closed_at else 0.0
    if found.odd or workspace.head is None or found.newest > closed:
        return True
    return None if found.partial else False


def changes_to_dict(changes: Changes) -> dict[str, Any]:
    return {
        "base": changes.base,
        "head": changes.head,
        "stats": asdict(changes.stats),
        "files": [_file(file) for file in changes.files],
    }


def _file(file: ChangedFile) -> dict[str, Any]:
    return {
        "path": file.path,
        "old_path": file.old_path,
        "status": file.status.value,
        "old_mode": file.old_mode,
        "new_mode": file.new_mode,
        "binary": file.binary,
        "additions": file.additions,
        "deletions": file.deletions,
        "hunks": [_hunk(hunk) for hunk in file.hunks],
        "truncated": file.truncated,
    }


def _hunk(hunk: Hunk) -> dict[str, Any]:
    return {
        "old_start": hunk.old_start,
        "old_lines": hunk.old_lines,
        "new_start": hunk.new_start,
        "new_lines": hunk.new_lines,
        "heading": hunk.heading,
        "lines": [_line(line) for line in hunk.lines],
    }


def _line(line: HunkLine) -> dict[str, Any]:
    shown: dict[str, Any] = {"kind": line.kind, "text": line.text}
    return {**shown, "no_newline": True} if line.no_newline else shown


def _time(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
