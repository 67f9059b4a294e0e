"""When a schedule is due: five-field cron lines in a time zone. Pure.

At a daylight-saving change, a line with fixed hours runs once: at the first instant after the gap when its time is
skipped, and at the first of the two when its time comes twice. A line whose hour is `*` runs through real hours, as
cron's wildcard jobs do (cron(8) of Debian, "Daylight Saving Time").
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from agented.kit.errors import Invalid

_NAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
_FIELD = re.compile(r"(?:\*|\d+|[A-Za-z]{3})(?:[-/,#](?:\*|\d+|[A-Za-z]{3}))*")
_LOOK_BACK = timedelta(hours=3)
"""More than any zone's change: local times are looked through from that much earlier."""
_YEARS = 9
"""29 February may be eight years away (1896 to 1904)."""


def check_cron(line: str, field: str) -> str:
    """Raises Invalid for what is no cron line, and for one that never comes."""
    from croniter import croniter

    fields = _fields(line)
    if len(fields.split()) != 5 or not all(_FIELD.fullmatch(one) for one in fields.split()):
        raise Invalid("A cron line has five fields.", field=field, hint="Such as `0 9 * * MON`.")
    if not croniter.is_valid(fields):
        raise Invalid("This cron line is not understood.", field=field, hint="Such as `0 9 * * MON`.")
    if next(times_after(line, "UTC", datetime(2000, 1, 1, tzinfo=UTC)), None) is None:
        raise Invalid("This never comes.", field=field)
    return line


def check_zone(name: str, field: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Invalid(f"There is no time zone {name[:60]!r}.", field=field, hint="Such as Europe/Berlin.") from None
    return name


def times_after(line: str, zone: str, after: datetime) -> Iterator[datetime]:
    """Every instant (UTC) later than `after` at which the line is due, in order."""
    from croniter import CroniterBadDateError, croniter

    fields = _fields(line)
    tz = ZoneInfo(zone)
    by_the_hour = fields.split()[1].startswith("*")
    start = after.astimezone(tz).replace(tzinfo=None) - _LOOK_BACK
    local = croniter(fields, start, max_years_between_matches=_YEARS)
    waiting: list[datetime] = []
    last = after
    while True:
        try:
            candidate: datetime | None = local.get_next(datetime)
        except CroniterBadDateError:
            candidate = None
        # What later local times may still become lies at most a change of the zone before them.
        until = None if candidate is None else min(_folds(candidate, tz)) - _LOOK_BACK
        while waiting and (until is None or waiting[0] < until):
            instant = waiting.pop(0)
            if instant > last:
                last = instant
                yield instant
        if candidate is None:
            return
        waiting = sorted({*waiting, *_instants(candidate, tz, by_the_hour=by_the_hour)})


def _folds(local: datetime, tz: ZoneInfo) -> list[datetime]:
    return [local.replace(tzinfo=tz, fold=fold).astimezone(UTC) for fold in (0, 1)]


def _instants(local: datetime, tz: ZoneInfo, *, by_the_hour: bool) -> list[datetime]:
    """When a line is due whose time a clock on the wall shows once, twice or never."""
    folds = _folds(local, tz)
    real = sorted({instant for instant in folds if instant.astimezone(tz).replace(tzinfo=None) == local})
    if real:
        return real if by_the_hour else real[:1]
    return [] if by_the_hour else [_after_gap(folds, tz)]


def _after_gap(folds: list[datetime], tz: ZoneInfo) -> datetime:
    """The first instant after a gap, given two instants around it."""
    low, high = min(folds), max(folds)
    offset = low.astimezone(tz).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        if middle.astimezone(tz).utcoffset() == offset:
            low = middle
        else:
            high = middle
    return high.replace(microsecond=0)


def jitter(seed: str, most_s: int) -> timedelta:
    """Always the same for the same seed, so that a restart does not move a start."""
    if most_s <= 0:
        return timedelta(0)
    return timedelta(seconds=int.from_bytes(hashlib.sha256(seed.encode()).digest()[:6], "big") % (most_s + 1))


def _fields(line: str) -> str:
    return _NAMES.get(line.strip().lower(), line.strip())
