"""HTTP for budgets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from agented.budgets.model import Budget, OnHard, Period, Scope, Standing
from agented.budgets.watching import Budgets, read_usd
from agented.kit.clock import Clock
from agented.kit.errors import Invalid
from agented.kit.web import Page, role


class BudgetIn(BaseModel):
    scope: Scope
    period: Period
    target: str | None = Field(
        default=None, max_length=120, description="A bot's name, a project's id, an account's key; none for each."
    )
    soft_usd: str | None = Field(default=None, max_length=40, description="People are told from here on.")
    hard_usd: str | None = Field(default=None, max_length=40, description="Runs are stopped or held from here on.")
    on_hard: OnHard = OnHard.STOP


class StandingOut(BaseModel):
    target: str
    spent_usd: str
    ends_at: str | None
    state: str = Field(description="within, warned or spent")


class BudgetOut(BudgetIn):
    id: str
    name: str
    standing: list[StandingOut]


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetsApi:
    budgets: Budgets
    clock: Clock


def build_router(ports: BudgetsApi) -> APIRouter:
    router = APIRouter(prefix="/api/budgets", tags=["budgets"])

    @router.get("", openapi_extra=role("viewer"))
    def list_budgets() -> Page[BudgetOut]:
        return Page(items=[_out(budget, standings) for budget, standings in ports.budgets.every()])

    @router.put("/{name}", openapi_extra=role("admin"))
    def put(name: str, wish: BudgetIn) -> BudgetOut:
        """Adds it, or changes the one of this name."""
        budget = Budget(
            id="",
            name=_named(name),
            scope=wish.scope,
            period=wish.period,
            target=wish.target or None,
            soft_usd=read_usd(wish.soft_usd, "soft_usd"),
            hard_usd=read_usd(wish.hard_usd, "hard_usd"),
            on_hard=wish.on_hard,
            created_at=ports.clock.now(),
        )
        return _out(ports.budgets.put(budget), [])

    @router.delete("/{name}", status_code=204, openapi_extra=role("admin"))
    def remove(name: str) -> None:
        ports.budgets.remove(name)

    return router


def _named(name: str) -> str:
    if not 0 < len(name.strip()) <= 80 or not name.isprintable():
        raise Invalid("A budget's name has 1 to 80 characters.", field="name")
    return name.strip()


def _out(budget: Budget, standings: list[Standing]) -> BudgetOut:
    values: dict[str, Any] = {
        "id": budget.id,
        "name": budget.name,
        "scope": budget.scope,
        "period": budget.period,
        "target": budget.target,
        "soft_usd": None if budget.soft_usd is None else f"{budget.soft_usd:f}",
        "hard_usd": None if budget.hard_usd is None else f"{budget.hard_usd:f}",
        "on_hard": budget.on_hard,
    }
    return BudgetOut(**values, standing=[_standing_out(one) for one in standings])


def _standing_out(one: Standing) -> StandingOut:
    return StandingOut(
        target=one.target,
        spent_usd=f"{one.spent_usd:f}",
        ends_at=None if one.ends_at is None else one.ends_at.isoformat(timespec="seconds"),
        state="spent" if one.is_spent else "warned" if one.is_warned else "within",
    )
