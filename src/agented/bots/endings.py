"""What follows the end of a bot's run: status checks, words about a failure, bots that come after, the breaker.

Each run is seen to once: its row is closed when all of it is done, and a server that died goes on with open rows.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import sqlalchemy as sa

from agented.bots import store, texts
from agented.bots.model import Bot
from agented.bots.starting import Cause, Starting
from agented.bots.store import BotRun
from agented.executions import store as execution_store
from agented.executions.model import REASONS, TERMINAL, Execution, State
from agented.kit.bus import Bus
from agented.kit.clock import Clock
from agented.kit.db import Database
from agented.kit.errors import AgentedError
from agented.projects.github import GitHub, check_remote

log = logging.getLogger(__name__)

DEEPEST = 5
"""So many bots may start each other in a row."""
_WAIT_S = 5.0
_PAUSE_S = 0.25
_AT_ONCE = 200
_MOST_TRIES = 4
_PENDING = "pending"
_NEUTRAL = (State.CANCELLED, State.SUPERSEDED)
_EMPTY = "empty"


class Publish(Protocol):
    """Tells people and programs outside, in the caller's transaction."""

    def __call__(self, conn: sa.Connection, topic: str, told: Mapping[str, Any]) -> None: ...


@dataclass(slots=True, kw_only=True)
class Endings:
    db: Database
    bus: Bus
    clock: Clock
    starting: Starting
    github: GitHub
    link: Callable[[str], str]
    bot_of: Callable[[BotRun], Bot | None]
    words_of: Callable[[str], str]
    publish: Publish
    _stopping: threading.Event = field(default_factory=threading.Event)
    _tries: dict[str, int] = field(default_factory=dict)

    def run(self) -> None:
        while not self._stopping.is_set():
            heard = self.bus.count("executions")
            try:
                self.see_to_all()
            except Exception:
                # The worker loop is one of the four doors where every fault is caught.
                if not self._stopping.is_set():
                    log.exception("ended runs could not be seen to")
            self._stopping.wait(_PAUSE_S)
            self.bus.wait("executions", heard, _WAIT_S)

    def stop(self) -> None:
        self._stopping.set()
        self.bus.ring("executions")

    def see_to_all(self) -> None:
        after = ""
        while not self._stopping.is_set():
            with self.db.read() as conn:
                found = store.open_runs(conn, after, _AT_ONCE)
                executions = {one.execution_id: execution_store.find(conn, one.execution_id) for one in found}
            for run in found:
                self._see_to(run, executions[run.execution_id])
            if len(found) < _AT_ONCE:
                return
            after = found[-1].execution_id

    def _see_to(self, run: BotRun, execution: Execution | None) -> None:
        bot = self.bot_of(run)
        if execution is None or bot is None:
            with self.db.write() as conn:
                store.close_run(conn, run.execution_id, "done", self.clock.now())
            return
        if execution.state not in TERMINAL:
            if run.outcome is None and bot.spec.status_check and run.about.get("head"):
                self._set_status(run, bot, execution)
                with self.db.write() as conn:
                    store.mark_run(conn, run.execution_id, _PENDING)
            return
        self._close(run, bot, execution)

    def _close(self, run: BotRun, bot: Bot, execution: Execution) -> None:
        if not self._tell_github(run, bot, execution):
            return
        self._start_next(run, bot, execution)
        with self.db.read() as conn:
            kept = store.find_result(conn, execution.id)
        nothing = execution.state is State.SUCCEEDED and kept is not None and not kept.evidence
        outcome = _EMPTY if nothing else str(execution.state)
        with self.db.write() as conn:
            store.close_run(conn, execution.id, outcome, self.clock.now())
            self._break(conn, bot)
            told = _told(bot, execution, self.link(execution.id), [] if kept is None else list(kept.evidence))
            self.publish(conn, "run.ended", told)

    # --- GitHub

    def _tell_github(self, run: BotRun, bot: Bot, execution: Execution) -> bool:
        """False while it should be tried again."""
        try:
            if bot.spec.status_check and run.about.get("head"):
                self._set_status(run, bot, execution)
            if bot.spec.on_failure.comment and run.about.get("number") and _has_failed(execution):
                self._comment_failure(run, bot, execution)
        except AgentedError as error:
            tries = self._tries[execution.id] = self._tries.get(execution.id, 0) + 1
            log.warning("telling GitHub of %s: %s", execution.id, error.message)
            if error.status >= 500 and tries < _MOST_TRIES:
                return False
        self._tries.pop(execution.id, None)
        return True

    def _set_status(self, run: BotRun, bot: Bot, execution: Execution) -> None:
        about = run.about
        state = "pending" if execution.state not in TERMINAL else "success"
        if _has_failed(execution):
            state = "failure"
        elif execution.state in _NEUTRAL:
            state = "error"
        try:
            self.github.set_status(
                check_remote(str(about["host"]), str(about["repository"])),
                str(about["head"]),
                state=state,
                context=f"agented/{bot.name}",
                description=_cause(execution) or str(execution.state),
                link=self.link(execution.id),
            )
        except AgentedError as error:
            if state != "pending":
                raise
            log.warning("the status of %s: %s", execution.id, error.message)

    def _comment_failure(self, run: BotRun, bot: Bot, execution: Execution) -> None:
        about = run.about
        remote, number = check_remote(str(about["host"]), str(about["repository"])), int(about["number"])
        mark = texts.mark(bot.name, execution.id)
        if not any(mark in one.body for one in self.github.comments(remote, number)):
            body = texts.failure(bot.name, execution.id, _cause(execution), self.link(execution.id))
            self.github.comment(remote, number, body)

    # --- bots that come after

    def _start_next(self, run: BotRun, bot: Bot, execution: Execution) -> None:
        with self.db.read() as conn:
            waiting = [(one, how) for one in store.every_bot(conn) for how in one.spec.after if how.bot == bot.name]
            kept = store.find_result(conn, execution.id)
        for follower, trigger in waiting:
            if execution.state not in trigger.states or not follower.enabled:
                continue
            if run.depth + 1 > DEEPEST:
                log.warning("%s does not start: %s bots have started each other", follower.name, DEEPEST)
                continue
            facts = {
                "after": {
                    "bot": bot.name,
                    "execution": execution.id,
                    "state": str(execution.state),
                    "reason": execution.reason or "",
                    "words": self.words_of(execution.id),
                    "result": [] if kept is None else [dict(one) for one in kept.evidence],
                }
            }
            project = self.starting.project(execution.request.project_id)
            cause = Cause(
                facts=facts,
                key=f"after:{execution.id}:{follower.id}",
                seed=execution.id,
                trigger=trigger.name,
                projects=(project,) if not follower.spec.projects else (),
                depth=run.depth + 1,
                about=run.about,
                before=execution.request,
            )
            try:
                self.starting.start(follower, cause)
            except AgentedError as error:
                if error.status >= 500:
                    raise
                log.warning("%s after %s: %s", follower.name, execution.id, error.message)

    # --- the breaker

    def _break(self, conn: sa.Connection, bot: Bot) -> None:
        """Pauses a bot whose last runs all failed or did nothing."""
        most = bot.spec.on_failure.pause_after
        if not most:
            return
        last = store.last_outcomes(conn, bot.id, most, bot.updated_at, _NEUTRAL)
        if len(last) < most or not all(one in (State.FAILED, State.TIMED_OUT, _EMPTY) for one in last):
            return
        did = "did nothing" if set(last) == {_EMPTY} else "failed"
        why = f"Its last {most} runs {did}, so it was paused. Mend the cause, then switch it on again."
        if store.pause(conn, bot.id, why, self.clock.now()):
            log.warning("bot %s: %s", bot.name, why)
            self.publish(conn, "bot.paused", {"bot": bot.name, "why": why})


def _has_failed(execution: Execution) -> bool:
    return execution.state in (State.FAILED, State.TIMED_OUT)


def _cause(execution: Execution) -> str:
    rule = REASONS.get(execution.reason or "")
    return "" if rule is None else rule.title


def _told(bot: Bot, execution: Execution, link: str, evidence: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    return {
        "bot": bot.name,
        "execution": execution.id,
        "state": str(execution.state),
        "reason": execution.reason,
        "title": execution.title,
        "cause": _cause(execution),
        "link": link,
        "result": [{key: one.get(key) for key in ("kind", "url", "number") if one.get(key)} for one in evidence],
    }
