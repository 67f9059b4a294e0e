"""What the translators of limits share: statuses of HTTP, and texts for windows."""

from __future__ import annotations

from agented.backends.contract import Answer, LimitReading, LimitState, WindowKind
from agented.kit import loose

HOUR_S, DAY_S, WEEK_S = 3600, 86_400, 7 * 86_400


def refused(answer: Answer) -> LimitReading | None:
    """The reading of an answer that holds no limits; None for a success."""
    status = answer.status
    if 200 <= status < 300:
        return None
    words = loose.one_line(words_of(answer))
    if status == 0:
        return LimitReading(state=LimitState.UNREACHABLE, detail=answer.problem)
    if status == 401:
        return LimitReading(state=LimitState.LOGGED_OUT, detail=words)
    if status == 403:
        return LimitReading(state=LimitState.NOT_ALLOWED, detail=words)
    if status == 429:
        return LimitReading(state=LimitState.THROTTLED, detail=words, retry_after_s=retry_after(answer))
    state = LimitState.UNREACHABLE if status >= 500 else LimitState.UNREADABLE
    return LimitReading(state=state, detail=f"HTTP {status}. {words}".strip())


def words_of(answer: Answer) -> str:
    """A provider's own words for what went wrong."""
    body = loose.mapping(answer.body)
    error = body.get("error")
    return loose.string(loose.mapping(error).get("message")) or loose.string(error) or loose.string(body.get("message"))


def retry_after(answer: Answer) -> float | None:
    """Seconds; dates are not used by these providers."""
    text = answer.headers.get("retry-after", "").strip()
    return float(text) if text.isascii() and text.replace(".", "", 1).isdigit() else None


def percent(value: object, scale: float = 1.0) -> float | None:
    """0 to 100; None for what is no number, never 0 for it."""
    number = loose.number(value)
    return None if number is None or number < 0 else min(100.0, round(number * scale, 2))


def kind_of(length_s: int | None) -> WindowKind:
    if length_s is None:
        return WindowKind.OTHER
    if length_s < DAY_S:
        return WindowKind.SESSION
    if length_s < 2 * DAY_S:
        return WindowKind.DAILY
    return WindowKind.WEEKLY if length_s < 14 * DAY_S else WindowKind.MONTHLY


def length_of(name: str) -> int | None:
    """Of a window that is named by how long it is: `five_hour`, `seven_day_opus`; None for any other name."""
    if name.startswith("five_hour"):
        return 5 * HOUR_S
    return WEEK_S if name.startswith("seven_day") else None


def title_of(length_s: int | None) -> str:
    if length_s is None:
        return "Window"
    if length_s == WEEK_S:
        return "Week"
    if length_s % DAY_S == 0:
        days = length_s // DAY_S
        return "Day" if days == 1 else f"{days} days"
    return f"{length_s / HOUR_S:g} hours"


def humanised(name: str) -> str:
    """seven_day_opus -> Seven day opus."""
    words = loose.one_line(name.replace("_", " ").replace("-", " "), 60)
    return words[:1].upper() + words[1:]
