"""People, their sessions, tokens of programs, and links that sign in once."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from agented.kit.web import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    id: str
    name: str
    role: Role
    password_hash: str | None = field(repr=False)
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A browser's; `id` is the hash of what the cookie holds."""

    id: str
    user_id: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    id: str
    name: str
    role: Role
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
