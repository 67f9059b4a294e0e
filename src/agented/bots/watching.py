"""After a time without a server: what GitHub's hooks tried to deliver meanwhile is asked for through gh and kept."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from agented.bots import store
from agented.bots.deliveries import ASKED, GITHUB, Deliveries, lane_of
from agented.bots.store import Delivery
from agented.kit.clock import Clock
from agented.kit.db import Database
from agented.kit.errors import AgentedError
from agented.kit.loose import iso_moment, mapping
from agented.projects.github import GitHub, Remote

log = logging.getLogger(__name__)

_OURS = "/api/webhooks/github"
_LOOK_BACK = timedelta(days=3)
"""GitHub keeps deliveries for three days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MissedDeliveries:
    """remotes: repositories whose hooks may point here."""

    db: Database
    clock: Clock
    github: GitHub
    deliveries: Deliveries
    remotes: Callable[[], Sequence[Remote]]

    def sweep(self) -> int:
        """Gives how many were fetched. A repository whose hooks gh may not see is left out."""
        if not self._is_listened_to():
            return 0
        fetched = 0
        for remote in self.remotes():
            try:
                fetched += self._sweep(remote)
            except AgentedError as error:
                log.info("hooks of %s: %s", remote, error.message)
        return fetched

    def _is_listened_to(self) -> bool:
        with self.db.read() as conn:
            return any(bot.enabled and bot.spec.github for bot in store.every_bot(conn))

    def _sweep(self, remote: Remote) -> int:
        fetched = 0
        for hook in self.github.hooks(remote):
            address = str(mapping(hook.get("config")).get("url") or "").rstrip("/")
            if not address.endswith(_OURS) or hook.get("active") is False:
                continue
            tried = self.github.hook_deliveries(remote, int(hook["id"]))
            for one in self._missed(tried):
                fetched += self._fetch(remote, int(hook["id"]), one)
        return fetched

    def _missed(self, tried: Sequence[Any]) -> list[Any]:
        """Oldest first: what failed or never arrived, and is not kept here."""
        since = self.clock.now() - _LOOK_BACK
        late = [one for one in tried if (iso_moment(one.get("delivered_at")) or since) >= since]
        with self.db.read() as conn:
            known = store.known_external_ids(conn, GITHUB, [str(one.get("guid")) for one in late])
        missed = {str(one.get("guid")): one for one in late if one.get("guid") and str(one["guid"]) not in known}
        return [one for one in reversed(missed.values()) if one.get("event") != "ping"]

    def _fetch(self, remote: Remote, hook_id: int, tried: Any) -> int:
        told = mapping(self.github.hook_delivery(remote, hook_id, int(tried["id"])).get("request"))
        payload, event = told.get("payload"), str(tried.get("event") or "")[:60]
        if not isinstance(payload, dict) or not event:
            return 0
        headers = {"content-type": "application/json", "x-github-event": event, "x-agented-fetched": "gh"}
        accepted = self.deliveries.add(
            Delivery(
                id=store.new_delivery_id(),
                address=GITHUB,
                external_id=str(tried["guid"])[:200],
                lane=lane_of(event, payload),
                event=event,
                checked=[ASKED],
                method="POST",
                query={},
                headers={**headers, "x-github-delivery": str(tried["guid"])},
                body=json.dumps(payload).encode(),
                state="stored",
                matches=[],
                replay_of=None,
                received_at=self.clock.now(),
                handled_at=None,
            )
        )
        return 0 if accepted.known else 1
