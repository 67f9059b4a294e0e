"""What a bot is: what to do, for which projects, and what starts it. Read from plain mappings, with clear errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from agented.backends.contract import Permission
from agented.bots import reading
from agented.bots.declared import OnFailure, Result, read_on_failure, read_results
from agented.bots.prompts import check_template
from agented.bots.triggers import AfterTrigger, GitHubTrigger, ScheduleTrigger, Trigger, WebhookTrigger, read_triggers
from agented.executions.model import OnLimit, Step
from agented.kit.errors import Invalid

_LONGEST_PROMPT = 200_000
_LONGEST_CHAIN = 10
_RESERVED = frozenset({"apply", "gallery", "preview", "schema"})
"""Names that stand for something else in the API."""
FIELDS = frozenset(
    {
        "description",
        "prompt",
        "chain",
        "projects",
        "permission",
        "ref",
        "priority",
        "limits",
        "on_limit",
        "concurrency",
        "snippets",
        "triggers",
        "result",
        "status_check",
        "on_failure",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """Everything of a bot that a person decides; one version of it never changes.

    projects: empty means the repository of the event. most, most_per_subject: how many run at once; 0 is no limit.
    cost_usd: what a run may spend at most.
    """

    prompt: str
    chain: tuple[Step, ...]
    projects: tuple[str, ...]
    permission: Permission = Permission.EDIT
    ref: str | None = None
    priority: int = 5
    wall_s: float | None = None
    silence_s: float | None = None
    cost_usd: Decimal | None = None
    on_limit: OnLimit = OnLimit.WAIT
    most: int = 0
    most_per_subject: int = 0
    snippets: Mapping[str, str] = field(default_factory=dict)
    triggers: tuple[Trigger, ...] = ()
    results: tuple[Result, ...] = ()
    status_check: bool = False
    on_failure: OnFailure = field(default_factory=OnFailure)
    description: str = ""

    @property
    def webhooks(self) -> tuple[WebhookTrigger, ...]:
        return tuple(one for one in self.triggers if isinstance(one, WebhookTrigger))

    @property
    def github(self) -> tuple[GitHubTrigger, ...]:
        return tuple(one for one in self.triggers if isinstance(one, GitHubTrigger))

    @property
    def schedules(self) -> tuple[ScheduleTrigger, ...]:
        return tuple(one for one in self.triggers if isinstance(one, ScheduleTrigger))

    @property
    def after(self) -> tuple[AfterTrigger, ...]:
        return tuple(one for one in self.triggers if isinstance(one, AfterTrigger))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bot:
    """paused: why Agented itself switched it off; a person who switches it on again takes that away."""

    id: str
    name: str
    enabled: bool
    version: int
    spec: Spec
    source: Mapping[str, Any]
    """The spec as it was written, for export and for people."""
    created_at: datetime
    updated_at: datetime
    paused: str | None = None


def check_name(name: Any) -> str:
    if not isinstance(name, str) or not reading.NAME.fullmatch(name):
        raise Invalid(
            f"{str(name)[:80]!r} is no name for a bot.", field="name", hint="Small letters, digits, dots and dashes."
        )
    if name in _RESERVED:
        raise Invalid(f"A bot cannot be called {name}.", field="name", hint="Choose another name.")
    return name


def read_spec(source: Mapping[str, Any], new_key: Mapping[str, str]) -> Spec:
    """A spec of what a person or a file wrote. new_key: the address of each webhook trigger, by its name.

    Raises Invalid that names the field.
    """
    reading.only(source, set(FIELDS), "")
    snippets = reading.texts_by_name(source.get("snippets") or {}, "snippets")
    prompt = reading.text(source, "prompt", _LONGEST_PROMPT)
    check_template(prompt, snippets)
    for name, text in snippets.items():
        if "{{" in text:
            raise Invalid("A snippet is plain text.", field=f"snippets.{name}", hint="Name it in the prompt.")
    limits = reading.mapping_of(source.get("limits") or {}, "limits")
    reading.only(limits, {"wall_s", "silence_s", "cost_usd"}, "limits")
    triggers = read_triggers(source, new_key)
    most, most_per_subject = _concurrency(source, triggers)
    return Spec(
        prompt=prompt,
        chain=_chain(source),
        projects=_projects(source, triggers),
        permission=reading.one_of(source.get("permission", "edit"), Permission, "permission"),
        ref=reading.optional(source, "ref", 255),
        priority=reading.whole(source.get("priority", 5), "priority", 0, 9),
        wall_s=reading.seconds(limits, "wall_s", "limits"),
        silence_s=reading.seconds(limits, "silence_s", "limits"),
        cost_usd=reading.dollars(limits, "cost_usd", "limits"),
        on_limit=reading.one_of(source.get("on_limit", OnLimit.WAIT), OnLimit, "on_limit"),
        most=most,
        most_per_subject=most_per_subject,
        snippets=snippets,
        triggers=triggers,
        results=read_results(source.get("result")),
        status_check=reading.flag(source, "status_check", "", default=False),
        on_failure=read_on_failure(source.get("on_failure")),
        description=reading.optional(source, "description", 2000) or "",
    )


def _chain(source: Mapping[str, Any]) -> tuple[Step, ...]:
    chain = source.get("chain")
    if not isinstance(chain, list) or not 0 < len(chain) <= _LONGEST_CHAIN:
        raise Invalid(
            f"`chain` is a list of 1 to {_LONGEST_CHAIN} steps.", field="chain", hint="[{backend: rehearsal}]"
        )
    found = []
    for number, given in enumerate(chain):
        place = f"chain[{number}]"
        step = reading.mapping_of(given, place)
        reading.only(step, {"backend", "account", "model"}, place)
        account, model = reading.optional(step, "account", 120, place), reading.optional(step, "model", 200, place)
        found.append(Step(reading.text(step, "backend", 60, place), account, model))
    return tuple(found)


def _projects(source: Mapping[str, Any], triggers: Sequence[Trigger]) -> tuple[str, ...]:
    given = source.get("projects")
    if given is None and triggers and all(isinstance(one, GitHubTrigger | AfterTrigger) for one in triggers):
        return ()
    good = isinstance(given, list) and 0 < len(given) <= reading.MOST and all(isinstance(one, str) for one in given)
    if not good:
        raise Invalid(
            "`projects` is a list of names, ids or paths.",
            field="projects",
            hint="A bot that only GitHub starts may leave it out: it works on the event's repository.",
        )
    return tuple(given or ())


def _concurrency(source: Mapping[str, Any], triggers: Sequence[Trigger]) -> tuple[int, int]:
    """Where GitHub starts it, one run at a time works on a pull request, unless the bot says otherwise."""
    given = reading.mapping_of(source.get("concurrency") or {}, "concurrency")
    reading.only(given, {"bot", "object"}, "concurrency")
    usual = 1 if any(isinstance(one, GitHubTrigger) for one in triggers) else 0
    most = reading.whole(given.get("bot", 0), "concurrency.bot", 0, 1000)
    return most, reading.whole(given.get("object", usual), "concurrency.object", 0, 1000)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Sequence[str]:
    """Names of the parts that two sources say differently."""
    return sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
