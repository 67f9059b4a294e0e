"""What Codex has written or shows of its limits: in its session files, and on the screen of `/status`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from agented.backends.asking import DAY_S, HOUR_S, WEEK_S, kind_of, percent, title_of
from agented.backends.contract import LimitReading, LimitState, Window
from agented.kit import loose

_FILES = 3
_TAIL = 256 * 1024
_NEEDLE = b'"rate_limits"'
_MONTH_S = 30 * DAY_S
_SHOWN = re.compile(
    r"(?P<length>\d{1,3}h|Daily|Weekly|Monthly) limit: \[[^\]]{0,60}\] (?P<left>\d{1,3})% left"
    r" ?(?:\(resets (?P<hour>\d\d):(?P<minute>\d\d)(?: on (?P<day>\d{1,2}) (?P<month>[A-Z][a-z]{2}))?\))?"
)
_LENGTHS = {"Daily": DAY_S, "Weekly": WEEK_S, "Monthly": _MONTH_S}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def told_in_files(home: Path) -> LimitReading | None:
    """What the newest session files tell last, with the time at which they did."""
    best: LimitReading | None = None
    for path in _newest(home / "sessions"):
        reading = _last_told(path)
        if reading is not None and (best is None or (reading.seen_at or _NEVER) > (best.seen_at or _NEVER)):
            best = reading
    return best


def told_on_screen(text: str, now: datetime) -> list[Window]:
    """Of what `/status` draws, its times in UTC. The last drawing holds."""
    found: dict[int, Window] = {}
    for shown in _SHOWN.finditer(text):
        length = shown["length"]
        length_s = _LENGTHS.get(length) or int(length[:-1]) * HOUR_S
        left = min(100, int(shown["left"]))
        found[length_s] = _window("", length_s, 100 - left, _next(shown, now), None)
    return list(found.values())


def _next(shown: re.Match[str], now: datetime) -> datetime | None:
    """The next moment that is written so: the day is left out when it is within a day, the year always."""
    if shown["hour"] is None:
        return None
    try:
        clock = now.astimezone(UTC).replace(
            hour=int(shown["hour"]), minute=int(shown["minute"]), second=0, microsecond=0
        )
        if shown["day"] is None:
            return clock if clock >= now - timedelta(minutes=1) else clock + timedelta(days=1)
        at = clock.replace(month=_MONTHS.index(shown["month"]) + 1, day=int(shown["day"]))
        return at if at >= now - timedelta(days=1) else at.replace(year=at.year + 1)
    except ValueError:
        return None


_NEVER = datetime.min.replace(tzinfo=UTC)


def _newest(folder: Path) -> list[Path]:
    """Session files lie in folders of year, month and day; the newest that were written to come first."""
    days = [day for year in _down(folder) for month in _down(year) for day in _down(month)][:_FILES]
    files: list[tuple[float, Path]] = []
    for day in days:
        try:
            with os.scandir(day) as entries:
                files += [(one.stat().st_mtime, Path(one.path)) for one in entries if one.name.endswith(".jsonl")]
        except OSError:
            continue
    return [path for _, path in sorted(files, reverse=True)[:_FILES]]


def _down(folder: Path) -> Iterator[Path]:
    """The folders in it, the greatest number first."""
    try:
        with os.scandir(folder) as entries:
            names = [one.name for one in entries if one.name.isdecimal() and one.is_dir()]
    except OSError:
        return
    for name in sorted(names, key=int, reverse=True):
        yield folder / name


def _last_told(path: Path) -> LimitReading | None:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            lines = file.read(_TAIL).split(b"\n")
    except OSError:
        return None
    for line in reversed(lines):
        if _NEEDLE in line:
            reading = _read(loose.mapping(loose.read_json(line.decode("utf-8", "replace"))))
            if reading is not None:
                return reading
    return None


def _read(line: Mapping[str, Any]) -> LimitReading | None:
    payload = loose.mapping(line.get("payload"))
    limits = loose.mapping(payload.get("rate_limits")) or loose.mapping(
        loose.mapping(payload.get("info")).get("rate_limits")
    )
    at = loose.iso_moment(line.get("timestamp"))
    if payload.get("type") != "token_count" or at is None:
        return None
    limit_id = loose.string(limits.get("limit_id"))
    prefix = "" if limit_id in ("", "codex") else f"{limit_id[:40]}:"
    scope = loose.string(limits.get("limit_name")) or None
    windows = list(_windows(limits, prefix, scope, at))
    if not windows:
        return None
    plan = loose.string(limits.get("plan_type")) or None
    return LimitReading(state=LimitState.OK, windows=windows, plan=plan, seen_at=at)


def _windows(limits: Mapping[str, Any], prefix: str, scope: str | None, at: datetime) -> Iterable[Window]:
    for slot in ("primary", "secondary"):
        state = loose.mapping(limits.get(slot))
        if not state:
            continue
        minutes = loose.number(state.get("window_minutes"))
        resets_at = loose.moment(state.get("resets_at"))
        wait_s = loose.number(state.get("resets_in_seconds"))
        if resets_at is None and wait_s is not None:
            # As older releases write it.
            resets_at = loose.later(at, wait_s)
        used = percent(state.get("used_percent"))
        yield _window(prefix, None if minutes is None else int(minutes * 60), used, resets_at, scope)


def _window(
    prefix: str, length_s: int | None, used: float | None, resets_at: datetime | None, scope: str | None
) -> Window:
    title = title_of(length_s)
    return Window(
        name=f"{prefix}{'unknown' if length_s is None else f'{length_s}s'}",
        title=title if scope is None else f"{title}, {loose.one_line(scope, 40)}",
        kind=kind_of(length_s),
        used_percent=used,
        resets_at=resets_at,
        length_s=length_s,
        scope=scope,
    )
