"""A bot is started: its prompt rendered, its request submitted, what it ran noted. Or only shown: a dry run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import sqlalchemy as sa

from agented.bots import store
from agented.bots.model import Bot
from agented.bots.prompts import render
from agented.bots.store import BotRun
from agented.executions.model import Execution, Request, Trust
from agented.executions.requests import Supersede
from agented.kit.clock import Clock
from agented.kit.db import Database
from agented.kit.errors import Conflict
from agented.projects.events import GitHubEvent
from agented.projects.model import Project


class FindProject(Protocol):
    """What is asked of the projects room: a project by name, id or path. Raises Invalid."""

    def __call__(self, wanted: str) -> Project: ...


class Submit(Protocol):
    """The one door to running: `Requests.submit`."""

    def __call__(
        self,
        request: Request,
        *,
        not_before: datetime | None = None,
        supersede: Supersede = Supersede.NOTHING,
        also: Callable[[sa.Connection, Execution], None] | None = None,
    ) -> Execution: ...


@dataclass(frozen=True, slots=True)
class Planned:
    """What a start would submit for one project. missing: names of the prompt that had no value."""

    project: str
    request: Request
    missing: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why a bot starts.

    key: makes it the same executions when it is started again; None makes new ones. seed: what the marks around outside
    text are made from. projects: where, instead of the bot's own projects. depth: how many bots came before.
    """

    facts: Mapping[str, Any]
    key: str | None
    seed: str
    delivery_id: str | None = None
    trigger: str | None = None
    event: GitHubEvent | None = None
    projects: Sequence[Project] = ()
    depth: int = 0
    about: Mapping[str, Any] = field(default_factory=dict)
    before: Request | None = None
    """Of the bot that ran before: what it was trusted with, this one is, and no more."""
    subject: str | None = None
    most_per_subject: int = 0
    not_before: datetime | None = None
    supersede: Supersede = Supersede.NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Starting:
    db: Database
    clock: Clock
    project: FindProject
    submit: Submit

    def plan(self, bot: Bot, cause: Cause) -> list[Planned]:
        """One request for each project. Raises Invalid for a project that is not known."""
        projects = list(cause.projects) or [self.project(name) for name in bot.spec.projects]
        if not projects:
            raise Conflict(
                f"{bot.name} works on the repository of an event.",
                code="no_project",
                hint="Start it from a stored delivery, or give it `projects`.",
            )
        return [self._plan(bot, cause, project, projects) for project in projects]

    def _plan(self, bot: Bot, cause: Cause, project: Project, projects: Sequence[Project]) -> Planned:
        spec = bot.spec
        known = {
            "bot": {"name": bot.name, "version": bot.version},
            "project": {"name": project.name, "path": str(project.path), "paths": [str(one.path) for one in projects]},
            "snippets": dict(spec.snippets),
            "now": self.clock.now().isoformat(timespec="seconds"),
            **cause.facts,
        }
        prompt, missing = render(spec.prompt, known, cause.seed)
        first = spec.chain[0]
        request = Request(
            origin=f"bot:{bot.name}",
            project_id=project.id,
            backend=first.backend,
            account=first.account,
            model=first.model,
            chain=spec.chain if len(spec.chain) > 1 else (),
            prompt=prompt,
            permission=spec.permission,
            key=None if cause.key is None else f"{cause.key}:{project.id}",
            priority=spec.priority,
            wall_s=spec.wall_s,
            silence_s=spec.silence_s,
            max_cost_usd=spec.cost_usd,
            on_limit=spec.on_limit,
            most=spec.most,
            most_per_subject=cause.most_per_subject or spec.most_per_subject,
            **_terms(cause, spec.ref),
        )
        return Planned(project.name, request, missing)

    def start(self, bot: Bot, cause: Cause) -> list[Execution]:
        """Submits it once: with the same key the same executions come back. Raises Conflict for a bot that is off."""
        if not bot.enabled:
            raise Conflict(f"The bot {bot.name} is switched off.", code="bot_disabled", hint="Switch it on first.")

        def note(conn: sa.Connection, execution: Execution) -> None:
            store.note_run(
                conn,
                BotRun(
                    execution_id=execution.id,
                    bot_id=bot.id,
                    version=bot.version,
                    delivery_id=cause.delivery_id,
                    trigger=cause.trigger,
                    depth=cause.depth,
                    about=cause.about or (_about(cause.event) if cause.event is not None else {}),
                ),
            )

        return [
            self.submit(one.request, not_before=cause.not_before, supersede=cause.supersede, also=note)
            for one in self.plan(bot, cause)
        ]


def _terms(cause: Cause, ref: str | None) -> dict[str, Any]:
    """Where a run begins and how far it is trusted."""
    if cause.event is not None:
        return _terms_of_event(cause.event)
    before = cause.before
    if before is None:
        return {"ref": ref, "subject": cause.subject}
    return {
        "ref": before.ref or ref,
        "fetch": before.fetch,
        "config_from": before.config_from,
        "trust": before.trust,
        "subject": before.subject,
    }


def _terms_of_event(event: GitHubEvent) -> dict[str, Any]:
    """By who wrote what it looks at."""
    outsider = event.fork or not event.insider
    terms: dict[str, Any] = {"subject": event.subject, "trust": Trust.OUTSIDER if outsider else Trust.OWN}
    if "pr" in event.facts:
        terms |= {"fetch": f"refs/pull/{event.number}/head", "ref": event.head}
        if outsider:
            terms["config_from"] = event.base or "HEAD"
    elif event.head is not None and event.branch is not None:
        terms |= {"fetch": f"refs/heads/{event.branch}", "ref": event.head}
    return terms


def _about(event: GitHubEvent) -> dict[str, Any]:
    return {
        "host": event.remote.host,
        "repository": event.remote.path,
        "kind": event.kind,
        "number": event.number,
        "pull": "pr" in event.facts,
        "head": event.head,
        "base": event.base,
        "head_ref": event.facts["pr"]["head"]["ref"] if "pr" in event.facts and not event.fork else "",
        "subject": event.subject,
    }
