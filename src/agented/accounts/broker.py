"""Who starts first on an account whose login is about to be renewed: its CLI renews it, and no other run races it.

Refresh tokens work once. Two CLIs that read the same one and redeem it both lose the login, and Agented redeems none
itself. So while an account's login is expired or nearly so, one run starts alone; the others wait until the login that
can be read is another one, or that run is over, or it has had its time; then, if need be, the next starts alone.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agented.backends.contract import Login
from agented.kit.clock import Clock

_MARGIN = timedelta(minutes=5)
"""So long before its end the CLIs renew a login."""
_LONGEST = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class _First:
    """The run that started alone. login: a print of the one it was to renew."""

    run: str
    login: str
    since: datetime


@dataclass(slots=True)
class Broker:
    """Known in memory only: after a restart the runs that wait ask again."""

    clock: Clock
    _firsts: dict[str, _First] = field(default_factory=dict)
    _waiting: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    """By run: for which account, and until when. It stays until the run asks again."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self, account_key: str, login: Login | None, run: str) -> datetime | None:
        """None: it may start now. Else until when it waits at the longest."""
        now = self.clock.now()
        with self._lock:
            self._waiting.pop(run, None)
            first = self._firsts.get(account_key)
            if first is not None and first.run != run and _holds(first, login, now):
                until = first.since + _LONGEST
                self._waiting[run] = (account_key, until)
                return until
            if login is None or not is_renewed_soon(login, now):
                self._firsts.pop(account_key, None)
            else:
                self._firsts[account_key] = _First(run, _print_of(login), now)
            return None

    def left(self, run: str) -> bool:
        """A run is over. True when others waited for it: they ask again."""
        with self._lock:
            free = {key for key, first in self._firsts.items() if first.run == run}
            for key in free:
                del self._firsts[key]
            return any(key in free for key, _ in self._waiting.values())

    @property
    def is_awaited(self) -> bool:
        """Somebody waits, so that it is worth looking."""
        return bool(self._awaited())

    def look(self, read: Callable[[str], Login | None]) -> bool:
        """Reads the logins of accounts that are waited for, by their keys. True when somebody may ask again."""
        awaited = self._awaited()
        with self._lock:
            held = {key: first for key in awaited if (first := self._firsts.get(key)) is not None}
        now = self.clock.now()
        free = [key for key, first in held.items() if not _holds(first, read(key), now)]
        with self._lock:
            for key in free:
                self._firsts.pop(key, None)
            # Also who began to wait just when the first one left.
            return any(key not in self._firsts for key in awaited)

    def _awaited(self) -> set[str]:
        now = self.clock.now()
        with self._lock:
            # Who has not asked again by then was stopped meanwhile.
            gone = [run for run, (_, until) in self._waiting.items() if until + _LONGEST < now]
            for run in gone:
                del self._waiting[run]
            return {key for key, _ in self._waiting.values()}


def _holds(first: _First, login: Login | None, now: datetime) -> bool:
    """Also while there is no login to be read: it is being written, or lost, which the first will tell."""
    return now - first.since < _LONGEST and (login is None or _print_of(login) == first.login)


def is_renewed_soon(login: Login, now: datetime) -> bool:
    return login.expires_at is not None and login.expires_at - now <= _MARGIN


def _print_of(login: Login) -> str:
    """Tells one login from another without holding it."""
    return hashlib.sha256(f"{login.token}\0{login.expires_at}".encode()).hexdigest()
