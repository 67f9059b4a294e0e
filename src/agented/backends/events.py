"""What any CLI can tell us, in one language. Events are a pure function of the bytes the CLI printed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True)
class SessionStarted:
    """The CLI named its own session; `session_id` is what its resume flag takes."""

    session_id: str
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """Text of the model. `delta` continues the Said event before it (streamed pieces of one message)."""

    text: str
    thinking: bool = False
    delta: bool = False


@dataclass(frozen=True, slots=True)
class ToolCalled:
    call_id: str
    tool: str
    arguments: Mapping[str, Any]
    kind: str = "other"
    """shell | edit | read | search | web | mcp | task | other: how a page shows it."""


@dataclass(frozen=True, slots=True)
class ToolReturned:
    call_id: str
    ok: bool
    output: str


@dataclass(frozen=True, slots=True)
class TokensUsed:
    """Tokens to add to the run's total. `input` is without cached tokens, `output` includes reasoning."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cost_usd: Decimal | None = None


@dataclass(frozen=True, slots=True)
class TokensSeen:
    """What one answer of a model takes, told while the CLI works; `TokensUsed` counts it again, for good, at the end.

    key: names the answer; a later one of the same key replaces it.
    """

    key: str
    model: str | None = None
    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0


@dataclass(frozen=True, slots=True)
class LimitSeen:
    """A reading of one of the provider's windows, in passing."""

    window: str
    used_percent: float
    resets_at: datetime | None = None
    length_s: int | None = None


@dataclass(frozen=True, slots=True)
class LimitReached:
    """The account may not spend more in this window."""

    window: str
    resets_at: datetime | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class NeedsInput:
    """The CLI asks a person; nobody answers in an unattended run."""

    question: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something worth seeing that is not the model's text: a retry, a warning. `level`: info | warning | error."""

    text: str
    level: str = "info"


@dataclass(frozen=True, slots=True)
class Stuck:
    """The CLI goes on waiting by itself without end (a long limit, no network): it should be stopped.

    The translator's verdict then says why; `detail` is for people.
    """

    detail: str


@dataclass(frozen=True, slots=True)
class Concluded:
    """The CLI's own final word. Success needs this as well as the exit code."""

    ok: bool
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Unparsed:
    """A line that is not ours to understand; it stays in the log and is not kept as an event."""

    line: str


Event = (
    SessionStarted
    | Said
    | ToolCalled
    | ToolReturned
    | TokensUsed
    | TokensSeen
    | LimitSeen
    | LimitReached
    | NeedsInput
    | Notice
    | Stuck
    | Concluded
    | Unparsed
)

_NAMES: dict[type, str] = {
    SessionStarted: "session_started",
    Said: "said",
    ToolCalled: "tool_called",
    ToolReturned: "tool_returned",
    TokensUsed: "tokens_used",
    TokensSeen: "tokens_seen",
    LimitSeen: "limit_seen",
    LimitReached: "limit_reached",
    NeedsInput: "needs_input",
    Notice: "notice",
    Stuck: "stuck",
    Concluded: "concluded",
    Unparsed: "unparsed",
}


def to_dict(event: Event) -> dict[str, Any]:
    """The event as JSON values with its `type`; money as a string, times as ISO 8601."""
    values: dict[str, Any] = {"type": _NAMES[type(event)]}
    for field in dataclasses.fields(event):
        value = getattr(event, field.name)
        if isinstance(value, datetime):
            value = value.isoformat()
        elif isinstance(value, Decimal):
            value = str(value)
        elif isinstance(value, Mapping):
            value = dict(value)
        values[field.name] = value
    return values
