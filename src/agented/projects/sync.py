"""Keeps projects up to date with where they come from.

Every project is fetched now and then; its checkout is taken forward where that loses nothing, else the reason is kept.
When a sync is due stands in the database, so a server that was off or asleep syncs once and not once per time missed.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from agented.kit.clock import Clock
from agented.kit.db import Database
from agented.kit.errors import AgentedError, Conflict, Invalid
from agented.projects import store
from agented.projects.checkout import Obstacle, find_obstacle, place_of, take_forward
from agented.projects.checks import check_origin, without_user
from agented.projects.git import FetchFailed, Git, Place, find_repository
from agented.projects.model import Origin, Project, Sync, SyncCause, Synced, SyncState

if TYPE_CHECKING:
    import sqlalchemy as sa

log = logging.getLogger(__name__)

_FETCH_TIMEOUT_S = 300.0
_LOOK_S = 5.0
_LEAVE_S = 2.0
_LONGEST_DETAIL = 1000
# Failures put the next try off: once, twice, four and at last eight intervals.
_MOST_DOUBLINGS = 3
_SPREAD = 0.1
# Another git, such as that of a run that starts, fetched the same branch at the same moment.
_LOST_RACE = "cannot lock ref"


@dataclass(slots=True)
class _Flight:
    """A sync under way, for those who ask for it meanwhile."""

    landed: threading.Event = field(default_factory=threading.Event)
    sync: Sync | None = None


class Syncing:
    """interval_s: between two syncs of a project; 0 for only when somebody asks. parallel: how many at once.
    spread: gives a number between the two; it keeps projects from being due at the same moment. tell: hears of the
    first failure in a row, in the transaction that notes it.
    """

    def __init__(
        self,
        db: Database,
        git: Git,
        clock: Clock,
        *,
        interval_s: float,
        parallel: int,
        spread: Callable[[float, float], float] = random.uniform,
        tell: Callable[[sa.Connection, Project, Sync], None] = lambda conn, project, sync: None,
    ) -> None:
        self._db = db
        self._git = git
        self._clock = clock
        self._interval_s = interval_s
        self._parallel = parallel
        self._spread = spread
        self._tell = tell
        self._slots = threading.BoundedSemaphore(parallel)
        self._lock = threading.Lock()
        self._flights: dict[str, _Flight] = {}
        self._repositories: dict[Path, threading.Lock] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep_up, name="syncing", daemon=True)

    # --- when

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Begins no more; a git that works is left to its end, which it comes to without us."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_LEAVE_S)

    def _keep_up(self) -> None:
        while not self._stopping.wait(_LOOK_S):
            try:
                self.sync_due()
            except Exception:
                # A loop of its own: the next look may go better.
                if not self._stopping.is_set():
                    log.exception("looking for projects to sync failed")

    def sync_due(self) -> int:
        """Syncs what is due, some at once, and says how many that were."""
        if not self.is_automatic:
            return 0
        with self._db.read() as conn:
            due = store.due_syncs(conn, self._clock.now())
        todo: queue.SimpleQueue[Project] = queue.SimpleQueue()
        for project in due:
            todo.put(project)
        threads = [
            threading.Thread(target=self._work_off, args=(todo,), name=f"syncing-{number}", daemon=True)
            for number in range(min(self._parallel, len(due)))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive() and not self._stopping.is_set():
                thread.join(0.2)
        return len(due)

    def _work_off(self, todo: queue.SimpleQueue[Project]) -> None:
        while not self._stopping.is_set():
            try:
                project = todo.get_nowait()
            except queue.Empty:
                return
            try:
                self.sync(project)
            except Exception:
                # One project must not keep the others from their sync; at the end the database is closed under us.
                if not self._stopping.is_set():
                    log.exception("syncing %s failed", project.name)

    @property
    def is_automatic(self) -> bool:
        return self._interval_s > 0

    def is_running(self, project_id: str) -> bool:
        with self._lock:
            return project_id in self._flights

    # --- one project

    def sync(self, project: Project) -> Sync:
        """Brings a project up to date now. Who asks while that is under way gets what comes of it."""
        with self._lock:
            flight = self._flights.get(project.id)
            mine = flight is None
            flight = self._flights.setdefault(project.id, _Flight())
        if not mine:
            flight.landed.wait()
            if flight.sync is None:
                raise Conflict("The sync under way was broken off.", code="sync_broken_off", hint="Ask again.")
            return flight.sync
        try:
            flight.sync = self._sync(project)
            return flight.sync
        finally:
            with self._lock:
                del self._flights[project.id]
            flight.landed.set()

    def _sync(self, project: Project) -> Sync:
        # The repository first: who has a slot waits for nobody.
        with self._repository_lock(project), self._slots:
            synced = self._try(project)
        if self._stopping.is_set():
            # The database may be closed already; the next start finds the project due.
            raise Conflict("The server stops.", code="sync_broken_off", hint="Ask again when it is back.")
        failures = 0
        with self._db.write() as conn:
            if synced.state is SyncState.FAILED:
                known = store.find_sync(conn, project.id)
                failures = 1 if known is None else known.failures + 1
            now = self._clock.now()
            pause = timedelta(seconds=self._pause_s(failures))
            sync = Sync(project_id=project.id, synced=synced, at=now, next_at=now + pause, failures=failures)
            store.save_sync(conn, sync)
            if failures == 1:
                self._tell(conn, project, sync)
        if failures:
            log.warning("syncing %s failed (%d in a row): %s", project.name, failures, synced.detail)
        return sync

    def _pause_s(self, failures: int) -> float:
        doublings = min(max(0, failures - 1), _MOST_DOUBLINGS)
        return self._interval_s * 2.0**doublings * self._spread(1 - _SPREAD, 1 + _SPREAD)

    def _repository_lock(self, project: Project) -> threading.Lock:
        """Two projects may be two checkouts of one repository."""
        try:
            key = find_repository(project.path).resolve()
        except (AgentedError, OSError):
            key = project.path
        with self._lock:
            return self._repositories.setdefault(key, threading.Lock())

    def _try(self, project: Project) -> Synced:
        try:
            return self._bring_up(project)
        except AgentedError as error:
            return _failed(error)
        except OSError as error:
            return Synced(state=SyncState.FAILED, cause="other", detail=f"{error.strerror}: {error.filename}"[:1000])

    def _bring_up(self, project: Project) -> Synced:
        place = place_of(project.path)
        before = self._tip(place, f"refs/heads/{project.default_branch}")
        origin = self._git.origin(place.repository) if project.url is None else Origin(project.url, ())
        if origin is None:
            return _no_remote("The repository names no origin.", "There: git remote add origin URL", before)
        try:
            check_origin(origin.url)
        except Invalid as error:
            return _no_remote(f"The address of origin is not fetched from: {error.message}", error.hint, before)
        self._fetch(place, origin)
        project = self._follow_rename(project, place, origin)
        return self._catch_up(place, project.default_branch)

    def _fetch(self, place: Place, origin: Origin) -> None:
        more = (origin.branches,) if origin.branches else ()
        try:
            try:
                self._git.fetch(place.repository, origin.url, _FETCH_TIMEOUT_S, *more)
            except FetchFailed as error:
                if _LOST_RACE not in error.output:
                    raise
                self._git.fetch(place.repository, origin.url, _FETCH_TIMEOUT_S, *more)
        except AgentedError as error:
            # A token in the address of a person's repository is not ours to tell.
            error.message = error.message.replace(origin.url, without_user(origin.url))
            raise

    def _follow_rename(self, project: Project, place: Place, origin: Origin) -> Project:
        """A clone of ours whose default branch has another name at its origin now."""
        if project.url is None or self._tip(place, f"refs/remotes/origin/{project.default_branch}") is not None:
            return project
        branch = self._git.default_branch_at(origin.url, _FETCH_TIMEOUT_S)
        if branch is None:
            return project
        with self._db.write() as conn:
            store.change(conn, project.id, default_branch=branch)
        return replace(project, default_branch=branch)

    def _catch_up(self, place: Place, branch: str) -> Synced:
        ours, theirs = f"refs/heads/{branch}", f"refs/remotes/origin/{branch}"
        before, upstream = self._tip(place, ours), self._tip(place, theirs)
        if upstream is None:
            return _left(_no_upstream(branch), before, None, None)
        if before is None:
            return _left(_no_branch(place, branch), None, None, None)
        ahead, behind = self._git.apart(place.repository, before, upstream)
        if behind == 0:
            return Synced(state=SyncState.UP_TO_DATE, before=before, after=before, ahead=ahead, behind=0)
        if ahead > 0:
            return _left(_diverged(branch, ahead, behind), before, ahead, behind)
        step = (self._git, place, branch, before, upstream)
        obstacle = find_obstacle(*step) or take_forward(*step)
        if obstacle is not None:
            return _left(obstacle, before, 0, behind)
        return Synced(state=SyncState.FAST_FORWARDED, before=before, after=upstream, commits=behind, ahead=0, behind=0)

    def _tip(self, place: Place, ref: str) -> str | None:
        entry = self._git.look_up(Place(repository=place.repository), [f"{ref}^{{commit}}"])[0]
        return None if entry is None else entry.oid


def _no_upstream(branch: str) -> Obstacle:
    return Obstacle(SyncCause.NO_UPSTREAM, f"Origin has no branch {branch}.", f"There: git push origin {branch}")


def _no_branch(place: Place, branch: str) -> Obstacle:
    if place.work_tree is None:
        detail = f"It is a bare repository without a branch {branch} of its own."
        return Obstacle(SyncCause.NO_WORK_TREE, detail, f"Nothing to do when runs start from origin/{branch}.")
    detail = f"There is no branch {branch} here yet."
    return Obstacle(SyncCause.OTHER_BRANCH, detail, f"There: git switch {branch}")


def _diverged(branch: str, ahead: int, behind: int) -> Obstacle:
    detail = f"{_commits(ahead)} of {branch} only here, {_commits(behind)} only at origin."
    return Obstacle(SyncCause.DIVERGED, detail, "Rebase or merge there by hand: a sync never does.")


def _commits(count: int) -> str:
    return f"{count} commit{'' if count == 1 else 's'}"


def _left(obstacle: Obstacle, before: str | None, ahead: int | None, behind: int | None) -> Synced:
    return Synced(
        state=SyncState.FETCHED_ONLY,
        cause=obstacle.cause,
        detail=obstacle.detail[:_LONGEST_DETAIL],
        hint=obstacle.hint,
        before=before,
        after=before,
        ahead=ahead,
        behind=behind,
    )


def _no_remote(detail: str, hint: str | None, before: str | None) -> Synced:
    return Synced(state=SyncState.NO_REMOTE, detail=detail, hint=hint, before=before, after=before)


def _failed(error: AgentedError) -> Synced:
    cause = error.cause if isinstance(error, FetchFailed) else error.code
    detail, hint = error.message, error.hint
    if cause == "timeout":
        detail = f"The host did not give all within {_FETCH_TIMEOUT_S:g} s."
        hint = "Fetch there by hand once; what comes later is small."
    return Synced(state=SyncState.FAILED, cause=cause, detail=detail[:_LONGEST_DETAIL], hint=hint)
