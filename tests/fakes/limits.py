"""A double of the three providers' limit endpoints on loopback: answers as it is told, remembers who asked."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.fakes.certificates import certify


class LimitsDouble:
    """`answers` by path: (status, body, headers). A body of bytes is sent as it is; `hang_s` makes it wait before."""

    def __init__(self, authority: Path | None = None) -> None:
        """authority: where the certificate of the authority is written that one must trust; then it speaks TLS."""
        self.answers: dict[str, tuple[int, Any, Mapping[str, str]]] = {}
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []
        self.hang_s = 0.0
        self.closing = threading.Event()
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing is printed: what came stands in `asked`."""

            def do_GET(self) -> None:
                raw = self.rfile.read(int(self.headers.get("content-length", 0)))
                path = self.path.partition("?")[0]
                headers = {name.lower(): value for name, value in self.headers.items()}
                double.asked.append((self.command, path, headers, _read(raw)))
                until = time.monotonic() + double.hang_s
                while time.monotonic() < until and not double.closing.is_set():
                    time.sleep(0.02)
                status, body, more = double.answers.get(path, (404, {"error": "not here"}, {}))
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"content-type": "application/json", **more}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_POST(self) -> None:
                self.do_GET()

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                """Who hangs up early is what some tests are about."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._scheme = "http" if authority is None else "https"
        if authority is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certify(authority))
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def answer(self, path: str, body: Any, status: int = 200, **headers: str) -> None:
        self.answers[path] = (status, body, {name.replace("_", "-"): value for name, value in headers.items()})

    def paths(self) -> list[str]:
        return [path for _, path, _, _ in self.asked]

    @property
    def url(self) -> str:
        return f"{self._scheme}://localhost:{self._server.server_address[1]}"

    @property
    def endpoints(self) -> dict[str, str]:
        """What the setting `endpoints` is to be."""
        return {
            "anthropic": self.url,
            "chatgpt": f"{self.url}/backend-api",
            "codeassist": self.url,
            "google_token": self.url,
        }

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _read(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode("utf-8", "replace")
