"""All accounts as people see them: who is signed in, what is left, what to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from agented.accounts import store
from agented.accounts.limits import Point, SeenWindow, Standing, current, full_at
from agented.accounts.model import Account, Wall, default_account
from agented.accounts.states import AccountState, Judged, judge
from agented.accounts.walls import Walls, print_of
from agented.backends.contract import Backend, Login, Window
from agented.kit.clock import Clock
from agented.kit.db import Database
from agented.kit.errors import AgentedError, NotFound
from agented.kit.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowView:
    """A window as it stands now. full_at: when it is used up at its present pace, if that is before its reset."""

    window: Window
    seen: SeenWindow
    full_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountView:
    account: Account
    login: Login | None
    judged: Judged
    standing: Standing | None
    windows: Sequence[WindowView] = ()
    same_login_as: Sequence[str] = ()
    """Names of other accounts that are the same login."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """read_login: of an account whose secrets are open."""

    db: Database
    vault: Vault
    clock: Clock
    backends: Callable[[], Sequence[Backend]]
    read_login: Callable[[Backend, Account], Login | None]
    walls: Walls

    def every(self) -> list[AccountView]:
        """Accounts that were added, and the person's own login of each backend where somebody is signed in."""
        with self.db.read() as conn:
            added = [store.open_one(conn, self.vault, one.id) for one in store.every(conn)]
            standings = store.standings(conn)
            walls = self.walls.standing(conn)
        known = {backend.name: backend for backend in self.backends()}
        now = self.clock.now()
        found: list[tuple[Account, Backend | None, Login | None]] = []
        for backend in known.values():
            own = default_account(backend.name, now)
            login = self._login(backend, own)
            if login is not None:
                found.append((own, backend, login))
        for account in added:
            if account is not None:
                its = known.get(account.backend)
                found.append((account, its, None if its is None else self._login(its, account)))
        return [self._view(*one, found, standings.get(one[0].key), walls, now) for one in found]

    def one(self, key: str) -> AccountView:
        for view in self.every():
            if view.account.key == key:
                return view
        raise NotFound(f"There is no account {key[:120]!r}.", hint="`agented accounts list` shows them.")

    def history(self, account_key: str, since: datetime) -> dict[str, list[Point]]:
        with self.db.read() as conn:
            return store.points_of(conn, account_key, since)

    def _login(self, backend: Backend, account: Account) -> Login | None:
        try:
            return self.read_login(backend, account)
        except (AgentedError, OSError):
            # Half-written or unreadable: as good as not there; it is looked at again next time.
            return None

    def _view(
        self,
        account: Account,
        backend: Backend | None,
        login: Login | None,
        found: Sequence[tuple[Account, Backend | None, Login | None]],
        standing: Standing | None,
        walls: Sequence[Wall],
        now: datetime,
    ) -> AccountView:
        same = [
            other.name if not other.is_default else f"{other.backend} (own login)"
            for other, _, its in found
            if other.key != account.key and other.backend == account.backend and _is_same(login, its)
        ]
        if backend is None:
            judged = Judged(AccountState.DISABLED, "Its backend is not installed", "Install its plug-in.")
        else:
            judged = judge(account, backend, login, standing, walls, now)
        return AccountView(
            account=account,
            login=login,
            judged=judged,
            standing=standing,
            windows=self._windows(standing, now),
            same_login_as=same,
        )

    def _windows(self, standing: Standing | None, now: datetime) -> list[WindowView]:
        if standing is None or not standing.windows:
            return []
        points = self.history(standing.account_key, now - timedelta(days=1))
        return [
            WindowView(window=current(one, now), seen=one, full_at=full_at(points.get(one.window.name, []), now))
            for one in standing.windows
        ]


def _is_same(left: Login | None, right: Login | None) -> bool:
    if left is None or right is None:
        return False
    if left.email and right.email and left.kind == right.kind:
        return left.email == right.email
    return print_of(left) is not None and print_of(left) == print_of(right)
