"""A double of a token endpoint on loopback: a refresh token works once, and one that is used again ends them all."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


class TokenEndpoint:
    """redeemed: who asked, by User-Agent, with which token. refused: the same for tokens that do not work.

    answers: nobody is answered before it is set.
    """

    def __init__(self, first: str) -> None:
        self.redeemed: list[tuple[str, str]] = []
        self.refused: list[tuple[str, str]] = []
        self.answers = threading.Event()
        self._valid: str | None = first
        self._lock = threading.Lock()
        double = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:
                """Nothing is printed."""

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))))
                double.answers.wait(30)
                answer = double.redeem(self.headers.get("user-agent", ""), str(asked.get("refresh_token")))
                body = json.dumps(answer or {"error": "invalid_grant"}).encode()
                self.send_response(200 if answer else 400)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/token"

    def redeem(self, agent: str, token: str) -> dict[str, str] | None:
        with self._lock:
            if token != self._valid:
                self.refused.append((agent, token))
                self._valid = None
                return None
            self.redeemed.append((agent, token))
            self._valid = f"refresh-token-{len(self.redeemed) + 1}"
            return {"access_token": f"access-token-{len(self.redeemed) + 1}", "refresh_token": self._valid}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.answers.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
