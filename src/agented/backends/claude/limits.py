"""What is left of a Claude plan: `/api/oauth/usage`, shapes of 2025 to September 2026.

utilization is 0 to 100 here (0 to 1 in the CLI's own events); `limits` rows and flat keys tell the same windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from agented.backends.asking import DAY_S, HOUR_S, WEEK_S, humanised, percent, refused
from agented.backends.contract import (
    Answer,
    Ask,
    Asking,
    AskingPlace,
    LimitReading,
    LimitState,
    Login,
    Window,
    WindowKind,
)
from agented.kit import loose

_BASE = "anthropic"
_LACKS_SCOPE = "This login may run the CLI but not ask for its limits: sign in again with `/login`."
_FLAT: Mapping[str, tuple[str, WindowKind, int]] = {
    "five_hour": ("5 hours", WindowKind.SESSION, 5 * HOUR_S),
    "seven_day": ("Week", WindowKind.WEEKLY, WEEK_S),
    "seven_day_opus": ("Week, Opus", WindowKind.WEEKLY, WEEK_S),
    "seven_day_sonnet": ("Week, Sonnet", WindowKind.WEEKLY, WEEK_S),
    "seven_day_oauth_apps": ("Week, other apps", WindowKind.WEEKLY, WEEK_S),
    "seven_day_cowork": ("Week, routines", WindowKind.WEEKLY, WEEK_S),
}
_ROWS: Mapping[str, str] = {"session": "five_hour", "weekly_all": "seven_day"}
"""Kinds of `limits` rows, and the flat keys of the same windows."""
_NOT_WINDOWS = frozenset({"extra_usage", "spend", "limits", "member_dashboard_available"})


class ClaudeLimits:
    bases: Mapping[str, str] = {_BASE: "https://api.anthropic.com"}

    def told(self, home: Path) -> LimitReading | None:
        return None

    def read(self, login: Login, place: AskingPlace, now: datetime) -> Asking:
        if login.kind != "subscription" or not login.token:
            return LimitReading(state=LimitState.NONE, detail="A key pays by use; it has no windows.")
        if place.env.get("ANTHROPIC_BASE_URL"):
            return LimitReading(state=LimitState.NONE, detail="It is used with another address than the provider's.")
        bearer = {"Authorization": f"Bearer {login.token}"}
        headers = {**bearer, "anthropic-beta": "oauth-2025-04-20", "Accept": "application/json"}
        answer = yield Ask(base=_BASE, path="/api/oauth/usage", headers=headers)
        no = refused(answer)
        if no is None:
            return _reading(answer, login)
        scope = no.state is LimitState.NOT_ALLOWED
        if no.state is LimitState.THROTTLED and "request-id" not in answer.headers:
            # The edge answers so to a login without the scope, too; the profile is honest about it.
            profile = yield Ask(base=_BASE, path="/api/oauth/profile", headers=bearer)
            scope = profile.status == 403
            if profile.status == 401:
                return LimitReading(state=LimitState.LOGGED_OUT, detail="The login is not valid any more.")
        if scope:
            return LimitReading(state=LimitState.NOT_ALLOWED, detail=_LACKS_SCOPE)
        return no


def _reading(answer: Answer, login: Login) -> LimitReading:
    body = loose.mapping(answer.body)
    if not body:
        return LimitReading(state=LimitState.UNREADABLE, detail="The answer is no JSON object.")
    rows = [window for row in loose.items(body.get("limits")) if (window := _row(loose.mapping(row))) is not None]
    told = {window.name for window in rows}
    flat = [window for window in _flat(body) if window.name not in told]
    if rows:
        # Where rows are told they hold every window that counts; flat ones of their kinds would count twice.
        flat = [window for window in flat if window.name not in _FLAT or window.name == "seven_day_oauth_apps"]
    return LimitReading(state=LimitState.OK, windows=[*rows, *flat, *_extra(body)], plan=login.plan, email=login.email)


def _row(row: Mapping[str, Any]) -> Window | None:
    kind = loose.string(row.get("kind"))
    if not kind:
        return None
    model = loose.mapping(loose.mapping(row.get("scope")).get("model"))
    scope = loose.string(model.get("display_name")) or loose.string(model.get("id"))
    name = _ROWS.get(kind) or (f"seven_day_{scope.lower().replace(' ', '_')}" if scope else kind)
    weekly = row.get("group") == "weekly"
    title, what, length_s = _FLAT.get(name, (humanised(kind), WindowKind.WEEKLY if weekly else WindowKind.OTHER, None))
    if scope:
        title = f"Week, {loose.one_line(scope, 40)}" if weekly else f"{humanised(kind)}, {loose.one_line(scope, 40)}"
    return Window(
        name=name[:80],
        title=title,
        kind=what,
        used_percent=percent(row.get("percent")),
        resets_at=loose.iso_moment(row.get("resets_at")),
        length_s=length_s or (WEEK_S if weekly else None),
        scope=loose.one_line(scope, 60) or None,
    )


def _flat(body: Mapping[str, Any]) -> Iterator[Window]:
    for name, value in body.items():
        state = loose.mapping(value)
        if name in _NOT_WINDOWS or "utilization" not in state:
            continue
        used, resets_at = percent(state.get("utilization")), loose.iso_moment(state.get("resets_at"))
        if name not in _FLAT and not used:
            # Names of plans to come; one that nobody has used says nothing.
            continue
        title, kind, length_s = _FLAT.get(name, (humanised(name), WindowKind.OTHER, None))
        _, _, scope = name.partition("seven_day_")
        yield Window(
            name=loose.string(name)[:80],
            title=title,
            kind=kind,
            used_percent=used,
            resets_at=resets_at,
            length_s=length_s,
            scope=scope if scope in ("opus", "sonnet") else None,
        )


def _extra(body: Mapping[str, Any]) -> Iterator[Window]:
    """Paid use beyond the plan; sums are in cents."""
    extra = loose.mapping(body.get("extra_usage"))
    if extra.get("is_enabled") is not True:
        return
    used = percent(extra.get("utilization"))
    limit, spent = loose.number(extra.get("monthly_limit")), loose.number(extra.get("used_credits"))
    if used is None and limit and spent is not None:
        used = percent(spent / limit, 100)
    window = Window(name="extra_usage", title="Extra usage", kind=WindowKind.CREDITS, used_percent=used)
    yield replace(window, length_s=30 * DAY_S) if limit else window
