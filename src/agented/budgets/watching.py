"""Whether what runs spend is still within budgets: before a run starts, and while it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal, InvalidOperation

import sqlalchemy as sa

from agented.budgets import store
from agented.budgets.model import WINDOWS, Budget, Learned, OnHard, Period, Scope, Spender, Standing, bounds
from agented.kit.clock import Clock
from agented.kit.db import Database
from agented.kit.errors import Conflict, Invalid, NotFound
from agented.kit.ids import new_id

_KEPT = timedelta(days=70)
_LEARNED_RUNS = 20
_LEAST_RUNS = 3
Tell = Callable[[sa.Connection, Standing, str], None]
"""Hears, once a period, of a budget that was crossed: at `soft` or at `hard`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """zone: in which days begin; None for the server's own."""

    db: Database
    clock: Clock
    tell: Tell
    zone: tzinfo | None = None

    def check(self, conn: sa.Connection, spender: Spender) -> Standing | None:
        """The budget that lets nothing of this spender start now, if there is one; the one that lasts longest."""
        spent = [one for one in self._standings(conn, spender) if one.is_spent and one.ends_at is not None]
        return max(spent, key=lambda one: one.ends_at or self.clock.now(), default=None)

    def spend(self, conn: sa.Connection, spender: Spender, usd: Decimal, began_at: datetime) -> Standing | None:
        """Notes what an execution has spent so far on its account; the budget that this has used up, if any."""
        store.put_spending(conn, spender, usd, began_at)
        return self._worst(conn, spender)

    def use(self, conn: sa.Connection, spender: Spender, window: str, kind: str, percent: Decimal) -> Standing | None:
        """Adds what an execution took of a window of its account; the budget that this has used up, if any.

        kind: as in `WINDOWS`; empty for one that no budget is of.
        """
        store.add_use(conn, spender, window, kind, percent, self.clock.now())
        return self._worst(conn, spender)

    def learned(self, bot: str | None = None) -> list[Learned]:
        """What runs of a bot, or of all, take of each window; nothing where too few were measured."""
        with self.db.read() as conn:
            return store.learned(conn, bot, _LEARNED_RUNS, _LEAST_RUNS)

    def _worst(self, conn: sa.Connection, spender: Spender) -> Standing | None:
        worst: Standing | None = None
        for standing in self._standings(conn, spender):
            for level, crossed in (("soft", standing.is_warned), ("hard", standing.is_spent)):
                if crossed and self._is_news(conn, standing, spender, level):
                    self.tell(conn, standing, level)
            if standing.is_spent:
                worst = standing
        return worst

    def _is_news(self, conn: sa.Connection, standing: Standing, spender: Spender, level: str) -> bool:
        budget = standing.budget
        if budget.period is Period.RUN:
            return store.note_warning(conn, budget.id, spender.execution_id, level, self.clock.now())
        begin, _ = bounds(budget.period, self.clock.now(), self.zone)
        return store.note_warning(conn, budget.id, standing.target, level, begin)

    def _standings(self, conn: sa.Connection, spender: Spender) -> list[Standing]:
        found = []
        for budget in store.every(conn):
            target = spender.target_in(budget.scope)
            if target is None or budget.target not in (None, target):
                continue
            if budget.period is Period.RUN:
                spent = store.spent(conn, budget, target, None, spender.execution_id)
                found.append(Standing(budget=budget, target=target, spent=spent, ends_at=None))
            else:
                found.append(self._standing(conn, budget, target))
        return found

    def _standing(self, conn: sa.Connection, budget: Budget, target: str) -> Standing:
        begin, end = bounds(budget.period, self.clock.now(), self.zone)
        spent = store.spent(conn, budget, target, begin)
        return Standing(budget=budget, target=target, spent=spent, ends_at=end)

    def every(self) -> list[tuple[Budget, list[Standing]]]:
        """All budgets, each with how it stands for whom it concerns."""
        with self.db.read() as conn:
            return [(budget, self._all_of(conn, budget)) for budget in store.every(conn)]

    def _all_of(self, conn: sa.Connection, budget: Budget) -> list[Standing]:
        if budget.period is Period.RUN:
            return []
        begin, _ = bounds(budget.period, self.clock.now(), self.zone)
        names = [budget.target] if budget.target is not None else store.targets(conn, budget, begin)
        return [self._standing(conn, budget, name) for name in names]

    def put(self, budget: Budget) -> Budget:
        """Adds a budget, or changes the one of its name. Raises Invalid that names the field, or Conflict."""
        _check(budget)
        with self.db.write() as conn:
            known = store.find(conn, budget.name)
            if known is not None and budget.id and known.id != budget.id:
                raise Conflict(f"There is a budget {budget.name} already.", code="name_taken", field="name")
            kept = replace(
                budget,
                id=budget.id or (known.id if known is not None else new_id("bud")),
                created_at=known.created_at if known is not None else self.clock.now(),
            )
            store.put(conn, kept)
        return kept

    def remove(self, id_or_name: str) -> None:
        with self.db.write() as conn:
            known = store.find(conn, id_or_name)
            if known is None:
                raise NotFound(f"There is no budget {id_or_name[:80]!r}.")
            store.remove(conn, known.id)

    def forget_old(self) -> None:
        with self.db.write() as conn:
            store.forget_before(conn, self.clock.now() - _KEPT)


def _check(budget: Budget) -> None:
    in_percent = budget.window is not None
    unit = "percent" if in_percent else "usd"
    if in_percent and budget.window not in WINDOWS:
        raise Invalid("There is no such window.", field="window", hint=f"One of {', '.join(WINDOWS)}.")
    for field, value in (("soft_usd", budget.soft_usd), ("hard_usd", budget.hard_usd)):
        if value is not None and in_percent:
            raise Invalid("A budget is in dollars or in percent of a window.", field=field, hint="Make two budgets.")
        if value is not None and not Decimal(0) < value <= Decimal(1_000_000):
            raise Invalid("Dollars, more than 0 and at most 1,000,000.", field=field)
    for field, value in (("soft_percent", budget.soft_percent), ("hard_percent", budget.hard_percent)):
        if value is not None and not in_percent:
            raise Invalid("Percent are of a window.", field="window", hint=f"One of {', '.join(WINDOWS)}.")
        if value is not None and not Decimal(0) < value <= Decimal(100_000):
            raise Invalid("Percent, more than 0; more than 100 where several windows or accounts add up.", field=field)
    if budget.soft is None and budget.hard is None:
        hint = "A number above 0." if in_percent else '"12.50"'
        raise Invalid("A budget has a soft or a hard limit.", field=f"hard_{unit}", hint=hint)
    if budget.soft is not None and budget.hard is not None and budget.soft > budget.hard:
        raise Invalid("The soft limit is above the hard one.", field=f"soft_{unit}")
    if budget.scope is Scope.ALL and budget.target is not None:
        raise Invalid("A budget over all has no target.", field="target")
    if budget.on_hard is OnHard.ASK and budget.hard is None:
        raise Invalid("Who asks needs a hard limit.", field="on_hard")


def read_amount(text: str | None, field: str) -> Decimal | None:
    """Of dollars or percent. Raises Invalid for what is no amount."""
    if text is None or not text.strip():
        return None
    words = "This is no amount of dollars." if field.endswith("_usd") else "This is no percentage."
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        raise Invalid(words, field=field, hint='"12.50"') from None
    if not value.is_finite():
        raise Invalid(words, field=field, hint='"12.50"')
    return value
