"""What is left of a Codex plan: asked of the CLI itself (`codex app-server`), else of the provider."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from agented.backends.asking import kind_of, percent, refused, title_of
from agented.backends.codex.command import home_env
from agented.backends.codex.told import told_in_files, told_on_screen
from agented.backends.contract import (
    Answer,
    Ask,
    Asking,
    AskingPlace,
    Command,
    Converse,
    LimitReading,
    LimitState,
    Login,
    LookAt,
    Task,
    Window,
    WindowKind,
)
from agented.kit import loose

_BASE = "chatgpt"
_CLAIMS = "https://api.openai.com/auth"
_METHOD = "account/rateLimits/read"
_FRESH = timedelta(minutes=4)
"""What a session told so lately need not be asked for."""
_WORTH_A_LOOK = (LimitState.UNREACHABLE, LimitState.UNREADABLE, LimitState.NOT_ALLOWED, LimitState.NONE)


class CodexLimits:
    bases: Mapping[str, str] = {_BASE: "https://chatgpt.com/backend-api"}

    def told(self, home: Path) -> LimitReading | None:
        return told_in_files(home)

    def read(self, login: Login, place: AskingPlace, now: datetime) -> Asking:
        if login.kind != "subscription" or not login.token:
            return LimitReading(state=LimitState.NONE, detail="A key pays by use; it has no windows.")
        written = told_in_files(place.home)
        if written is not None and written.seen_at is not None and now - written.seen_at < _FRESH:
            return written
        told: LimitReading | None = None
        if place.task.program:
            said = yield _conversation(place.task, place.home)
            told = _of_cli(said, login)
            if told is not None and told.state is not LimitState.UNREACHABLE:
                return told
        told = yield from self._ask(login, place.home, told)
        if place.task.program and told.state in _WORTH_A_LOOK:
            screen = yield _status(place.task, place.home)
            windows = told_on_screen("".join(screen.lines), now)
            if windows:
                return LimitReading(state=LimitState.OK, windows=windows, plan=login.plan, email=login.email)
        return told

    def _ask(self, login: Login, home: Path, told: LimitReading | None) -> Asking:
        """The provider itself."""
        if "chatgpt_base_url" in loose.read_text(home / "config.toml"):
            # Its token is for that address; nobody but the CLI may ask there.
            elsewhere = "It is used with another address than the provider's."
            return told or LimitReading(state=LimitState.NONE, detail=elsewhere)
        headers = {"Authorization": f"Bearer {login.token}", "Accept": "application/json"}
        if account := _account_of(login, home):
            headers["ChatGPT-Account-Id"] = account
        answer = yield Ask(base=_BASE, path="/wham/usage", headers=headers)
        no = refused(answer)
        if no is not None:
            # The provider makes no difference: in both cases signing in again is what helps.
            out = no.state is LimitState.NOT_ALLOWED
            return LimitReading(state=LimitState.LOGGED_OUT, detail=no.detail) if out else no
        body = loose.mapping(answer.body)
        if not body:
            return LimitReading(state=LimitState.UNREADABLE, detail="The answer is no JSON object.")
        plan = loose.string(body.get("plan_type")) or login.plan
        email = loose.string(body.get("email")) or login.email
        return LimitReading(state=LimitState.OK, windows=list(_of_endpoint(body)), plan=plan, email=email)


def _conversation(task: Task, home: Path) -> Converse:
    client = {"name": "agented", "title": "Agented", "version": "0"}
    messages = [
        {"id": 1, "method": "initialize", "params": {"clientInfo": client}},
        {"method": "initialized"},
        {"id": 2, "method": _METHOD},
    ]
    env = home_env(home) if task.home is not None else {}
    return Converse(
        command=Command(argv=(*task.program, "app-server"), env=env),
        lines=[json.dumps(message) for message in messages],
        is_last=lambda line: loose.mapping(loose.read_json(line)).get("id") == 2,
    )


def _status(task: Task, home: Path) -> LookAt:
    """The CLI's own page of its limits, for releases that tell them no other way. Its times are told in UTC."""

    def build(folder: Path) -> Command:
        trusted = f'projects={{{json.dumps(str(folder))}={{trust_level="trusted"}}}}'
        options = ("-c", trusted, "-c", "check_for_update_on_startup=false", "-C", str(folder))
        env = home_env(home) if task.home is not None else {}
        return Command(argv=(*task.program, *options), env={**env, "TERM": "xterm-256color", "TZ": "UTC"})

    return LookAt(build=build, keys=["/status\r"], is_done=lambda text: "limit:" in text and "left" in text)


def _of_cli(said: Answer, login: Login) -> LimitReading | None:
    """None when the CLI did not answer: then the provider is asked."""
    for line in said.lines:
        message = loose.mapping(loose.read_json(line))
        if message.get("id") != 2:
            continue
        words = loose.string(loose.mapping(message.get("error")).get("message"))
        if "authentication" in words:
            return LimitReading(state=LimitState.LOGGED_OUT, detail=loose.one_line(words))
        if words:
            return LimitReading(state=LimitState.UNREACHABLE, detail=loose.one_line(words))
        result = loose.mapping(message.get("result"))
        if result:
            plan = loose.string(loose.mapping(result.get("rateLimits")).get("planType")) or login.plan
            windows = list(_of_rpc(result))
            return LimitReading(state=LimitState.OK, windows=windows, plan=plan, email=login.email)
    return None


def _of_rpc(result: Mapping[str, Any]) -> Iterator[Window]:
    by_id = loose.mapping(result.get("rateLimitsByLimitId"))
    limits = list(by_id.items()) or [("codex", result.get("rateLimits"))]
    for limit_id, value in limits:
        limit = loose.mapping(value)
        scope = loose.string(limit.get("limitName")) or None
        prefix = "" if limit_id == "codex" else f"{loose.string(limit_id)[:40]}:"
        for slot in ("primary", "secondary"):
            state = loose.mapping(limit.get(slot))
            minutes = loose.number(state.get("windowDurationMins"))
            length_s = None if minutes is None else int(minutes * 60)
            if state:
                yield _window(prefix, length_s, state.get("usedPercent"), state.get("resetsAt"), scope)
        if not prefix:
            yield from _cap(limit.get("individualLimit"), "remainingPercent", "resetsAt")


def _of_endpoint(body: Mapping[str, Any]) -> Iterator[Window]:
    yield from _pair(loose.mapping(body.get("rate_limit")), "", None)
    for row in map(loose.mapping, loose.items(body.get("additional_rate_limits"))):
        scope = loose.string(row.get("limit_name")) or None
        prefix = f"{loose.string(row.get('metered_feature'))[:40] or 'other'}:"
        yield from _pair(loose.mapping(row.get("rate_limit")), prefix, scope)
    yield from _pair(loose.mapping(body.get("code_review_rate_limit")), "code_review:", "Code review")
    spend = loose.mapping(body.get("spend_control"))
    yield from _cap(spend.get("individual_limit"), "remaining_percent", "reset_at")


def _pair(limit: Mapping[str, Any], prefix: str, scope: str | None) -> Iterator[Window]:
    for slot in ("primary_window", "secondary_window"):
        state = loose.mapping(limit.get(slot))
        seconds = loose.number(state.get("limit_window_seconds"))
        length_s = None if seconds is None else int(seconds)
        if state:
            yield _window(prefix, length_s, state.get("used_percent"), state.get("reset_at"), scope)


def _window(prefix: str, length_s: int | None, used: object, resets_at: object, scope: str | None) -> Window:
    """A window is what its length says; which slot it stands in means nothing."""
    name = f"{prefix}{'unknown' if length_s is None else f'{length_s}s'}"
    title = title_of(length_s)
    return Window(
        name=name,
        title=title if scope is None else f"{title}, {loose.one_line(scope, 40)}",
        kind=kind_of(length_s),
        used_percent=percent(used),
        resets_at=loose.moment(resets_at),
        length_s=length_s,
        scope=scope,
    )


def _cap(value: object, remaining: str, reset: str) -> Iterator[Window]:
    cap = loose.mapping(value)
    left = percent(cap.get(remaining))
    if cap:
        used = None if left is None else 100 - left
        yield Window(
            name="individual_limit",
            title="Spending limit",
            kind=WindowKind.CREDITS,
            used_percent=used,
            resets_at=loose.moment(cap.get(reset)),
        )


def _account_of(login: Login, home: Path) -> str:
    tokens = loose.mapping(loose.read_file(home / "auth.json").get("tokens"))
    claims = loose.mapping(loose.claims(login.token or "").get(_CLAIMS))
    return loose.string(tokens.get("account_id")) or loose.string(claims.get("chatgpt_account_id"))
