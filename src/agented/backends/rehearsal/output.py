"""Reads what the rehearsal prints."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from agented.backends.contract import Exit, Line, Outcome, Output, Reason, Verdict
from agented.backends.events import (
    Concluded,
    Event,
    LimitReached,
    LimitSeen,
    NeedsInput,
    Notice,
    Said,
    SessionStarted,
    TokensUsed,
    ToolCalled,
    ToolReturned,
    Unparsed,
)
from agented.backends.rehearsal.program import FLOOD_LINE, LIMITED, LOGGED_OUT, NEEDS_INPUT
from agented.kit.loose import plain

WINDOW = "rehearsal"
_WINDOW_S = 5 * 3600

_EVENT_START = '{"rehearsal":'
_FLOOD = FLOOD_LINE.decode().rstrip("\n")
# A longer plain line is there to try the log, not to be read as somebody's words.
_LONGEST_SAYING = 32_768


class RehearsalOutput:
    def __init__(self) -> None:
        self._done = False
        self._limit: LimitReached | None = None
        self._logged_out = False
        self._question: str | None = None

    def feed(self, line: Line) -> Iterable[Event]:
        text = line.text
        if line.stderr or _is_filler(text):
            return (Unparsed(text),)
        if text.startswith(_EVENT_START):
            return (self._event(text),)
        return (Said(text),)

    def verdict(self, exit: Exit) -> Verdict:
        if exit.signal is not None:
            return Verdict(Outcome.FAILED, Reason.KILLED, f"killed by signal {exit.signal}")
        if exit.code == 0:
            if self._done:
                return Verdict(Outcome.SUCCEEDED)
            return Verdict(Outcome.FAILED, Reason.NO_FINAL_EVENT, "ended without its final event")
        if exit.code == LIMITED and self._limit is not None:
            return Verdict(Outcome.LIMITED, Reason.USAGE_LIMIT, self._limit.detail, self._limit.resets_at)
        if exit.code == LOGGED_OUT and self._logged_out:
            return Verdict(Outcome.LOGGED_OUT, Reason.BAD_CREDENTIALS, "the script says: logged out")
        if exit.code == NEEDS_INPUT and self._question is not None:
            return Verdict(Outcome.FAILED, Reason.NEEDS_INPUT, self._question)
        return Verdict(Outcome.FAILED, Reason.CLI_ERROR, f"exit code {exit.code}")

    def _event(self, text: str) -> Event:
        try:
            values = plain(json.loads(text))
            event = _READERS[values["rehearsal"]](values)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return Unparsed(text)
        self._note(values["rehearsal"], event)
        return event

    def _note(self, kind: str, event: Event) -> None:
        if isinstance(event, Concluded):
            self._done = True
        elif isinstance(event, LimitReached):
            self._limit = event
        elif isinstance(event, NeedsInput):
            self._question = event.question
        elif kind == "logged_out":
            self._logged_out = True


def new_output(before: TokensUsed = TokensUsed()) -> Output:  # noqa: B008 - frozen, so one for all is safe
    """The rehearsal's token numbers are of the run alone, so what was used before changes nothing."""
    return RehearsalOutput()


def _is_filler(text: str) -> bool:
    """`lines` and `flood` print millions of lines, which belong in the log and not in the conversation."""
    if text.startswith("line "):
        return text[5:].isdecimal()
    return text == _FLOOD or not text or (len(text) > _LONGEST_SAYING and not text.startswith(_EVENT_START))


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError
    return value


def _money(value: Any) -> Decimal | None:
    return None if value is None else Decimal(_string(value))


def _limit(values: Mapping[str, Any]) -> Event:
    resets_at = datetime.fromisoformat(_string(values["resets_at"])).astimezone(UTC)
    return LimitReached(WINDOW, resets_at, f"usage limit reached, resets at {resets_at:%Y-%m-%d %H:%M:%S} UTC")


def _used(values: Mapping[str, Any]) -> Event:
    percent = values["percent"]
    if isinstance(percent, bool) or not isinstance(percent, int | float) or not 0 <= percent <= 100:
        raise TypeError
    return LimitSeen(WINDOW, float(percent), length_s=_WINDOW_S)


def _tool_called(values: Mapping[str, Any]) -> Event:
    arguments = {"path": _string(values["path"]), "text": _string(values["text"])}
    return ToolCalled(_string(values["id"]), _string(values["tool"]), arguments, kind="edit")


_READERS: Mapping[str, Callable[[Mapping[str, Any]], Event]] = {
    "session": lambda values: SessionStarted(_string(values["id"]), _string(values["model"])),
    "tool_called": _tool_called,
    "tool_returned": lambda values: ToolReturned(
        _string(values["id"]), values["ok"] is True, _string(values["output"])
    ),
    "tokens": lambda values: TokensUsed(
        input=_count(values["input"]), output=_count(values["output"]), cost_usd=_money(values.get("cost_usd"))
    ),
    "limit": _limit,
    "used": _used,
    "logged_out": lambda _: Notice("The account must sign in again.", "error"),
    "needs_input": lambda values: NeedsInput(_string(values["question"])),
    "forked": lambda values: Notice(f"left process {_count(values['pid'])} behind"),
    "done": lambda _: Concluded(ok=True),
}
