"""Reads what Gemini CLI prints: `stream-json`, the single object of `json`, and its retries on stderr."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
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
from agented.kit.text import printable

Object = Mapping[str, Any]

WINDOW = "model_quota"
# The CLI waits out whatever the provider asks for; beyond this it is better stopped and taken up again.
_LONGEST_WAIT_S = 300

_KINDS = {
    "run_shell_command": "shell",
    "replace": "edit",
    "write_file": "edit",
    "edit": "edit",
    "read_file": "read",
    "read_many_files": "read",
    "list_directory": "read",
    "glob": "search",
    "grep_search": "search",
    "search_file_content": "search",
    "google_web_search": "web",
    "web_fetch": "web",
    "invoke_agent": "task",
    "write_todos": "task",
}
_EXITS = {
    41: Reason.BAD_CREDENTIALS,
    44: Reason.BAD_CONFIG,
    52: Reason.BAD_CONFIG,
    53: Reason.MAX_TURNS,
    55: Reason.BAD_CONFIG,
    130: Reason.INTERRUPTED,
}
# It ends with the provider's HTTP status, of which a process can only keep the remainder.
_STATUSES = {status % 256: status for status in (400, 401, 403, 408, 429, 500, 502, 503, 504, 529)}

_ATTEMPT = re.compile(r"^Attempt \d+ failed")
_WAIT = re.compile(r"Retrying after (\d{1,12})ms")
_RESET = re.compile(r"reset after (?:(\d{1,4})h)?(?:(\d{1,4})m)?(?:(\d{1,5})(?:\.\d+)?s)?")
_CLASS = re.compile(r"^Error when talking to Gemini API .*?\b(\w*Error): ")
_CODE = re.compile(r'^\[API Error: \{"error":\{"code":(\d{3}),')
_CLASSES = {
    "TerminalQuotaError": Reason.USAGE_LIMIT,
    "RetryableQuotaError": Reason.RATE_LIMITED,
    "ModelNotFoundError": Reason.BAD_REQUEST,
    "FatalAuthenticationError": Reason.BAD_CREDENTIALS,
}
# The CLI's own error messages, where neither exit code nor class say more.
_MESSAGES = (
    (r"fetch failed|ECONNREFUSED|ENOTFOUND|EAI_AGAIN", Reason.UNREACHABLE),
    (r"\bterminated\b|ECONNRESET|socket hang up|other side closed", Reason.DISCONNECTED),
    (r"exhausted your (capacity|daily quota)", Reason.USAGE_LIMIT),
    (r"is not found for API version|INVALID_ARGUMENT|NOT_FOUND", Reason.BAD_REQUEST),
)
_JSON_LINES = 20_000


class GeminiOutput:
    def __init__(self) -> None:
        self._now: datetime | None = None
        self._speaking = False
        self._spoke = False
        self._session = ""
        self._status = ""
        self._message = ""
        self._class = ""
        self._retrying = ""
        self._in_attempt = False
        self._limit: LimitReached | None = None
        self._stuck = False
        self._complaint = ""
        self._document: dict[bool, list[str]] = {False: [], True: []}

    def feed(self, line: Line) -> Iterable[Event]:
        events = list(self._hear(line.text) if line.stderr else self._read_line(line.text))
        document = self._collect(line)
        if document is not None:
            events += self._read_document(document)
        return events or (Unparsed(line.text),)

    def verdict(self, exit: Exit) -> Verdict:
        if self._status == "success" and exit.code == 0:
            return Verdict(Outcome.SUCCEEDED)
        if self._stuck:
            until = self._limit.resets_at if self._limit else None
            return ended(Reason.USAGE_LIMIT, self._retrying, until)
        if self._status == "error" or (exit.code in _STATUSES and exit.signal is None):
            return self._failed(exit)
        return killed(exit) or self._unfinished(exit)

    def _read_line(self, text: str) -> Iterator[Event]:
        message = loose.read_object(text)
        if message is None:
            return
        self._now = loose.iso_moment(message.get("timestamp")) or self._now
        reader = _READERS.get(loose.string(message.get("type")))
        if reader is not None:
            yield from reader(self, message)
            self._speaking = reader is GeminiOutput._read_message and message.get("role") == "assistant"
        elif "session_id" in message:
            yield from self._read_document(message)

    def _read_init(self, message: Object) -> Iterator[Event]:
        yield from self._start(message, loose.string(message.get("model")) or None)

    def _start(self, message: Object, model: str | None = None) -> Iterator[Event]:
        session = loose.string(message.get("session_id"))
        if session and session != self._session:
            self._session = session
            yield SessionStarted(session, model)

    def _read_message(self, message: Object) -> Iterator[Event]:
        text = loose.string(message.get("content"))
        if message.get("role") == "assistant" and text:
            self._spoke = True
            yield Said(text, delta=message.get("delta") is True and self._speaking)

    def _read_tool_use(self, message: Object) -> Iterator[Event]:
        tool = loose.string(message.get("tool_name"))
        identity, parameters = loose.string(message.get("tool_id")), loose.arguments(message.get("parameters"))
        yield ToolCalled(identity, tool, parameters, kind_of(tool))

    def _read_tool_result(self, message: Object) -> Iterator[Event]:
        answer = loose.string(message.get("output"))
        answer = answer or loose.string(loose.mapping(message.get("error")).get("message"))
        yield ToolReturned(loose.string(message.get("tool_id")), message.get("status") == "success", answer)

    def _read_error(self, message: Object) -> Iterator[Event]:
        level = "warning" if message.get("severity") == "warning" else "error"
        yield Notice(loose.string(message.get("message")), level)

    def _read_result(self, message: Object) -> Iterator[Event]:
        self._status = loose.string(message.get("status"))
        self._message = loose.string(loose.mapping(message.get("error")).get("message"))
        tokens = _tokens(loose.mapping(message.get("stats")))
        if tokens != TokensUsed():
            yield tokens
        yield Concluded(self._status == "success", self._message)

    def _collect(self, line: Line) -> Object | None:
        """The object of `--output-format json` stands on many lines; after an error it ends stderr."""
        lines = self._document[line.stderr]
        if line.text == "{":
            lines[:] = ["{"]
        elif lines:
            lines.append(line.text)
            if line.text == "}" or len(lines) > _JSON_LINES:
                text = "\n".join(lines)
                lines.clear()
                return loose.read_object(text)
        return None

    def _read_document(self, document: Object) -> Iterator[Event]:
        answer, error = loose.string(document.get("response")), loose.mapping(document.get("error"))
        if "session_id" not in document or not ("response" in document or error):
            return
        yield from self._start(document)
        if answer and not self._spoke:
            yield Said(answer)
        self._status, self._message = "error" if error else "success", loose.string(error.get("message"))
        tokens = _model_tokens(loose.mapping(loose.mapping(document.get("stats")).get("models")))
        if tokens != TokensUsed():
            yield tokens
        yield Concluded(not error, self._message)

    def _hear(self, text: str) -> Iterator[Event]:
        if match := _CLASS.match(text):
            self._class = match[1]
        if _ATTEMPT.match(text):
            self._in_attempt, self._retrying = True, text
        elif self._in_attempt:
            self._retrying = f"{self._retrying} {text}"
        elif text.strip() and not _is_noise(text):
            self._complaint = self._complaint or printable(text).strip()
        if self._in_attempt and (wait := _WAIT.search(text)) is not None:
            self._in_attempt = False
            yield from self._wait(int(wait[1]) / 1000)
        elif "Retrying with backoff" in text or "Max attempts reached" in text:
            self._in_attempt = False
            yield Notice(loose.one_line(self._retrying), "warning")

    def _wait(self, wait_s: float) -> Iterator[Event]:
        words = loose.one_line(self._retrying)
        if wait_s <= _LONGEST_WAIT_S:
            yield Notice(words, "warning")
        elif not self._stuck:
            self._stuck = True
            # The wait is longer than the limit: the CLI adds a random part.
            until = None if self._now is None else loose.later(self._now, _reset_s(words) or wait_s)
            self._limit = LimitReached(WINDOW, until, words)
            yield self._limit
            yield Stuck(words)

    def _failed(self, exit: Exit) -> Verdict:
        words = self._message or self._retrying or self._complaint or f"exit code {exit.code}"
        return ended(self._reason(exit, words) or Reason.CLI_ERROR, words)

    def _reason(self, exit: Exit, words: str) -> Reason | None:
        status = _STATUSES.get(exit.code or 0)
        if status is None and (match := _CODE.match(words)):
            status = int(match[1])
        named = _CLASSES.get(self._class)
        found = None if status is None else reason_of_status(status)
        if named is Reason.RATE_LIMITED and found is not None:
            # The CLI throws its retryable quota error for an overloaded provider too; the status tells them apart.
            return found
        return named or found or _first(_MESSAGES, words) or _EXITS.get(exit.code or 0)

    def _unfinished(self, exit: Exit) -> Verdict:
        if reason := _EXITS.get(exit.code or 0):
            return ended(reason, self._complaint or f"exit code {exit.code}")
        if exit.code == 42:
            missing = re.search(r"resuming session|session identifier|No previous sessions", self._complaint)
            return ended(Reason.SESSION_MISSING if missing else Reason.BAD_REQUEST, self._complaint)
        if self._retrying:
            # It was still trying when it was stopped, which it reports as a good end.
            return ended(_first(_MESSAGES, self._retrying) or Reason.NO_FINAL_EVENT, self._retrying)
        if exit.code == 0:
            return ended(Reason.NO_FINAL_EVENT, "ended without its final event")
        return ended(Reason.CLI_ERROR, self._complaint or f"exit code {exit.code}")


def _first(patterns: Sequence[tuple[str, Reason]], words: str) -> Reason | None:
    return next((reason for pattern, reason in patterns if re.search(pattern, words)), None)


def _is_noise(text: str) -> bool:
    return text.startswith(("[STARTUP]", "Warning:", "YOLO mode", "Approval mode", "Security Warning:", " ", "}"))


def _reset_s(words: str) -> float:
    match = _RESET.search(words)
    if match is None:
        return 0
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def _tokens(stats: Object) -> TokensUsed:
    """Cached tokens are a part of the input; the model's thoughts are only in the total."""
    given, cached = loose.count(stats.get("input_tokens")), loose.count(stats.get("cached"))
    output = max(loose.count(stats.get("output_tokens")), loose.count(stats.get("total_tokens")) - given)
    return TokensUsed(input=max(0, given - cached), output=output, cache_read=cached)


def _model_tokens(models: Object) -> TokensUsed:
    used = [loose.mapping(loose.mapping(model).get("tokens")) for model in models.values()]
    return TokensUsed(
        input=sum(loose.count(model.get("input")) for model in used),
        output=sum(loose.count(model.get("candidates")) + loose.count(model.get("thoughts")) for model in used),
        cache_read=sum(loose.count(model.get("cached")) for model in used),
    )


_READERS = {
    "init": GeminiOutput._read_init,
    "message": GeminiOutput._read_message,
    "tool_use": GeminiOutput._read_tool_use,
    "tool_result": GeminiOutput._read_tool_result,
    "error": GeminiOutput._read_error,
    "result": GeminiOutput._read_result,
}


def new_output(before: TokensUsed = TokensUsed()) -> Output:  # noqa: B008 - frozen, so one for all is safe
    """Its numbers are of the run alone, also after a resume, so what was used before changes nothing."""
    return GeminiOutput()


def kind_of(tool: str) -> str:
    return "mcp" if tool.startswith("mcp_") else _KINDS.get(tool, "other")
