"""Repositories as GitHub names them, and the projects they are."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

from agented.kit.clock import Clock
from agented.kit.db import Database
from agented.kit.errors import AgentedError
from agented.projects import store
from agented.projects.add import add_by_url
from agented.projects.events import GitHubEvent, Ignored, read_event
from agented.projects.git import Git, find_repository
from agented.projects.github import GitHub, Remote, parse_remote
from agented.projects.model import Project

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Repositories:
    """folder: the data folder."""

    db: Database
    git: Git
    github: GitHub
    folder: Path
    clock: Clock
    _adding: threading.Lock = field(default_factory=threading.Lock)
    _origins: dict[str, tuple[float, str | None]] = field(default_factory=dict)

    def find(self, remote: Remote) -> Project | None:
        """The project that has it as its remote; of several the one that was cloned from it."""
        found = [project for project in self._known() if self._is_at(project, remote)]
        return min(found, key=lambda project: (project.url is None, project.id), default=None)

    def add(self, remote: Remote, clone_url: str) -> Project:
        """Clones it into the data folder. Raises Invalid for an address that is not the repository's own."""
        with self._adding:
            known = self.find(remote)
            if known is not None:
                return known
            url = clone_url if parse_remote(clone_url) == remote else f"https://{remote.host}/{remote.path}.git"
            return add_by_url(self.db, self.git, url, None, self.folder, self.clock)

    def remotes(self) -> list[Remote]:
        """Of all projects that have one at a GitHub host."""
        found = {str(remote): remote for project in self._known() if (remote := self.remote_of(project)) is not None}
        return list(found.values())

    def remote_of(self, project: Project) -> Remote | None:
        return parse_remote(project.url or self._origin(project))

    def complete(self, event: GitHubEvent) -> GitHubEvent:
        """A comment's event with the pull request it stands on; as it is where GitHub does not answer."""
        try:
            pull = self.github.pull(event.remote, event.number or 0)
        except AgentedError as error:
            log.warning("pull request %s of %s: %s", event.number, event.remote, error.message)
            return event
        repository = {"full_name": event.remote.path, "html_url": f"https://{event.remote.host}/{event.remote.path}"}
        read = read_event("pull_request", {"pull_request": pull, "repository": repository})
        if isinstance(read, Ignored):
            return event
        facts = {**event.facts, "pr": read.facts["pr"]}
        return replace(event, facts=facts, head=read.head, base=read.base, branch=read.branch, fork=read.fork)

    def files_of(self, event: GitHubEvent) -> list[str]:
        return self.github.files(event.remote, event.number or 0)

    def _known(self) -> list[Project]:
        with self.db.read() as conn:
            return [one for one in store.every(conn) if one.forgotten_at is None]

    def _is_at(self, project: Project, remote: Remote) -> bool:
        own = self.remote_of(project)
        return own is not None and str(own) == str(remote)

    def _origin(self, project: Project) -> str | None:
        """The address of `origin`; asked again when the repository's configuration changed."""
        try:
            repository = find_repository(project.path)
            changed = (repository / "config").stat().st_mtime
        except (AgentedError, OSError):
            return None
        known = self._origins.get(project.id)
        if known is None or known[0] != changed:
            known = self._origins[project.id] = (changed, self.git.remote_url(repository))
        return known[1]
