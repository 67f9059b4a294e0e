"""Collects the routes of all rooms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query
from fastapi.responses import StreamingResponse

from agented.accounts import api as accounts_api
from agented.accounts.api import AccountsApi
from agented.accounts.signing_in import api as sign_in_api
from agented.accounts.signing_in.api import SignInApi
from agented.backends import api as backends_api
from agented.backends.api import BackendsApi
from agented.bots import api as bots_api
from agented.bots.api import BotsApi
from agented.budgets import api as budgets_api
from agented.budgets.api import BudgetsApi
from agented.costs import api as costs_api
from agented.costs.api import CostsApi
from agented.executions import api as executions_api
from agented.executions.api import ExecutionsApi
from agented.kit.web import role, still_allowed
from agented.notices import api as notices_api
from agented.notices.api import NoticesApi
from agented.projects import api as projects_api
from agented.projects.api import ProjectsApi
from agented.projects.wire import changes_to_dict
from agented.transcripts import api as transcripts_api
from agented.transcripts.api import TranscriptsApi
from agented.web import home
from agented.web.home import HomeApi
from agented.web.live import Live

__all__ = [
    "AccountsApi",
    "BackendsApi",
    "BotsApi",
    "BudgetsApi",
    "CostsApi",
    "ExecutionsApi",
    "HomeApi",
    "Live",
    "NoticesApi",
    "ProjectsApi",
    "Rooms",
    "SignInApi",
    "TranscriptsApi",
    "build_routers",
    "changes_to_dict",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """The ports of every room that has routes."""

    accounts: AccountsApi
    backends: BackendsApi
    executions: ExecutionsApi
    projects: ProjectsApi
    home: HomeApi
    live: Live
    bots: BotsApi
    notices: NoticesApi
    budgets: BudgetsApi
    sign_in: SignInApi
    costs: CostsApi
    transcripts: TranscriptsApi


def build_routers(rooms: Rooms) -> list[APIRouter]:
    return [
        home.build_router(rooms.home),
        executions_api.build_router(rooms.executions),
        projects_api.build_router(rooms.projects),
        backends_api.build_router(rooms.backends),
        *accounts_api.build_routers(rooms.accounts),
        sign_in_api.build_router(rooms.sign_in),
        *bots_api.build_routers(rooms.bots),
        *notices_api.build_routers(rooms.notices),
        budgets_api.build_router(rooms.budgets),
        costs_api.build_router(rooms.costs),
        transcripts_api.build_router(rooms.transcripts),
        _live_router(rooms.live),
    ]


def _live_router(live: Live) -> APIRouter:
    router = APIRouter(prefix="/api", tags=["live"])

    @router.get("/stream", response_class=StreamingResponse, openapi_extra=role("viewer"))
    def stream(
        topics: Annotated[str, Query(max_length=4000)],
        allowed: Annotated[Callable[[], bool], Depends(still_allowed)],
        last_event_id: Annotated[str | None, Header(max_length=4000)] = None,
    ) -> StreamingResponse:
        """Server-sent events: executions, execution:ID, log:ID[:FROM], lines:ID[:FROM], events:ID[:AFTER].

        Resumes by Last-Event-ID.
        """
        watches = live.watches(topics, last_event_id)
        return StreamingResponse(
            live.stream(watches, allowed), media_type="text/event-stream", headers={"x-accel-buffering": "no"}
        )

    return router
