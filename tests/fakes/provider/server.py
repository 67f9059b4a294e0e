"""The loopback server: reads a request, finds its scenario, answers as the API would, remembers what it saw."""

from __future__ import annotations

import contextlib
import json
import math
import re
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tests.fakes.provider import anthropic, gemini, openai
from tests.fakes.provider.scenarios import ANTHROPIC_WIRE, GEMINI_WIRE, RESETS_IN_S, Failure, Json, Pace, Scenario

_SCENARIO_PATH = re.compile(r"/s/([a-z_]+)(/.*)")
_GEMINI_PATH = re.compile(r"/v1(?:beta\d*)?/models/([^:/]+):(\w+)")
# Only the names of these ever leave the handler.
_CREDENTIAL_HEADERS = ("authorization", "x-api-key", "x-goog-api-key", "cookie", "chatgpt-account-id")
_WAIT_S = 0.2
_TOOL_ANSWERS = (b'"tool_result"', b'"function_call_output"', b'"tool_call_id"', b'"functionResponse"')


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """One request as it came; `credentials` are the names of the headers that carried any."""

    at: float
    method: str
    path: str
    scenario: Scenario
    credentials: tuple[str, ...]
    headers: Mapping[str, str]
    body: Json


class Provider:
    """A model provider for tests: `with Provider() as provider: … provider.url …`.

    `scenario` holds for every request whose path does not begin with `/s/<scenario>/`.
    """

    def __init__(self, scenario: Scenario | str = Scenario.PLAIN, *, port: int = 0) -> None:
        self.scenario = Scenario(scenario)
        self.wall_s = 6.0
        self._wall_ends: float | None = None
        self.closing = threading.Event()
        self._requests: list[SeenRequest] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends every connection and thread."""
        self.closing.set()
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def url_for(self, scenario: Scenario | str) -> str:
        """A base URL under which that scenario is played, whatever the default is."""
        return scenario_url(self.url, scenario)

    @property
    def requests(self) -> list[SeenRequest]:
        with self._lock:
            return list(self._requests)

    def wall_left_s(self) -> float:
        """Seconds until the allowance of the scenario `wall` comes back; the wall is met when it is first asked for."""
        with self._lock:
            if self._wall_ends is None:
                self._wall_ends = time.time() + self.wall_s
            return self._wall_ends - time.time()

    def remember(self, request: SeenRequest) -> bool:
        """True when it is the first one to its path."""
        with self._lock:
            first = all(seen.path != request.path for seen in self._requests)
            self._requests.append(request)
            return first


def scenario_url(provider_url: str, scenario: Scenario | str) -> str:
    return f"{provider_url}/s/{Scenario(scenario).value}"


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for the last answer
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], provider: Provider) -> None:
        self.provider = provider
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        with self._open_lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that leaves in the middle is what several scenarios are about; any other fault is ours to see.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed: what came stands in `Provider.requests`."""

    def do_HEAD(self) -> None:
        self._read()
        self._send(200, {})

    def do_GET(self) -> None:
        path, scenario, _ = self._read()
        if "upgrade" in self.headers.get("connection", "").lower():
            self._send(426, {"error": {"message": "This provider has no websockets.", "type": "upgrade_required"}})
        elif path.endswith("/models"):
            self._models(scenario)
        else:
            self._send(404, {"error": {"message": f"Nothing at GET {path}."}})

    def do_POST(self) -> None:
        path, scenario, body = self._read()
        if scenario is Scenario.HANG:
            self._wait_until_left()
        elif path.endswith("/messages/count_tokens"):
            self._send(200, {"input_tokens": ANTHROPIC_WIRE["input_tokens"]})
        elif path.endswith("/messages"):
            self._messages(scenario, body)
        elif path.endswith("/responses"):
            self._responses(scenario, body)
        elif path.endswith("/chat/completions"):
            self._chat(scenario, body)
        elif match := _GEMINI_PATH.fullmatch(path):
            self._gemini(scenario, body, match[1], match[2])
        else:
            self._send(404, {"error": {"message": f"Nothing at POST {path}."}})

    def _models(self, scenario: Scenario) -> None:
        if scenario is Scenario.AUTH and (failure := openai.failure(scenario)):
            self._fail(failure)
            return
        model = {"id": "fake-model", "object": "model", "type": "model", "owned_by": "fake"}
        # One of the CLIs reads `models` and wants none of its own fields missing there; the others read `data`.
        self._send(200, {"object": "list", "data": [model], "models": [], "has_more": False})

    def _messages(self, scenario: Scenario, body: Json) -> None:
        if failure := anthropic.failure(scenario, self._resets_in_s):
            self._fail(failure)
            return
        said = anthropic.turn(scenario, body)
        # A subscription signs in with a bearer token, an API key comes in its own header.
        subscribed = self.headers.get("authorization", "").startswith("Bearer ")
        headers = anthropic.allowance_headers() if subscribed else {}
        if body.get("stream"):
            self._stream(anthropic.stream(body, said), headers)
        else:
            self._send(200, anthropic.message(body, said), headers)

    def _responses(self, scenario: Scenario, body: Json) -> None:
        if failure := openai.failure(scenario, self._resets_in_s):
            self._fail(failure)
            return
        said = openai.responses_turn(scenario, body)
        self._stream(openai.responses_stream(body, said), openai.allowance_headers())

    def _chat(self, scenario: Scenario, body: Json) -> None:
        if failure := openai.failure(scenario, self._resets_in_s):
            self._fail(failure)
            return
        said = openai.chat_turn(scenario, body)
        if body.get("stream"):
            self._stream(openai.chat_stream(body, said))
        else:
            self._send(200, openai.chat_message(body, said))

    def _gemini(self, scenario: Scenario, body: Json, model: str, method: str) -> None:
        if method == "countTokens":
            self._send(200, {"totalTokens": GEMINI_WIRE["promptTokenCount"]})
        elif failure := gemini.failure(scenario, self._resets_in_s):
            self._fail(failure)
        elif method == "streamGenerateContent":
            self._stream(gemini.stream(gemini.turn(scenario, body), model))
        else:
            self._send(200, gemini.message(body, gemini.turn(scenario, body), model))

    def _read(self) -> tuple[str, Scenario, Json]:
        raw = self._read_body()
        path, scenario = self.path.partition("?")[0], self.server.provider.scenario
        if (match := _SCENARIO_PATH.fullmatch(path)) and match[1] in list(Scenario):
            scenario, path = Scenario(match[1]), match[2]
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        first = self.server.provider.remember(
            SeenRequest(
                at=time.time(),
                method=self.command,
                path=self.path,
                scenario=scenario,
                credentials=tuple(name for name in _CREDENTIAL_HEADERS if name in self.headers),
                headers={k.lower(): v for k, v in self.headers.items() if k.lower() not in _CREDENTIAL_HEADERS},
                body=body if isinstance(body, dict) else {},
            )
        )
        self._resets_in_s = RESETS_IN_S
        if scenario is Scenario.WALL:
            left_s = self.server.provider.wall_left_s() if any(word in raw for word in _TOOL_ANSWERS) else 0
            self._resets_in_s = math.ceil(left_s)
            scenario = Scenario.USAGELIMIT if left_s > 0 else Scenario.TOOL
        if scenario is Scenario.RATELIMIT_ONCE:
            scenario = Scenario.RATELIMIT if first else Scenario.PLAIN
        return path, scenario, body if isinstance(body, dict) else {}

    def _read_body(self) -> bytes:
        if "chunked" not in self.headers.get("transfer-encoding", "").lower():
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        body = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _fail(self, failure: Failure) -> None:
        self._send(failure.status, failure.body, failure.headers)

    def _send(self, status: int, body: Json, headers: Mapping[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self._head(status, {"content-type": "application/json", "content-length": str(len(data)), **(headers or {})})
        if self.command != "HEAD":
            self.wfile.write(data)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _stream(self, events: Iterator[str | Pace], headers: Mapping[str, str] | None = None) -> None:
        fixed = {"content-type": "text/event-stream; charset=utf-8", "transfer-encoding": "chunked"}
        self._head(200, {**fixed, **(headers or {})})
        for event in events:
            if isinstance(event, Pace):
                if event is Pace.BREAK_OFF or self.server.provider.closing.wait(_WAIT_S):
                    self._reset()
                    return
                continue
            data = event.encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.write(b"0\r\n\r\n")

    def _reset(self) -> None:
        """Closes with RST and not FIN: what a lost network or a dying proxy looks like."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def _wait_until_left(self) -> None:
        while not self.server.provider.closing.is_set():
            if select.select([self.connection], [], [], _WAIT_S)[0]:
                break
        self.close_connection = True
