"""All SQL of the door. Of cookies, tokens and links only hashes are kept."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from agented.kit.db import UtcTime, metadata
from agented.kit.web import Role
from agented.web.model import Session, Token, User

users = sa.Table(
    "users",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("name", sa.String(80), nullable=False, unique=True),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("password_hash", sa.Text),
    sa.Column("created_at", UtcTime, nullable=False),
)

web_sessions = sa.Table(
    "web_sessions",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("user_id", sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("seen_at", UtcTime, nullable=False),
    sa.Column("expires_at", UtcTime, nullable=False),
)

api_tokens = sa.Table(
    "api_tokens",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("hash", sa.String(64), nullable=False, unique=True),
    sa.Column("name", sa.String(80), nullable=False),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("last_used_at", UtcTime),
    sa.Column("expires_at", UtcTime),
)

sign_in_links = sa.Table(
    "sign_in_links",
    metadata,
    sa.Column("hash", sa.String(64), primary_key=True),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("expires_at", UtcTime, nullable=False),
)


def add_user(conn: sa.Connection, user: User) -> None:
    conn.execute(
        users.insert().values(
            id=user.id,
            name=user.name,
            role=user.role,
            password_hash=user.password_hash,
            created_at=user.created_at,
        )
    )


def find_user(conn: sa.Connection, user_id: str) -> User | None:
    return _user(conn.execute(users.select().where(users.c.id == user_id)).one_or_none())


def find_user_named(conn: sa.Connection, name: str) -> User | None:
    return _user(conn.execute(users.select().where(users.c.name == name)).one_or_none())


def first_admin(conn: sa.Connection) -> User | None:
    found = conn.execute(users.select().where(users.c.role == "admin").order_by(users.c.id).limit(1))
    return _user(found.one_or_none())


def set_password_hash(conn: sa.Connection, user_id: str, password_hash: str) -> None:
    conn.execute(users.update().where(users.c.id == user_id).values(password_hash=password_hash))


def add_session(conn: sa.Connection, session: Session) -> None:
    conn.execute(
        web_sessions.insert().values(
            id=session.id,
            user_id=session.user_id,
            created_at=session.created_at,
            seen_at=session.seen_at,
            expires_at=session.expires_at,
        )
    )


def find_session(conn: sa.Connection, session_id: str) -> tuple[Session, User] | None:
    """The session and whose it is, also when its time is over."""
    row = conn.execute(
        sa.select(
            web_sessions, users.c.name, users.c.role, users.c.password_hash, users.c.created_at.label("joined_at")
        )
        .join(users, users.c.id == web_sessions.c.user_id)
        .where(web_sessions.c.id == session_id)
    ).one_or_none()
    if row is None:
        return None
    session = Session(
        id=row.id, user_id=row.user_id, created_at=row.created_at, seen_at=row.seen_at, expires_at=row.expires_at
    )
    user = User(
        id=row.user_id, name=row.name, role=_role(row.role), password_hash=row.password_hash, created_at=row.joined_at
    )
    return session, user


def touch_session(conn: sa.Connection, session_id: str, at: datetime) -> None:
    conn.execute(web_sessions.update().where(web_sessions.c.id == session_id).values(seen_at=at))


def end_session(conn: sa.Connection, session_id: str) -> None:
    conn.execute(web_sessions.delete().where(web_sessions.c.id == session_id))


def end_other_sessions(conn: sa.Connection, user_id: str, kept_id: str) -> None:
    conn.execute(web_sessions.delete().where(web_sessions.c.user_id == user_id, web_sessions.c.id != kept_id))


def add_token(conn: sa.Connection, token: Token, token_hash: str) -> None:
    conn.execute(
        api_tokens.insert().values(
            id=token.id,
            hash=token_hash,
            name=token.name,
            role=token.role,
            created_at=token.created_at,
            last_used_at=token.last_used_at,
            expires_at=token.expires_at,
        )
    )


def find_token(conn: sa.Connection, token_hash: str) -> Token | None:
    """The token, also when its time is over."""
    row = conn.execute(api_tokens.select().where(api_tokens.c.hash == token_hash)).one_or_none()
    return None if row is None else _token(row)


def every_token(conn: sa.Connection, at: datetime) -> list[Token]:
    """Those that still work, oldest first."""
    alive = sa.or_(api_tokens.c.expires_at.is_(None), api_tokens.c.expires_at > at)
    return [_token(row) for row in conn.execute(api_tokens.select().where(alive).order_by(api_tokens.c.id))]


def touch_token(conn: sa.Connection, token_id: str, at: datetime) -> None:
    conn.execute(api_tokens.update().where(api_tokens.c.id == token_id).values(last_used_at=at))


def remove_token(conn: sa.Connection, token_id: str) -> bool:
    return conn.execute(api_tokens.delete().where(api_tokens.c.id == token_id)).rowcount == 1


def add_link(conn: sa.Connection, link_hash: str, created_at: datetime, expires_at: datetime) -> None:
    conn.execute(sign_in_links.insert().values(hash=link_hash, created_at=created_at, expires_at=expires_at))


def use_link(conn: sa.Connection, link_hash: str, at: datetime) -> bool:
    """True for exactly one caller: the link is gone after it."""
    used = conn.execute(
        sign_in_links.delete().where(sign_in_links.c.hash == link_hash, sign_in_links.c.expires_at > at)
    )
    return used.rowcount == 1


def sweep(conn: sa.Connection, at: datetime, idle_since: datetime) -> None:
    """Removes what no longer signs in."""
    conn.execute(sign_in_links.delete().where(sign_in_links.c.expires_at <= at))
    conn.execute(api_tokens.delete().where(api_tokens.c.expires_at <= at))
    conn.execute(
        web_sessions.delete().where(sa.or_(web_sessions.c.expires_at <= at, web_sessions.c.seen_at <= idle_since))
    )


def _user(row: sa.Row[Any] | None) -> User | None:
    if row is None:
        return None
    return User(
        id=row.id, name=row.name, role=_role(row.role), password_hash=row.password_hash, created_at=row.created_at
    )


def _token(row: sa.Row[Any]) -> Token:
    return Token(
        id=row.id,
        name=row.name,
        role=_role(row.role),
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        expires_at=row.expires_at,
    )


def _role(text: str) -> Role:
    """A row whose role is not known signs in as the least one."""
    return "admin" if text == "admin" else "operator" if text == "operator" else "viewer"
