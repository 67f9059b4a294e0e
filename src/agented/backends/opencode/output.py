"""Reads what `opencode run --format json` prints, and its log on stderr."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from agented.backends.asking import length_of
from agented.backends.contract import Exit, Line, Outcome, Output, Reason, Verdict
from agented.backends.endings import ended, killed, reason_of_status
from agented.backends.events import (
    Concluded,
    Event,
    LimitReached,
    LimitSeen,
    Notice,
    Said,
    SessionStarted,
    Stuck,
    TokensUsed,
    ToolCalled,
    ToolReturned,
    Unparsed,
)
from agented.kit import loose
from agented.kit.text import printable

Object = Mapping[str, Any]

_KINDS = {
    "bash": "shell",
    "edit": "edit",
    "write": "edit",
    "patch": "edit",
    "apply_patch": "edit",
    "multiedit": "edit",
    "read": "read",
    "list": "read",
    "glob": "search",
    "grep": "search",
    "codesearch": "search",
    "webfetch": "web",
    "websearch": "web",
    "task": "task",
    "todowrite": "task",
}
_NAMES = {
    "ProviderAuthError": Reason.BAD_CREDENTIALS,
    "MessageAbortedError": Reason.INTERRUPTED,
    "ContextOverflowError": Reason.BAD_REQUEST,
    "MessageOutputLengthError": Reason.BAD_REQUEST,
}
# Types and codes of the error that a provider's body names.
_BODIES = {
    "usage_limit_reached": Reason.USAGE_LIMIT,
    "insufficient_quota": Reason.NO_CREDIT,
    "billing_error": Reason.NO_CREDIT,
    "CreditsError": Reason.NO_CREDIT,
    "GoUsageLimitError": Reason.USAGE_LIMIT,
    "FreeUsageLimitError": Reason.USAGE_LIMIT,
}
# A longer wait than this is the plan's limit and not a busy minute.
_LONGEST_WAIT_S = 300
_LOG = re.compile(
    r'^timestamp=\S+ level=ERROR .*message="stream error".* small=false .*error\.error="AI_\w*Error: (.*)"'
)
# Of these the CLI says no more: it waits for as long as the provider asks, or tries for ever.
_ENDLESS = (
    (r"usage limit|account's rate limit|limit will reset|hit your .*limit", Reason.USAGE_LIMIT),
    (r"exceeded your current quota|credit balance is too low|insufficient (credit|balance|quota)", Reason.NO_CREDIT),
)
_OFFLINE = re.compile(r"Cannot connect to API|Unable to connect|ECONNREFUSED|ENOTFOUND|EAI_AGAIN")
_TOO_OFTEN = 3
_COMPLAINTS = (
    (r"Session not found", Reason.SESSION_MISSING),
    (r"ProviderModelNotFoundError|Model not found", Reason.BAD_REQUEST),
    (r"is not valid JSON|ConfigInvalidError|ConfigJsonError|Configuration is invalid", Reason.BAD_CONFIG),
    (r"^opencode run \[message", Reason.BAD_CONFIG),
    (r"no providers|ProviderAuthError|auth login", Reason.BAD_CREDENTIALS),
)


class OpenCodeOutput:
    def __init__(self) -> None:
        self._session = ""
        self._said = ""
        self._last_reason = ""
        self._error: Object | None = None
        self._limit: LimitReached | None = None
        self._offline = 0
        self._stuck: tuple[Reason, str] | None = None
        self._complaint = ""

    def feed(self, line: Line) -> Iterable[Event]:
        if line.stderr:
            events = list(self._hear(printable(line.text)))
        else:
            message = loose.read_object(line.text)
            events = [] if message is None else list(self._read(message))
        return events or (Unparsed(line.text),)

    def verdict(self, exit: Exit) -> Verdict:
        if self._error is not None:
            return self._failed(self._error)
        if self._last_reason == "stop" and exit.code == 0:
            return Verdict(Outcome.SUCCEEDED)
        if self._stuck is not None:
            return ended(*self._stuck)
        return killed(exit) or self._unfinished(exit)

    def _read(self, message: Object) -> Iterator[Event]:
        session, reader = loose.string(message.get("sessionID")), _READERS.get(loose.string(message.get("type")))
        if reader is None:
            return
        if session and session != self._session:
            self._session = session
            yield SessionStarted(session)
        self._offline = 0
        yield from reader(self, message)

    def _read_text(self, message: Object) -> Iterator[Event]:
        text = loose.string(loose.mapping(message.get("part")).get("text"))
        if text:
            thinking = message.get("type") == "reasoning"
            self._said = self._said if thinking else text
            yield Said(text, thinking=thinking)

    def _read_tool(self, message: Object) -> Iterator[Event]:
        """Told when it has ended, call and answer at once."""
        part = loose.mapping(message.get("part"))
        state = loose.mapping(part.get("state"))
        call, tool = loose.string(part.get("callID")), loose.string(part.get("tool"))
        yield ToolCalled(call, tool, loose.arguments(state.get("input")), kind_of(tool))
        failed = loose.count(loose.mapping(state.get("metadata")).get("exit"))
        answer = loose.string(state.get("output")) or loose.string(state.get("error"))
        yield ToolReturned(call, state.get("status") == "completed" and not failed, answer)

    def _read_finish(self, message: Object) -> Iterator[Event]:
        part = loose.mapping(message.get("part"))
        tokens = _tokens(part)
        if tokens != TokensUsed():
            yield tokens
        self._last_reason, self._error = loose.string(part.get("reason")), None
        if self._last_reason == "stop":
            yield Concluded(True, self._said)

    def _read_error(self, message: Object) -> Iterator[Event]:
        self._error = loose.mapping(message.get("error"))
        words = _words_of(self._error)
        yield Notice(words, "error")
        data = loose.mapping(self._error.get("data"))
        yield from _windows(loose.mapping(data.get("responseHeaders")))
        if self._reason(self._error) is Reason.USAGE_LIMIT:
            self._limit = LimitReached(*_limit_of(data), detail=loose.one_line(words))
            yield self._limit
        yield Concluded(False, words)

    def _hear(self, text: str) -> Iterator[Event]:
        match = _LOG.match(text)
        if match is None:
            if text.strip() and (not self._complaint or text.startswith("Error: ")):
                self._complaint = text.strip()
            return
        words = match[1]
        self._offline = self._offline + 1 if _OFFLINE.search(words) else 0
        reason = Reason.UNREACHABLE if self._offline >= _TOO_OFTEN else _first(_ENDLESS, words)
        if reason is None or self._stuck is not None:
            yield Notice(loose.one_line(words), "warning")
            return
        self._stuck = reason, words
        if reason is Reason.USAGE_LIMIT:
            yield LimitReached("unknown", None, loose.one_line(words))
        yield Stuck(loose.one_line(words))

    def _failed(self, error: Object) -> Verdict:
        words = _words_of(error)
        reason = self._reason(error) or _first(_COMPLAINTS, self._complaint)
        if reason is Reason.BAD_REQUEST and error.get("name") == "UnknownError":
            words = _log_error(self._complaint) or words
        return ended(reason or Reason.CLI_ERROR, words, self._limit.resets_at if self._limit else None)

    def _reason(self, error: Object) -> Reason | None:
        data = loose.mapping(error.get("data"))
        if found := _NAMES.get(loose.string(error.get("name"))):
            return found
        if found := _body_reason(data):
            return found
        if status := loose.count(data.get("statusCode")):
            return Reason.USAGE_LIMIT if status == 429 and _is_plan_limit(data) else reason_of_status(status)
        code = loose.string(loose.mapping(data.get("metadata")).get("code"))
        if code in ("ECONNRESET", "ETIMEDOUT", "EPIPE"):
            return Reason.DISCONNECTED
        return Reason.UNREACHABLE if code or _OFFLINE.search(_words_of(error)) else None

    def _unfinished(self, exit: Exit) -> Verdict:
        if exit.code == 0:
            why = f"it stopped because of: {self._last_reason}" if self._last_reason else "ended without a final answer"
            return ended(Reason.NO_FINAL_EVENT, why)
        reason = _first(_COMPLAINTS, self._complaint)
        return ended(reason or Reason.CLI_ERROR, self._complaint or f"exit code {exit.code}")


def _first(patterns: Sequence[tuple[str, Reason]], words: str) -> Reason | None:
    return next((reason for pattern, reason in patterns if re.search(pattern, words)), None)


def _words_of(error: Object) -> str:
    return loose.string(loose.mapping(error.get("data")).get("message")) or loose.string(error.get("name"))


def _log_error(line: str) -> str:
    match = re.search(r'(?:error|cause)="(?:Cause\(\[Fail\()?([^"\\]*)', line)
    return match[1].rstrip(")]") if match else ""


def _body(data: Object) -> Object:
    return loose.mapping(loose.mapping(loose.read_object(loose.string(data.get("responseBody")))).get("error"))


def _body_reason(data: Object) -> Reason | None:
    body = _body(data)
    for key in ("type", "code"):
        if found := _BODIES.get(loose.string(body.get(key))):
            return found
    return Reason.NO_CREDIT if "credit balance is too low" in loose.string(body.get("message")) else None


def _is_plan_limit(data: Object) -> bool:
    headers = loose.mapping(data.get("responseHeaders"))
    return (
        headers.get("anthropic-ratelimit-unified-status") == "rejected"
        and _seconds(headers.get("anthropic-ratelimit-unified-reset")) is not None
    ) or (_seconds(headers.get("retry-after")) or 0) > _LONGEST_WAIT_S


def _limit_of(data: Object) -> tuple[str, datetime | None]:
    """The window that is used up and when it comes back, from whichever words the provider uses."""
    headers = loose.mapping(data.get("responseHeaders"))
    claim = loose.string(headers.get("anthropic-ratelimit-unified-representative-claim"))
    at = loose.moment(loose.number(_body(data).get("resets_at")))
    at = at or loose.moment(_seconds(headers.get("anthropic-ratelimit-unified-reset")))
    at = at or loose.moment(_seconds(headers.get("x-codex-primary-reset-at")))
    wait_s, now = _seconds(headers.get("retry-after")), _date(headers.get("date"))
    if at is None and wait_s is not None and now is not None:
        at = loose.later(now, wait_s)
    return claim or "usage", at


def _windows(headers: Object) -> Iterator[LimitSeen]:
    for window in ("primary", "secondary"):
        used = _seconds(headers.get(f"x-codex-{window}-used-percent"))
        if used is not None:
            yield LimitSeen(window, used, loose.moment(_seconds(headers.get(f"x-codex-{window}-reset-at"))))
    for window, short in (("five_hour", "5h"), ("seven_day", "7d")):
        used = _seconds(headers.get(f"anthropic-ratelimit-unified-{short}-utilization"))
        if used is not None:
            reset = _seconds(headers.get(f"anthropic-ratelimit-unified-{short}-reset"))
            yield LimitSeen(window, round(used * 100, 4), loose.moment(reset), length_of(window))


def _seconds(header: Any) -> float | None:
    """A header's number; not a date, which `retry-after` may also be."""
    text = loose.string(header)
    return float(text) if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", text) else None


def _date(header: Any) -> datetime | None:
    try:
        at = parsedate_to_datetime(loose.string(header))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return None if at.tzinfo is None else at


def _tokens(part: Object) -> TokensUsed:
    tokens = loose.mapping(part.get("tokens"))
    cache = loose.mapping(tokens.get("cache"))
    return TokensUsed(
        input=loose.count(tokens.get("input")),
        output=loose.count(tokens.get("output")) + loose.count(tokens.get("reasoning")),
        cache_read=loose.count(cache.get("read")),
        cache_write=loose.count(cache.get("write")),
        cost_usd=loose.money(part.get("cost")) or None,
    )


_READERS = {
    "step_start": lambda output, message: iter(()),
    "text": OpenCodeOutput._read_text,
    "reasoning": OpenCodeOutput._read_text,
    "tool_use": OpenCodeOutput._read_tool,
    "step_finish": OpenCodeOutput._read_finish,
    "error": OpenCodeOutput._read_error,
}


def new_output(before: TokensUsed = TokensUsed()) -> Output:  # noqa: B008 - frozen, so one for all is safe
    """Its numbers are of each step, so what was used before changes nothing."""
    return OpenCodeOutput()


def kind_of(tool: str) -> str:
    return _KINDS.get(tool, "other")
