"""Gives each execution a worktree of its own, collects what was made in it, and takes it back without losing work.

The row is claimed before git makes anything, and closed after the folder is gone, so that whatever a crash leaves is
found by its row. Order of a close: snapshot (on the disk) → folder renamed away → git forgets it → row closed.
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum, auto
from pathlib import Path

from agented.kit.clock import Clock
from agented.kit.db import Database
from agented.kit.errors import AgentedError, Conflict, Invalid, NotFound
from agented.kit.ids import new_id
from agented.projects import changes, store
from agented.projects.changes import Span
from agented.projects.checks import check_ref
from agented.projects.folders import REPOSITORIES, UNFINISHED, erase
from agented.projects.git import Git, Place, common_folder, find_repository, follow_link
from agented.projects.kept import archive_repositories
from agented.projects.model import Changes, Hunk, Project, Removed, Wanted, Workspace, WorkspaceState

log = logging.getLogger(__name__)

FOLDER = "workspaces"
SNAPSHOTS = "refs/agented/snapshots/"
_EXECUTION_ID = re.compile(r"[A-Za-z0-9_-]{1,60}\Z")
_FETCH_PAUSE_S = 10.0
_FETCH_TIMEOUT_S = 60.0


class _Folder(Enum):
    ABSENT = auto()
    READY = auto()
    HALF_MADE = auto()
    """Git was killed while it made the worktree; nobody has worked in it."""
    UNKNOWN = auto()
    """A folder that the repository does not know as a worktree (any more)."""


@dataclass(frozen=True, slots=True)
class _Saved:
    head: str
    snapshot_ref: str | None
    whole: bool
    """All that was in the folder is in the repository now."""


class Workspaces:
    """folder: the data folder. limit: how many workspaces a project may have open at once, asked at each open.
    config_names: files and folders that hold the CLIs' own configuration, by their names, wherever they stand.
    """

    def __init__(
        self,
        db: Database,
        git: Git,
        folder: Path,
        clock: Clock,
        limit: Callable[[], int],
        config_names: Collection[str] = (),
    ) -> None:
        self._db = db
        self._git = git
        self._data = folder.resolve()
        self._folder = self._data / FOLDER
        self._clock = clock
        self._limit = limit
        self._config_names = frozenset(name.casefold() for name in config_names)
        # One execution's calls wait for each other; those of others go on.
        self._locks = tuple(threading.RLock() for _ in range(64))
        self._fetch_lock = threading.Lock()
        self._fetched_at: dict[str, float] = {}

    def get(self, execution_id: str) -> Workspace | None:
        with self._db.read() as conn:
            return store.find_workspace(conn, execution_id)

    def is_full(self, project_id: str) -> bool:
        limit = self._limit()
        with self._db.read() as conn:
            return store.count_open(conn, project_id) >= limit

    # --- open

    def open(self, project: Project, wanted: Wanted, execution_id: str) -> Workspace | None:
        """The execution's workspace, made or found again; None when the project is full.

        Raises Invalid for a ref the project does not have, and what else keeps git from making it.
        """
        if not _EXECUTION_ID.match(execution_id):
            raise Invalid("That is not the id of an execution.", field="execution_id")
        with self._lock(execution_id):
            known = self.get(execution_id)
            if known is not None:
                return self._open_again(project, known)
            if self.is_full(project.id):
                return None
            repository = find_repository(project.path)
            claimed = self._claim(project, execution_id, self._start_of(project, repository, wanted))
            if claimed is None:
                return None
            try:
                self._make(repository, claimed)
            except AgentedError:
                self._give_up(repository, claimed)
                raise
            return claimed

    def _open_again(self, project: Project, known: Workspace) -> Workspace | None:
        if known.project_id != project.id:
            raise Conflict("The execution has a workspace in another project.", code="workspace_elsewhere")
        repository = find_repository(project.path)
        working = known.state is WorkspaceState.OPEN and not known.resting
        claimed = known if working else self._claim_again(known)
        if claimed is not None:
            self._make(repository, claimed)
        return claimed

    def _start_of(self, project: Project, repository: Path, wanted: Wanted) -> str:
        """The commit to begin with, with the configuration that it may have."""
        commit = self._commit_of(project, repository, wanted)
        if wanted.config_from is None:
            return commit
        source = self._git.resolve(repository, wanted.config_from)
        return self._with_config_of(repository, commit, source)

    def _with_config_of(self, repository: Path, commit: str, source: str) -> str:
        """A commit like the first, in which the CLIs' configuration is that of the second and nobody else's."""
        with self._scratch() as scratch:
            place = Place(repository=repository, index=scratch / "index")
            here = [entry for entry in self._git.tree(place, commit) if self._is_config(entry.path)]
            there = [entry for entry in self._git.tree(place, source) if self._is_config(entry.path)]
            if here == there:
                return commit
            tree = self._git.tree_with(place, commit, without=[entry.path for entry in here], entries=there)
            message = f"Configuration of the AI CLIs as in {source}\n\nWhat came with {commit} is left out.\n"
            return self._git.commit_tree(place, tree, [commit], message, self._clock.now())

    def _is_config(self, path: str) -> bool:
        return any(part.casefold() in self._config_names for part in path.split("/"))

    def _commit_of(self, project: Project, repository: Path, wanted: Wanted) -> str:
        """A default branch that was renamed meanwhile is looked up anew."""
        ref = wanted.ref
        if wanted.fetch is not None:
            return self._fetched(project, repository, wanted.fetch, ref)
        if project.url is not None:
            project = self._fetch(project, repository, project.url)
        ours = project.url is not None
        if ref is not None:
            return self._git.resolve(repository, ref, remote_first=ours)
        try:
            return self._git.resolve(repository, project.default_branch, remote_first=ours)
        except Invalid:
            branch = self._git.default_branch(repository)
            if branch == project.default_branch:
                raise
        with self._db.write() as conn:
            store.change(conn, project.id, default_branch=branch)
        return self._git.resolve(repository, branch, remote_first=ours)

    def _fetched(self, project: Project, repository: Path, ref: str, commit: str | None) -> str:
        """The commit of a ref of the remote; the named one, when it came with it."""
        url = project.url or self._git.remote_url(repository)
        if url is None:
            raise Invalid("The project has no remote to fetch from.", field="ref", hint="Add it by its address.")
        check_ref(ref)
        kept = f"refs/agented/{ref.removeprefix('refs/')}"
        self._git.fetch_ref(repository, url, ref, kept, _FETCH_TIMEOUT_S)
        tip = self._git.resolve(repository, kept)
        if commit is None or commit == tip:
            return tip
        known = self._git.look_up(Place(repository=repository), [f"{commit}^{{commit}}"])[0]
        return tip if known is None else known.oid

    def _fetch(self, project: Project, repository: Path, url: str) -> Project:
        """Brings a clone of ours up to date; what is there already does when its host does not answer."""
        with self._fetch_lock:
            now = self._clock.monotonic()
            if now - self._fetched_at.get(project.id, -_FETCH_PAUSE_S) < _FETCH_PAUSE_S:
                return project
            self._fetched_at[project.id] = now
        try:
            self._git.fetch(repository, url, _FETCH_TIMEOUT_S)
            names = [f"refs/remotes/origin/{project.default_branch}^{{commit}}"]
            if self._git.look_up(Place(repository=repository), names) != [None]:
                return project
            branch = self._git.default_branch_at(url, _FETCH_TIMEOUT_S)
        except AgentedError as error:
            log.warning("fetching %s: %s", project.name, error.message)
            return project
        if branch is None:
            return project
        with self._db.write() as conn:
            store.change(conn, project.id, default_branch=branch)
        return replace(project, default_branch=branch)

    def _claim(self, project: Project, execution_id: str, base: str) -> Workspace | None:
        workspace = Workspace(
            id=new_id("wsp"),
            project_id=project.id,
            execution_id=execution_id,
            path=self._folder / execution_id,
            branch=f"agented/{execution_id.lower()}",
            base=base,
            state=WorkspaceState.OPEN,
            opened_at=self._clock.now(),
        )
        limit = self._limit()
        with self._db.write() as conn:
            store.hold(conn, project.id)
            if store.count_open(conn, project.id) >= limit:
                return None
            store.add_workspace(conn, workspace)
            store.change(conn, project.id, last_used_at=workspace.opened_at)
        return workspace

    def rest(self, execution_id: str) -> None:
        """Its execution waits: the folder stays as it is, but takes no place of the project."""
        with self._db.write() as conn:
            known = store.find_workspace(conn, execution_id)
            if known is not None and known.state is WorkspaceState.OPEN:
                store.change_workspace(conn, known.id, resting=True)

    def _claim_again(self, closed: Workspace) -> Workspace | None:
        """One that is closed or rests takes a place of its project again; a closed one gets back what was saved."""
        limit = self._limit()
        with self._db.write() as conn:
            store.hold(conn, closed.project_id)
            if store.count_open(conn, closed.project_id) >= limit:
                return None
            store.change_workspace(
                conn, closed.id, state=WorkspaceState.OPEN, closed_at=None, head=None, kept_path=None, resting=False
            )
        return replace(closed, state=WorkspaceState.OPEN, closed_at=None, head=None, kept_path=None, resting=False)

    def _make(self, repository: Path, workspace: Workspace) -> None:
        """Makes the folder, or makes good what a crash or a run did to it."""
        path = workspace.path
        found = _look_at(repository, path)
        if found is _Folder.READY:
            _mend(repository, path)
            return
        if found is _Folder.UNKNOWN:
            raise Conflict(
                f"The folder {path} is in the way: it is not a worktree of the project.",
                code="folder_in_the_way",
                hint="Look what is in it, then move it away.",
            )
        if found is _Folder.HALF_MADE:
            self._remove(repository, path)
        elif _git_dir(repository, path).exists():
            self._forget(repository, path)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._git.worktree_add(repository, path, workspace.branch, workspace.base)
        if workspace.snapshot_ref is not None:
            self._git.restore(_place(repository, path), workspace.snapshot_ref)

    def _give_up(self, repository: Path, workspace: Workspace) -> None:
        """After a failed make: takes back the claim and what git left of its try."""
        try:
            if _look_at(repository, workspace.path) is _Folder.HALF_MADE:
                self._remove(repository, workspace.path)
            self._git.delete_ref(repository, f"refs/heads/{workspace.branch}", workspace.base)
        except (AgentedError, OSError) as error:
            log.warning("cleaning up %s: %s", workspace.path, error)
            return
        with self._db.write() as conn:
            store.remove_workspace(conn, workspace.id)

    # --- collect

    def collect(self, workspace: Workspace) -> Changes:
        """All that changed since the base: committed, uncommitted and new files that are not ignored."""
        with self._lock(workspace.execution_id), self._span(workspace) as span:
            if span.head == span.base:
                return changes.nothing(span.base, span.head)
            return changes.collect(self._git, span)

    def patch(self, workspace: Workspace) -> bytes:
        """The same as a patch for `git apply`, binary files included."""
        with self._lock(workspace.execution_id), self._span(workspace) as span:
            return b"" if span.head == span.base else changes.make_patch(self._git, span)

    def commit(self, workspace: Workspace, message: str) -> str | None:
        """A commit of all that was made in the workspace; None when nothing was. The folder stays as it is."""
        with self._lock(workspace.execution_id), self._scratch() as scratch:
            now = self._current(workspace)
            repository = self._repository(now)
            place = _place(repository, now.path, index=scratch / "index")
            if not self._git.stage(place, now.base, durable=True):
                raise Conflict("Not all of the workspace could be read.", code="unreadable_files")
            tree = self._git.write_tree(place)
            names = ["HEAD^{commit}", "HEAD^{tree}", f"{now.base}^{{tree}}"]
            head, head_tree, base_tree = (None if one is None else one.oid for one in self._git.look_up(place, names))
            if tree == base_tree or head is None:
                return None
            if tree == head_tree:
                return head
            return self._git.commit_tree(place, tree, [head], message, self._clock.now())

    def changed_lines(self, workspace: Workspace, base: str, head: str) -> dict[str, frozenset[int]]:
        """Numbers of the lines, in the new version of each file, that a difference shows: where comments may stand."""
        now = self._current(workspace)
        repository = self._repository(now)
        start = self._git.merge_base(repository, base, head)
        if start is None:
            return {}
        found = changes.collect(self._git, Span(Place(repository=repository), start, head))
        return {file.path: frozenset(_new_lines(file.hunks)) for file in found.files}

    @contextmanager
    def _span(self, workspace: Workspace) -> Iterator[Span]:
        now = self._current(workspace)
        repository = self._repository(now)
        in_folder = now.state is WorkspaceState.OPEN or now.head is None
        if in_folder and _look_at(repository, now.path) in (_Folder.READY, _Folder.UNKNOWN):
            with self._scratch() as scratch:
                objects = scratch / "objects"
                objects.mkdir()
                place = _place(repository, now.path, index=scratch / "index", objects=objects)
                self._git.stage(place, now.base)
                yield Span(place, now.base, None)
            return
        head = now.head or self._last_known(repository, now)[0]
        place = Place(repository=repository)
        if None in self._git.look_up(place, [f"{now.base}^{{tree}}", f"{head}^{{tree}}"]):
            raise NotFound(
                "The commits of this run are not in the repository any more.",
                code="changes_gone",
                hint="Someone deleted its branch or snapshot there, and git has cleaned up since.",
            )
        yield Span(place, now.base, head)

    # --- close

    def close(self, workspace: Workspace) -> Workspace:
        """Takes the workspace back. What is not committed goes into a snapshot first; where not all of it could be
        saved (nested repositories, unreadable files) the folder stays, and `kept_path` says where.
        """
        with self._lock(workspace.execution_id):
            now = self._current(workspace)
            if now.state is WorkspaceState.CLOSED:
                return now
            try:
                repository = self._repository(now)
            except NotFound:
                return self._closed(now, None, None, now.path if now.path.exists() else None)
            found = _look_at(repository, now.path)
            if found is _Folder.HALF_MADE:
                self._remove(repository, now.path)
            if found in (_Folder.ABSENT, _Folder.HALF_MADE):
                self._forget(repository, now.path)
                head, snapshot = self._last_known(repository, now)
                self._git.delete_ref(repository, f"refs/heads/{now.branch}", now.base)
                return self._closed(now, head, snapshot, None)
            saved = self._save(repository, now.path, now.execution_id, now.base, now.branch)
            if not saved.whole:
                return self._closed(now, saved.head, saved.snapshot_ref, now.path)
            self._remove(repository, now.path)
            self._git.delete_ref(repository, f"refs/heads/{now.branch}", now.base)
            return self._closed(now, saved.head, saved.snapshot_ref, None)

    def _closed(self, workspace: Workspace, head: str | None, snapshot: str | None, kept: Path | None) -> Workspace:
        at = self._clock.now()
        with self._db.write() as conn:
            store.change_workspace(
                conn,
                workspace.id,
                state=WorkspaceState.CLOSED,
                closed_at=at,
                head=head,
                snapshot_ref=snapshot,
                kept_path=None if kept is None else str(kept),
            )
        state = WorkspaceState.CLOSED
        return replace(workspace, state=state, closed_at=at, head=head, snapshot_ref=snapshot, kept_path=kept)

    def remove_kept(self, execution_id: str) -> Removed:
        """Deletes a folder that stayed after a close, once all that is in it and not ignored is in a snapshot.

        Repositories inside go into the snapshot as archives. Raises Conflict, and changes nothing, where not all could
        be saved or nothing was kept.
        """
        with self._lock(execution_id):
            now = self.get(execution_id)
            if now is None or now.kept_path is None or now.state is not WorkspaceState.CLOSED:
                raise Conflict(
                    "There is no folder that was kept of this run.",
                    code="nothing_kept",
                    hint="A folder of a run that is not over goes by itself; cancel the run.",
                )
            if not now.kept_path.exists():
                self._let_go(now, now.head, now.snapshot_ref)
                return Removed(head=None, snapshot_ref=now.snapshot_ref)
            repository = self._repository(now)
            saved = self._save(repository, now.kept_path, now.execution_id, now.base, now.branch, archive=True)
            if not saved.whole:
                raise Conflict(
                    "Not all in the folder could be saved: some cannot be read, or is a repository without a commit.",
                    code="work_not_saved",
                    hint=f"Commit in there or make it readable (chmod -R u+rwX {now.kept_path}), then try again.",
                )
            self._remove(repository, now.kept_path)
            self._git.delete_ref(repository, f"refs/heads/{now.branch}", now.base)
            snapshot = saved.snapshot_ref or now.snapshot_ref
            self._let_go(now, saved.head, snapshot)
            return Removed(head=saved.head, snapshot_ref=snapshot)

    def _let_go(self, workspace: Workspace, head: str | None, snapshot: str | None) -> None:
        with self._db.write() as conn:
            store.change_workspace(conn, workspace.id, head=head, snapshot_ref=snapshot, kept_path=None)

    def _save(
        self, repository: Path, path: Path, name: str, base: str, branch: str, *, archive: bool = False
    ) -> _Saved:
        """Puts all that is in the folder under a ref, unless the base or the branch holds it already.

        archive: repositories inside too, and what the ref held before stays behind it.
        """
        with self._scratch() as scratch:
            place = _place(repository, path, index=scratch / "index")
            whole = self._git.stage(place, base, durable=True)
            if archive:
                whole = archive_repositories(self._git, place, scratch) and whole
            else:
                whole = whole and not self._git.nested(place) and not (path / ".git").is_dir()
            tree = self._git.write_tree(place)
            at = "HEAD" if place.git_dir is not None else f"refs/heads/{branch}"
            names = [f"{at}^{{commit}}", f"{at}^{{tree}}", f"refs/heads/{branch}^{{commit}}", f"{base}^{{tree}}"]
            head, head_tree, tip, base_tree, old = (
                None if entry is None else entry.oid
                for entry in self._git.look_up(place, [*names, f"{SNAPSHOTS}{name}^{{commit}}"])
            )
            final = head or base
            before = [old] if archive and old is not None and old != final else []
            if before or tree != (head_tree if head is not None else base_tree):
                message = f"Snapshot of {name}\n\nWhat was not committed when its workspace was closed.\n"
                final = self._git.commit_tree(place, tree, [final, *before], message, self._clock.now())
        if final in (base, tip):
            return _Saved(final, None, whole)
        self._git.set_ref(repository, SNAPSHOTS + name, final)
        return _Saved(final, SNAPSHOTS + name, whole)

    def _last_known(self, repository: Path, workspace: Workspace) -> tuple[str, str | None]:
        """Commit and snapshot ref of a workspace whose folder is gone."""
        snapshot = SNAPSHOTS + workspace.execution_id
        names = [f"{snapshot}^{{commit}}", f"refs/heads/{workspace.branch}^{{commit}}"]
        saved, tip = self._git.look_up(Place(repository=repository), names)
        if saved is not None:
            return saved.oid, snapshot
        return (workspace.base if tip is None else tip.oid), None

    def _remove(self, repository: Path, path: Path) -> None:
        """Renames the folder away first: half a folder never stands where a whole one was."""
        trash = self._folder / ".trash"
        trash.mkdir(exist_ok=True)
        target = trash / f"{path.name}-{new_id('del')}"
        path.rename(target)
        self._forget(repository, path)
        erase(target)

    def _forget(self, repository: Path, path: Path) -> None:
        """Takes a folder that is gone from the repository's list of worktrees."""
        self._git.worktree_remove(repository, path)
        # What a killed git has begun is no worktree to git yet, but its name is taken.
        erase(_git_dir(repository, path))

    # --- sweep

    def sweep(self, live_execution_ids: Collection[str]) -> list[Workspace]:
        """At start: closes workspaces whose execution is not live, and clears what crashes have left.

        Work that is not saved stays where it is; what cannot be dealt with now is logged and met again next time.
        """
        live = frozenset(live_execution_ids)
        with self._db.read() as conn:
            left = [open_ for open_ in store.open_workspaces(conn) if open_.execution_id not in live]
        closed = []
        for workspace in left:
            try:
                closed.append(self.close(workspace))
            except (AgentedError, OSError) as error:
                log.warning("closing the workspace of %s: %s", workspace.execution_id, error)
        repositories = self._repositories()
        self._sweep_folders(repositories)
        self._sweep_registrations(repositories)
        for leftover in (
            self._folder / ".trash",
            self._folder / ".scratch",
            *(self._data / REPOSITORIES).glob(UNFINISHED + "*"),
        ):
            erase(leftover)
        return closed

    def _repositories(self) -> frozenset[Path]:
        found = set()
        with self._db.read() as conn:
            known = store.every(conn)
        for project in known:
            try:
                found.add(find_repository(project.path))
            except NotFound as error:
                log.warning("%s", error.message)
        return frozenset(found)

    def _sweep_folders(self, repositories: Collection[Path]) -> None:
        """Folders without an open row: of a database that was set back, or of a close that was cut off."""
        if not self._folder.is_dir():
            return
        for path in sorted(self._folder.iterdir()):
            row = self.get(path.name)
            if path.name.startswith(".") or (row and (row.state is WorkspaceState.OPEN or row.kept_path)):
                continue
            try:
                self._put_away(path, repositories)
            except (AgentedError, OSError, ValueError) as error:
                log.warning("the folder %s stays: %s", path, error)

    def _put_away(self, path: Path, repositories: Collection[Path]) -> None:
        if not any(path.iterdir()):
            path.rmdir()
            return
        repository = common_folder(follow_link(path / ".git"))
        if repository not in repositories:
            raise NotFound("it belongs to no project we know")
        found = _look_at(repository, path)
        if found is _Folder.HALF_MADE:
            self._remove(repository, path)
        elif found is _Folder.READY:
            head = self._git.look_up(_place(repository, path), ["HEAD^{commit}"])[0]
            if head is None:
                raise NotFound("it has no commit")
            branch = f"agented/{path.name.lower()}"
            if self._save(repository, path, path.name, head.oid, branch).whole:
                self._remove(repository, path)
        else:
            raise NotFound("its repository does not know it")

    def _sweep_registrations(self, repositories: Collection[Path]) -> None:
        """Worktrees that repositories remember in our folder and that are gone. Others' worktrees are not touched,
        as `git worktree prune` would: theirs may lie on a disk that is not mounted.
        """
        for repository in repositories:
            try:
                for path in self._git.worktrees(repository):
                    if path.parent != self._folder or path.exists():
                        continue
                    row = self.get(path.name)
                    if row is None or row.state is WorkspaceState.CLOSED:
                        self._forget(repository, path)
            except AgentedError as error:
                log.warning("worktrees of %s: %s", repository, error.message)

    # --- what the verbs share

    def _lock(self, execution_id: str) -> threading.RLock:
        return self._locks[hash(execution_id) % len(self._locks)]

    def _current(self, workspace: Workspace) -> Workspace:
        """The row as it stands now; the caller's copy may be old."""
        now = self.get(workspace.execution_id)
        if now is None:
            raise NotFound(f"{workspace.execution_id} has no workspace.")
        return now

    def _repository(self, workspace: Workspace) -> Path:
        with self._db.read() as conn:
            project = store.find(conn, workspace.project_id)
        if project is None:
            raise NotFound("The project of the workspace is not known.", code="project_missing")
        return find_repository(project.path)

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        parent = self._folder / ".scratch"
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=parent) as folder:
            yield Path(folder)


def _new_lines(hunks: Iterable[Hunk]) -> Iterator[int]:
    for hunk in hunks:
        number = hunk.new_start
        for line in hunk.lines:
            if line.kind != "-":
                yield number
                number += 1


def _git_dir(repository: Path, path: Path) -> Path:
    """Git names a worktree's own folder by the last part of its path; ours are unique."""
    return repository / "worktrees" / path.name


def _place(repository: Path, path: Path, *, index: Path | None = None, objects: Path | None = None) -> Place:
    """Names the git folder from our side: the `.git` inside the work tree is in the hands of whoever worked there."""
    git_dir = _git_dir(repository, path)
    known = git_dir if (git_dir / "HEAD").is_file() else None
    return Place(repository=repository, git_dir=known, work_tree=path, index=index, objects=objects)


def _look_at(repository: Path, path: Path) -> _Folder:
    if not path.is_dir():
        return _Folder.ABSENT
    git_dir = _git_dir(repository, path)
    if git_dir.is_dir():
        try:
            # Git keeps this lock from the first step of making a worktree to the last.
            half_made = (git_dir / "locked").read_bytes().strip() == b"initializing"
        except FileNotFoundError:
            half_made = False
        return _Folder.HALF_MADE if half_made else _Folder.READY
    names = [entry.name for entry in path.iterdir()]
    if names == [".git"] and (path / ".git").is_file():
        # Git's first step in the folder; its entry was cleared since.
        return _Folder.HALF_MADE
    return _Folder.UNKNOWN if names else _Folder.ABSENT


def _mend(repository: Path, path: Path) -> None:
    """What a killed git or a careless run may have left where the next attempt goes on. Nothing runs there now."""
    git_dir = _git_dir(repository, path)
    for lock in ("index.lock", "HEAD.lock"):
        (git_dir / lock).unlink(missing_ok=True)
    if not os.path.lexists(path / ".git"):
        (path / ".git").write_bytes(b"gitdir: " + os.fsencode(git_dir) + b"\n")
