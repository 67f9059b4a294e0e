"""What starts a bot: a webhook, an event of GitHub, a time, or the end of another bot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from agented.bots import reading
from agented.bots.matching import Met, check_condition
from agented.bots.signatures import TOLERANCE_S, Style
from agented.bots.times import check_cron, check_zone
from agented.executions.model import State
from agented.kit.errors import Invalid
from agented.projects.events import KINDS, GitHubEvent

PULL_ACTIONS = ("opened", "synchronize", "reopened", "ready_for_review")
_INSIDERS = "insiders"


@dataclass(frozen=True, slots=True)
class WebhookTrigger:
    """key: the last part of its address. secret: the name of a secret that is kept apart."""

    name: str
    key: str
    style: Style
    secret: str | None
    tolerance_s: int
    match: Mapping[str, Any] | None


class Running(StrEnum):
    """What becomes of the run that works on an older head when a newer one comes."""

    STOP = "stop"
    FINISH = "finish"


@dataclass(frozen=True, slots=True, kw_only=True)
class GitHubTrigger:
    """Empty filters let everything in. secret: the name of this repository's own secret, instead of the server's."""

    name: str
    events: tuple[str, ...]
    actions: tuple[str, ...] = ()
    repositories: tuple[str, ...] = ()
    branches: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()
    drafts: bool = False
    bots: bool = False
    command: str | None = None
    anyone: bool = False
    running: Running = Running.STOP
    secret: str | None = None


class CatchUp(StrEnum):
    """What is done about times that passed while no server ran."""

    NONE = "none"
    LATEST = "latest"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class ScheduleTrigger:
    """overlap: it starts although the run before has not ended."""

    name: str
    cron: str
    zone: str
    catch_up: CatchUp
    jitter_s: int
    overlap: bool


@dataclass(frozen=True, slots=True)
class AfterTrigger:
    name: str
    bot: str
    states: tuple[State, ...]


Trigger = WebhookTrigger | GitHubTrigger | ScheduleTrigger | AfterTrigger


def read_triggers(source: Mapping[str, Any], keys: Mapping[str, str]) -> tuple[Trigger, ...]:
    """keys: the address of each webhook trigger, by its name. Raises Invalid."""
    triggers = source.get("triggers") or []
    if not isinstance(triggers, list) or len(triggers) > reading.MOST:
        raise Invalid(f"`triggers` is a list of at most {reading.MOST}.", field="triggers")
    found: list[Trigger] = []
    for number, trigger in enumerate(triggers):
        place = f"triggers[{number}]"
        given = reading.mapping_of(trigger, place)
        if len(given) != 1 or (kind := next(iter(given))) not in _READERS:
            raise Invalid(
                "A trigger is one of " + ", ".join(f"`{one}: {{...}}`" for one in _READERS) + ".", field=place
            )
        inner = reading.mapping_of(given[kind] or {}, f"{place}.{kind}")
        name = reading.trigger_name(inner, f"{place}.{kind}", f"{kind}-{number + 1}")
        found.append(_READERS[kind](inner, f"{place}.{kind}", name, keys))
    names = [one.name for one in found]
    if len(set(names)) < len(names):
        raise Invalid("Two triggers have the same name.", field="triggers")
    return tuple(found)


def webhook_names(source: Mapping[str, Any]) -> list[str]:
    """Names of the webhook triggers that a source asks for, before it is checked."""
    names = []
    triggers = source.get("triggers")
    for number, trigger in enumerate(triggers if isinstance(triggers, list) else []):
        inner = trigger.get("webhook") if isinstance(trigger, Mapping) else None
        if isinstance(inner, Mapping):
            names.append(str(inner.get("name") or f"webhook-{number + 1}"))
    return names


def _webhook(given: Mapping[str, Any], place: str, name: str, keys: Mapping[str, str]) -> WebhookTrigger:
    reading.only(given, {"name", "verify", "match"}, place)
    verify = reading.mapping_of(given.get("verify") or {}, f"{place}.verify")
    reading.only(verify, {"style", "secret", "tolerance_s"}, f"{place}.verify")
    if "style" not in verify:
        raise Invalid(
            "Say how deliveries are signed.",
            field=f"{place}.verify.style",
            hint=", ".join(Style) + "; `none` lets everybody start this bot.",
        )
    style = reading.one_of(verify["style"], Style, f"{place}.verify.style")
    secret = _secret(verify, f"{place}.verify")
    if style is not Style.NONE and secret is None:
        raise Invalid(
            "Name the secret that signs.", field=f"{place}.verify.secret", hint="`agented secrets set NAME` keeps one."
        )
    if given.get("match") is not None:
        check_condition(given["match"], f"{place}.match")
    tolerance = reading.whole(verify.get("tolerance_s", TOLERANCE_S), f"{place}.verify.tolerance_s", 1, 86_400)
    return WebhookTrigger(name, keys.get(name, ""), style, secret, tolerance, given.get("match"))


def _secret(given: Mapping[str, Any], place: str) -> str | None:
    secret = reading.optional(given, "secret", 80, place)
    if secret is not None and not reading.SECRET.fullmatch(secret):
        raise Invalid(
            "A secret is named by letters, digits, dots, dashes and underscores; its value is kept apart.",
            field=f"{place}.secret",
            hint="`agented secrets set NAME` keeps one.",
        )
    return secret


def _github(given: Mapping[str, Any], place: str, name: str, _: Mapping[str, str]) -> GitHubTrigger:
    known = {field for field in GitHubTrigger.__slots__ if field != "anyone"} | {"allow"}
    reading.only(given, known, place)
    events = reading.texts(given, "events", place, ("pull_request",))
    unknown = [one for one in events if one not in KINDS]
    if unknown or not events:
        raise Invalid(f"There is no event {str(unknown)[:60]}.", field=f"{place}.events", hint=", ".join(KINDS))
    actions = reading.texts(given, "actions", place, PULL_ACTIONS if events == ("pull_request",) else ())
    command = reading.optional(given, "command", 60, place)
    if command is not None and (not command.startswith("/") or command.split() != [command]):
        raise Invalid("A command is one word that begins with a slash.", field=f"{place}.command", hint="/review")
    allow = given.get("allow", _INSIDERS)
    if allow not in (_INSIDERS, "anyone"):
        raise Invalid("Who may give it: `insiders` or `anyone`.", field=f"{place}.allow")
    return GitHubTrigger(
        name=name,
        events=events,
        actions=actions,
        repositories=reading.texts(given, "repositories", place),
        branches=reading.texts(given, "branches", place),
        paths=reading.texts(given, "paths", place),
        labels=reading.texts(given, "labels", place),
        authors=reading.texts(given, "authors", place),
        drafts=reading.flag(given, "drafts", place, default=False),
        bots=reading.flag(given, "bots", place, default=False),
        command=command,
        anyone=allow == "anyone",
        running=reading.one_of(given.get("running", Running.STOP), Running, f"{place}.running"),
        secret=_secret(given, place),
    )


def _schedule(given: Mapping[str, Any], place: str, name: str, _: Mapping[str, str]) -> ScheduleTrigger:
    reading.only(given, {"name", "cron", "timezone", "catch_up", "jitter_s", "overlap"}, place)
    cron = reading.text(given, "cron", 120, place)
    check_cron(cron, f"{place}.cron")
    zone = check_zone(reading.optional(given, "timezone", 60, place) or "UTC", f"{place}.timezone")
    return ScheduleTrigger(
        name,
        cron,
        zone,
        reading.one_of(given.get("catch_up", CatchUp.LATEST), CatchUp, f"{place}.catch_up"),
        reading.whole(given.get("jitter_s", 0), f"{place}.jitter_s", 0, 3600),
        reading.flag(given, "overlap", place, default=False),
    )


def _after(given: Mapping[str, Any], place: str, name: str, _: Mapping[str, str]) -> AfterTrigger:
    reading.only(given, {"name", "bot", "states"}, place)
    bot = reading.text(given, "bot", 80, place)
    states = reading.texts(given, "states", place, (str(State.SUCCEEDED),))
    return AfterTrigger(name, bot, tuple(reading.one_of(one, State, f"{place}.states") for one in states))


_READERS: Mapping[str, Callable[[Mapping[str, Any], str, str, Mapping[str, str]], Trigger]] = {
    "webhook": _webhook,
    "github": _github,
    "schedule": _schedule,
    "after": _after,
}


def meet_event(trigger: GitHubTrigger, event: GitHubEvent) -> Met:
    """Whether an event of GitHub meets a trigger, and why; all but the files that a pull request changes."""
    if event.kind not in trigger.events:
        return Met(False, f"It listens to {', '.join(trigger.events)}, not to {event.kind}.")
    if trigger.actions and event.action and event.action not in trigger.actions:
        return Met(False, f"The action is {event.action}, not one of {', '.join(trigger.actions)}.")
    if event.own:
        return Met(False, "Agented itself caused this.")
    if event.sender_is_bot and not trigger.bots:
        return Met(False, f"{event.sender} is a bot; `bots: true` would let it start this.")
    if not _fits_repository(trigger, event):
        return Met(False, f"The repository is {event.remote.path}, which its filter leaves out.")
    if trigger.branches and not reading.fits(trigger.branches, event.branch or ""):
        return Met(False, f"The branch is {event.branch or 'not said'}, which its filter leaves out.")
    if event.draft and not trigger.drafts:
        return Met(False, "It is a draft.")
    if trigger.labels and not set(trigger.labels) & set(event.labels):
        return Met(False, f"It has none of the labels {', '.join(trigger.labels)}.")
    if trigger.authors and not reading.fits(trigger.authors, event.author):
        return Met(False, f"The author is {event.author}, whom its filter leaves out.")
    if event.kind == "push" and not fits_paths(trigger, event.paths):
        return Met(False, "None of the changed files fits its paths.")
    return _meet_command(trigger, event)


def _fits_repository(trigger: GitHubTrigger, event: GitHubEvent) -> bool:
    patterns = tuple(one.lower() for one in trigger.repositories)
    return reading.fits(patterns, event.remote.path.lower(), str(event.remote))


def fits_paths(trigger: GitHubTrigger, paths: tuple[str, ...] | list[str] | Any) -> bool:
    return not trigger.paths or any(reading.fits(trigger.paths, path) for path in paths)


def _meet_command(trigger: GitHubTrigger, event: GitHubEvent) -> Met:
    if not event.kind.endswith("comment"):
        return Met(True, f"{event.kind} {event.action}".strip() + f" in {event.remote.path}.")
    if event.action and event.action != "created":
        return Met(False, "Only new comments give commands.")
    if trigger.command is not None and event.command != trigger.command:
        return Met(False, f"The comment does not begin with {trigger.command}.")
    if not event.insider and not trigger.anyone:
        return Met(False, f"{event.author} may not write to the repository, so may not start this.")
    return Met(True, f"{event.author} wrote {trigger.command or 'a comment'}.")
