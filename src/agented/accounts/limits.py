"""How the windows of an account stand, where they are heading, and when people hear of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from agented.backends.asking import kind_of
from agented.backends.contract import LimitState, Window, WindowKind
from agented.backends.events import LimitSeen
from agented.kit import loose

_LEAST_SPAN = timedelta(minutes=10)
_LONGEST_SPAN = timedelta(hours=24)
_SAME_RESET = timedelta(minutes=10)
_DROP = 5.0
"""Percent by which a window falls when it has begun anew; less is a provider's own correction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenWindow:
    """A window as it was last told: when, and by what (`run`, or `provider`)."""

    window: Window
    captured_at: datetime
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is known of an account's limits. state, detail: how the last attempt to learn them went."""

    account_key: str
    state: LimitState
    detail: str = ""
    plan: str | None = None
    email: str | None = None
    windows: Sequence[SeenWindow] = ()
    asked_at: datetime | None = None
    next_at: datetime | None = None
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Point:
    """One kept reading of a window."""

    at: datetime
    used_percent: float
    resets_at: datetime | None


def seen_in_run(event: LimitSeen, known: Sequence[SeenWindow], now: datetime) -> SeenWindow:
    """What a run was told of a window, with what is known of it from elsewhere."""
    before = next((one.window for one in known if one.window.name == event.window), None)
    plain = Window(
        name=event.window,
        title=event.window.replace("_", " ").capitalize(),
        kind=kind_of(event.length_s),
        length_s=event.length_s,
    )
    window = replace(before or plain, used_percent=event.used_percent, resets_at=event.resets_at)
    return SeenWindow(window=window, captured_at=now, source="run")


def merged(known: Sequence[SeenWindow], new: Sequence[SeenWindow]) -> list[SeenWindow]:
    """New readings in place of old ones of the same window; the rest stays, in its order."""
    fresh = {one.window.name: one for one in new}
    return [*new, *(one for one in known if one.window.name not in fresh)]


def growth(before: SeenWindow, now: SeenWindow) -> float | None:
    """By how many percent a window was used between two readings; None when one of them did not tell.

    A window that began anew in between counts from nothing; what was used before that is not known.
    """
    then, used = before.window.used_percent, now.window.used_percent
    if then is None or used is None:
        return None
    resets = (before.window.resets_at, now.window.resets_at)
    moved = resets[0] is not None and resets[1] is not None and abs(resets[1] - resets[0]) > _SAME_RESET
    passed = resets[0] is not None and resets[0] <= now.captured_at
    if (moved and used < then) or passed or then - used > _DROP:
        return used
    return max(0.0, used - then)


def current(one: SeenWindow, now: datetime) -> Window:
    """The window as it stands now: one whose reset has passed since it was read has begun anew, and is not known."""
    window = one.window
    if window.resets_at is not None and window.resets_at <= now:
        return replace(window, used_percent=None, resets_at=None)
    return window


def full_at(points: Sequence[Point], now: datetime) -> datetime | None:
    """When a window is used up at the pace of its present period; None when it is not before long, or not known."""
    period = _present_period([one for one in points if now - one.at <= _LONGEST_SPAN])
    if len(period) < 2:
        return None
    first, last = period[0], period[-1]
    span = last.at - first.at
    gained = last.used_percent - first.used_percent
    if span < _LEAST_SPAN or gained <= 0 or last.used_percent >= 100:
        return None
    try:
        at = last.at + span * ((100 - last.used_percent) / gained)
    except OverflowError:
        return None
    return at if last.resets_at is None or at < last.resets_at else None


def _present_period(points: Sequence[Point]) -> list[Point]:
    """Those since the window last began anew: it fell, or tells another reset."""
    begin = 0
    for number in range(1, len(points)):
        before, here = points[number - 1], points[number]
        moved = (
            before.resets_at is not None
            and here.resets_at is not None
            and abs(here.resets_at - before.resets_at) > _SAME_RESET
        )
        if here.used_percent < before.used_percent - _DROP or (moved and here.used_percent <= before.used_percent):
            begin = number
    return list(points[begin:])


def level_of(used_percent: float, levels: Sequence[float], known: float, slack: float = 5.0) -> float:
    """The highest level that is crossed, 0 for none. One that was crossed holds until `slack` below it."""
    crossed = max((level for level in levels if used_percent >= level), default=0.0)
    if crossed < known and used_percent > known - slack:
        return known
    return crossed


def window_to_json(one: SeenWindow) -> dict[str, Any]:
    window = one.window
    return {
        "name": window.name,
        "title": window.title,
        "kind": str(window.kind),
        "used_percent": window.used_percent,
        "resets_at": None if window.resets_at is None else window.resets_at.isoformat(),
        "length_s": window.length_s,
        "scope": window.scope,
        "captured_at": one.captured_at.isoformat(),
        "source": one.source,
    }


def window_of_json(kept: Mapping[str, Any]) -> SeenWindow:
    window = Window(
        name=str(kept["name"]),
        title=str(kept["title"]),
        kind=WindowKind(kept["kind"]),
        used_percent=kept["used_percent"],
        resets_at=loose.iso_moment(kept["resets_at"]),
        length_s=kept["length_s"],
        scope=kept["scope"],
    )
    captured = datetime.fromisoformat(str(kept["captured_at"]))
    return SeenWindow(window=window, captured_at=captured, source=str(kept["source"]))
