"""Signing in and out: who holds a cookie or a token, and for how long."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import sqlalchemy as sa

from agented.kit.clock import Clock
from agented.kit.db import Database
from agented.kit.errors import Invalid, NotFound, Refused, Unauthenticated, Unavailable
from agented.kit.ids import new_id
from agented.kit.web import ROLES, Caller, Role
from agented.web import passwords, store
from agented.web.model import Session, Token, User
from agented.web.throttle import Throttle

log = logging.getLogger(__name__)

IDLE_LIFE = timedelta(hours=12)
SESSION_LIFE = timedelta(days=7)
LINK_LIFE = timedelta(minutes=15)
_TOUCH_EVERY = timedelta(minutes=1)
_TOKEN_PREFIX = "agt_"  # noqa: S105 - tells tokens of ours from others
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Somebody at the door. `session` and `user` are None for a token."""

    caller: Caller
    still: Callable[[], bool]
    session: Session | None = None
    user: User | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """A new session. `cookie` is what the browser keeps; only its hash is stored."""

    cookie: str = field(repr=False)
    session: Session
    user: User


class Auth:
    """secret: signs CSRF tokens."""

    def __init__(self, db: Database, clock: Clock, secret: bytes) -> None:
        self._db = db
        self._clock = clock
        self._secret = secret
        self._per_name = Throttle(clock, tries=10, within_s=60)
        self._per_address = Throttle(clock, tries=60, within_s=60)

    def by_cookie(self, value: str) -> SignedIn | None:
        session_id = _hash(value)
        with self._db.read() as conn:
            found = store.find_session(conn, session_id)
        now = self._clock.now()
        if found is None or not _is_alive(found[0], now):
            return None
        session, user = found
        if now - session.seen_at >= _TOUCH_EVERY:
            self._touch(lambda conn: store.touch_session(conn, session_id, now))
        caller = Caller(f"user:{user.name}", user.name, user.role, "user")
        return SignedIn(caller, lambda: self._session_lives(session_id), session, user)

    def _session_lives(self, session_id: str) -> bool:
        with self._db.read() as conn:
            found = store.find_session(conn, session_id)
        return found is not None and _is_alive(found[0], self._clock.now())

    def by_token(self, value: str) -> SignedIn | None:
        token_hash = _hash(value)
        token = self._living_token(token_hash)
        if token is None:
            return None
        now = self._clock.now()
        if token.last_used_at is None or now - token.last_used_at >= _TOUCH_EVERY:
            self._touch(lambda conn: store.touch_token(conn, token.id, now))
        caller = Caller(f"token:{token.name}", token.name, token.role, "token")
        return SignedIn(caller, lambda: self._living_token(token_hash) is not None)

    def _living_token(self, token_hash: str) -> Token | None:
        with self._db.read() as conn:
            token = store.find_token(conn, token_hash)
        if token is None or (token.expires_at is not None and token.expires_at <= self._clock.now()):
            return None
        return token

    def _touch(self, write: Callable[[sa.Connection], None]) -> None:
        """When somebody was last seen is worth a write, not an answer: with a full disk people still look."""
        try:
            with self._db.write() as conn:
                write(conn)
        except Unavailable as error:
            log.warning("not noted who was seen: %s", error.message)

    def sign_in_by_link(self, link: str, address: str) -> Opened:
        """The first link ever makes the user `admin`."""
        self._per_address.take(address)
        now = self._clock.now()
        with self._db.write() as conn:
            if not store.use_link(conn, _hash(link), now):
                raise Unauthenticated(
                    "This link does not sign in: it was used already, or its 15 minutes are over.",
                    code="link_invalid",
                    hint="Run `agented link` for a new one.",
                )
            user = store.first_admin(conn)
            if user is None:
                user = User(id=new_id("usr"), name="admin", role="admin", password_hash=None, created_at=now)
                store.add_user(conn, user)
            return self._open_session(conn, user, now)

    def sign_in_by_password(self, name: str, password: str, address: str) -> Opened:
        key = (address, name[:_LONGEST])
        self._per_address.take(address)
        self._per_name.take(key)
        with self._db.read() as conn:
            user = store.find_user_named(conn, name)
        if not passwords.verify(user.password_hash if user else None, password) or user is None:
            raise Unauthenticated(
                "The name or the password is wrong.",
                code="wrong_password",
                hint="Run `agented link` on the server's machine to sign in without a password.",
            )
        self._per_name.forget(key)
        now = self._clock.now()
        renewed = passwords.hash_password(password) if passwords.is_outdated(user.password_hash or "") else None
        with self._db.write() as conn:
            if renewed:
                store.set_password_hash(conn, user.id, renewed)
            return self._open_session(conn, user, now)

    def _open_session(self, conn: sa.Connection, user: User, now: datetime) -> Opened:
        cookie = _random()
        session = Session(id=_hash(cookie), user_id=user.id, created_at=now, seen_at=now, expires_at=now + SESSION_LIFE)
        store.sweep(conn, now, now - IDLE_LIFE)
        store.add_session(conn, session)
        return Opened(cookie, session, user)

    def sign_out(self, session: Session) -> None:
        with self._db.write() as conn:
            store.end_session(conn, session.id)

    def set_password(self, who: SignedIn, current: str | None, new: str, address: str) -> None:
        """Ends the person's other sessions. Whoever has a password must say it."""
        if who.user is None or who.session is None:
            raise Refused("A token has no password.", hint="Sign in as a person.")
        key = (address, who.user.name)
        self._per_name.take(key)
        known = who.user.password_hash
        if known is not None and not passwords.verify(known, current or ""):
            raise Invalid("The current password is wrong.", code="wrong_password", field="current")
        self._per_name.forget(key)
        password_hash = passwords.hash_password(new)
        with self._db.write() as conn:
            store.set_password_hash(conn, who.user.id, password_hash)
            store.end_other_sessions(conn, who.user.id, who.session.id)

    def csrf_token(self, session: Session) -> str:
        signature = hmac.digest(self._secret, f"csrf {session.id}".encode(), "sha256")
        return base64.urlsafe_b64encode(signature).decode().rstrip("=")

    def is_csrf_token(self, session: Session, value: str) -> bool:
        return hmac.compare_digest(self.csrf_token(session).encode(), value.encode())


def create_token(db: Database, clock: Clock, name: str, role: Role, *, lives_s: float | None = None) -> str:
    """The text of a new token, which is kept nowhere."""
    return issue_token(db, clock, name, role, lives_s=lives_s)[1]


def issue_token(
    db: Database, clock: Clock, name: str, role: Role, *, lives_s: float | None = None
) -> tuple[Token, str]:
    name = name.strip()
    if not 1 <= len(name) <= 80 or not name.isprintable():
        raise Invalid("A token's name has 1 to 80 characters on one line.", field="name")
    if role not in ROLES:
        raise Invalid(f"There is no role {role!r}.", field="role", hint=f"Roles: {', '.join(ROLES)}.")
    now = clock.now()
    text = _TOKEN_PREFIX + _random()
    token = Token(
        id=new_id("tok"),
        name=name,
        role=role,
        created_at=now,
        last_used_at=None,
        expires_at=None if lives_s is None else now + timedelta(seconds=lives_s),
    )
    with db.write() as conn:
        store.sweep(conn, now, now - IDLE_LIFE)
        store.add_token(conn, token, _hash(text))
    return token, text


def revoke_token(db: Database, token_id: str) -> None:
    with db.write() as conn:
        if not store.remove_token(conn, token_id):
            raise NotFound(f"There is no token {token_id[:40]}.")


def create_link(db: Database, clock: Clock) -> str:
    """The secret part of a link that signs in once, within 15 minutes: /sign-in?token=…"""
    now = clock.now()
    text = _random()
    with db.write() as conn:
        store.sweep(conn, now, now - IDLE_LIFE)
        store.add_link(conn, _hash(text), now, now + LINK_LIFE)
    return text


def _is_alive(session: Session, now: datetime) -> bool:
    return now < session.expires_at and now - session.seen_at < IDLE_LIFE


def _random() -> str:
    return secrets.token_urlsafe(32)


def _hash(text: str) -> str:
    """What is random with 256 bits needs no slow hash."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
