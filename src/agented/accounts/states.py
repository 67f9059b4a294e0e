"""What an account can be used for now, in a word, and what a person does about it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from agented.accounts.limits import Standing
from agented.accounts.model import Account, Wall, WallKind
from agented.backends.contract import Backend, LimitState, Login


class AccountState(StrEnum):
    READY = "ready"
    LOGIN_NEEDED = "login_needed"
    EXPIRED = "expired"
    LIMITED = "limited"
    PLAN_UNSUPPORTED = "plan_unsupported"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Judged:
    """until: when a limit ends. todo: one sentence, empty where there is nothing to be done."""

    state: AccountState
    text: str
    todo: str = ""
    until: datetime | None = None


def judge(
    account: Account,
    backend: Backend,
    login: Login | None,
    standing: Standing | None,
    walls: Sequence[Wall],
    now: datetime,
) -> Judged:
    if account.disabled:
        return Judged(AccountState.DISABLED, "Switched off", "Switch it on to use it.")
    if backend.needs_login and login is None:
        return Judged(AccountState.LOGIN_NEEDED, "Not signed in", f"Sign in: {backend.sign_in_hint}")
    mine = [wall for wall in walls if wall.account_key == account.key]
    refused = any(wall.kind is WallKind.SIGN_IN for wall in mine)
    if refused or (standing is not None and standing.state is LimitState.LOGGED_OUT):
        return Judged(AccountState.EXPIRED, "The login is not valid any more", f"Sign in: {backend.sign_in_hint}")
    if standing is not None and standing.state is LimitState.PLAN_UNSUPPORTED:
        return Judged(AccountState.PLAN_UNSUPPORTED, "Its plan is not served any more", standing.detail)
    if mine:
        wall = max(mine, key=lambda one: one.until)
        if wall.kind is WallKind.CREDIT:
            return Judged(AccountState.LIMITED, "No credit left", "Add credit at the provider.", wall.until)
        text = f"At its limit ({wall.window.replace('_', ' ')})"
        return Judged(AccountState.LIMITED, text, "Its runs go on by themselves after the reset.", wall.until)
    return Judged(AccountState.READY, "Ready", _hint(login, standing, now))


def _hint(login: Login | None, standing: Standing | None, now: datetime) -> str:
    if standing is not None and standing.state is LimitState.NOT_ALLOWED:
        return standing.detail
    return ""
