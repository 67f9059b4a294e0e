"""Whose a session of a CLI is: which homes there are, which run began it, in which project it went on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agented.accounts.model import DEFAULT_ID
from agented.app.shelf import Shelf
from agented.bots import store as bot_store
from agented.costs.model import Owner
from agented.executions import store as execution_store
from agented.kit.db import Database
from agented.projects import store as project_store
from agented.sessions.model import Home
from agented.transcripts.model import Whose

_SESSIONS_AT_ONCE = 400


@dataclass(frozen=True, slots=True)
class Belonging:
    """person: whose own homes are looked into."""

    db: Database
    shelf: Shelf
    person: Path

    def homes(self) -> list[Home]:
        """Every CLI home there is: people's own, and those of accounts that have one."""
        own = [Home(one.name, f"{one.name}:{DEFAULT_ID}", None) for one in self.shelf.registry.all()]
        return own + [Home(one.backend, one.key, one.home) for one in self.shelf.accounts() if one.home is not None]

    def folders(self) -> Iterator[Path]:
        """In which CLIs keep their sessions, in every home there is."""
        sessions = {one.name: one.sessions for one in self.shelf.registry.all() if one.sessions is not None}
        for home in self.homes():
            kept = sessions.get(home.source)
            if kept is not None:
                person = self.person
                for place in kept.own_places(person) if home.path is None else kept.places(home.path):
                    yield place.folder

    def whose(self, sessions: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Whose]:
        return {
            key: Whose(owner.execution, owner.project or "", owner.account or "")
            for key, owner in self.owners(sessions).items()
        }

    def owners(self, sessions: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Owner]:
        owners: dict[tuple[str, str], Owner] = {}
        names = sorted({session for _, session in sessions})
        with self.db.read() as conn:
            for first in range(0, len(names), _SESSIONS_AT_ONCE):
                some = names[first : first + _SESSIONS_AT_ONCE]
                for session, backend, execution, project, account in execution_store.of_sessions(conn, some):
                    run = bot_store.find_run(conn, execution)
                    bot = None if run is None else run.bot_id
                    owners[backend, session] = Owner(execution, bot, project, account)
        wanted = set(sessions)
        return {key: owner for key, owner in owners.items() if key in wanted}

    def project_at(self, folder: str) -> str | None:
        """The project in whose repository a person worked."""
        where = Path(folder)
        with self.db.read() as conn:
            for path in (where, *where.parents):
                project = project_store.by_path(conn, path)
                if project is not None:
                    return project.id
        return None
