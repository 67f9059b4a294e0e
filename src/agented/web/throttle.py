"""How often something may be tried. Held in memory and bounded: a flood of keys only pushes out the oldest."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Hashable
from datetime import timedelta

from agented.kit.clock import Clock
from agented.kit.errors import Refused

_MAX_KEYS = 10_000


class Throttle:
    def __init__(self, clock: Clock, *, tries: int, within_s: float) -> None:
        self._clock = clock
        self._tries = tries
        self._within_s = within_s
        self._seen: OrderedDict[Hashable, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: Hashable) -> None:
        """Counts one try. Raises Refused with `retry_at` when there were too many; those that are refused count not."""
        now = self._clock.monotonic()
        with self._lock:
            tries = self._seen.setdefault(key, deque())
            self._seen.move_to_end(key)
            while len(self._seen) > _MAX_KEYS:
                self._seen.popitem(last=False)
            while tries and now - tries[0] >= self._within_s:
                tries.popleft()
            if len(tries) < self._tries:
                tries.append(now)
                return
            wait_s = self._within_s - (now - tries[0])
        raise Refused(
            "Too many tries.",
            code="too_many_tries",
            hint=f"Try again in {wait_s:.0f} seconds.",
            retry_at=self._clock.now() + timedelta(seconds=wait_s),
        )

    def forget(self, key: Hashable) -> None:
        with self._lock:
            self._seen.pop(key, None)
