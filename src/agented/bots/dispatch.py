"""Stored deliveries start bots: each once, whatever is killed in between."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from agented.bots import store
from agented.bots.deliveries import TOPIC, facts_of
from agented.bots.matching import meet
from agented.bots.model import Bot
from agented.bots.starting import Starting
from agented.bots.store import Delivery, Handled
from agented.kit.bus import Bus
from agented.kit.clock import Clock
from agented.kit.db import Database
from agented.kit.errors import AgentedError

log = logging.getLogger(__name__)

KEPT = timedelta(days=30)
_AT_ONCE = 50
_WAIT_S = 5.0
_LONGEST_REST = 1.0
_SHORT_REST = 0.05
_REST = 4.0
"""While deliveries come in, so many times as long as the last ones took is left to the door."""


@dataclass(slots=True, kw_only=True)
class Dispatch:
    db: Database
    bus: Bus
    clock: Clock
    starting: Starting
    _stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Until `stop`: wakes by the bell, and sweeps what a server that died has left."""
        while not self._stopping.is_set():
            heard, begun = self.bus.count(TOPIC), self.clock.monotonic()
            try:
                handled = self.handle_waiting()
                if handled:
                    if self.bus.count(TOPIC) != heard:
                        # More is coming in: the door, whose senders wait for an answer, goes first.
                        longest = _LONGEST_REST if handled == _AT_ONCE else _SHORT_REST
                        self._stopping.wait(min(longest, _REST * (self.clock.monotonic() - begun)))
                    continue
            except Exception:
                # The worker loop is one of the four doors where every fault is caught.
                if not self._stopping.is_set():
                    log.exception("deliveries could not be handled")
                self._stopping.wait(1.0)
            self.bus.wait(TOPIC, heard, _WAIT_S)

    def stop(self) -> None:
        self._stopping.set()
        self.bus.ring(TOPIC)

    def handle_waiting(self) -> int:
        """Handles what is stored; gives how many there were."""
        with self.db.read() as conn:
            waiting = store.waiting_deliveries(conn, _AT_ONCE)
        owners: dict[str, tuple[Bot, str] | None] = {}
        done: list[Handled] = []
        for delivery in waiting:
            if self._stopping.is_set():
                break
            if delivery.address not in owners:
                owners[delivery.address] = self._owner(delivery.address)
            done.append(self._handle(delivery, owners[delivery.address]))
            if done[-1].started:
                # Who watches sees at once what a delivery has started; the others share a commit.
                self._note(done)
                owners.clear()
        self._note(done)
        return len(waiting)

    def _owner(self, address: str) -> tuple[Bot, str] | None:
        with self.db.read() as conn:
            return store.bot_of_address(conn, address)

    def _note(self, done: list[Handled]) -> None:
        if done:
            with self.db.write() as conn:
                store.handled(conn, done, self.clock.now())
            done.clear()

    def forget_old(self) -> int:
        with self.db.write() as conn:
            return store.forget_deliveries(conn, self.clock.now() - KEPT)

    def _handle(self, delivery: Delivery, owner: tuple[Bot, str] | None) -> Handled:
        if owner is None:
            return Handled(delivery.id, "handled", [])
        bot, name = owner
        told: dict[str, Any] = {"bot": bot.name, "trigger": name, "met": False, "why": "", "executions": []}
        try:
            trigger = next((one for one in bot.spec.webhooks if one.name == name), None)
            facts = {"delivery": facts_of(delivery)}
            met = meet(None if trigger is None else trigger.match, facts["delivery"])
            told |= {"met": met.met, "why": met.why}
            if met.met:
                key = f"delivery:{delivery.id}:{bot.id}"
                started = self.starting.start(bot, facts, key=key, seed=delivery.id, delivery_id=delivery.id)
                told["executions"] = [one.id for one in started]
        except AgentedError as error:
            if error.status >= 500:
                raise  # the machine's trouble, not the delivery's: it is tried again
            told["error"] = {"code": error.code, "message": error.message, "hint": error.hint}
            return Handled(delivery.id, "failed", [told])
        except (ValueError, TypeError, KeyError, RecursionError):
            # What one delivery holds must not keep those after it waiting for ever.
            log.exception("the delivery %s could not be handled", delivery.id)
            told["error"] = {
                "code": "broken",
                "message": "It could not be handled.",
                "hint": "See the server's log.",
            }
            return Handled(delivery.id, "failed", [told])
        return Handled(delivery.id, "handled", [told])
