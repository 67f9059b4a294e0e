"""What a CLI needs of its account, and what of it must never be shown."""

from __future__ import annotations

from pathlib import Path

from agented.accounts.model import Account
from agented.backends.contract import Backend, Login, Secrets


def read_login(backend: Backend, account: Account, person_home: Path, secrets: Secrets) -> Login | None:
    """The login in the account's home, or in the person's own; None when nobody is signed in."""
    if backend.credentials is None:
        return None
    env = own_env(account)
    home = account.home or backend.default_home(Path(env.get("HOME") or person_home))
    return backend.credentials.read(home, secrets, env)


def child_env(backend: Backend, account: Account) -> dict[str, str]:
    """What the account adds to the environment of its CLI; its own variables win."""
    pointing = backend.home_env(account.home) if account.home is not None else {}
    return {**pointing, **own_env(account)}


def own_env(account: Account) -> dict[str, str]:
    return {entry.name: entry.value for entry in account.env if entry.value is not None}


def secrets_of(account: Account, login: Login | None) -> tuple[str, ...]:
    """Everything to mask in what a run prints."""
    found = [entry.value for entry in account.env if entry.secret and entry.value]
    if login is not None:
        found += [login.token or "", *login.secrets]
    return tuple(dict.fromkeys(text for text in found if text))
