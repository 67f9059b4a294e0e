"""HTTP for accounts. Values of secrets go in and never come out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fastapi import APIRouter
from pydantic import BaseModel, Field

from agented.accounts import register, store
from agented.accounts.model import Account
from agented.backends.contract import Backend
from agented.kit.clock import Clock
from agented.kit.db import Database
from agented.kit.vault import Vault
from agented.kit.web import Page, role


class NewAccount(BaseModel):
    name: str = Field(max_length=80)
    backend: str = Field(max_length=60)
    home: str | None = Field(default=None, max_length=4000, description="Absolute path of the CLI's own home folder.")
    env: dict[str, str] = Field(default_factory=dict, description="Extra environment; secrets are encrypted.")
    program: str | None = Field(default=None, max_length=4000, description="Absolute path of the CLI's program.")


class EnvOut(BaseModel):
    name: str
    secret: bool
    value: str | None


class AccountOut(BaseModel):
    id: str
    name: str
    backend: str
    home: str | None
    env: list[EnvOut]
    program: str | None
    is_default: bool
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountsApi:
    """backend: gives the backend of a name, or raises NotFound."""

    db: Database
    vault: Vault
    clock: Clock
    backend: Callable[[str], Backend]


def build_router(ports: AccountsApi) -> APIRouter:
    router = APIRouter(prefix="/api/accounts", tags=["accounts"])

    @router.get("", openapi_extra=role("viewer"))
    def list_accounts() -> Page[AccountOut]:
        with ports.db.read() as conn:
            return Page(items=[_out(account) for account in store.every(conn)])

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
        return _out(account)

    @router.delete("/{account_id}", status_code=204, openapi_extra=role("admin"))
    def remove_account(account_id: str) -> None:
        register.remove(ports.db, account_id)

    return router


def _out(account: Account) -> AccountOut:
    return AccountOut(
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
        created_at=account.created_at,
    )
