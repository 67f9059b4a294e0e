"""The product with its HTTP: one address, one event loop."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agented.app.main import App
from agented.app.shelf import VERSION, prepare_folder
from agented.bots.gallery import Gallery
from agented.executions import store as execution_store
from agented.kit.errors import Invalid, Unavailable
from agented.kit.files import write_atomic
from agented.kit.vault import derive
from agented.notices.targets import Targets
from agented.projects import store as project_store
from agented.settings import Settings
from agented.web.collect import (
    AccountsApi,
    BackendsApi,
    BotsApi,
    BudgetsApi,
    CostsApi,
    ExecutionsApi,
    HomeApi,
    Live,
    NoticesApi,
    ProjectsApi,
    Rooms,
    SignInApi,
    TranscriptsApi,
    build_routers,
)
from agented.web.docs import describe
from agented.web.server import Door, build_app

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI
    from prometheus_client import CollectorRegistry

    Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


class Server:
    """`agented serve`: the app behind its HTTP door."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.started = threading.Event()
        self.url = ""
        self._app: App | None = None
        self._uvicorn: uvicorn.Server | None = None
        self._stop_asked = False
        self._failure: BaseException | None = None

    def _fail(self, error: BaseException) -> None:
        self._failure = error
        self.stop()

    def run(self) -> None:
        """Serves until `stop` is called. Raises an AgentedError when it cannot start."""
        import uvicorn

        # The engine needs it. Loaded beside the first queries it would break them: it changes what they are made with.
        import_module("sqlalchemy.orm")

        _check_address(self._settings)
        listener = _listen(self._settings)
        try:
            app = self._app = App(self._settings)
            try:
                host, port = listener.getsockname()[:2]
                self.url = app.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
                config = uvicorn.Config(
                    build_http(app, self._lifespan),
                    log_config=None,
                    access_log=False,
                    lifespan="on",
                    timeout_graceful_shutdown=2,
                    server_header=False,
                    proxy_headers=self._settings.behind_tls_proxy,
                )
                self._uvicorn = uvicorn.Server(config)
                self._uvicorn.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # ours are installed
                app.open_soon(self._fail)
                if not self._stop_asked:
                    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
                        runner.run(self._serve(self._uvicorn, listener))
                if self._failure is not None:
                    raise self._failure
            finally:
                (self._settings.data / "server.json").unlink(missing_ok=True)
                app.close()
        finally:
            listener.close()

    async def _serve(self, server: uvicorn.Server, listener: socket.socket) -> None:
        await server._serve([listener])

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        assert self._app is not None
        self._app.bus.attach(asyncio.get_running_loop())
        details = {"url": self.url, "pid": os.getpid(), "version": VERSION}
        write_atomic(self._settings.data / "server.json", json.dumps(details).encode())
        self.started.set()
        yield

    def new_link(self) -> str:
        assert self._app is not None
        return self._app.shelf.new_link()

    def stop(self) -> None:
        self._stop_asked = True
        if self._uvicorn is not None:
            self._uvicorn.should_exit = True


def _check_address(settings: Settings) -> None:
    loopback = settings.host in ("localhost", "::1") or settings.host.startswith("127.")
    if not loopback and not settings.behind_tls_proxy:
        raise Invalid(
            f"{settings.host} can be reached from other machines.",
            field="host",
            hint="Put a proxy that ends TLS in front and set AGENTED_BEHIND_TLS_PROXY=true, or use 127.0.0.1.",
        )


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # With its protocol named, asyncio sends small answers at once; else each waits for the client's delayed ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise Unavailable(
            f"Port {settings.port} of {settings.host} cannot be used: {error.strerror}.",
            code="port_in_use",
            hint="Choose another with --port.",
        ) from error
    return listener


def build_http(app: App, lifespan: Lifespan | None = None) -> FastAPI:
    """All routes of all rooms behind one door."""
    settings, shelf = app.settings, app.shelf
    live = Live(app.db, app.bus, app.runs, app.project_names)
    rooms = Rooms(
        accounts=AccountsApi(
            db=app.db,
            vault=shelf.vault,
            clock=app.clock,
            backend=shelf.registry.get,
            overview=app.overview,
            running=app.busy_on,
            changed=app.accounts_changed,
            refresh=app.monitor.refresh,
            lift=app.lift_walls,
        ),
        backends=BackendsApi(
            all=shelf.registry.all,
            get=shelf.registry.get,
            detect=app.lookout.look,
            read_login=app.lookout.read_login,
            models=app.lookout.models,
        ),
        executions=ExecutionsApi(
            db=app.db,
            requests=app.requests,
            runs=app.runs,
            backend=shelf.registry.get,
            project=app.project_for,
            names=app.project_names,
            check_account=app.accounts.check,
            changes=app.changes_of,
            patch=app.patch_of,
        ),
        projects=ProjectsApi(
            db=app.db,
            git=app.git,
            folder=settings.data,
            clock=app.clock,
            workspaces=app.workspaces,
            syncing=app.syncing,
            is_over=app.is_over,
        ),
        home=HomeApi(
            backends=shelf.registry.all,
            detect=app.lookout.look,
            read_login=app.lookout.read_login,
            git_version=app.git_version,
            has_project=app.has_project,
            has_run=app.has_run,
        ),
        live=live,
        bots=BotsApi(
            db=app.db,
            vault=shelf.vault,
            clock=app.clock,
            bus=app.bus,
            deliveries=app.deliveries,
            reports=app.reports,
            gallery=Gallery(),
            submit=app.requests.submit,
            repositories=app.repositories,
            command=app.worker.describe,
            sample=app.sample,
            drop_branch=app.results.drop_branch,
            starting=app.starting,
            check=app.check_bot,
        ),
        costs=CostsApi(db=app.db, collector=app.collector),
        transcripts=TranscriptsApi(app.transcripts),
        notices=NoticesApi(
            db=app.db,
            targets=Targets(db=app.db, vault=shelf.vault, clock=app.clock),
            outbox=app.notices,
            sender=app.sender,
        ),
        budgets=BudgetsApi(budgets=app.budgets, clock=app.clock),
        sign_in=SignInApi(bus=app.bus, sign_ins=app.sign_ins),
    )
    secret = settings.secret_key.encode() if settings.secret_key else derive(shelf.key, "csrf")
    return build_app(
        Door(
            db=app.db,
            clock=app.clock,
            secret=secret,
            version=VERSION,
            routers=build_routers(rooms),
            allowed_hosts=_words(settings.allowed_hosts),
            cors_origins=_words(settings.cors_allowed_origins),
            tls=settings.behind_tls_proxy,
            static=Path(__file__).parent.parent / "web" / "dist",
            probes={
                "database": app.probe_database,
                "engine": lambda: app.engine.await_ready(0),
                "data folder": lambda: prepare_folder(settings),
            },
            measure=cache(partial(measurements, app, live)),
            lifespan=lifespan,
        )
    )


def measurements(app: App, live: Live) -> CollectorRegistry:
    """What /metrics tells: executions by state, who watches, and the process itself."""
    from prometheus_client import CollectorRegistry, ProcessCollector
    from prometheus_client.core import GaugeMetricFamily
    from prometheus_client.registry import Collector

    class Executions(Collector):
        def collect(self) -> list[GaugeMetricFamily]:
            gauge = GaugeMetricFamily("agented_executions", "Executions by state.", labels=["state"])
            with app.db.read() as conn:
                for state, count in execution_store.counts(conn).items():
                    gauge.add_metric([str(state)], count)
            syncs = GaugeMetricFamily("agented_project_syncs", "Projects by their last sync.", labels=["state"])
            with app.db.read() as conn:
                for state, count in project_store.sync_counts(conn).items():
                    syncs.add_metric([state], count)
            viewers = GaugeMetricFamily("agented_stream_viewers", "Open event streams.", value=live.viewers)
            return [gauge, syncs, viewers]

    registry = CollectorRegistry()
    registry.register(Executions())
    ProcessCollector(registry=registry)
    return registry


def describe_api() -> dict[str, Any]:
    """The OpenAPI document, without a data folder of anybody's."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        app = App(Settings(data=Path(folder), database_url=None))
        try:
            return describe(build_http(app))
        finally:
            app.shelf.close()


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
