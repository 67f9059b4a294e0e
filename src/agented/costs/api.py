"""HTTP for what was spent. Amounts of money are exact and sent as text; days are those of the server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, Field

from agented.costs import store
from agented.costs.collector import Collector
from agented.costs.model import Filter, Group, Sums
from agented.costs.prices import to_dollars
from agented.kit.db import Database
from agented.kit.errors import Invalid
from agented.kit.table import as_csv
from agented.kit.web import role

_COUNTS = ("messages", "input", "output", "cache_read", "cache_write", "cache_write_1h", "reasoning")
_DAY = r"^\d{4}-\d{2}-\d{2}$"
_MOST = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CostsApi:
    db: Database
    collector: Collector


class CostSums(BaseModel):
    messages: int = Field(description="Answers of models.")
    input: int = Field(description="Tokens that came from no cache.")
    output: int
    cache_read: int
    cache_write: int = Field(description="Tokens put into a cache for 5 minutes; none of them is in `cache_write_1h`.")
    cache_write_1h: int = Field(description="Tokens put into a cache for an hour.")
    reasoning: int = Field(description="As the CLI tells it: within `output`, or beside it.")
    cost_usd: str | None = Field(description="What an API key would have paid; null when nothing has a price.")
    unpriced_messages: int = Field(description="Answers of models that the price table does not know.")


class CostItem(CostSums):
    """With the keys that were asked for; null says that there is none."""

    source: str | None = None
    model: str | None = None
    day: str | None = None
    account: str | None = Field(default=None, description="`backend:id`; the id `default` is the person's own login.")
    project: str | None = None
    bot: str | None = None
    session: str | None = None
    execution: str | None = None


class PricesOut(BaseModel):
    version: str
    date: str


class CostsOut(BaseModel):
    items: list[CostItem]
    totals: CostSums
    prices: PricesOut
    collected_at: str | None


class Collected(BaseModel):
    added: int = Field(description="Answers that were not known before.")
    collected_at: str | None


def build_router(ports: CostsApi) -> APIRouter:
    router = APIRouter(prefix="/api/costs", tags=["costs"])

    @router.get(
        "",
        response_model=CostsOut,
        response_model_exclude_unset=True,
        responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
        openapi_extra=role("viewer"),
    )
    def get_costs(
        group: Annotated[
            str,
            Query(
                max_length=200,
                description="Any of source, model, day, account, project, bot, session, execution, by commas.",
            ),
        ] = "source,model,day",
        since: Annotated[str | None, Query(pattern=_DAY, description="The first day.")] = None,
        until: Annotated[str | None, Query(pattern=_DAY, description="The last day.")] = None,
        source: Annotated[str | None, Query(max_length=60)] = None,
        account: Annotated[str | None, Query(max_length=120)] = None,
        project: Annotated[str | None, Query(max_length=40)] = None,
        bot: Annotated[str | None, Query(max_length=40)] = None,
        model: Annotated[str | None, Query(max_length=200)] = None,
        session: Annotated[str | None, Query(max_length=200)] = None,
        execution: Annotated[str | None, Query(max_length=40)] = None,
        format: Annotated[str | None, Query(pattern="^(json|csv)$", description="csv for a table.")] = None,
        accept: Annotated[str | None, Header(max_length=400)] = None,
    ) -> Any:
        groups = _groups(group)
        given = {
            Group.SOURCE: source,
            Group.ACCOUNT: account,
            Group.PROJECT: project,
            Group.BOT: bot,
            Group.MODEL: model,
            Group.SESSION: session,
            Group.EXECUTION: execution,
        }
        equal = [(name, value) for name, value in given.items() if value is not None]
        wanted = Filter(since=since, until=until, equal=equal)
        with ports.db.read() as conn:
            shelf = store.shelf_of(conn)
            rows = list(store.sums(shelf, groups, wanted, most=_MOST + 1))
            total = next((sums for _, sums in store.sums(shelf, (), wanted)), Sums())
        if len(rows) > _MOST:
            raise Invalid(f"That is more than {_MOST:,} rows.", field="group", hint="Narrow it with since and until.")
        items = [{**_keys(groups, names), **_sums(sums)} for names, sums in rows]
        if format == "csv" or (format is None and "text/csv" in (accept or "")):
            return Response(_table(groups, items), media_type="text/csv; charset=utf-8")
        collected_at = ports.collector.collected_at
        prices = ports.collector.prices
        return {
            "items": items,
            "totals": _sums(total),
            "prices": {"version": prices.version, "date": prices.date},
            "collected_at": None if collected_at is None else collected_at.isoformat(),
        }

    @router.post("/collect", openapi_extra=role("operator"))
    def collect_costs() -> Collected:
        """Reads what is new in the session files now."""
        added = ports.collector.collect()
        at = ports.collector.collected_at
        return Collected(added=added, collected_at=None if at is None else at.isoformat())

    return router


def _groups(text: str) -> Sequence[Group]:
    words = list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    try:
        return [Group(word) for word in words]
    except ValueError:
        known = ", ".join(Group)
        raise Invalid("Costs cannot be told apart so.", field="group", hint=f"Any of {known}, by commas.") from None


def _keys(groups: Sequence[Group], names: Sequence[str]) -> dict[str, Any]:
    return {str(group): name or None for group, name in zip(groups, names, strict=True)}


def _sums(sums: Sums) -> dict[str, Any]:
    priced = sums.messages > sums.unpriced or not sums.messages
    return {
        **{name: getattr(sums, name) for name in _COUNTS},
        "cost_usd": f"{to_dollars(sums.cost):f}" if priced else None,
        "unpriced_messages": sums.unpriced,
    }


def _table(groups: Sequence[Group], items: Sequence[dict[str, Any]]) -> str:
    columns = [*map(str, groups), *_COUNTS, "cost_usd", "unpriced_messages"]
    return as_csv(columns, ([item[name] for name in columns] for item in items))
