"""Sends what the outbox holds: each target at its own pace, each notice until it is taken or all attempts failed."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from agented.kit.bus import Bus
from agented.kit.clock import Clock
from agented.kit.db import Database
from agented.kit.errors import AgentedError
from agented.kit.http import Resolve, addresses_of
from agented.kit.vault import Vault
from agented.notices import services, store, targets, webhook
from agented.notices.model import Answer, Notice, NoticeState, Outcome, Outgoing, Target, TargetKind, Topic
from agented.notices.outbox import TOPIC, addressed

log = logging.getLogger(__name__)

PAUSES_S = (5, 30, 120, 600, 3600, 6 * 3600, 24 * 3600)
"""Between attempts. After the last attempt it has failed."""

_JITTER = 0.2
_WAIT_S = 5.0
_AT_ONCE = 8
_LEAVE_S = 3.0


@dataclass(slots=True, kw_only=True)
class Sender:
    """One thread looks who is due, another for each target sends: one that hangs delays no other.

    chance: between 0 and 1, so that many failures of one moment do not come again at one moment.
    """

    db: Database
    vault: Vault
    bus: Bus
    clock: Clock
    resolve: Resolve = addresses_of
    chance: Callable[[], float] = random.random
    _stopping: threading.Event = field(default_factory=threading.Event)
    _busy: dict[str, threading.Thread] = field(default_factory=dict)

    def run(self) -> None:
        """Until `stop`: wakes by the bell and when something is due, and takes up what a server that died left."""
        while not self._stopping.is_set():
            heard = self.bus.count(TOPIC)
            pause_s = _WAIT_S
            try:
                pause_s = self._start_due()
            except Exception:
                # The worker loop is one of the doors where every fault is caught.
                if not self._stopping.is_set():
                    log.exception("notices could not be looked for")
            self.bus.wait(TOPIC, heard, pause_s)

    def stop(self) -> None:
        """What is being sent may end; what hangs is sent again after the next start."""
        self._stopping.set()
        self.bus.ring(TOPIC)
        for thread in list(self._busy.values()):
            thread.join(_LEAVE_S)

    def _start_due(self) -> float:
        """Gives how long nothing will be due, as far as one can know."""
        now = self.clock.now()
        with self.db.read() as conn:
            due, next_at = store.due_targets(conn, now), store.next_due_at(conn)
        for target_id in due:
            if target_id not in self._busy and len(self._busy) < _AT_ONCE:
                thread = threading.Thread(target=self._serve, args=(target_id,), name="notices", daemon=True)
                self._busy[target_id] = thread
                thread.start()
        if next_at is None or next_at <= now:
            return _WAIT_S
        return min(_WAIT_S, (next_at - now).total_seconds())

    def _serve(self, target_id: str) -> None:
        try:
            while not self._stopping.is_set() and self.send_one(target_id):
                pass
        except Exception:
            # A thread of its own: nobody else would hear of the fault.
            if not self._stopping.is_set():
                log.exception("a notice could not be sent")
            self._stopping.wait(1.0)
        finally:
            del self._busy[target_id]
            self.bus.ring(TOPIC)

    def send_one(self, target_id: str) -> bool:
        """The next that is due for a target; False when there is none."""
        with self.db.read() as conn:
            found = store.next_for(conn, target_id, self.clock.now())
        if found is None:
            return False
        target, outgoing = found
        outcome = self._attempt(target, outgoing)
        with self.db.write() as conn:
            self._note(conn, target, outgoing, outcome)
        return True

    def test(self, target: Target) -> Outgoing:
        """Sends a notice at once, whether the target is on or not; it is tried only once."""
        notice = Notice(
            topic=Topic.TEST,
            title="A test of Agented",
            body=f"Notices reach {target.name}.",
            link="/settings/notifications",
            facts={},
            key=f"test:{store.new_notice_id()}",
        )
        tried = addressed(notice, target, self.clock.now())
        outcome = self._attempt(target, tried)
        state = NoticeState.SENT if outcome.answer is Answer.DONE else NoticeState.FAILED
        tried = replace(tried, state=state, tries=int(bool(outcome.error)), error=outcome.error)
        tried = replace(tried, ended_at=self.clock.now())
        with self.db.write() as conn:
            store.put(conn, tried)
            self._note_target(conn, target, outcome)
        return tried

    def _attempt(self, target: Target, outgoing: Outgoing) -> Outcome:
        try:
            address, secret = targets.unseal(self.vault, target)
        except AgentedError as error:
            return Outcome(Answer.AGAIN, f"{error.message} {error.hint or ''}".strip())
        if target.kind is TargetKind.WEBHOOK:
            return webhook.send(address, secret, outgoing, self.clock.now(), self.resolve)
        return services.send(address, outgoing, self.resolve)

    def _note(self, conn: sa.Connection, target: Target, outgoing: Outgoing, outcome: Outcome) -> None:
        now = self.clock.now()
        changed = self._changed(outgoing, outcome, now)
        store.change(conn, outgoing.id, **changed)
        self._note_target(conn, target, outcome)
        if outcome.after_s:
            store.hold_back(conn, target.id, now + timedelta(seconds=outcome.after_s))

    def _note_target(self, conn: sa.Connection, target: Target, outcome: Outcome) -> None:
        store.note_attempt(conn, target.id, outcome.error, self.clock.now())
        if outcome.answer is Answer.GONE:
            store.disable_target(conn, target.id, self.clock.now())

    def _changed(self, outgoing: Outgoing, outcome: Outcome, now: datetime) -> dict[str, Any]:
        if outcome.answer is Answer.DONE:
            return {"state": NoticeState.SENT, "error": None, "ended_at": now}
        tries = outgoing.tries + 1
        failed = {"tries": tries, "error": outcome.error}
        if outcome.answer is not Answer.AGAIN or tries > len(PAUSES_S):
            return {**failed, "state": NoticeState.FAILED, "ended_at": now}
        pause_s = PAUSES_S[outgoing.tries] * (1 + _JITTER * self.chance())
        return {**failed, "due_at": now + timedelta(seconds=max(pause_s, outcome.after_s))}
