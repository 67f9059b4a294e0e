"""Finds the server of a data folder, or runs one within this process for as long as a command needs it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agented.cli.finding import running_url
from agented.kit.http import JsonClient

if TYPE_CHECKING:
    from agented.settings import Settings


@contextmanager
def reach(settings: Settings) -> Iterator[JsonClient]:
    """A client of the data folder's server; starts one on a free port in this process when none runs."""
    from agented.cli.access import new_token

    url = running_url(settings)
    if url is not None:
        with JsonClient(url, new_token(settings, name="command line", role="admin", lives_s=86_400)) as client:
            yield client
        return
    with _served(settings) as own_url, JsonClient(own_url, new_token(settings, name="command line", role="admin")) as c:
        yield c


@contextmanager
def _served(settings: Settings) -> Iterator[str]:
    from agented.app.server import Server

    server = Server(settings.model_copy(update={"host": "127.0.0.1", "port": 0}))
    failure: list[BaseException] = []

    def work() -> None:
        try:
            server.run()
        except BaseException as error:  # noqa: BLE001 - carried to the command's own thread
            failure.append(error)
            server.started.set()

    thread = threading.Thread(target=work, name="server")
    thread.start()
    try:
        server.started.wait()
        if failure:
            raise failure[0]
        yield server.url
    finally:
        server.stop()
        thread.join()
