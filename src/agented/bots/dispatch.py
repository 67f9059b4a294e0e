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
from agented.bots.starting import Starting
from agented.bots.store import Delivery
from agented.kit.bus import Bus
from agented.kit.clock import Clock
from agented.kit.db import Database
from agented.kit.errors import AgentedError

log = logging.getLogger(__name__)

KEPT = timedelta(days=30)
_AT_ONCE = 50
_WAIT_S = 5.0


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
            heard = self.bus.count(TOPIC)
            try:
                if self.handle_waiting():
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
        for delivery in waiting:
            if self._stopping.is_set():
                break
            self._handle(delivery)
        return len(waiting)

    def forget_old(self) -> int:
        with self.db.write() as conn:
            return store.forget_deliveries(conn, self.clock.now() - KEPT)

    def _handle(self, delivery: Delivery) -> None:
        with self.db.read() as conn:
            owner = store.bot_of_address(conn, delivery.address)
        matches: list[dict[str, Any]] = []
        failed = False
        if owner is not None:
            bot, name = owner
            trigger = next((one for one in bot.spec.webhooks if one.name == name), None)
            facts = {"delivery": facts_of(delivery)}
            met = meet(None if trigger is None else trigger.match, facts["delivery"])
            told: dict[str, Any] = {"bot": bot.name, "trigger": name, "met": met.met, "why": met.why, "executions": []}
            if met.met:
                try:
                    key = f"delivery:{delivery.id}:{bot.id}"
                    started = self.starting.start(bot, facts, key=key, seed=delivery.id, delivery_id=delivery.id)
                    told["executions"] = [one.id for one in started]
                except AgentedError as error:
                    if error.status >= 500:
                        raise  # the machine's trouble, not the delivery's: it is tried again
                    failed = True
                    told["error"] = {"code": error.code, "message": error.message, "hint": error.hint}
            matches.append(told)
        with self.db.write() as conn:
            store.handled(conn, delivery.id, "failed" if failed else "handled", matches, self.clock.now())
