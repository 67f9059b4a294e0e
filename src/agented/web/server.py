"""Collects the rooms' routers into one app and sets the guards before it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from agented.kit.clock import Clock
from agented.kit.db import Database
from agented.kit.web import ErrorOut
from agented.web import auth_api, docs, health
from agented.web.auth import Auth
from agented.web.errors import Faults, install_handlers
from agented.web.gate import Gate, table_of
from agented.web.health import Probe
from agented.web.security import BodyLimit, KnownHost, KnownOrigin, Rules, SafeHeaders, hosts_of
from agented.web.static import WebApp
from agented.web.straight import Straight

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """What the app is built of.

    secret: signs CSRF tokens. routers: the rooms'. allowed_hosts: names beside loopback. cors_origins: origins of other
    pages that may call with a token, `*` for any. tls: a proxy in front ends TLS. static: the built front end.
    probes: what readiness asks. measure: gives what /metrics tells, when it is first asked for.
    """

    db: Database
    clock: Clock
    secret: bytes = field(repr=False)
    version: str
    routers: Sequence[APIRouter] = ()
    allowed_hosts: Collection[str] = ()
    cors_origins: Collection[str] = ()
    tls: bool = False
    static: Path | None = None
    probes: Mapping[str, Probe] = field(default_factory=dict)
    measure: Callable[[], CollectorRegistry] | None = None
    max_body_bytes: int = 10 * 1024 * 1024
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None


_LARGER = {"/api/webhooks/github": 25 * 1024 * 1024}
"""GitHub delivers nothing larger."""


def build_app(door: Door) -> FastAPI:
    """Raises Broken when a route declares no role."""
    auth = Auth(door.db, door.clock, door.secret)
    errors: dict[int | str, dict[str, Any]] = {"4XX": {"model": ErrorOut}, "5XX": {"model": ErrorOut}}
    app = _App(
        title="Agented",
        version=door.version,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=errors,
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
        lifespan=door.lifespan,
    )
    app.include_router(auth_api.build_router(door.db, door.clock, auth, version=door.version, tls=door.tls))
    for router in door.routers:
        app.include_router(router)
    app.include_router(health.build_router(door.probes, door.measure))
    app.include_router(docs.build_router(app))
    install_handlers(app, door.clock)
    _set_guards(app, door, auth)
    app.mount("/", WebApp(door.static, door.clock), name="web-app")
    return app


class _App(FastAPI):
    """short: the way that is tried before all others."""

    short: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self.short or super().__call__)(scope, receive, send)

    async def long(self, scope: Scope, receive: Receive, send: Send) -> None:
        await super().__call__(scope, receive, send)


def _set_guards(app: _App, door: Door, auth: Auth) -> None:
    """From the innermost, which knows who calls, to the outermost, which every answer passes."""
    rules = Rules(
        clock=door.clock,
        hosts=hosts_of(door.allowed_hosts),
        cors_origins=frozenset(door.cors_origins),
        max_body_bytes=door.max_body_bytes,
        larger=_LARGER,
        tls=door.tls,
    )
    table = table_of(app.routes)
    app.short = Straight(app.long, table, rules)
    app.add_middleware(Gate, table=table, auth=auth, clock=door.clock, tls=door.tls)
    app.add_middleware(BodyLimit, rules=rules)
    if door.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(door.cors_origins),
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Last-Event-ID"],
            allow_credentials=False,
        )
    app.add_middleware(KnownOrigin, rules=rules)
    app.add_middleware(KnownHost, rules=rules)
    app.add_middleware(Faults, clock=door.clock)
    app.add_middleware(SafeHeaders, rules=rules)
