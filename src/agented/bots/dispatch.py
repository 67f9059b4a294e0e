"""Stored deliveries start bots: each once, whatever is killed in between. Lanes do not wait for each other."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

import sqlalchemy as sa

from agented.bots import store
from agented.bots.deliveries import ASKED, EVERY, GITHUB, SERVER, TOPIC, facts_of, read_payload
from agented.bots.matching import Met, meet
from agented.bots.model import Bot
from agented.bots.starting import Cause, Starting
from agented.bots.store import Delivery, Handled
from agented.bots.triggers import GitHubTrigger, Running, WebhookTrigger, fits_paths, meet_event
from agented.executions.model import Execution
from agented.executions.requests import Supersede
from agented.kit.bus import Bus
from agented.kit.clock import Clock
from agented.kit.db import Database
from agented.kit.errors import AgentedError, Invalid
from agented.projects.events import GitHubEvent, Ignored, read_event
from agented.projects.github import Remote
from agented.projects.model import Project

log = logging.getLogger(__name__)

KEPT = timedelta(days=30)
_AT_ONCE = 50
_WAIT_S = 5.0
_LANES_AT_ONCE = 4
_LONGEST_REST = 1.0
_SHORT_REST = 0.05
_REST = 4.0
"""While deliveries come in, so many times as long as the last ones took is left to the door."""
_PAUSES_S = (1.0, 5.0, 20.0, 60.0)


class Outdate(Protocol):
    """Ends what needs no more work: `Requests.outdate`."""

    def __call__(
        self,
        origin: str,
        subject: str,
        only: Callable[[sa.Connection, Execution], bool],
        detail: str,
        *,
        stop: bool,
    ) -> int: ...


class Repositories(Protocol):
    """What is asked of the projects room about a repository that GitHub names."""

    def find(self, remote: Remote) -> Project | None:
        """The project that has it as its remote."""
        ...

    def add(self, remote: Remote, clone_url: str) -> Project:
        """Clones it. Raises an AgentedError."""
        ...

    def complete(self, event: GitHubEvent) -> GitHubEvent:
        """The same with what GitHub knows about its pull request, where the event does not say it."""
        ...

    def files_of(self, event: GitHubEvent) -> list[str]:
        """Paths that its pull request changes. Raises an AgentedError."""
        ...


@dataclass(slots=True, kw_only=True)
class Dispatch:
    """pace_s: seconds at least between the moments at which events of one repository start something."""

    db: Database
    bus: Bus
    clock: Clock
    starting: Starting
    outdate: Outdate
    repositories: Repositories
    pace_s: Callable[[], float]
    _stopping: threading.Event = field(default_factory=threading.Event)
    _busy: set[str] = field(default_factory=set)
    _failures: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> None:
        """Until `stop`: wakes by the bell, and sweeps what a server that died has left."""
        with ThreadPoolExecutor(_LANES_AT_ONCE, thread_name_prefix="lane") as pool:
            while not self._stopping.is_set():
                heard = self.bus.count(TOPIC)
                try:
                    for lane in self._free_lanes():
                        pool.submit(self._work, lane)
                except Exception:
                    # The worker loop is one of the four doors where every fault is caught.
                    if not self._stopping.is_set():
                        log.exception("deliveries could not be looked for")
                    self._stopping.wait(1.0)
                self.bus.wait(TOPIC, heard, _WAIT_S)

    def stop(self) -> None:
        self._stopping.set()
        self.bus.ring(TOPIC)

    def _free_lanes(self) -> list[str]:
        with self.db.read() as conn:
            waiting = store.waiting_lanes(conn)
        with self._lock:
            free = [lane for lane in waiting if lane not in self._busy]
            self._busy.update(free)
        return free

    def _work(self, lane: str) -> None:
        try:
            while not self._stopping.is_set():
                heard, begun = self.bus.count(TOPIC), self.clock.monotonic()
                handled = self.handle_lane(lane)
                if not handled:
                    break
                self._failures.pop(lane, None)
                if self.bus.count(TOPIC) != heard:
                    # More is coming in: the door, whose senders wait for an answer, goes first.
                    longest = _LONGEST_REST if handled == _AT_ONCE else _SHORT_REST
                    self._stopping.wait(min(longest, _REST * (self.clock.monotonic() - begun)))
        except Exception:
            # A lane's fault is its own; it is tried again after a while.
            failures = self._failures[lane] = self._failures.get(lane, 0) + 1
            if not self._stopping.is_set():
                log.exception("a delivery of %s could not be handled", lane)
            self._stopping.wait(_PAUSES_S[min(failures, len(_PAUSES_S)) - 1])
        finally:
            with self._lock:
                self._busy.discard(lane)
            self.bus.ring(TOPIC)

    def handle_lane(self, lane: str) -> int:
        """Handles what is stored of a lane, in order; gives how many there were."""
        with self.db.read() as conn:
            waiting = store.waiting_deliveries(conn, lane, _AT_ONCE)
        done: list[Handled] = []
        for delivery in waiting:
            if self._stopping.is_set():
                break
            done.append(self._handle(delivery))
            if done[-1].started:
                # Who watches sees at once what a delivery has started; the others share a commit.
                self._note(done)
        self._note(done)
        return len(waiting)

    def _note(self, done: list[Handled]) -> None:
        if done:
            with self.db.write() as conn:
                store.handled(conn, done, self.clock.now())
            done.clear()

    def forget_old(self) -> int:
        with self.db.write() as conn:
            return store.forget_deliveries(conn, self.clock.now() - KEPT)

    def _handle(self, delivery: Delivery) -> Handled:
        try:
            matches = self._github(delivery) if delivery.address == GITHUB else self._webhooks(delivery)
        except (ValueError, TypeError, KeyError, RecursionError):
            # What one delivery holds must not keep those after it waiting for ever.
            log.exception("the delivery %s could not be handled", delivery.id)
            told = {"code": "broken", "message": "It could not be handled.", "hint": "See the server's log."}
            return Handled(delivery.id, "failed", [{**_nobody("It could not be handled."), "error": told}])
        failed = any("error" in told for told in matches)
        return Handled(delivery.id, "failed" if failed else "handled", matches)

    # --- general webhooks

    def _webhooks(self, delivery: Delivery) -> list[dict[str, Any]]:
        facts = {"delivery": facts_of(delivery)}
        told = []
        for bot, trigger in self._targets(delivery):
            met = meet(trigger.match, facts["delivery"])
            cause = Cause(
                facts=facts,
                key=f"delivery:{delivery.id}:{bot.id}",
                seed=delivery.id,
                delivery_id=delivery.id,
                trigger=trigger.name,
            )
            told.append(self._start(bot, trigger.name, met, cause))
        return told

    def _targets(self, delivery: Delivery) -> list[tuple[Bot, WebhookTrigger]]:
        with self.db.read() as conn:
            if delivery.address == EVERY:
                found = [(bot, one.name) for bot in store.every_bot(conn) for one in bot.spec.webhooks]
                owners = [(bot, name) for bot, name in found if _key_of(bot, name) in delivery.checked]
            else:
                owner = store.bot_of_address(conn, delivery.address)
                owners = [] if owner is None else [owner]
        return [(bot, one) for bot, name in owners for one in bot.spec.webhooks if one.name == name]

    # --- GitHub

    def _github(self, delivery: Delivery) -> list[dict[str, Any]]:
        event = read_event(delivery.event or "", read_payload(delivery))
        with self.db.read() as conn:
            listeners = [(bot, one) for bot in store.every_bot(conn) for one in bot.spec.github]
        if isinstance(event, Ignored):
            return [_nobody(event.reason)]
        if not listeners:
            return [_nobody("No bot listens to GitHub.")]
        told = []
        turn: datetime | None = None
        for bot, trigger in listeners:
            met, seen = self._meet_event(delivery, bot, trigger, event)
            met = self._outdate_closed(delivery, bot, trigger, event, met)
            if met.met and bot.enabled:
                turn = turn or self._take_turn(seen)
            told.append(self._start_event(delivery, bot, trigger, seen, met, turn))
        return told

    def _meet_event(
        self, delivery: Delivery, bot: Bot, trigger: GitHubTrigger, event: GitHubEvent
    ) -> tuple[Met, GitHubEvent]:
        if not _is_signed(delivery, trigger):
            return Met(False, "It is not signed with the secret of this trigger."), event
        met = meet_event(trigger, event)
        if not met.met:
            return met, event
        if event.kind == "issue_comment" and "pr" in event.facts:
            event = self.repositories.complete(event)
        if trigger.paths and event.kind == "pull_request":
            try:
                if not fits_paths(trigger, self.repositories.files_of(event)):
                    return Met(False, "None of the changed files fits its paths."), event
            except AgentedError as error:
                return Met(True, f"{met.why} Its files could not be asked for: {error.message}"), event
        return met, event

    def _outdate_closed(
        self, delivery: Delivery, bot: Bot, trigger: GitHubTrigger, event: GitHubEvent, met: Met
    ) -> Met:
        """A closed pull request needs no more of what its earlier events asked for; wishes in comments stay."""
        if (event.kind, event.action) != ("pull_request", "closed") or event.kind not in trigger.events:
            return met
        if not _is_signed(delivery, trigger):
            return met

        def only(conn: sa.Connection, execution: Execution) -> bool:
            run = store.find_run(conn, execution.id)
            if run is None or run.trigger != trigger.name or run.delivery_id == delivery.id:
                return False
            return run.about.get("kind") == event.kind

        detail = f"Its pull request was {'merged' if event.facts['pr']['merged'] else 'closed'}."
        stop = trigger.running is Running.STOP
        ended = self.outdate(f"bot:{bot.name}", event.subject, only, detail, stop=stop)
        return Met(met.met, f"{met.why} Ended because it was closed: {ended}.") if ended else met

    def _take_turn(self, event: GitHubEvent) -> datetime:
        with self.db.write() as conn:
            pace = timedelta(seconds=self.pace_s())
            return store.take_turn(conn, str(event.remote), self.clock.now(), pace)

    def _start_event(
        self, delivery: Delivery, bot: Bot, trigger: GitHubTrigger, event: GitHubEvent, met: Met, turn: datetime | None
    ) -> dict[str, Any]:
        try:
            project = self._project(bot, event) if met.met and bot.enabled else None
        except Invalid as error:
            return self._start(bot, trigger.name, Met(False, error.message), None)
        except AgentedError as error:
            return {**_told(bot, trigger.name, met), "error": _error_out(error)}
        now = self.clock.now()
        cause = Cause(
            facts={**event.facts, "delivery": facts_of(delivery)},
            key=f"delivery:{delivery.id}:{bot.id}",
            seed=delivery.id,
            delivery_id=delivery.id,
            trigger=trigger.name,
            event=event,
            projects=() if project is None else (project,),
            not_before=turn if turn is not None and turn > now else None,
            supersede=Supersede.ALL if trigger.running is Running.STOP else Supersede.WAITING,
        )
        return self._start(bot, trigger.name, met, replace(cause, supersede=_supersede(event, cause.supersede)))

    def _project(self, bot: Bot, event: GitHubEvent) -> Project:
        """Where the bot works on this event. Raises Invalid for a repository that it does not work on."""
        found = self.repositories.find(event.remote)
        if not bot.spec.projects:
            return found or self.repositories.add(event.remote, event.clone_url)
        own = {self.starting.project(name).id for name in bot.spec.projects}
        if found is None or found.id not in own:
            raise Invalid(f"{event.remote.path} is none of its projects.", field="projects")
        return found

    # --- both

    def _start(self, bot: Bot, trigger: str, met: Met, cause: Cause | None) -> dict[str, Any]:
        told = _told(bot, trigger, met)
        if not met.met or cause is None:
            return told
        if not bot.enabled:
            return {**told, "met": False, "why": bot.paused or "The bot is switched off."}
        try:
            told["executions"] = [one.id for one in self.starting.start(bot, cause)]
        except AgentedError as error:
            if error.status >= 500:
                raise  # the machine's trouble, not the delivery's: it is tried again
            told["error"] = _error_out(error)
        return told


def _is_signed(delivery: Delivery, trigger: GitHubTrigger) -> bool:
    return bool({trigger.secret or SERVER, ASKED} & set(delivery.checked))


def _supersede(event: GitHubEvent, wanted: Supersede) -> Supersede:
    """Comments are each a wish of their own; everything else tells where its subject stands now."""
    return Supersede.NOTHING if event.kind.endswith("comment") or event.kind == "issues" else wanted


def _told(bot: Bot, trigger: str, met: Met) -> dict[str, Any]:
    return {"bot": bot.name, "trigger": trigger, "met": met.met, "why": met.why, "executions": []}


def _nobody(why: str) -> dict[str, Any]:
    """No bot was asked."""
    return {"bot": None, "trigger": None, "met": False, "why": why, "executions": []}


def _error_out(error: AgentedError) -> Mapping[str, str | None]:
    return {"code": error.code, "message": error.message, "hint": error.hint}


def _key_of(bot: Bot, name: str) -> str:
    return next((one.key for one in bot.spec.webhooks if one.name == name), "")
