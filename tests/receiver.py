"""A web server on loopback that notes what it gets and answers what a test wants."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Got:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """answers: (status, headers, body), the first for the first request; the last for all further ones.

    held: while it is set, requests wait for their answer.
    """

    port: int = 0
    got: list[Got] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=lambda: [(204, {}, b"")])
    held: threading.Event = field(default_factory=threading.Event)
    free: threading.Condition = field(default_factory=threading.Condition)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """The answer from now on."""
        self.answers = [(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)]

    def take(self, got: Got) -> tuple[int, dict[str, str], bytes]:
        with self.free:
            self.got.append(got)
            self.free.wait_for(lambda: not self.held.is_set(), timeout=60)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def let_go(self) -> None:
        with self.free:
            self.held.clear()
            self.free.notify_all()


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, told, text = receiver.take(Got(self.path, headers, body))
            try:
                self.send_response(status)
                for name, value in {**told, "Content-Length": str(len(text))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)
            except OSError:
                self.close_connection = True  # who asked was killed

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.let_go()
        server.shutdown()
        thread.join()
        server.server_close()
