"""What a project, a workspace and the changes made in one are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A repository we know.

    path: top level of its work tree, or the bare repository itself. url: where it was cloned from, if we cloned it.
    forgotten_at: a forgotten project keeps its row, so that the runs it had can still be shown.
    """

    id: str
    name: str
    path: Path
    url: str | None
    default_branch: str
    created_at: datetime
    last_used_at: datetime | None = None
    forgotten_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a workspace begins with.

    ref: a branch, tag or commit; None is the default branch. fetch: a ref of the remote that is brought before, such as
    refs/pull/7/head; it is what the workspace begins with unless `ref` names a commit that came with it.
    config_from: the commit from which the CLIs' own configuration is taken, instead of from what outsiders wrote.
    """

    ref: str | None = None
    fetch: str | None = None
    config_from: str | None = None


class WorkspaceState(StrEnum):
    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A folder given to one execution: a worktree on a branch of its own.

    base: the commit it started from. head: once closed, the commit that holds all that was made in it; None when it
    could not be kept in the repository, then `kept_path` holds the folder.
    """

    id: str
    project_id: str
    execution_id: str
    path: Path
    branch: str
    base: str
    state: WorkspaceState
    opened_at: datetime
    closed_at: datetime | None = None
    snapshot_ref: str | None = None
    head: str | None = None
    kept_path: Path | None = None
    resting: bool = False
    """Its execution waits for hours, maybe: it takes none of the project's places."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """A kept folder that is no more. head: the commit that holds what was in it; None when it was gone before."""

    head: str | None
    snapshot_ref: str | None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a repository comes from. branches: what a fetch brings where, in git's words."""

    url: str
    branches: tuple[str, ...]


class SyncState(StrEnum):
    UP_TO_DATE = "up_to_date"
    FAST_FORWARDED = "fast_forwarded"
    FETCHED_ONLY = "fetched_only"
    NO_REMOTE = "no_remote"
    FAILED = "failed"


class SyncCause(StrEnum):
    """Why a checkout was left as it is although there was more to fetch."""

    DIRTY = "dirty"
    OTHER_BRANCH = "other_branch"
    DIVERGED = "diverged"
    OPERATION_IN_PROGRESS = "operation_in_progress"
    NO_WORK_TREE = "no_work_tree"
    NO_UPSTREAM = "no_upstream"
    LOCAL_FILTERS = "local_filters"


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """What came of one sync.

    cause: a SyncCause, or one word for a failure. detail: the same for people. hint: what to do.
    before, after: where the default branch stood and stands here. commits: how many a fast-forward brought.
    ahead, behind: commits that only we have, and that only origin has, after the sync.
    """

    state: SyncState
    cause: str | None = None
    detail: str | None = None
    hint: str | None = None
    before: str | None = None
    after: str | None = None
    commits: int | None = None
    ahead: int | None = None
    behind: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """The last sync of a project and when the next is due. failures: how many failed one after the other."""

    project_id: str
    synced: Synced
    at: datetime
    next_at: datetime
    failures: int = 0


class RefKind(StrEnum):
    BRANCH = "branch"
    TAG = "tag"
    REMOTE = "remote"


@dataclass(frozen=True, slots=True)
class Ref:
    name: str
    kind: RefKind
    commit: str


class FileStatus(StrEnum):
    ADDED = "added"
    MODIFIED = "modified"
    DELETED = "deleted"
    RENAMED = "renamed"
    COPIED = "copied"
    TYPE_CHANGED = "type_changed"


@dataclass(frozen=True, slots=True)
class HunkLine:
    kind: Literal[" ", "+", "-"]
    text: str
    no_newline: bool = False
    """The file ends here without a line end."""


@dataclass(frozen=True, slots=True)
class Hunk:
    old_start: int
    old_lines: int
    new_start: int
    new_lines: int
    heading: str
    lines: tuple[HunkLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedFile:
    """additions, deletions: from git's own count, also where the hunks are left out. truncated: they are."""

    path: str
    old_path: str | None
    status: FileStatus
    old_mode: str
    new_mode: str
    binary: bool
    additions: int
    deletions: int
    hunks: tuple[Hunk, ...] = ()
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Stats:
    files: int
    additions: int
    deletions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """All that changed since `base`. head: the commit that holds it, None while the workspace is open."""

    base: str
    head: str | None
    stats: Stats
    files: tuple[ChangedFile, ...]
