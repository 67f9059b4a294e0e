"""What is to be told is written down in the transaction of what happened; who sends it is `sending`'s affair."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from agented.kit.bus import Bus
from agented.kit.clock import Clock
from agented.kit.db import Database, after_commit
from agented.kit.errors import Conflict, NotFound
from agented.notices import store
from agented.notices.model import Notice, NoticeState, Outgoing, Target

TOPIC = "notices"
"""Of the bell."""

KEPT = timedelta(days=30)
_LONGEST_TITLE = 300
_LONGEST_BODY = 8000


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbox:
    db: Database
    bus: Bus
    clock: Clock

    def publish(self, conn: sa.Connection, notice: Notice) -> None:
        """For every enabled target that wants it. Of the caller's transaction: nothing is sent unless that commits."""
        now = self.clock.now()
        for target in store.every_target(conn):
            if target.enabled and target.wanted.lets_pass(notice):
                store.put(conn, addressed(notice, target, now))
        after_commit(conn, lambda: self.bus.ring(TOPIC))

    def send_again(self, notice_id: str) -> Outgoing:
        """Under the same id, and with all its attempts before it. Raises NotFound and Conflict."""
        with self.db.write() as conn:
            known = store.find(conn, notice_id)
            target = None if known is None else store.find_target(conn, known.target_id)
            if known is None or target is None:
                raise NotFound(f"There is no notice {notice_id[:60]}.")
            if not target.enabled:
                raise Conflict(f"{target.name} is off.", code="target_off", hint="Turn the target on first.")
            fresh = {"state": NoticeState.WAITING, "tries": 0, "error": None, "ended_at": None}
            store.change(conn, known.id, **fresh, due_at=self.clock.now())
            after_commit(conn, lambda: self.bus.ring(TOPIC))
            again = store.find(conn, known.id)
        assert again is not None
        return again

    def forget_old(self) -> int:
        with self.db.write() as conn:
            return store.forget(conn, self.clock.now() - KEPT)


def addressed(notice: Notice, target: Target, now: datetime) -> Outgoing:
    return Outgoing(
        id=store.new_notice_id(),
        target_id=target.id,
        key=notice.key,
        topic=notice.topic,
        title=notice.title[:_LONGEST_TITLE],
        body=notice.body[:_LONGEST_BODY],
        link=notice.link,
        facts=notice.facts,
        state=NoticeState.WAITING,
        tries=0,
        error=None,
        created_at=now,
        due_at=now,
        ended_at=None,
    )
