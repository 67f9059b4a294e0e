"""Schedules: each time starts its bot once, whatever slept, jumped or was killed in between."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from agented.bots import store
from agented.bots.model import Bot
from agented.bots.starting import Cause, Starting
from agented.bots.store import Schedule
from agented.bots.times import jitter, times_after
from agented.bots.triggers import CatchUp, ScheduleTrigger
from agented.kit.bus import Bus
from agented.kit.clock import Clock
from agented.kit.db import Database
from agented.kit.errors import AgentedError

log = logging.getLogger(__name__)

TOPIC = "schedules"
"""Rung when a bot was changed."""
_LATE = timedelta(minutes=2)
"""What is later than this was missed, and the trigger's catch-up decides."""
_LONGEST_WAIT_S = 15.0
_MOST_CAUGHT_UP = 100
_JUMP_S = 30.0


@dataclass(slots=True, kw_only=True)
class Schedules:
    db: Database
    bus: Bus
    clock: Clock
    starting: Starting
    _stopping: threading.Event = field(default_factory=threading.Event)
    _seen: tuple[datetime, float] | None = None

    def run(self) -> None:
        while not self._stopping.is_set():
            heard = self.bus.count(TOPIC)
            wait_s = _LONGEST_WAIT_S
            try:
                wait_s = self.look()
            except Exception:
                # The scheduled loop is one of the four doors where every fault is caught.
                if not self._stopping.is_set():
                    log.exception("schedules could not be looked at")
            self.bus.wait(TOPIC, heard, wait_s)

    def stop(self) -> None:
        self._stopping.set()
        self.bus.ring(TOPIC)

    def look(self) -> float:
        """Starts what is due; gives the seconds until it should look again."""
        now = self.clock.now()
        jumped = self._jumped_back(now)
        with self.db.read() as conn:
            bots = {bot.id: bot for bot in store.every_bot(conn) if bot.enabled}
            known = {(one.bot_id, one.trigger): one for one in store.every_schedule(conn)}
        wanted = {(bot.id, one.name): (bot, one) for bot in bots.values() for one in bot.spec.schedules}
        self._forget(known.keys() - wanted.keys())
        soonest = now + timedelta(seconds=_LONGEST_WAIT_S)
        for key, (bot, trigger) in wanted.items():
            row = self._row(bot, trigger, known.get(key), now, anew=jumped)
            delay = jitter(f"{bot.id}:{trigger.name}:{row.next_at.isoformat()}", trigger.jitter_s)
            if row.next_at + delay <= now:
                row = self._fire(bot, trigger, row, now)
                delay = timedelta(0)
            soonest = min(soonest, row.next_at + delay)
        return max(0.05, (soonest - now).total_seconds())

    def _jumped_back(self, now: datetime) -> bool:
        """Whether the wall clock was set back: what is due next is then reckoned anew."""
        monotonic = self.clock.monotonic()
        before, self._seen = self._seen, (now, monotonic)
        if before is None:
            return False
        return (now - before[0]).total_seconds() < monotonic - before[1] - _JUMP_S

    def _forget(self, gone: set[tuple[str, str]]) -> None:
        if gone:
            with self.db.write() as conn:
                for bot_id, trigger in gone:
                    store.drop_schedule(conn, bot_id, trigger)

    def _row(self, bot: Bot, trigger: ScheduleTrigger, row: Schedule | None, now: datetime, *, anew: bool) -> Schedule:
        line = f"{trigger.cron} {trigger.zone}"
        if row is not None and row.line == line and not anew:
            return row
        made = Schedule(
            bot_id=bot.id,
            trigger=trigger.name,
            line=line,
            next_at=_next(trigger, now),
            last_at=None if row is None else row.last_at,
            note=None if row is None else row.note,
        )
        with self.db.write() as conn:
            store.put_schedule(conn, made)
        return made

    def _fire(self, bot: Bot, trigger: ScheduleTrigger, row: Schedule, now: datetime) -> Schedule:
        passed = passed_times(trigger, row.next_at, now)
        chosen = choose(trigger.catch_up, passed, now)
        note = None
        if len(chosen) < len(passed):
            note = f"{len(passed) - len(chosen)} time(s) passed while no server ran and were left out."
        for at in chosen:
            note = self._start(bot, trigger, at, catching_up=len(chosen) > 1) or note
        last = chosen[-1] if chosen else row.last_at
        moved = replace(row, next_at=_next(trigger, now), last_at=last, note=note)
        with self.db.write() as conn:
            store.put_schedule(conn, moved)
        return moved

    def _start(self, bot: Bot, trigger: ScheduleTrigger, at: datetime, *, catching_up: bool) -> str | None:
        """Why it was left out, if it was."""
        if not trigger.overlap and not catching_up:
            with self.db.read() as conn:
                busy = store.unfinished_of_trigger(conn, bot.id, trigger.name)
            if busy is not None:
                return f"{at:%Y-%m-%d %H:%M} UTC was left out: {busy} had not ended."
        key = f"schedule:{bot.id}:{trigger.name}:{at.isoformat()}"
        cause = Cause(
            facts={"schedule": {"at": at.isoformat(), "name": trigger.name}},
            key=key,
            seed=key,
            trigger=trigger.name,
            subject=f"schedule:{bot.id}:{trigger.name}",
            most_per_subject=0 if trigger.overlap else 1,
        )
        try:
            self.starting.start(bot, cause)
        except AgentedError as error:
            if error.status >= 500:
                raise
            log.warning("schedule %s of %s: %s", trigger.name, bot.name, error.message)
            return f"{at:%Y-%m-%d %H:%M} UTC did not start: {error.message}"
        return None


def _next(trigger: ScheduleTrigger, now: datetime) -> datetime:
    return next(times_after(trigger.cron, trigger.zone, now))


def passed_times(trigger: ScheduleTrigger, first: datetime, now: datetime) -> list[datetime]:
    """The times from the first to now; of very many the last ones."""
    later = itertools.takewhile(lambda at: at <= now, times_after(trigger.cron, trigger.zone, first))
    found = [first]
    for at in later:
        found.append(at)
        if len(found) > 2 * _MOST_CAUGHT_UP:
            del found[:_MOST_CAUGHT_UP]
    return found


def choose(policy: CatchUp, passed: Sequence[datetime], now: datetime) -> list[datetime]:
    """Which of the times that passed start something."""
    if policy is CatchUp.ALL:
        return list(passed[-_MOST_CAUGHT_UP:])
    if policy is CatchUp.LATEST:
        return list(passed[-1:])
    return [at for at in passed[-1:] if now - at <= _LATE]
