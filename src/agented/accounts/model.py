"""An account: one login of an AI CLI, with a home and an environment of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path

DEFAULT_ID = "default"
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|AUTH|CREDENTIAL", re.IGNORECASE)


def is_secret_name(name: str) -> bool:
    """Whether a variable of this name holds something to encrypt and to mask."""
    return _SECRET_NAME.search(name) is not None


@dataclass(frozen=True, slots=True)
class EnvEntry:
    """One variable. `value` is None where a secret was not asked for."""

    name: str
    value: str | None = field(repr=False)
    secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """home: the CLI's home, None for the person's own. program: runs instead of what PATH finds. disabled: only
    kept."""

    id: str
    name: str
    backend: str
    home: Path | None = None
    env: tuple[EnvEntry, ...] = ()
    program: str | None = None
    is_default: bool = False
    disabled: bool = False
    created_at: datetime

    @property
    def key(self) -> str:
        """Names it among the accounts of all backends; each backend has a default one."""
        return f"{self.backend}:{self.id}"


def default_account(backend: str, at: datetime) -> Account:
    """The person's own login of a CLI: it is always there and stored nowhere."""
    return Account(id=DEFAULT_ID, name=DEFAULT_ID, backend=backend, is_default=True, created_at=at)


class WallKind(StrEnum):
    LIMIT = "limit"
    """A window of its plan is used up."""
    CREDIT = "credit"
    SIGN_IN = "sign_in"
    """Its login was refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wall:
    """An account may not be used until then. No run is started to find out again.

    model: only this one is held; None for all. told: the provider itself said until when. times: how often in a row.
    login: a print of the login that was refused; another login is not held.
    """

    account_key: str
    window: str
    kind: WallKind
    until: datetime
    told: bool
    noted_at: datetime
    times: int = 1
    model: str | None = None
    login: str | None = None
    detail: str = ""
