"""Values of this room: what happened, who wants to hear of it, and how its sending stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class Topic(StrEnum):
    RUN_ENDED = "run.ended"
    BOT_PAUSED = "bot.paused"
    SYNC_FAILED = "project.sync_failed"
    BUDGET_CROSSED = "budget.crossed"
    LIMIT_CROSSED = "limit.crossed"
    TEST = "test"


class TargetKind(StrEnum):
    WEBHOOK = "webhook"
    APPRISE = "apprise"


class NoticeState(StrEnum):
    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"


_OF_BOTS = (Topic.RUN_ENDED, Topic.BOT_PAUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that happened.

    link: a path of the web app, such as /runs/ID. facts: JSON; `state` (of a run) and `bot` (its name) are what
    targets filter by. key: at most 200 characters; the same key again is the same notice.
    """

    topic: Topic
    title: str
    body: str
    link: str
    facts: Mapping[str, Any]
    key: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a target hears of. An empty part lets everything pass."""

    topics: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    bots: tuple[str, ...] = ()

    def lets_pass(self, notice: Notice) -> bool:
        if self.topics and notice.topic not in self.topics:
            return False
        state, bot = notice.facts.get("state"), notice.facts.get("bot")
        if self.states and state is not None and state not in self.states:
            return False
        about_bots = bot is not None or notice.topic in _OF_BOTS
        return not (self.bots and about_bots) or bot in self.bots


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where notices go.

    place: the part of the address that may be seen. sealed: the address and the secret. last_*: how the newest
    attempt went; last_error is None when it went well.
    """

    id: str
    name: str
    kind: TargetKind
    place: str
    sealed: str
    wanted: Wanted
    enabled: bool
    last_at: datetime | None
    last_error: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A notice on its way to one target. tries: attempts that failed since it was last put in the queue."""

    id: str
    target_id: str
    key: str
    topic: str
    title: str
    body: str
    link: str
    facts: Mapping[str, Any]
    state: NoticeState
    tries: int
    error: str | None
    created_at: datetime
    due_at: datetime
    ended_at: datetime | None


class Answer(StrEnum):
    """What an attempt came to. GONE: nobody wants notices there any more. REFUSED: trying again is of no use."""

    DONE = "done"
    AGAIN = "again"
    GONE = "gone"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Outcome:
    """after_s: how long the other side asked to be left alone."""

    answer: Answer
    error: str | None = None
    after_s: float = 0
