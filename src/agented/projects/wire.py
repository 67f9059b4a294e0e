"""Projects and changes as the API shows them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from agented.projects.model import ChangedFile, Changes, Hunk, HunkLine, Project


def project_to_dict(project: Project) -> dict[str, Any]:
    return {
        "id": project.id,
        "name": project.name,
        "path": str(project.path),
        "url": project.url,
        "default_branch": project.default_branch,
        "created_at": _time(project.created_at),
        "last_used_at": None if project.last_used_at is None else _time(project.last_used_at),
    }


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
