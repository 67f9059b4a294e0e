"""One attempt: one CLI process on one account, from its command to what it meant.

`launch` starts it under a keeper; `follow` reads what the keeper keeps until it ends. Following can be broken off and
taken up again at any time: events are derived from the kept bytes anew, and those already in the journal are skipped.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from agented.backends.contract import Backend, Command, Exit, Line, Outcome, Output, Reason
from agented.backends.events import (
    Event,
    LimitReached,
    LimitSeen,
    SessionStarted,
    Stuck,
    TokensSeen,
    TokensUsed,
    Unparsed,
    to_dict,
)
from agented.executions import keeping
from agented.executions.engine import Detached
from agented.executions.journal import Journal
from agented.executions.model import Attempt, AttemptVerdict, add_tokens
from agented.executions.output import Kept, Piece
from agented.kit.bus import Bus
from agented.kit.clock import Clock, from_micros

_LINE_CAP = 16 * 1024 * 1024
_REPORT_S = 1.0
_QUIET_S = (0.015, 0.1)
_ALIVE_CHECK_S = 1.0
_STUCK = "stuck"
_ANSWERS: Mapping[Outcome, AttemptVerdict] = {
    Outcome.SUCCEEDED: AttemptVerdict.SUCCEEDED,
    Outcome.FAILED: AttemptVerdict.FAILED,
    Outcome.LIMITED: AttemptVerdict.LIMITED,
    Outcome.LOGGED_OUT: AttemptVerdict.LOGGED_OUT,
}
_STOPS: Mapping[str, tuple[AttemptVerdict, str]] = {
    "cancelled": (AttemptVerdict.CANCELLED, "Stopped on request."),
    "superseded": (AttemptVerdict.CANCELLED, "Something newer took its place."),
    "run_budget": (AttemptVerdict.FAILED, "The run's budget is spent."),
    "over_budget": (AttemptVerdict.FAILED, "A budget is spent."),
    "budget_ask": (AttemptVerdict.FAILED, "A budget is spent; a person decides."),
    "wall_time": (AttemptVerdict.TIMED_OUT, "It ran longer than allowed."),
    "silence": (AttemptVerdict.TIMED_OUT, "It printed nothing for too long."),
    "output_limit": (AttemptVerdict.FAILED, "It printed more than allowed."),
    "shutdown": (AttemptVerdict.FAILED, "The machine was shut down."),
}


@dataclass(frozen=True, slots=True)
class End:
    """What became of an attempt. reason is None exactly when it succeeded."""

    verdict: AttemptVerdict
    reason: str | None
    detail: str
    exit_code: int | None = None
    signal: int | None = None
    window: str | None = None
    """Which window of the account is used up, and until when, where the CLI said so."""
    resets_at: datetime | None = None


@dataclass(slots=True)
class Progress:
    """What is known so far; grows while an attempt is followed."""

    lines: int = 0
    bytes: int = 0
    tokens: TokensUsed = field(default_factory=TokensUsed)
    session_id: str | None = None
    last_output_us: int | None = None
    model: str | None = None
    spent_usd: Decimal | None = None
    seen: dict[str, TokensSeen] = field(default_factory=dict)
    """What answers took that `tokens` does not count yet."""
    limits: dict[str, LimitSeen] = field(default_factory=dict)
    """What was said of the account's windows, the last word of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    wall_s: float
    silence_s: float
    max_bytes: int
    grace_s: float


def find_program(backend: Backend, path: str, own: str | None) -> Sequence[str] | None:
    """The start of argv: the account's own program, what ships with us, or what PATH finds."""
    if own:
        return (own,)
    if backend.builtin is not None:
        return tuple(backend.builtin)
    found = shutil.which(backend.program, path=path)
    return None if found is None else (found,)


def launch(
    *,
    attempt: Attempt,
    command: Command,
    env: Mapping[str, str],
    cwd: Path,
    log: Path,
    folder: Path,
    secrets: Sequence[str],
    limits: Limits,
) -> keeping.Child:
    """Starts the CLI under its keeper; returns when the keeper holds its lock."""
    return keeping.start(
        keeping.Order(
            attempt_id=attempt.id,
            number=attempt.number,
            log=log,
            folder=folder,
            argv=command.argv,
            env=env,
            cwd=cwd,
            stdin=command.stdin,
            secrets=needles(secrets),
            wall_s=limits.wall_s,
            silence_s=limits.silence_s,
            max_bytes=limits.max_bytes,
            grace_s=limits.grace_s,
        )
    )


def needles(secrets: Sequence[str]) -> list[str]:
    """Every spelling in which a secret could be printed. Words shorter than 8 characters are no secrets to mask."""
    from base64 import b64encode
    from json import dumps
    from urllib.parse import quote

    spelled: set[str] = set()
    for secret in secrets:
        lines = [line.strip() for line in secret.splitlines()]
        for part in {secret, *(line for line in lines if len(line) >= 16)}:
            if len(part) >= 8:
                raw = part.encode()
                spelled |= {part, quote(part, safe=""), dumps(part)[1:-1], b64encode(raw).decode().rstrip("=")}
    return sorted(word for word in spelled if len(word) >= 8)


class Follower:
    """Follows one attempt to its end."""

    def __init__(
        self,
        *,
        execution_id: str,
        attempt: Attempt,
        log: Path,
        folder: Path,
        output: Output,
        bus: Bus,
        clock: Clock,
        grace_s: float,
        leaving: threading.Event,
        report: Callable[[Progress], None],
    ) -> None:
        self._execution_id = execution_id
        self._attempt = attempt
        self._log = log
        self._folder = folder
        self._output = output
        self._bus = bus
        self._clock = clock
        self._grace_s = grace_s
        self._leaving = leaving
        self._report = report
        self._carry: dict[bool, bytearray] = {False: bytearray(), True: bytearray()}
        self._overlong: dict[bool, bool] = {False: False, True: False}
        self._stuck: str | None = None
        self._reached: LimitReached | None = None
        self.progress = Progress()

    def follow(self) -> End:
        """Blocks until the attempt has ended or is lost. Raises Detached when the server leaves before that."""
        with Kept(self._log) as kept, Journal(self._log) as journal:
            written = journal.open_to_write()
            self._skip = max(0, written - self._attempt.first_event)
            offset = self._attempt.log_offset
            reported_at = checked_at = self._clock.monotonic()
            reported = offset
            quiet_s = _QUIET_S[0]
            while True:
                report = keeping.read_exit(self._folder)
                until = None if report is None else report.offset
                before = offset
                offset = self._take(kept, journal, offset, until)
                now = self._clock.monotonic()
                # What came in one burst is told, too, when nothing follows it.
                if offset > reported and now - reported_at >= _REPORT_S:
                    self._note(kept, offset)
                    reported_at, reported = now, offset
                if offset > before:
                    quiet_s = _QUIET_S[0]
                    continue
                if report is not None:
                    self._take_rest(journal)
                    self._note(kept, offset)
                    return self._judge(report)
                if now - checked_at >= _ALIVE_CHECK_S:
                    checked_at = now
                    if not keeping.is_alive(self._folder) and keeping.read_exit(self._folder) is None:
                        return self._give_up(kept, journal, offset)
                if self._leaving.is_set():
                    raise Detached
                topic = f"attempt:{self._attempt.id}"
                self._bus.wait(topic, self._bus.count(topic), quiet_s)
                quiet_s = min(_QUIET_S[1], quiet_s * 1.3)

    def _take(self, kept: Kept, journal: Journal, offset: int, until: int | None) -> int:
        """Reads what is new, once; gives the offset after it."""
        pieces = kept.pieces(offset)
        entries: list[dict[str, Any]] = []
        for piece in pieces:
            if until is not None and piece.offset >= until:
                break
            offset = piece.offset + len(piece.data)
            self.progress.last_output_us = piece.micros
            if not piece.inserted:
                self._split(piece, entries)
        self._write(journal, entries)
        if pieces:
            self._bus.ring(f"log:{self._execution_id}")
        return offset

    def _split(self, piece: Piece, entries: list[dict[str, Any]]) -> None:
        carry = self._carry[piece.stderr]
        data = piece.data
        end = data.rfind(b"\n")
        if end < 0:
            self._hold(piece.stderr, data)
            return
        whole = bytes(carry) + data[:end] if carry else data[:end]
        carry.clear()
        if self._overlong[piece.stderr]:
            # The rest of a line too long for any CLI's protocol: it is in the log, no event comes of it.
            self._overlong[piece.stderr] = False
            whole = whole.partition(b"\n")[2]
        for line in whole.split(b"\n"):
            self._feed(line, piece.stderr, piece.micros, entries)
        self._hold(piece.stderr, data[end + 1 :])

    def _hold(self, stderr: bool, data: bytes) -> None:
        carry = self._carry[stderr]
        if self._overlong[stderr]:
            return
        carry += data
        if len(carry) > _LINE_CAP:
            carry.clear()
            self._overlong[stderr] = True

    def _feed(self, line: bytes, stderr: bool, micros: int, entries: list[dict[str, Any]]) -> None:
        text = line.decode("utf-8", "replace")
        for event in self._output.feed(Line(text[:-1] if text.endswith("\r") else text, stderr)):
            if isinstance(event, Unparsed):
                continue
            self._heed(event)
            if isinstance(event, TokensSeen):
                continue
            entries.append({"attempt": self._attempt.number, "at": from_micros(micros).isoformat(), **to_dict(event)})

    def _heed(self, event: Event) -> None:
        if isinstance(event, TokensUsed):
            self.progress.tokens = add_tokens(self.progress.tokens, event)
            self.progress.seen.clear()
        elif isinstance(event, TokensSeen):
            self.progress.seen[event.key] = event
        elif isinstance(event, SessionStarted):
            self.progress.session_id = event.session_id
            self.progress.model = event.model or self.progress.model
        elif isinstance(event, LimitSeen):
            self.progress.limits[event.window] = event
        elif isinstance(event, LimitReached):
            self._reached = event
        elif isinstance(event, Stuck) and self._stuck is None:
            self._stuck = event.detail
            keeping.ask_to_stop(self._folder, _STUCK, self._grace_s)

    def _write(self, journal: Journal, entries: list[dict[str, Any]]) -> None:
        if self._skip:
            skipped = min(self._skip, len(entries))
            self._skip -= skipped
            entries = entries[skipped:]
        if entries:
            journal.append(entries)
            self._bus.ring(f"events:{self._execution_id}")

    def _take_rest(self, journal: Journal) -> None:
        """Lines that never got their line end."""
        entries: list[dict[str, Any]] = []
        micros = self.progress.last_output_us or 0
        for stderr, carry in self._carry.items():
            if carry:
                self._feed(bytes(carry), stderr, micros, entries)
                carry.clear()
        self._write(journal, entries)

    def _note(self, kept: Kept, offset: int) -> None:
        self.progress.bytes = offset
        self.progress.lines = kept.total()
        self._report(self.progress)

    def _give_up(self, kept: Kept, journal: Journal, offset: int) -> End:
        """The keeper is gone and left no exit file: what it left behind is ended, what it kept is read."""
        keeping.end_strays(self._attempt.id)
        while (after := self._take(kept, journal, offset, None)) > offset:
            offset = after
        self._take_rest(journal)
        self._note(kept, offset)
        detail = keeping.read_errors(self._folder).strip().rpartition("\n")[2]
        return End(AttemptVerdict.LOST, "lost", f"Its keeper was killed. {detail}".strip())

    def _judge(self, report: keeping.ExitReport) -> End:
        if report.error is not None:
            reason, detail = keeping.describe_error(report, self._attempt.command)
            return End(AttemptVerdict.FAILED, reason, detail)
        stop = report.stop or ""
        if stop in _STOPS:
            verdict, said = _STOPS[stop]
            reason = str(Reason.BUDGET_EXHAUSTED) if stop == "run_budget" else stop
            return End(verdict, reason, said, report.code, report.signal)
        judged = self._output.verdict(Exit(report.code, report.signal))
        detail = judged.detail or self._stuck or ""
        why = None if judged.reason is None else str(judged.reason)
        if judged.outcome is Outcome.SUCCEEDED and report.stop is not None:
            return End(AttemptVerdict.FAILED, str(Reason.INTERRUPTED), self._stuck or "", report.code, report.signal)
        reached = self._reached
        return End(
            _ANSWERS[judged.outcome],
            why,
            detail,
            report.code,
            report.signal,
            window=None if reached is None else reached.window,
            resets_at=judged.until or (None if reached is None else reached.resets_at),
        )
