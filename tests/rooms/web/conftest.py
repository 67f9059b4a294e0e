from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from starlette.testclient import TestClient

from agented.accounts.api import AccountsApi
from agented.accounts.api import build_routers as accounts_routers
from agented.accounts.overview import Overview
from agented.accounts.walls import Walls
from agented.backends.api import BackendsApi
from agented.backends.api import build_router as backends_router
from agented.backends.contract import Backend
from agented.kit.clock import SetClock
from agented.kit.db import Database, metadata
from agented.kit.errors import NotFound, Unavailable
from agented.kit.vault import Vault
from agented.kit.web import Role, decode_cursor, role
from agented.web import auth
from agented.web.server import Door, build_app
from tests.rooms.accounts.conftest import BACKEND, other_backend

OWN = "http://127.0.0.1:20000"


class Site:
    """The whole door over a real database, spoken to without a socket."""

    def __init__(self, db: Database, **door: Any) -> None:
        self.db = db
        metadata.create_all(self.db.engine)
        self.clock = SetClock()
        self.faults: list[str] = []
        self.app = build_app(
            Door(
                db=self.db,
                clock=self.clock,
                secret=b"s" * 32,
                version="0.1.0",
                routers=[*self._accounts(), self._backends(), self._odd(), *door.pop("routers", [])],
                probes={"database": self._probe},
                **door,
            )
        )

    def _accounts(self) -> list[APIRouter]:
        vault = Vault(b"k" * 32)
        return accounts_routers(
            AccountsApi(
                db=self.db,
                vault=vault,
                clock=self.clock,
                backend=self._backend,
                overview=Overview(
                    db=self.db,
                    vault=vault,
                    clock=self.clock,
                    backends=lambda: [BACKEND, other_backend()],
                    read_login=lambda backend, account: None,
                    walls=Walls(clock=self.clock, margin_s=20, unknown_s=900),
                ),
                running=lambda key: 0,
                changed=lambda: None,
                refresh=lambda key: [],
                lift=lambda key: None,
            )
        )

    def _backends(self) -> APIRouter:
        return backends_router(
            BackendsApi(
                all=lambda: [BACKEND, other_backend()],
                get=self._backend,
                detect=lambda fresh: {},
                read_login=lambda backend: None,
                models=lambda backend: backend.models.known if backend.models else (),
            )
        )

    def _backend(self, name: str) -> Backend:
        if name != BACKEND.name:
            raise NotFound(f"There is no backend {name}.")
        return BACKEND

    def _odd(self) -> APIRouter:
        router = APIRouter(prefix="/api/odd")

        @router.get("/broken", openapi_extra=role("open"))
        def broken() -> None:
            raise ValueError("the secret detail")

        @router.get("/page", openapi_extra=role("open"))
        def page(cursor: str) -> dict[str, Any]:
            return {"id": decode_cursor(cursor)["id"]}

        @router.post("/size", openapi_extra=role("open"))
        async def size(request: Request) -> int:
            return len(await request.body())

        @router.get("/stream", openapi_extra=role("operator"))
        def stream() -> StreamingResponse:
            return StreamingResponse(iter([b"data: 1\n\n"]), media_type="text/event-stream")

        return router

    def _probe(self) -> None:
        if self.faults:
            raise Unavailable(self.faults[0])

    def client(self, token: str | None = None, **headers: str) -> TestClient:
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        return TestClient(self.app, base_url=OWN, headers=headers, raise_server_exceptions=False)

    def token(self, role_name: Role, **more: Any) -> str:
        return auth.create_token(self.db, self.clock, "test", role_name, **more)

    def link(self) -> str:
        return auth.create_link(self.db, self.clock)

    def signed_in(self) -> TestClient:
        """A browser after its sign-in; it sends the CSRF token like the web app does."""
        client = self.client()
        reply = client.post("/api/session", json={"link": self.link()})
        assert reply.status_code == 200, reply.text
        client.headers["x-csrf-token"] = reply.json()["csrf_token"]
        return client


NewSite = Callable[..., Site]


@pytest.fixture
def new_site(tmp_path: Path) -> Iterator[NewSite]:
    opened: list[Database] = []

    def make(**door: Any) -> Site:
        opened.append(Database(f"sqlite:///{tmp_path / f'site{len(opened)}.db'}"))
        return Site(opened[-1], **door)

    yield make
    for db in opened:
        db.close()


@pytest.fixture
def site(new_site: NewSite) -> Site:
    return new_site()


@contextmanager
def serving(site: Site) -> Iterator[int]:
    """The site behind a real socket; gives its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(site.app, log_level=logging.CRITICAL, lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        until = time.monotonic() + 20
        while not server.started:
            assert time.monotonic() < until, "the server did not start"
            time.sleep(0.01)
        yield int(listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
