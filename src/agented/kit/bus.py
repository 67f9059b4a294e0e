"""The bell: says that something of a topic changed, never what. Who hears it reads for itself.

Rung from any thread; waited for by coroutines of one event loop and by threads. A ring costs a waiter nothing but a
wake-up, and many rings before it wakes are one.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict


class Bus:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: defaultdict[str, int] = defaultdict(int)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiters: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._condition = threading.Condition(self._lock)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Names the loop whose coroutines wait; before this only threads can."""
        self._loop = loop

    def ring(self, topic: str) -> None:
        with self._condition:
            self._counts[topic] += 1
            waiters = tuple(self._waiters.get(topic, ()))
            self._condition.notify_all()
        loop = self._loop
        if waiters and loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(_set_all, waiters)

    def count(self, topic: str) -> int:
        """How often the topic rang. Read it before looking, pass it to `wait` after: no ring is missed between."""
        with self._lock:
            return self._counts[topic]

    def wait(self, topic: str, since: int, timeout_s: float) -> bool:
        """Blocks a thread until the topic rang after `since`; False when the time ran out."""
        with self._condition:
            return self._condition.wait_for(lambda: self._counts[topic] != since, timeout_s)

    def listen(self, topics: list[str]) -> Listener:
        return Listener(self, topics)

    def _enter(self, topics: list[str], bell: asyncio.Event) -> None:
        with self._lock:
            for topic in topics:
                self._waiters[topic].add(bell)

    def _leave(self, topics: list[str], bell: asyncio.Event) -> None:
        with self._lock:
            for topic in topics:
                self._waiters[topic].discard(bell)
                if not self._waiters[topic]:
                    del self._waiters[topic]


class Listener:
    """For coroutines: `async with bus.listen([...]) as bell: read; await bell.wait(15)`."""

    def __init__(self, bus: Bus, topics: list[str]) -> None:
        self._bus = bus
        self._topics = topics
        self._bell = asyncio.Event()

    async def __aenter__(self) -> Listener:
        self._bus._enter(self._topics, self._bell)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._bus._leave(self._topics, self._bell)

    async def wait(self, timeout_s: float) -> bool:
        """True when a topic rang since the last wait."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._bell.wait()
        except TimeoutError:
            return False
        self._bell.clear()
        return True


def _set_all(bells: tuple[asyncio.Event, ...]) -> None:
    for bell in bells:
        bell.set()
