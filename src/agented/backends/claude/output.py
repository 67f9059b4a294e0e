"""Reads what Claude Code prints: `stream-json`, and the `json` of a single result."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
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
    TokensSeen,
    TokensUsed,
    ToolCalled,
    ToolReturned,
    Unparsed,
)
from agented.kit import loose

Object = Mapping[str, Any]

_KINDS = {
    "Bash": "shell",
    "BashOutput": "shell",
    "KillShell": "shell",
    "Monitor": "shell",
    "PowerShell": "shell",
    "Edit": "edit",
    "MultiEdit": "edit",
    "Write": "edit",
    "NotebookEdit": "edit",
    "Read": "read",
    "LS": "read",
    "Glob": "search",
    "Grep": "search",
    "ToolSearch": "search",
    "WebFetch": "web",
    "WebSearch": "web",
    "Agent": "task",
    "Task": "task",
    "TaskCreate": "task",
    "TaskUpdate": "task",
    "TodoWrite": "task",
}
_USAGE_LIMIT = "usage_limit_reached"
_CHARACTERS_OF_A_TOKEN = 4
# The CLI's own words for what went wrong, in `error` and `api_error`.
_REASONS = {
    _USAGE_LIMIT: Reason.USAGE_LIMIT,
    "rate_limit": Reason.RATE_LIMITED,
    "billing_error": Reason.NO_CREDIT,
    "authentication_failed": Reason.BAD_CREDENTIALS,
    "oauth_org_not_allowed": Reason.BAD_CREDENTIALS,
    "connection_failed": Reason.UNREACHABLE,
    "overloaded": Reason.OVERLOADED,
    "model_not_found": Reason.BAD_REQUEST,
    "invalid_request": Reason.BAD_REQUEST,
    "max_output_tokens": Reason.BAD_REQUEST,
}
_SUBTYPES = {
    "error_max_turns": Reason.MAX_TURNS,
    "error_max_budget_usd": Reason.BUDGET_EXHAUSTED,
}
# What it says, on stderr or as a result of no turn, when it does not even begin.
_COMPLAINTS = (
    (re.compile(r"^No conversation found with session ID"), Reason.SESSION_MISSING),
    (re.compile(r"^(Invalid API key|Not logged in)"), Reason.BAD_CREDENTIALS),
    (re.compile(r"^error: |^Error: (Invalid MCP|Settings file)|cannot be used with root"), Reason.BAD_CONFIG),
)


class ClaudeOutput:
    def __init__(self, before: TokensUsed) -> None:
        self._before = before
        self._cost_before = before.cost_usd or Decimal(0)
        self._session = ""
        self._spoke = False
        self._streamed: set[str] = set()
        self._streaming = ""
        self._block_open = False
        self._api_error: Object = {}
        self._limit: LimitReached | None = None
        self._final: Object | None = None
        self._complaint = ""

    def feed(self, line: Line) -> Iterable[Event]:
        if line.stderr:
            self._complaint = self._complaint or line.text.strip()
            return (Unparsed(line.text),)
        value = loose.read_json(line.text) if line.text.startswith(("{", "[")) else None
        events = [event for part in (value if isinstance(value, list) else [value]) for event in self._read(part)]
        return events or (Unparsed(line.text),)

    def verdict(self, exit: Exit) -> Verdict:
        if self._final is None:
            return killed(exit) or self._unfinished(exit)
        if loose.string(self._final.get("terminal_reason")).startswith("aborted"):
            return ended(Reason.INTERRUPTED, "interrupted while it worked")
        if self._final.get("is_error") is True or self._final.get("subtype") != "success":
            return self._failed(self._final)
        if exit.code == 0:
            return Verdict(Outcome.SUCCEEDED)
        return killed(exit) or ended(Reason.CLI_ERROR, f"exit code {exit.code} after a good answer: {self._complaint}")

    def _read(self, value: Any) -> Iterator[Event]:
        message = loose.mapping(value)
        reader = _READERS.get(loose.string(message.get("type")))
        if reader is not None:
            yield from reader(self, message)

    def _read_system(self, message: Object) -> Iterator[Event]:
        kind = message.get("subtype")
        if kind == "init":
            yield from self._start(message, loose.string(message.get("model")) or None)
        elif kind == "api_retry":
            yield Notice(_retry(message), "warning")

    def _start(self, message: Object, model: str | None = None) -> Iterator[Event]:
        session = loose.string(message.get("session_id"))
        if session and session != self._session:
            self._session = session
            yield SessionStarted(session, model)

    def _read_assistant(self, message: Object) -> Iterator[Event]:
        inner = loose.mapping(message.get("message"))
        if message.get("is_api_error_message") is True or loose.string(message.get("error")):
            yield from self._read_api_error(message, inner)
            return
        answer = loose.string(inner.get("id"))
        streamed = answer in self._streamed
        if answer:
            yield _seen(answer, inner)
        self._block_open = False
        for block in map(loose.mapping, loose.items(inner.get("content"))):
            yield from self._read_block(block, streamed)

    def _read_block(self, block: Object, streamed: bool) -> Iterator[Event]:
        kind = block.get("type")
        if kind in ("text", "thinking") and not streamed:
            if text := loose.string(block.get(kind)):
                self._spoke = self._spoke or kind == "text"
                yield Said(text, thinking=kind == "thinking")
        elif kind in ("tool_use", "server_tool_use", "mcp_tool_use"):
            tool = loose.string(block.get("name"))
            yield ToolCalled(loose.string(block.get("id")), tool, loose.arguments(block.get("input")), kind_of(tool))

    def _read_api_error(self, message: Object, inner: Object) -> Iterator[Event]:
        self._api_error = message
        words = _text_of(inner.get("content"))
        yield Notice(words or loose.string(message.get("error")), "error")
        if message.get("api_error") == _USAGE_LIMIT:
            parameters = loose.mapping(message.get("api_error_params"))
            yield from self._reach(loose.mapping(parameters.get("rate_limit_info")), words)

    def _read_user(self, message: Object) -> Iterator[Event]:
        for block in map(loose.mapping, loose.items(loose.mapping(message.get("message")).get("content"))):
            if block.get("type") == "tool_result":
                ok = block.get("is_error") is not True
                yield ToolReturned(loose.string(block.get("tool_use_id")), ok, _text_of(block.get("content")))

    def _read_stream(self, message: Object) -> Iterator[Event]:
        """Pieces of a message; the whole one follows and is then not said again."""
        event = loose.mapping(message.get("event"))
        kind = event.get("type")
        if kind == "message_start":
            self._streaming = loose.string(loose.mapping(event.get("message")).get("id"))
        elif kind == "content_block_start":
            self._block_open = False
        elif kind == "content_block_delta":
            delta = loose.mapping(event.get("delta"))
            thinking = delta.get("type") == "thinking_delta"
            if text := loose.string(delta.get("thinking" if thinking else "text")):
                self._streamed.add(self._streaming)
                self._spoke = self._spoke or not thinking
                yield Said(text, thinking=thinking, delta=self._block_open)
                self._block_open = True

    def _read_limits(self, message: Object) -> Iterator[Event]:
        info = loose.mapping(message.get("rate_limit_info"))
        for window, state in loose.mapping(info.get("unifiedWindows")).items():
            reading = loose.mapping(state)
            used = loose.number(reading.get("utilization"))
            if used is not None and used >= 0:
                percent = round(min(used, 100.0) * 100, 4)
                name, resets_at = loose.string(window), loose.moment(reading.get("resetsAt"))
                yield LimitSeen(name, percent, resets_at, length_of(name))
        if info.get("status") == "rejected" and info.get("isUsingOverage") is not True:
            yield from self._reach(info, "")

    def _reach(self, info: Object, words: str) -> Iterator[Event]:
        """A rejection without a time is a short one: the plan's limit always says when it ends."""
        resets_at = loose.moment(info.get("resetsAt"))
        window = loose.string(info.get("rateLimitType"))
        if (window or resets_at) and self._limit is None:
            self._limit = LimitReached(window or "unknown", resets_at, loose.one_line(words))
            yield self._limit

    def _read_result(self, message: Object) -> Iterator[Event]:
        if loose.count(message.get("num_turns")):
            # Without a turn it only repeats the id that it was given, also that of a session which is not there.
            yield from self._start(message)
        words = loose.string(message.get("result"))
        ok = message.get("is_error") is not True and message.get("subtype") == "success"
        if ok and words and not self._spoke:
            self._spoke = True
            yield Said(words)
        denied = [
            loose.string(loose.mapping(one).get("tool_name")) for one in loose.items(message.get("permission_denials"))
        ]
        if denied:
            yield Notice(f"not allowed: {', '.join(sorted(set(denied)))}", "warning")
        tokens = self._tokens(message)
        if tokens != TokensUsed():
            yield tokens
        self._final = message
        yield Concluded(ok, words or _errors(message))

    def _tokens(self, message: Object) -> TokensUsed:
        """A result counts its own run, but its cost is the whole session's, also after a resume."""
        used = self._usage(message)
        cost = loose.money(message.get("total_cost_usd"))
        if cost is None:
            return used
        added = cost - self._cost_before if cost >= self._cost_before else cost
        self._cost_before = cost
        nothing = added == 0 and used == TokensUsed()
        return TokensUsed(used.input, used.output, used.cache_read, used.cache_write, None if nothing else added)

    def _usage(self, message: Object) -> TokensUsed:
        if loose.count(message.get("result_index")):
            # A second answer of one process: its `usage` would count the first answer again.
            return _add_models(loose.mapping(message.get("model_usage_since_last_result")))
        used = _add(loose.mapping(message.get("usage")))
        if used == TokensUsed() and message.get("subtype") == "error_max_budget_usd":
            # Stopped by its budget it prints no usage, only the session's sums.
            sums, before = _add_models(loose.mapping(message.get("modelUsage"))), self._before
            return TokensUsed(
                max(0, sums.input - before.input),
                max(0, sums.output - before.output),
                max(0, sums.cache_read - before.cache_read),
                max(0, sums.cache_write - before.cache_write),
            )
        return used

    def _failed(self, final: Object) -> Verdict:
        words = loose.string(final.get("result")) or _errors(final)
        subtype = loose.string(final.get("subtype"))
        reason = _SUBTYPES.get(subtype) or self._reason(final) or _complaint(words)
        if reason in (Reason.USAGE_LIMIT, Reason.RATE_LIMITED) and self._limit is not None:
            return ended(Reason.USAGE_LIMIT, words, self._limit.resets_at)
        if reason is None and final.get("terminal_reason") == "api_error":
            # No status and no word for it: the connection broke in mid-answer.
            reason = Reason.DISCONNECTED
        return ended(reason or Reason.CLI_ERROR, words or subtype)

    def _reason(self, final: Object) -> Reason | None:
        if self._api_error.get("error") == "billing_error":
            # Its status is a plain 400, as for any request that the provider refuses.
            return Reason.NO_CREDIT
        for message in (final, self._api_error):
            for key in ("api_error", "error"):
                if (reason := _REASONS.get(loose.string(message.get(key)))) is not None:
                    return reason
            if (reason := reason_of_status(loose.count(message.get("api_error_status")))) is not None and message:
                return reason
        return None

    def _unfinished(self, exit: Exit) -> Verdict:
        if exit.code == 0:
            return ended(Reason.NO_FINAL_EVENT, "ended without its final event")
        reason = _complaint(self._complaint)
        return ended(reason or Reason.CLI_ERROR, self._complaint or f"exit code {exit.code}")


def kind_of(tool: str) -> str:
    return "mcp" if tool.startswith("mcp__") else _KINDS.get(tool, "other")


def _add(usage: Object) -> TokensUsed:
    return TokensUsed(
        input=loose.count(usage.get("input_tokens")),
        output=loose.count(usage.get("output_tokens")),
        cache_read=loose.count(usage.get("cache_read_input_tokens")),
        cache_write=loose.count(usage.get("cache_creation_input_tokens")),
    )


def _seen(answer: str, message: Object) -> TokensSeen:
    """The stream tells one token of each answer's output; until the end what was said is counted by its length."""
    used = _add(loose.mapping(message.get("usage")))
    said = sum(len(str(block)) for block in loose.items(message.get("content")))
    return TokensSeen(
        answer,
        loose.string(message.get("model")) or None,
        used.input,
        max(used.output, said // _CHARACTERS_OF_A_TOKEN),
        used.cache_read,
        used.cache_write,
    )


def _add_models(models: Object) -> TokensUsed:
    used = [loose.mapping(model) for model in models.values()]
    return TokensUsed(
        input=sum(loose.count(model.get("inputTokens")) for model in used),
        output=sum(loose.count(model.get("outputTokens")) for model in used),
        cache_read=sum(loose.count(model.get("cacheReadInputTokens")) for model in used),
        cache_write=sum(loose.count(model.get("cacheCreationInputTokens")) for model in used),
    )


def _errors(message: Object) -> str:
    return loose.one_line(" ".join(loose.string(error) for error in loose.items(message.get("errors"))))


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return loose.string(content)
    return "\n".join(filter(None, (loose.string(loose.mapping(part).get("text")) for part in loose.items(content))))


def _retry(message: Object) -> str:
    why = loose.string(message.get("error")) or "error"
    status = loose.count(message.get("error_status"))
    wait_s = loose.count(message.get("retry_delay_ms")) / 1000
    turn = f"{loose.count(message.get('attempt'))} of {loose.count(message.get('max_retries'))}"
    return f"retry {turn} in {wait_s:.1f} s: {why}{f' ({status})' if status else ''}"


def _complaint(words: str) -> Reason | None:
    return next((reason for pattern, reason in _COMPLAINTS if pattern.search(words)), None)


_READERS = {
    "system": ClaudeOutput._read_system,
    "assistant": ClaudeOutput._read_assistant,
    "user": ClaudeOutput._read_user,
    "stream_event": ClaudeOutput._read_stream,
    "rate_limit_event": ClaudeOutput._read_limits,
    "result": ClaudeOutput._read_result,
}


def new_output(before: TokensUsed = TokensUsed()) -> Output:  # noqa: B008 - frozen, so one shared default is safe
    return ClaudeOutput(before)
