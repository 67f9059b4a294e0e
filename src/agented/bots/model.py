"""What a bot is: what to do, for which projects, and what starts it. Read from plain mappings, with clear errors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from agented.backends.contract import Permission
from agented.bots.matching import check_condition
from agented.bots.prompts import check_template
from agented.bots.signatures import TOLERANCE_S, Style
from agented.kit.errors import Invalid

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")
_SECRET = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,79}")
_LONGEST_PROMPT = 200_000
_MOST = 50


@dataclass(frozen=True, slots=True)
class WebhookTrigger:
    """key: the last part of its address. secret: the name of a secret that is kept apart."""

    name: str
    key: str
    style: Style
    secret: str | None
    tolerance_s: int
    match: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """Everything of a bot that a person decides; one version of it never changes."""

    prompt: str
    backend: str
    projects: tuple[str, ...]
    account: str | None = None
    model: str | None = None
    permission: Permission = Permission.EDIT
    ref: str | None = None
    priority: int = 5
    wall_s: float | None = None
    silence_s: float | None = None
    snippets: Mapping[str, str] = field(default_factory=dict)
    webhooks: tuple[WebhookTrigger, ...] = ()
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bot:
    id: str
    name: str
    enabled: bool
    version: int
    spec: Spec
    source: Mapping[str, Any]
    """The spec as it was written, for export and for people."""
    created_at: datetime
    updated_at: datetime


def check_name(name: Any) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise Invalid(
            f"{str(name)[:80]!r} is no name for a bot.", field="name", hint="Small letters, digits, dots and dashes."
        )
    return name


def read_spec(source: Mapping[str, Any], new_key: Mapping[str, str]) -> Spec:
    """A spec of what a person or a file wrote. new_key: the address of each webhook trigger, by its name.

    Raises Invalid that names the field.
    """
    known = {"prompt", "chain", "projects", "permission", "ref", "priority", "limits", "snippets", "triggers"}
    _only(source, known | {"description"}, "")
    snippets = _texts(source.get("snippets") or {}, "snippets")
    prompt = _text(source, "prompt", _LONGEST_PROMPT)
    check_template(prompt, snippets)
    for name, text in snippets.items():
        if "{{" in text:
            raise Invalid("A snippet is plain text.", field=f"snippets.{name}", hint="Name it in the prompt.")
    step = _chain(source)
    limits = _mapping(source.get("limits") or {}, "limits")
    _only(limits, {"wall_s", "silence_s"}, "limits")
    return Spec(
        prompt=prompt,
        backend=_text(step, "backend", 60, "chain[0]"),
        account=_optional(step, "account", 120, "chain[0]"),
        model=_optional(step, "model", 200, "chain[0]"),
        projects=_projects(source),
        permission=_permission(source.get("permission", "edit")),
        ref=_optional(source, "ref", 255),
        priority=_whole(source.get("priority", 5), "priority", 0, 9),
        wall_s=_seconds(limits, "wall_s"),
        silence_s=_seconds(limits, "silence_s"),
        snippets=snippets,
        webhooks=_triggers(source, new_key),
        description=_optional(source, "description", 2000) or "",
    )


def webhook_names(source: Mapping[str, Any]) -> list[str]:
    """Names of the webhook triggers that a source asks for, before it is checked."""
    names = []
    triggers = source.get("triggers")
    for number, trigger in enumerate(triggers if isinstance(triggers, list) else []):
        inner = trigger.get("webhook") if isinstance(trigger, Mapping) else None
        if isinstance(inner, Mapping):
            names.append(str(inner.get("name") or f"webhook-{number + 1}"))
    return names


def _chain(source: Mapping[str, Any]) -> Mapping[str, Any]:
    chain = source.get("chain")
    if not isinstance(chain, list) or len(chain) != 1:
        raise Invalid("`chain` is a list of one step.", field="chain", hint="[{backend: rehearsal}]")
    step = _mapping(chain[0], "chain[0]")
    _only(step, {"backend", "account", "model"}, "chain[0]")
    return step


def _projects(source: Mapping[str, Any]) -> tuple[str, ...]:
    projects = source.get("projects")
    if (
        not isinstance(projects, list)
        or not 0 < len(projects) <= _MOST
        or not all(isinstance(p, str) for p in projects)
    ):
        raise Invalid("`projects` is a list of names, ids or paths.", field="projects")
    return tuple(projects or ())


def _triggers(source: Mapping[str, Any], new_key: Mapping[str, str]) -> tuple[WebhookTrigger, ...]:
    triggers = source.get("triggers") or []
    if not isinstance(triggers, list) or len(triggers) > _MOST:
        raise Invalid(f"`triggers` is a list of at most {_MOST}.", field="triggers")
    found: list[WebhookTrigger] = []
    for number, trigger in enumerate(triggers):
        place = f"triggers[{number}]"
        inner = _mapping(trigger, place)
        if set(inner) != {"webhook"}:
            raise Invalid("A trigger is `webhook: {...}`.", field=place)
        found.append(
            _webhook(_mapping(inner["webhook"] or {}, f"{place}.webhook"), f"{place}.webhook", number, new_key)
        )
    names = [one.name for one in found]
    if len(set(names)) < len(names):
        raise Invalid("Two triggers have the same name.", field="triggers")
    return tuple(found)


def _webhook(given: Mapping[str, Any], place: str, number: int, new_key: Mapping[str, str]) -> WebhookTrigger:
    _only(given, {"name", "verify", "match"}, place)
    name = str(given.get("name") or f"webhook-{number + 1}")
    if not _NAME.fullmatch(name):
        raise Invalid("A trigger's name has small letters, digits, dots and dashes.", field=f"{place}.name")
    verify = _mapping(given.get("verify") or {}, f"{place}.verify")
    _only(verify, {"style", "secret", "tolerance_s"}, f"{place}.verify")
    if "style" not in verify:
        raise Invalid(
            "Say how deliveries are signed.",
            field=f"{place}.verify.style",
            hint=", ".join(Style) + "; `none` lets everybody start this bot.",
        )
    try:
        style = Style(str(verify["style"]))
    except ValueError:
        raise Invalid("There is no such style.", field=f"{place}.verify.style", hint=", ".join(Style)) from None
    secret = _optional(verify, "secret", 80, f"{place}.verify")
    if style is not Style.NONE and (secret is None or not _SECRET.fullmatch(secret)):
        raise Invalid(
            "Name the secret that signs.", field=f"{place}.verify.secret", hint="`agented secrets set NAME` keeps one."
        )
    if given.get("match") is not None:
        check_condition(given["match"], f"{place}.match")
    return WebhookTrigger(
        name=name,
        key=new_key.get(name, ""),
        style=style,
        secret=secret,
        tolerance_s=_whole(verify.get("tolerance_s", TOLERANCE_S), f"{place}.verify.tolerance_s", 1, 86_400),
        match=given.get("match"),
    )


def _only(given: Mapping[str, Any], known: set[str], place: str) -> None:
    unknown = sorted(str(key) for key in given if key not in known)
    if unknown:
        raise Invalid(
            f"{unknown[0]!r} is not known here.",
            field=f"{place}.{unknown[0]}".lstrip("."),
            hint="Known: " + ", ".join(sorted(known)) + ".",
        )


def _mapping(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise Invalid("This is a mapping of names to values.", field=place)
    return value


def _texts(value: Any, place: str) -> Mapping[str, str]:
    given = _mapping(value, place)
    if not all(isinstance(key, str) and isinstance(text, str) for key, text in given.items()):
        raise Invalid("These are texts by name.", field=place)
    return dict(given)


def _text(given: Mapping[str, Any], key: str, longest: int, place: str = "") -> str:
    value = given.get(key)
    where = f"{place}.{key}".lstrip(".")
    if not isinstance(value, str) or not value.strip():
        raise Invalid(f"`{key}` is a text and must be there.", field=where)
    if len(value) > longest or "\0" in value:
        raise Invalid(f"`{key}` has at most {longest} characters, and no NUL.", field=where)
    return value


def _optional(given: Mapping[str, Any], key: str, longest: int, place: str = "") -> str | None:
    return None if given.get(key) in (None, "") else _text(given, key, longest, place)


def _permission(value: Any) -> Permission:
    try:
        return Permission(str(value))
    except ValueError:
        raise Invalid("There is no such permission.", field="permission", hint=", ".join(Permission)) from None


def _whole(value: Any, place: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise Invalid(f"This is a whole number from {least} to {most}.", field=place)
    return value


def _seconds(given: Mapping[str, Any], key: str) -> float | None:
    value = given.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 7 * 86_400:
        raise Invalid("Seconds, at most a week.", field=f"limits.{key}")
    return float(value)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Sequence[str]:
    """Names of the parts that two sources say differently."""
    return sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
