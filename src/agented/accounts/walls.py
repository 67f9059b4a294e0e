"""Accounts that hit a wall: until when each may not be used, by what runs were told and what its limits say since."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from agented.accounts import store
from agented.accounts.limits import SeenWindow
from agented.accounts.model import Wall, WallKind
from agented.backends.contract import Login
from agented.kit.clock import Clock

_LONGEST = timedelta(days=40)
"""No window of a provider is longer; a later time is a fault."""
_IN_A_ROW = timedelta(minutes=30)
_CREDIT_S = 30 * 60.0
_SIGN_IN_S = 5 * 60.0
_MOST_DOUBLINGS = 5
_ROOM_PERCENT = 98


@dataclass(frozen=True, slots=True, kw_only=True)
class Walls:
    """margin_s: added to each reset, since clocks differ. unknown_s: how long one is waited for that was not told; it
    doubles while the wall is met again."""

    clock: Clock
    margin_s: float
    unknown_s: float

    def reached(
        self,
        conn: sa.Connection,
        account_key: str,
        window: str,
        resets_at: datetime | None,
        *,
        kind: WallKind = WallKind.LIMIT,
        model: str | None = None,
        login: Login | None = None,
        detail: str = "",
    ) -> Wall:
        """Notes what a run has met. For a reset that is missing, past or beyond reason stands a pause that doubles."""
        now = self.clock.now()
        before = store.find_wall(conn, account_key, window)
        again = before is not None and now - before.until < _IN_A_ROW
        times = before.times + 1 if before is not None and again else 1
        told = kind is WallKind.LIMIT and resets_at is not None and now < resets_at < now + _LONGEST
        if told and resets_at is not None:
            until = resets_at + timedelta(seconds=self.margin_s)
        else:
            past = resets_at is not None and resets_at <= now
            first_s = {WallKind.CREDIT: _CREDIT_S, WallKind.SIGN_IN: _SIGN_IN_S}.get(
                kind, self.margin_s if past else self.unknown_s
            )
            until = now + timedelta(seconds=first_s * 2 ** min(times - 1, _MOST_DOUBLINGS))
        wall = Wall(
            account_key=account_key,
            window=window,
            kind=kind,
            model=model if _is_of_model(window, model) else None,
            until=until,
            told=told,
            noted_at=now,
            times=times,
            login=print_of(login) if kind is WallKind.SIGN_IN else None,
            detail=detail[:500],
        )
        store.put_wall(conn, wall)
        return wall

    def standing(self, conn: sa.Connection) -> list[Wall]:
        return store.walls_after(conn, self.clock.now())

    def seen(self, conn: sa.Connection, account_key: str, windows: Sequence[SeenWindow]) -> bool:
        """What the account's limits say after it hit its walls: a reset moved, or there is room again.

        A wall whose window nobody tells by that name follows the fullest one. True when a wall changed.
        """
        told = [one for one in windows if one.window.used_percent is not None]
        named = {one.window.name: one for one in told}
        changed = False
        for wall in self.standing(conn):
            if wall.account_key != account_key or wall.kind is not WallKind.LIMIT or not told:
                continue
            one = named.get(wall.window) or max(told, key=lambda seen: seen.window.used_percent or 0)
            changed = self._follow(conn, wall, one) or changed
        return changed

    def _follow(self, conn: sa.Connection, wall: Wall, one: SeenWindow) -> bool:
        now, window = self.clock.now(), one.window
        if one.captured_at <= wall.noted_at or window.used_percent is None:
            return False
        if window.used_percent < _ROOM_PERCENT:
            store.drop_walls(conn, wall.account_key, wall.window)
            return True
        if window.resets_at is None or not now < window.resets_at < now + _LONGEST:
            return False
        until = window.resets_at + timedelta(seconds=self.margin_s)
        if abs(until - wall.until) < timedelta(seconds=1):
            return False
        store.put_wall(conn, replace(wall, until=until, told=True))
        return True

    def passed(self, conn: sa.Connection, account_key: str, model: str | None, started_at: datetime) -> bool:
        """A run that began after the account hit its walls went well: they stand no more. True when one fell."""
        fell = False
        for wall in self.standing(conn):
            applies = wall.model is None or wall.model == model
            if wall.account_key == account_key and applies and wall.noted_at < started_at:
                fell = store.drop_walls(conn, account_key, wall.window) > 0 or fell
        return fell

    def lift(self, conn: sa.Connection, account_key: str) -> int:
        """A person says that it may be used. Gives how many walls fell."""
        return store.drop_walls(conn, account_key)

    def forget_old(self, conn: sa.Connection) -> None:
        store.drop_walls_before(conn, self.clock.now() - timedelta(days=1))


def holds(wall: Wall, *, model: str | None, login: Login | None) -> bool:
    """Whether a wall holds a run of this model under this login."""
    if wall.login is not None and wall.login != print_of(login):
        return False
    return wall.model is None or model is None or wall.model == model


def print_of(login: Login | None) -> str | None:
    """Tells one login from another without holding it."""
    if login is None or not login.token:
        return None
    return hashlib.sha256(login.token.encode()).hexdigest()[:32]


def _is_of_model(window: str, model: str | None) -> bool:
    """Some windows are of one kind of model, and carry its name: seven_day_opus."""
    words = window.lower().replace("-", "_").split("_")
    return model is not None and any(len(word) > 3 and word in model.lower() for word in words)
