"""HTTP for accounts and their limits. Values of secrets go in and never come out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from agented.accounts import register
from agented.accounts.model import Account
from agented.accounts.overview import AccountView, Overview, WindowView
from agented.backends.contract import Backend
from agented.kit.clock import Clock
from agented.kit.db import Database
from agented.kit.table import as_csv
from agented.kit.vault import Vault
from agented.kit.web import Page, role

_HISTORY_DAYS = 7
_HISTORY = ("account", "name", "window", "at", "used_percent", "resets_at")


class NewAccount(BaseModel):
    name: str = Field(max_length=80)
    backend: str = Field(max_length=60)
    home: str | None = Field(default=None, max_length=4000, description="Absolute path of the CLI's own home folder.")
    env: dict[str, str] = Field(default_factory=dict, description="Extra environment; secrets are encrypted.")
    program: str | None = Field(default=None, max_length=4000, description="Absolute path of the CLI's program.")


class ChangedAccount(BaseModel):
    name: str | None = Field(default=None, max_length=80)
    disabled: bool | None = None


class EnvOut(BaseModel):
    name: str
    secret: bool
    value: str | None


class WindowOut(BaseModel):
    name: str = Field(description="The provider's own name of it.")
    title: str
    kind: str
    scope: str | None = Field(description="The kind of model that it is for; none for all.")
    used_percent: float | None = Field(description="0 to 100; none when it is not known.")
    resets_at: datetime | None
    captured_at: datetime
    source: str = Field(description="run, session (a file of the CLI) or provider")
    full_at: datetime | None = Field(description="When it is used up at its present pace, if before its reset.")


class AccountOut(BaseModel):
    key: str
    id: str
    name: str
    backend: str
    home: str | None
    env: list[EnvOut]
    program: str | None
    is_default: bool
    disabled: bool
    created_at: datetime
    state: str
    state_text: str
    what_to_do: str
    until: datetime | None = Field(description="When its limit ends, while it is limited.")
    email: str | None
    plan: str | None
    login: str | None = Field(description="subscription or api_key; none when nobody is signed in.")
    same_login_as: list[str]
    running: int
    windows: list[WindowOut]


class LimitsOut(BaseModel):
    key: str
    account: str
    backend: str
    state: str = Field(description="How the last attempt to learn them went.")
    detail: str
    plan: str | None
    asked_at: datetime | None
    next_at: datetime | None
    captured_at: datetime | None
    age_s: float | None
    windows: list[WindowOut]


class PointOut(BaseModel):
    at: datetime
    used_percent: float
    resets_at: datetime | None


class HistoryOut(BaseModel):
    windows: dict[str, list[PointOut]]


class AskedOut(BaseModel):
    asked: list[str] = Field(description="Whom it asks; others were asked a moment ago, or must not be yet.")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountsApi:
    """backend: gives the backend of a name, or raises NotFound. running: how many run on an account.

    changed: told that accounts are others now. refresh: asks for limits anew.
    """

    db: Database
    vault: Vault
    clock: Clock
    backend: Callable[[str], Backend]
    overview: Overview
    running: Callable[[str], int]
    changed: Callable[[], None]
    refresh: Callable[[str | None], Sequence[str]]
    lift: Callable[[str], None]


def build_routers(ports: AccountsApi) -> list[APIRouter]:
    return [_accounts(ports), _limits(ports)]


def _accounts(ports: AccountsApi) -> APIRouter:
    router = APIRouter(prefix="/api/accounts", tags=["accounts"])

    def shown(account: Account) -> AccountOut:
        return _out(ports.overview.one(account.key), ports)

    @router.get("", openapi_extra=role("viewer"))
    def list_accounts() -> Page[AccountOut]:
        """Those that were added, and the person's own logins (id `default`) where somebody is signed in."""
        return Page(items=[_out(view, ports) for view in ports.overview.every()])

    @router.post("", status_code=201, openapi_extra=role("admin"))
    def add_account(wish: NewAccount) -> AccountOut:
        account = register.add(
            ports.db,
            ports.vault,
            ports.clock,
            ports.backend,
            name=wish.name,
            backend=wish.backend,
            home=Path(wish.home) if wish.home else None,
            env=wish.env,
            program=Path(wish.program) if wish.program else None,
        )
        ports.changed()
        return shown(account)

    @router.patch("/{account_id}", openapi_extra=role("admin"))
    def change_account(account_id: str, wish: ChangedAccount) -> AccountOut:
        account = register.change(ports.db, account_id, name=wish.name, disabled=wish.disabled)
        ports.changed()
        return shown(account)

    @router.post("/{key}/lift", status_code=204, openapi_extra=role("operator"))
    def lift(key: str) -> None:
        """A person says that an account can be used again: what waits for it goes on."""
        ports.overview.one(key)
        ports.lift(key)

    @router.delete("/{account_id}", status_code=204, openapi_extra=role("admin"))
    def remove_account(account_id: str) -> None:
        register.remove(ports.db, account_id)
        ports.changed()

    return router


def _limits(ports: AccountsApi) -> APIRouter:
    router = APIRouter(prefix="/api/limits", tags=["accounts"])

    @router.get("", openapi_extra=role("viewer"))
    def limits() -> Page[LimitsOut]:
        """What is left of each account, as far as it is known, with its age."""
        now = ports.clock.now()
        return Page(items=[_limits_out(view, now) for view in ports.overview.every()])

    @router.post("/refresh", status_code=202, openapi_extra=role("operator"))
    def refresh(key: Annotated[str | None, Query(max_length=120)] = None) -> AskedOut:
        return AskedOut(asked=list(ports.refresh(key)))

    @router.get(
        "/history",
        response_class=Response,
        responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
        openapi_extra=role("viewer"),
    )
    def all_histories(
        since: datetime | None = None, key: Annotated[str | None, Query(max_length=120)] = None
    ) -> Response:
        """Readings of all accounts, or of one, as a table; by default of a week."""
        begin = since if since is not None and since.tzinfo else ports.clock.now() - timedelta(days=_HISTORY_DAYS)
        rows = [
            (
                view.account.key,
                view.account.name,
                name,
                one.at.isoformat(),
                one.used_percent,
                one.resets_at and one.resets_at.isoformat(),
            )
            for view in ports.overview.every()
            if key in (None, view.account.key)
            for name, points in ports.overview.history(view.account.key, begin).items()
            for one in points
        ]
        return Response(as_csv(_HISTORY, rows), media_type="text/csv; charset=utf-8")

    @router.get("/{key}/history", openapi_extra=role("viewer"))
    def history(key: str, since: datetime | None = None) -> HistoryOut:
        """Readings by window, oldest first; by default of a week."""
        begin = since if since is not None and since.tzinfo else ports.clock.now() - timedelta(days=_HISTORY_DAYS)
        kept = ports.overview.history(key, begin)
        return HistoryOut(
            windows={
                name: [PointOut(at=one.at, used_percent=one.used_percent, resets_at=one.resets_at) for one in points]
                for name, points in kept.items()
            }
        )

    return router


def _out(view: AccountView, ports: AccountsApi) -> AccountOut:
    account, login, standing = view.account, view.login, view.standing
    return AccountOut(
        key=account.key,
        id=account.id,
        name=account.name,
        backend=account.backend,
        home=None if account.home is None else str(account.home),
        env=[
            EnvOut(name=entry.name, secret=entry.secret, value=None if entry.secret else entry.value)
            for entry in account.env
        ],
        program=account.program,
        is_default=account.is_default,
        disabled=account.disabled,
        created_at=account.created_at,
        state=view.judged.state,
        state_text=view.judged.text,
        what_to_do=view.judged.todo,
        until=view.judged.until,
        email=(login.email if login else None) or (standing.email if standing else None),
        plan=(standing.plan if standing else None) or (login.plan if login else None),
        login=None if login is None else login.kind,
        same_login_as=list(view.same_login_as),
        running=ports.running(account.key),
        windows=[_window_out(one) for one in view.windows],
    )


def _limits_out(view: AccountView, now: datetime) -> LimitsOut:
    standing = view.standing
    captured = max((one.seen.captured_at for one in view.windows), default=None)
    return LimitsOut(
        key=view.account.key,
        account=view.account.name,
        backend=view.account.backend,
        state="unknown" if standing is None else str(standing.state),
        detail="" if standing is None else standing.detail,
        plan=None if standing is None else standing.plan,
        asked_at=None if standing is None else standing.asked_at,
        next_at=None if standing is None else standing.next_at,
        captured_at=captured,
        age_s=None if captured is None else round((now - captured).total_seconds(), 1),
        windows=[_window_out(one) for one in view.windows],
    )


def _window_out(one: WindowView) -> WindowOut:
    window = one.window
    return WindowOut(
        name=window.name,
        title=window.title,
        kind=window.kind,
        scope=window.scope,
        used_percent=window.used_percent,
        resets_at=window.resets_at,
        captured_at=one.seen.captured_at,
        source=one.seen.source,
        full_at=one.full_at,
    )
