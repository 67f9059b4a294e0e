"""As whom an execution runs."""

from __future__ import annotations

import sqlalchemy as sa

from agented.accounts import store
from agented.accounts.model import DEFAULT_ID, Account, default_account
from agented.kit.clock import Clock
from agented.kit.errors import Invalid, NotFound
from agented.kit.vault import Vault


def choose(conn: sa.Connection, vault: Vault, clock: Clock, backend: str, account: str | None) -> Account:
    """The account of this id or name, secrets opened; without one, the person's own login.

    Raises NotFound when there is none, Invalid when it belongs to another backend.
    """
    if account is None or account == DEFAULT_ID:
        return default_account(backend, clock.now())
    found = store.open_one(conn, vault, account)
    return _of_backend(found, backend, account)


def candidates(conn: sa.Connection, vault: Vault, clock: Clock, backend: str, account: str | None) -> list[Account]:
    """Whom a step of a chain may run as, secrets opened: the account it names, or all of the backend.

    Raises what `choose` would raise.
    """
    if account is not None:
        return [choose(conn, vault, clock, backend, account)]
    added = [one.id for one in store.every(conn) if one.backend == backend and not one.disabled]
    opened = [store.open_one(conn, vault, one) for one in added]
    return [default_account(backend, clock.now()), *(one for one in opened if one is not None)]


def check(conn: sa.Connection, backend: str, account: str | None) -> None:
    """Raises what `choose` would raise; opens no secret."""
    if account is not None and account != DEFAULT_ID:
        _of_backend(store.find(conn, account), backend, account)


def _of_backend(found: Account | None, backend: str, wanted: str) -> Account:
    if found is None:
        raise NotFound(
            f"There is no account {wanted[:80]!r}.", field="account", hint="`agented accounts list` shows them."
        )
    if found.disabled:
        raise Invalid(f"The account {found.name} is switched off.", field="account", hint="Switch it on to use it.")
    if found.backend != backend:
        raise Invalid(f"The account {found.name} is for {found.backend}, not for {backend}.", field="account")
    return found
