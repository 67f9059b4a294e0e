"""What executions ask of the rooms of accounts and budgets, in their words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from agented.accounts import choice, login
from agented.accounts import store as account_store
from agented.accounts.broker import Broker
from agented.accounts.model import Account, Wall, WallKind, default_account
from agented.accounts.monitor import Monitor, Watched, room_of
from agented.accounts.walls import Walls
from agented.app.shelf import Shelf
from agented.backends.contract import Backend, Login, Reason
from agented.backends.events import LimitSeen, TokensUsed
from agented.budgets.model import OnHard, Spender, Standing, amount
from agented.budgets.watching import Budgets
from agented.costs.prices import Prices, to_dollars
from agented.executions.attempt import End, find_program
from agented.executions.choosing import Room
from agented.executions.model import Attempt, AttemptVerdict, Execution
from agented.executions.worker import Overspent
from agented.kit.db import after_commit
from agented.kit.errors import AgentedError
from agented.kit.keychain import Keychain

if TYPE_CHECKING:
    import sqlalchemy as sa


_WALLS = {
    str(Reason.USAGE_LIMIT): WallKind.LIMIT,
    str(Reason.NO_CREDIT): WallKind.CREDIT,
    str(Reason.BAD_CREDENTIALS): WallKind.SIGN_IN,
}


class Accounts:
    """What the worker asks of the accounts room, bound to this data folder."""

    def __init__(self, shelf: Shelf, home: Path, secrets: Keychain) -> None:
        self._shelf = shelf
        self._home = home
        self._secrets = secrets
        self.on_end: Callable[[], None] = lambda: None
        settings = shelf.settings
        self.monitor: Monitor | None = None
        self.broker = Broker(shelf.clock)
        self.standing = Walls(clock=shelf.clock, margin_s=settings.limit_margin_s, unknown_s=settings.limit_unknown_s)

    def candidates(self, backend: str, account: str | None) -> list[Account]:
        with self._shelf.db.read() as conn:
            return choice.candidates(conn, self._shelf.vault, self._shelf.clock, backend, account)

    def walls(self) -> list[Wall]:
        with self._shelf.db.read() as conn:
            return self.standing.standing(conn)

    def room(self, account_key: str, model: str | None) -> Room:
        with self._shelf.db.read() as conn:
            standing = account_store.find_standing(conn, account_key)
        return Room(*room_of(standing, model, self._shelf.clock.now()))

    def note_end(self, conn: sa.Connection, attempt: Attempt, model: str | None, end: End) -> bool:
        after_commit(conn, self.on_end)
        key = attempt.account_key
        if key is None:
            return False
        awaited = self.broker.left(attempt.execution_id)
        backend = self._shelf.registry.load().get(key.partition(":")[0])
        if self.monitor is not None and backend is not None and backend.limits is not None:
            after_commit(conn, partial(self.monitor.session_ended, key))
        if end.verdict is AttemptVerdict.SUCCEEDED:
            return self.standing.passed(conn, key, model, attempt.started_at) or awaited
        kind = _WALLS.get(end.reason or "")
        if kind is not None:
            window = end.window or "unknown" if kind is WallKind.LIMIT else str(kind)
            login = self.login_of(key) if kind is WallKind.SIGN_IN else None
            self.standing.reached(
                conn, key, window, end.resets_at, kind=kind, model=model, login=login, detail=end.detail
            )
        return awaited

    def may_start(self, backend: Backend, account: Account, execution_id: str) -> datetime | None:
        return self.broker.enter(account.key, self.read_login(backend, account), execution_id)

    def find(self, account_key: str) -> tuple[Backend, Account]:
        """The account of a key, secrets opened. Raises NotFound."""
        backend, _, account_id = account_key.partition(":")
        known = self._shelf.registry.get(backend)
        with self._shelf.db.read() as conn:
            return known, choice.choose(conn, self._shelf.vault, self._shelf.clock, backend, account_id)

    def note_limits(self, account_key: str, seen: Sequence[LimitSeen]) -> None:
        if self.monitor is not None:
            self.monitor.note_seen(account_key, seen)

    def watched(self, base: Mapping[str, str]) -> list[Watched]:
        """Every account whose limits can be learned: not switched off, signed in, and of a backend that tells them."""
        shelf = self._shelf
        with shelf.db.read() as conn:
            added = [account_store.open_one(conn, shelf.vault, one.id) for one in account_store.every(conn)]
        accounts = [one for one in added if one is not None and not one.disabled]
        found = []
        for backend in shelf.registry.all():
            if backend.limits is None:
                continue
            own = default_account(backend.name, shelf.clock.now())
            for account in [own, *(one for one in accounts if one.backend == backend.name)]:
                signed_in = self.read_login(backend, account)
                if signed_in is None:
                    continue
                env = {**base, **self.env_of(backend, account)}
                home = account.home or backend.default_home(Path(env.get("HOME") or self._home))
                found.append(
                    Watched(
                        account=account,
                        backend=backend,
                        limits=backend.limits,
                        login=signed_in,
                        home=home,
                        program=find_program(backend, env.get("PATH", ""), account.program),
                        env=env,
                    )
                )
        return found

    def name_of(self, conn: sa.Connection, account_key: str) -> str:
        backend, _, account_id = account_key.partition(":")
        known = account_store.find(conn, account_id)
        return known.name if known is not None else f"{self._shelf.registry.get(backend).title}, own login"

    def forget_old(self) -> None:
        with self._shelf.db.write() as conn:
            self.standing.forget_old(conn)

    def login_of(self, account_key: str) -> Login | None:
        backend, _, account = account_key.partition(":")
        try:
            found = next(one for one in self.candidates(backend, account))
            return self.read_login(self._shelf.registry.get(backend), found)
        except AgentedError:
            return None

    def check(self, backend: str, account: str | None) -> None:
        with self._shelf.db.read() as conn:
            choice.check(conn, backend, account)

    def read_login(self, backend: Backend, account: Account) -> Login | None:
        return login.read_login(backend, account, self._home, self._secrets)

    def env_of(self, backend: Backend, account: Account) -> Mapping[str, str]:
        return login.child_env(backend, account)

    def secrets_of(self, account: Account, found: Login | None) -> tuple[str, ...]:
        return login.secrets_of(account, found)


class Spending:
    """What the worker asks of the budgets room."""

    def __init__(self, budgets: Budgets, prices: Callable[[], Prices]) -> None:
        self._budgets = budgets
        self._prices = prices

    def check(self, conn: sa.Connection, execution: Execution) -> Overspent | None:
        return told(self._budgets.check(conn, self._spender(execution, None)))

    def spend(self, conn: sa.Connection, execution: Execution, attempt: Attempt, usd: Decimal) -> Overspent | None:
        spender = self._spender(execution, attempt.account_key)
        return told(self._budgets.spend(conn, spender, usd, attempt.started_at))

    def price(self, model: str | None, tokens: TokensUsed) -> Decimal | None:
        price = None if model is None else self._prices().find(model)
        if price is None:
            return None
        return to_dollars(price.cost(tokens.input, tokens.output, tokens.cache_read, tokens.cache_write, 0))

    def _spender(self, execution: Execution, account_key: str | None) -> Spender:
        request = execution.request
        return Spender(
            execution_id=execution.id,
            origin=request.origin,
            project_id=request.project_id,
            account_key=account_key,
        )


def told(standing: Standing | None) -> Overspent | None:
    """A budget that is spent, in the words of executions."""
    if standing is None:
        return None
    budget = standing.budget
    spent, limit = amount(budget, standing.spent), amount(budget, budget.hard or standing.spent)
    detail = f"The budget {budget.name} of {limit} is spent ({spent})."
    return Overspent(detail, standing.ends_at, budget.on_hard is OnHard.ASK)
