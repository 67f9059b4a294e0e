"""A bot is started: its prompt rendered, its request submitted, what it ran noted. Or only shown: a dry run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from agented.bots import store
from agented.bots.model import Bot
from agented.bots.prompts import render
from agented.executions.model import Execution, Request
from agented.kit.clock import Clock
from agented.kit.db import Database
from agented.kit.errors import Conflict


class Projects(Protocol):
    """What is asked of the projects room: a project by name, id or path. Raises Invalid."""

    def __call__(self, wanted: str) -> Project: ...


class Project(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def path(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class Planned:
    """What a start would submit for one project. missing: names of the prompt that had no value."""

    project: str
    request: Request
    missing: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Starting:
    db: Database
    clock: Clock
    project: Projects
    submit: Callable[[Request], Execution]

    def plan(self, bot: Bot, facts: Mapping[str, Any], key: str | None, seed: str) -> list[Planned]:
        """One request for each project. key: makes them the same requests when they are planned again.

        seed: what the marks around outside text are made from.
        """
        spec = bot.spec
        found = [self.project(name) for name in spec.projects]
        planned = []
        for project in found:
            known = {
                "bot": {"name": bot.name, "version": bot.version},
                "project": {"name": project.name, "path": str(project.path), "paths": [str(one.path) for one in found]},
                "snippets": dict(spec.snippets),
                "now": self.clock.now().isoformat(timespec="seconds"),
                **facts,
            }
            prompt, missing = render(spec.prompt, known, seed)
            request = Request(
                origin=f"bot:{bot.name}",
                project_id=project.id,
                backend=spec.backend,
                prompt=prompt,
                permission=spec.permission,
                model=spec.model,
                ref=spec.ref,
                account=spec.account,
                key=None if key is None else f"{key}:{project.id}",
                priority=spec.priority,
                wall_s=spec.wall_s,
                silence_s=spec.silence_s,
            )
            planned.append(Planned(project.name, request, missing))
        return planned

    def start(
        self, bot: Bot, facts: Mapping[str, Any], *, key: str | None, seed: str, delivery_id: str | None
    ) -> list[Execution]:
        """Submits it once: with the same key the same executions come back. Raises Conflict for a bot that is off."""
        if not bot.enabled:
            raise Conflict(f"The bot {bot.name} is switched off.", code="bot_disabled", hint="Switch it on first.")
        started = []
        for one in self.plan(bot, facts, key, seed):
            execution = self.submit(one.request)
            with self.db.write() as conn:
                store.note_run(conn, execution.id, bot, delivery_id)
            started.append(execution)
        return started
