"""HTTP for budgets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from agented.budgets.model import Budget, OnHard, Period, Scope, Standing
from agented.budgets.watching import Budgets, read_amount
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
    window: str | None = Field(
        default=None,
        max_length=12,
        description="In place of dollars: percent of session, daily, weekly, monthly windows.",
    )
    soft_percent: str | None = Field(default=None, max_length=40)
    hard_percent: str | None = Field(default=None, max_length=40)
    on_hard: OnHard = OnHard.STOP


class StandingOut(BaseModel):
    target: str
    spent_usd: str | None
    spent_percent: str | None
    ends_at: str | None
    state: str = Field(description="within, warned or spent")


class LearnedOut(BaseModel):
    bot: str
    backend: str
    window: str = Field(description="The provider's own name of it.")
    percent: float = Field(description="Of the whole window, by one run, on average.")
    runs: int = Field(description="The last runs that were measured.")


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

    @router.get("/learned", openapi_extra=role("viewer"))
    def learned(bot: Annotated[str | None, Query(max_length=120)] = None) -> Page[LearnedOut]:
        """What runs of bots take of accounts' windows, where at least three were measured."""
        return Page(
            items=[
                LearnedOut(
                    bot=one.bot,
                    backend=one.backend,
                    window=one.window,
                    percent=round(float(one.percent), 3),
                    runs=one.runs,
                )
                for one in ports.budgets.learned(bot)
            ]
        )

    @router.put("/{name}", openapi_extra=role("admin"))
    def put(name: str, wish: BudgetIn) -> BudgetOut:
        """Adds it, or changes the one of this name."""
        budget = Budget(
            id="",
            name=_named(name),
            scope=wish.scope,
            period=wish.period,
            target=wish.target or None,
            soft_usd=read_amount(wish.soft_usd, "soft_usd"),
            hard_usd=read_amount(wish.hard_usd, "hard_usd"),
            window=wish.window or None,
            soft_percent=read_amount(wish.soft_percent, "soft_percent"),
            hard_percent=read_amount(wish.hard_percent, "hard_percent"),
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
        "window": budget.window,
        **{
            name: None if (value := getattr(budget, name)) is None else f"{value:f}"
            for name in ("soft_usd", "hard_usd", "soft_percent", "hard_percent")
        },
        "on_hard": budget.on_hard,
    }
    return BudgetOut(**values, standing=[_standing_out(one) for one in standings])


def _standing_out(one: Standing) -> StandingOut:
    return StandingOut(
        target=one.target,
        spent_usd=f"{one.spent:f}" if one.budget.window is None else None,
        spent_percent=None if one.budget.window is None else f"{one.spent:f}",
        ends_at=None if one.ends_at is None else one.ends_at.isoformat(timespec="seconds"),
        state="spent" if one.is_spent else "warned" if one.is_warned else "within",
    )
