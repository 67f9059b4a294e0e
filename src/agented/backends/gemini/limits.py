"""What is left of a Google plan: the quota endpoint that the CLI itself asks.

Google's refresh tokens do not rotate, so a second program may redeem one; what it gets is kept nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from agented.backends.asking import DAY_S, percent, refused, words_of
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

_API, _TOKEN = "codeassist", "google_token"
_UNSUPPORTED = ("IneligibleTier", "UNSUPPORTED_CLIENT", "no longer supported")
_METADATA = {"ideType": "GEMINI_CLI", "pluginType": "GEMINI"}


class GeminiLimits:
    bases: Mapping[str, str] = {_API: "https://cloudcode-pa.googleapis.com", _TOKEN: "https://oauth2.googleapis.com"}

    def told(self, home: Path) -> LimitReading | None:
        return None

    def read(self, login: Login, place: AskingPlace, now: datetime) -> Asking:
        """Of `options` it takes google_client_id and google_client_secret, needed to renew a token that has expired."""
        if login.kind != "subscription":
            return LimitReading(state=LimitState.NONE, detail="A key pays by use; it has no windows.")
        if place.env.get("CODE_ASSIST_ENDPOINT"):
            return LimitReading(state=LimitState.NONE, detail="It is used with another address than the provider's.")
        token = login.token
        if token is None or _is_over(login.expires_at, now):
            stored = loose.read_file(place.home / ".gemini" / "oauth_creds.json")
            refresh = loose.string(stored.get("refresh_token"))
            client, secret = place.options.get("google_client_id"), place.options.get("google_client_secret")
            if not refresh or not client or not secret:
                return LimitReading(
                    state=LimitState.LOGGED_OUT,
                    detail="The token has expired; the CLI renews it at its next run.",
                )
            form = {
                "client_id": client,
                "client_secret": secret,
                "refresh_token": refresh,
                "grant_type": "refresh_token",
            }
            renewed = yield Ask(base=_TOKEN, path="/token", method="POST", form=form)
            if refused(renewed) is not None:
                words = words_of(renewed) or renewed.problem
                return LimitReading(state=LimitState.LOGGED_OUT, detail=f"The token could not be renewed. {words}")
            token = loose.string(loose.mapping(renewed.body).get("access_token"))
        headers = {"Authorization": f"Bearer {token}"}
        loaded = yield Ask(
            base=_API, path="/v1internal:loadCodeAssist", method="POST", headers=headers, body={"metadata": _METADATA}
        )
        no = _refused(loaded)
        if no is not None:
            return no
        told = loose.mapping(loaded.body)
        project = loose.string(told.get("cloudaicompanionProject"))
        tier = loose.mapping(told.get("paidTier")) or loose.mapping(told.get("currentTier"))
        plan = loose.string(tier.get("name")) or loose.string(tier.get("id")) or login.plan
        body = {"project": project} if project else {}
        answer = yield Ask(base=_API, path="/v1internal:retrieveUserQuota", method="POST", headers=headers, body=body)
        no = _refused(answer)
        if no is not None:
            return no
        windows = _windows(loose.items(loose.mapping(answer.body).get("buckets")))
        return LimitReading(state=LimitState.OK, windows=windows, plan=plan or None, email=login.email)


def _refused(answer: Answer) -> LimitReading | None:
    no = refused(answer)
    if no is not None and answer.status == 403 and any(word in words_of(answer) for word in _UNSUPPORTED):
        detail = "Google serves this plan in this CLI no more: use an API key, or a Standard or Enterprise plan."
        return LimitReading(state=LimitState.PLAN_UNSUPPORTED, detail=detail)
    return no


def _windows(buckets: Any) -> list[Window]:
    """One for each model: of several buckets the one that has least left. A fraction that is not there is unknown."""
    found: dict[str, Window] = {}
    for bucket in map(loose.mapping, buckets):
        model = loose.one_line(loose.string(bucket.get("modelId")), 60) or "all models"
        left = percent(bucket.get("remainingFraction"), 100)
        window = Window(
            name=model,
            title=f"Day, {model}",
            kind=WindowKind.DAILY,
            used_percent=None if left is None else round(100 - left, 2),
            resets_at=loose.iso_moment(bucket.get("resetTime")),
            length_s=DAY_S,
            scope=model,
        )
        known = found.get(model)
        if known is None or (window.used_percent or -1) > (known.used_percent or -1):
            found[model] = window
    return list(found.values())[:50]


def _is_over(expires_at: datetime | None, now: datetime) -> bool:
    return expires_at is not None and expires_at < now + timedelta(seconds=60)
