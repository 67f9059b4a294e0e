"""`agented serve`: the server in the foreground, until it is asked to stop."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from agented.settings import Settings


def serve(settings: Settings) -> None:
    """Prints where to sign in. SIGTERM and SIGINT stop the server and leave runs alone."""
    from agented.app.server import Server

    _log_to_stderr(settings.log_level)
    server = Server(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    threading.Thread(target=_greet, args=(server,), daemon=True).start()
    server.run()


def _greet(server: object) -> None:
    from agented.app.server import Server

    assert isinstance(server, Server)
    server.started.wait()
    if server.url:
        click.echo(f"Agented serves {server.url}")
        click.echo(f"Sign in within 15 minutes: {server.url}/sign-in?token={server.new_link()}")
        sys.stdout.flush()


def _log_to_stderr(level: str) -> None:
    for chatty in ("alembic", "uvicorn.error", "dbos"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.basicConfig(
        level=level.upper(), stream=sys.stderr, format="%(asctime)s [%(levelname)s] %(name)s: %(message)s", force=True
    )


def print_openapi() -> None:
    from agented.app.server import describe_api

    click.echo(json.dumps(describe_api(), indent=1, sort_keys=True))
