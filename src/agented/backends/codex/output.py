"""Reads what `codex exec --json` prints."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from agented.backends.contract import Exit, Line, Outcome, Output, Reason, Verdict
from agented.backends.endings import ended, killed, reason_of_status
from agented.backends.events import (
    Concluded,
    Event,
    LimitReached,
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

Object = Mapping[str, Any]

# The provider does not tell which of its windows is used up.
WINDOW = "usage"

_KINDS = {
    "command_execution": "shell",
    "file_change": "edit",
    "mcp_tool_call": "mcp",
    "web_search": "web",
    "todo_list": "task",
    "collab_tool_call": "task",
}
_STATUS = re.compile(r"\b(?:unexpected status|last status:?) (\d{3})\b")
# What the CLI's own error messages begin with. They are read only where the CLI reports that a turn failed.
_MESSAGES = (
    (r"^You(’|')ve hit your usage limit", Reason.USAGE_LIMIT),
    (r"^Quota exceeded|out of credits|^You have no credits", Reason.NO_CREDIT),
    (r"at capacity|overloaded", Reason.OVERLOADED),
    (r"experiencing high demand|internal server error", Reason.PROVIDER_ERROR),
    (r"error sending request|connection failed|waiting for network", Reason.UNREACHABLE),
    (r"stream disconnected|connection (reset|closed)|idle timeout", Reason.DISCONNECTED),
    (r"refresh(ed)? .*token|token .*refresh|sign(ed)? in|log(ged)? in", Reason.BAD_CREDENTIALS),
    (r"does not exist|not supported|invalid_request|context window|unknown model", Reason.BAD_REQUEST),
)
_COMPLAINTS = (
    (r"no rollout found|no saved session|(session|thread) .*not found", Reason.SESSION_MISSING),
    (r"^error: |^Error loading config|^Not inside a trusted directory", Reason.BAD_CONFIG),
    (r"not logged in|log in|login", Reason.BAD_CREDENTIALS),
)
_LOG_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.?\d*Z +[A-Z]+ ")
_AGAIN_AT = re.compile(r"try again at (?:([A-Z][a-z]{2}) (\d{1,2})[a-z]{2}, (\d{4}) )?(\d{1,2}):(\d\d) ([AP])M")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# One lost moment heals by itself; the CLI says this anew after each longer pause.
_TOO_OFTEN = 2


class CodexOutput:
    def __init__(self, before: TokensUsed) -> None:
        self._total = before
        self._resumed = before != TokensUsed()
        self._now: datetime | None = None
        self._said = ""
        self._called: set[str] = set()
        self._failure: str | None = None
        self._completed = False
        self._offline = 0
        self._stuck = False
        self._limit: LimitReached | None = None
        self._complaint = ""

    def feed(self, line: Line) -> Iterable[Event]:
        if line.stderr:
            self._hear(line.text)
            return (Unparsed(line.text),)
        message = loose.read_object(line.text)
        reader = None if message is None else _READERS.get(loose.string(message.get("type")))
        events = [] if reader is None or message is None else list(reader(self, message))
        return events or (Unparsed(line.text),)

    def verdict(self, exit: Exit) -> Verdict:
        if self._completed and exit.code == 0:
            return Verdict(Outcome.SUCCEEDED)
        if self._failure is not None:
            return self._failed(self._failure)
        if self._stuck:
            return ended(Reason.UNREACHABLE, "the provider cannot be reached")
        return killed(exit) or self._unfinished(exit)

    def _hear(self, text: str) -> None:
        """stderr: the log's lines tell the time, the first other line tells why nothing began."""
        if match := _LOG_TIME.match(text):
            self._now = loose.iso_moment(f"{match[1]}+00:00") or self._now
        elif text.strip() and not text.startswith(("Reading additional input", "WARNING:", " ")):
            self._complaint = self._complaint or text.strip()

    def _read_thread(self, message: Object) -> Iterator[Event]:
        thread = loose.string(message.get("thread_id"))
        if thread:
            if self._now is None and not self._resumed:
                self._now = _time_of_id(thread)
            yield SessionStarted(thread)

    def _read_item(self, message: Object) -> Iterator[Event]:
        self._offline = 0
        item = loose.mapping(message.get("item"))
        kind, done = loose.string(item.get("type")), message.get("type") == "item.completed"
        if kind == "error":
            yield Notice(loose.string(item.get("message")), "warning")
        elif kind in ("agent_message", "reasoning"):
            text = loose.string(item.get("text"))
            if done and text:
                self._said = text if kind == "agent_message" else self._said
                yield Said(text, thinking=kind == "reasoning")
        elif kind in _KINDS:
            yield from self._read_tool(kind, item, done)

    def _read_tool(self, kind: str, item: Object, done: bool) -> Iterator[Event]:
        call = loose.string(item.get("id"))
        if call not in self._called:
            self._called.add(call)
            tool, arguments = _call_of(kind, item)
            yield ToolCalled(call, tool, arguments, _KINDS[kind])
        if done:
            ok = loose.string(item.get("status") or "completed") == "completed" and not item.get("exit_code")
            yield ToolReturned(call, ok, _answer_of(kind, item))

    def _read_completed(self, message: Object) -> Iterator[Event]:
        """The usage is the whole thread's, from its first turn on, also across a resume."""
        self._completed, self._failure = True, None
        total = _tokens(loose.mapping(message.get("usage")))
        last, self._total = self._total, total
        used = TokensUsed(
            max(0, total.input - last.input),
            max(0, total.output - last.output),
            max(0, total.cache_read - last.cache_read),
            max(0, total.cache_write - last.cache_write),
        )
        if used != TokensUsed():
            yield used
        yield Concluded(True, self._said)

    def _read_failed(self, message: Object) -> Iterator[Event]:
        words = loose.string(loose.mapping(message.get("error")).get("message"))
        self._completed, self._failure = False, words
        if _reason_of(words) is Reason.USAGE_LIMIT and self._limit is None:
            self._limit = LimitReached(WINDOW, _until(words, self._now), loose.one_line(words))
            yield self._limit
        yield Concluded(False, words)

    def _read_error(self, message: Object) -> Iterator[Event]:
        words = loose.string(message.get("message"))
        if "waiting for network" in words:
            self._offline += 1
            if self._offline >= _TOO_OFTEN and not self._stuck:
                self._stuck = True
                yield Stuck(f"It waits without end for a network: {loose.one_line(words)}")
                return
        yield Notice(words, "warning" if words.startswith("Reconnecting") else "error")

    def _failed(self, words: str) -> Verdict:
        return ended(_reason_of(words) or Reason.CLI_ERROR, words, self._limit.resets_at if self._limit else None)

    def _unfinished(self, exit: Exit) -> Verdict:
        if not self._complaint or exit.code == 0:
            return ended(Reason.NO_FINAL_EVENT, f"ended without its final event (exit code {exit.code})")
        return ended(_first(_COMPLAINTS, self._complaint) or Reason.CLI_ERROR, self._complaint)


def _reason_of(words: str) -> Reason | None:
    if match := _STATUS.search(words):
        return reason_of_status(int(match[1]))
    return _first(_MESSAGES, words)


def _first(patterns: Sequence[tuple[str, Reason]], words: str) -> Reason | None:
    return next((reason for pattern, reason in patterns if re.search(pattern, words, re.IGNORECASE)), None)


def _call_of(kind: str, item: Object) -> tuple[str, Mapping[str, Any]]:
    if kind == "mcp_tool_call":
        tool = f"{loose.string(item.get('server'))}.{loose.string(item.get('tool'))}"
        return tool, loose.arguments(item.get("arguments"))
    names = {"command_execution": "command", "file_change": "changes", "web_search": "query", "todo_list": "items"}
    name = names.get(kind, "prompt")
    return kind, {name: loose.plain(item.get(name))}


def _answer_of(kind: str, item: Object) -> str:
    if kind == "command_execution":
        return loose.string(item.get("aggregated_output"))
    if kind == "todo_list":
        todos = map(loose.mapping, loose.items(item.get("items")))
        return "\n".join(
            f"[{'x' if todo.get('completed') is True else ' '}] {loose.string(todo.get('text'))}" for todo in todos
        )
    error = loose.string(loose.mapping(item.get("error")).get("message"))
    parts = loose.items(loose.mapping(item.get("result")).get("content"))
    return error or "\n".join(filter(None, (loose.string(loose.mapping(part).get("text")) for part in parts)))


def _todo(todo: Object) -> str:
    return f"[{'x' if todo.get('completed') is True else ' '}] {loose.string(todo.get('text'))}"


def _tokens(usage: Object) -> TokensUsed:
    """Cached tokens are a part of the input, reasoning tokens a part of the output."""
    cached, written = loose.count(usage.get("cached_input_tokens")), loose.count(usage.get("cache_write_input_tokens"))
    return TokensUsed(
        input=max(0, loose.count(usage.get("input_tokens")) - cached - written),
        output=loose.count(usage.get("output_tokens")),
        cache_read=cached,
        cache_write=written,
    )


def _time_of_id(thread: str) -> datetime | None:
    """A thread's id is a UUID of version 7, which begins with the milliseconds at which it was made."""
    digits = thread.replace("-", "")
    if len(digits) != 32 or digits[12] != "7" or not re.fullmatch("[0-9a-f]{12}", digits[:12]):
        return None
    return loose.moment(int(digits[:12], 16) / 1000)


def _until(words: str, now: datetime | None) -> datetime | None:
    """When the limit ends: a date and a time, or a time alone, which is the next such after `now`."""
    match = _AGAIN_AT.search(words)
    if match is None or not (1 <= int(match[4]) <= 12 and int(match[5]) <= 59):
        return None
    hour, minute = int(match[4]) % 12 + (12 if match[6] == "P" else 0), int(match[5])
    if match[1]:
        return _date(match[3], match[1], match[2], hour, minute)
    if now is None:
        return None
    at = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    # The minute is cut off, so a limit that ends within this minute seems to be past.
    return at if at > now - timedelta(minutes=1) else loose.later(at, 86_400)


def _date(year: str, month: str, day: str, hour: int, minute: int) -> datetime | None:
    try:
        return datetime(int(year), _MONTHS.index(month) + 1, int(day), hour, minute, tzinfo=UTC)
    except ValueError:
        return None


_READERS = {
    "thread.started": CodexOutput._read_thread,
    "item.started": CodexOutput._read_item,
    "item.updated": CodexOutput._read_item,
    "item.completed": CodexOutput._read_item,
    "turn.completed": CodexOutput._read_completed,
    "turn.failed": CodexOutput._read_failed,
    "error": CodexOutput._read_error,
}


def new_output(before: TokensUsed = TokensUsed()) -> Output:  # noqa: B008 - frozen, so one for all is safe
    return CodexOutput(before)
