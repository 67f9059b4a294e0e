"""Signing in: one terminal per account at a time. Whether it went well is told by the login that can be read after."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from agented.accounts.login import child_env, secrets_of
from agented.accounts.model import Account
from agented.accounts.signing_in.seen import Shown, shown
from agented.backends.contract import Backend, Login, LoginWay
from agented.kit.bus import Bus
from agented.kit.clock import Clock
from agented.kit.errors import AgentedError, Conflict, Invalid, NotFound, ProgramMissing
from agented.kit.ids import new_id
from agented.kit.pty import Piece, Terminal

_LOOK_S = 1.0
_FINISHING_S = 3.0
_ENDING_S = 10.0
_MOST_AT_ONCE = 8
_FORGOTTEN = timedelta(minutes=15)
_BROWSERS = ("open", "xdg-open", "x-www-browser", "www-browser", "sensible-browser", "gnome-open", "wslview")


class SignInState(StrEnum):
    RUNNING = "running"
    SIGNED_IN = "signed_in"
    """There is a login that was not there before."""
    UNCHANGED = "unchanged"
    """The CLI ended well; the login is the one that was there before."""
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a sign-in stands. size: how much was printed."""

    id: str
    state: SignInState
    detail: str
    shown: Shown
    way: str
    started_at: datetime
    until: datetime
    ended_at: datetime | None
    size: int


def topic_of(account_key: str) -> str:
    return f"sign-in:{account_key}"


def ways_of(backend: Backend) -> Sequence[LoginWay]:
    if backend.login_ways:
        return backend.login_ways
    return () if backend.login_command is None else (LoginWay("Sign in", backend.login_command),)


class SignIn:
    """One: its terminal, and what became of it."""

    def __init__(self, *, way: str, began: datetime, until: datetime, before: str | None, columns: int) -> None:
        self.id = new_id("sgn")
        self.state = SignInState.RUNNING
        self.detail = ""
        self.ended_at: datetime | None = None
        self.terminal: Terminal | None = None
        self.columns = columns
        self.before = before
        self.until = until
        self._way = way
        self._began = began
        self._shown = Shown()
        self._looked_at = 0
        self._lock = threading.Lock()

    def standing(self) -> Standing:
        """Looks at what was printed since; takes a moment."""
        with self._lock:
            terminal = self.terminal
            size = 0 if terminal is None else terminal.output.end
            if terminal is not None and size != self._looked_at:
                now = shown(terminal.output.read(0).data, self.columns)
                self._shown = Shown(now.url or self._shown.url, now.code or self._shown.code)
                self._looked_at = size
            return Standing(
                id=self.id,
                state=self.state,
                detail=self.detail,
                shown=self._shown,
                way=self._way,
                started_at=self._began,
                until=self.until,
                ended_at=self.ended_at,
                size=size,
            )

    def read(self, after: int) -> Piece:
        return Piece(0, b"") if self.terminal is None else self.terminal.output.read(after)

    def settle(self, state: SignInState, detail: str) -> None:
        """How it ends; the first word stands."""
        with self._lock:
            if self.state is SignInState.RUNNING:
                self.state, self.detail = state, detail

    @property
    def runs(self) -> bool:
        return self.terminal is not None and not self.terminal.has_ended


@dataclass(slots=True, kw_only=True)
class SignIns:
    """find: the backend and the account of a key, secrets opened, or NotFound. program: the start of argv, None where
    the CLI is not installed. env: what every child's environment starts from. folder: an empty one to work in.
    told: hears the key of an account that has a new login.
    """

    bus: Bus
    clock: Clock
    find: Callable[[str], tuple[Backend, Account]]
    read_login: Callable[[Backend, Account], Login | None]
    program: Callable[[Backend, Account], Sequence[str] | None]
    env: Mapping[str, str]
    folder: Path
    told: Callable[[str], None]
    limit_s: float = 15 * 60
    _known: dict[str, SignIn] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closed: bool = False

    def start(self, key: str, *, way: int = 0, rows: int = 30, columns: int = 100) -> SignIn:
        """Raises Conflict while another one of the account runs, Invalid where the CLI has no sign-in of its own."""
        backend, account = self.find(key)
        ways = ways_of(backend)
        if not 0 <= way < len(ways):
            raise Invalid(f"{backend.title} has no such way to sign in.", field="way", hint=backend.sign_in_hint)
        if account.home is None and not account.is_default:
            raise Invalid(
                f"{account.name} has no home of its own: signing in would change the login of another account.",
                hint="Its login is in its variables. Forget it and add it with a home, or with another key.",
            )
        program = self.program(backend, account)
        if program is None:
            raise ProgramMissing(f"{backend.program} is not installed.", hint=backend.install_hint)
        login = self._login(backend, account)
        now = self.clock.now()
        sign_in = SignIn(
            way=ways[way].title,
            began=now,
            until=now + timedelta(seconds=self.limit_s),
            before=_print_of(login),
            columns=columns,
        )
        with self._lock:
            self._forget_old(now)
            running = self._known.get(account.key)
            if self._closed or (running is not None and running.runs):
                raise Conflict(f"Somebody signs in to {account.name} already.", code="sign_in_running")
            if sum(1 for one in self._known.values() if one.runs) >= _MOST_AT_ONCE:
                raise Conflict("Too many sign-ins are open.", code="too_many_sign_ins", hint="Cancel one.")
            # The topic rings as soon as there is output; who listens finds it by its key.
            sign_in.terminal = Terminal(
                [*program, *ways[way].arguments],
                env=self._environment(backend, account),
                cwd=self._workplace(),
                rows=rows,
                columns=columns,
                secrets=secrets_of(account, login),
                changed=lambda: self.bus.ring(topic_of(account.key)),
            )
            self._known[account.key] = sign_in
        watch = threading.Thread(
            target=self._watch, args=(sign_in, sign_in.terminal, backend, account), name="sign-in", daemon=True
        )
        watch.start()
        return sign_in

    def get(self, key: str) -> SignIn | None:
        with self._lock:
            self._forget_old(self.clock.now())
            return self._known.get(key)

    def type(self, key: str, text: str) -> None:
        _, terminal = self._running(key)
        terminal.write(text.encode())

    def resize(self, key: str, rows: int, columns: int) -> None:
        sign_in, terminal = self._running(key)
        sign_in.columns = columns
        terminal.resize(rows, columns)

    def cancel(self, key: str) -> None:
        """Returns when nothing of it runs any more. Nothing to cancel is fine."""
        sign_in = self.get(key)
        if sign_in is None or sign_in.terminal is None or not sign_in.runs:
            return
        sign_in.settle(SignInState.CANCELLED, "Cancelled.")
        sign_in.terminal.end()
        sign_in.terminal.wait(_ENDING_S)

    def close(self) -> None:
        """The server goes: every terminal ends with all that runs in it."""
        with self._lock:
            self._closed = True
            open_ones = [one for one in self._known.values() if one.runs and one.terminal is not None]
        for one in open_ones:
            one.settle(SignInState.CANCELLED, "The server was stopped.")
            if one.terminal is not None:
                one.terminal.end()
        for one in open_ones:
            if one.terminal is not None:
                one.terminal.wait(_ENDING_S)

    def _running(self, key: str) -> tuple[SignIn, Terminal]:
        sign_in = self.get(key)
        if sign_in is None or sign_in.terminal is None:
            raise NotFound("Nobody signs in to this account.", code="no_sign_in")
        return sign_in, sign_in.terminal

    def _forget_old(self, now: datetime) -> None:
        old = [key for key, one in self._known.items() if one.ended_at is not None and now - one.ended_at > _FORGOTTEN]
        for key in old:
            del self._known[key]

    def _environment(self, backend: Backend, account: Account) -> dict[str, str]:
        """As a run has it, and with no way to open a browser here: the person's is elsewhere."""
        browsers = self._no_browsers()
        own = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "BROWSER": str(browsers / _BROWSERS[0])}
        env = {**self.env, **own, **backend.login_env, **child_env(backend, account)}
        return {**env, "PATH": os.pathsep.join([str(browsers), env.get("PATH", os.defpath)])}

    def _workplace(self) -> Path:
        place = self.folder / "work"
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        return place

    def _no_browsers(self) -> Path:
        """A folder of programs that would open a browser, and do nothing."""
        folder = self.folder / "browsers"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in _BROWSERS:
            program = folder / name
            if not program.exists():
                program.write_text("#!/bin/sh\nexit 0\n")
                program.chmod(0o700)
        return folder

    def _login(self, backend: Backend, account: Account) -> Login | None:
        try:
            return self.read_login(backend, account)
        except (AgentedError, OSError):
            # Half-written: it is looked at again.
            return None

    def _watch(self, sign_in: SignIn, terminal: Terminal, backend: Backend, account: Account) -> None:
        """Until it has ended: looks for the new login, and ends what takes too long."""
        login = None
        while not terminal.wait(_LOOK_S):
            login = self._new_login(sign_in, terminal, backend, account)
            if login is not None:
                # Some end by themselves now, others go on as what they are beside a sign-in.
                terminal.wait(_FINISHING_S)
                terminal.end()
                break
            if self.clock.now() >= sign_in.until:
                minutes = round(self.limit_s / 60)
                sign_in.settle(SignInState.TIMED_OUT, f"It took longer than {minutes} minutes.")
                terminal.end()
                break
        terminal.wait()
        login = login or self._new_login(sign_in, terminal, backend, account)
        if login is not None:
            sign_in.settle(SignInState.SIGNED_IN, _told_of(login))
        elif terminal.exit_code == 0 and sign_in.before is not None:
            sign_in.settle(SignInState.UNCHANGED, "The login is the one that was there before.")
        else:
            sign_in.settle(SignInState.FAILED, f"The CLI ended with {terminal.exit_code} and left no new login.")
        if login is not None:
            self.told(account.key)
        sign_in.ended_at = self.clock.now()
        self.bus.ring(topic_of(account.key))

    def _new_login(self, sign_in: SignIn, terminal: Terminal, backend: Backend, account: Account) -> Login | None:
        login = self._login(backend, account)
        if login is None or _print_of(login) == sign_in.before:
            return None
        terminal.output.mask(secrets_of(account, login))
        return login


def _told_of(login: Login) -> str:
    who = " as ".join(["Signed in", *([login.email] if login.email else [])])
    return f"{who} ({login.plan})." if login.plan else f"{who}."


def _print_of(login: Login | None) -> str | None:
    """Tells one login from another without holding it."""
    if login is None:
        return None
    parts = [login.kind, login.provider or "", login.token or "", str(login.expires_at), *login.secrets]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
