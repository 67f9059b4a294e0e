"""What stands before every answer, as plain ASGI: host, origin, size, headers. Nothing buffers a body or a stream."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv6Address
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agented.kit.clock import Clock
from agented.kit.errors import AgentedError, Refused
from agented.web.errors import TooLarge, WrongHost, error_response

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
DATA_PATHS = ("/api", "/health", "/metrics", "/docs", "/openapi.json")
"""Not files of the web app: never answered with its page, never kept by a browser."""

_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_TLS_ONLY = {"strict-transport-security": "max-age=31536000"}


def is_data_path(path: str) -> bool:
    return any(path == root or path.startswith(root + "/") for root in DATA_PATHS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """hosts: names beside loopback. cors_origins: other pages that may call with a token; `*` for any."""

    clock: Clock
    hosts: frozenset[str]
    cors_origins: frozenset[str]
    max_body_bytes: int
    tls: bool
    larger: Mapping[str, int] = field(default_factory=dict)
    """Paths that take more."""

    @property
    def known_hosts(self) -> frozenset[str]:
        return LOOPBACK | self.hosts


RawHeaders = list[tuple[bytes, bytes]]


class SafeHeaders:
    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app = app
        self._add = safe_headers(rules)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        no_store = is_data_path(scope["path"])

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = self._add(message.get("headers", ()), no_store)
            await send(message)

        await self._app(scope, receive, sending)


def safe_headers(rules: Rules) -> Callable[[Iterable[tuple[bytes, bytes]], bool], RawHeaders]:
    """Adds what every answer carries. Every answer passes here: tuples cost a fifth of a mapping of headers."""
    headers = _HEADERS | (_TLS_ONLY if rules.tls else {})
    ours = [(name.encode(), value.encode()) for name, value in headers.items()]
    names = frozenset(name for name, _ in ours)

    def add(given: Iterable[tuple[bytes, bytes]], no_store: bool) -> RawHeaders:
        kept = [pair for pair in given if pair[0].lower() not in names]
        if no_store and not any(name.lower() == b"cache-control" for name, _ in kept):
            kept.append((b"cache-control", b"no-store"))
        return kept + ours

    return add


class KnownHost:
    """Answers only to names that are ours, so that a name rebound to this address reaches nothing."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app = app
        self._hosts = rules.known_hosts
        self._clock = rules.clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        hosts = _values(scope, b"host")
        if len(hosts) == 1 and host_name(hosts[0]) in self._hosts:
            await self._app(scope, receive, send)
            return
        error = WrongHost(
            "The server does not answer to this host name.", hint="Set AGENTED_ALLOWED_HOSTS to the name you use."
        )
        await _refuse(error, self._clock, scope, receive, send)


class KnownOrigin:
    """Refuses what a page of another origin sends. Without `Origin` it is no page, or a safe request of our own.

    A page that CORS_ALLOWED_ORIGINS names may call, but its cookies do not count: `foreign` is set for it.
    """

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app = app
        self._allowed = rules.cors_origins
        self._clock = rules.clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or (scope.get("method") in ("GET", "HEAD") and not is_data_path(scope["path"])):
            await self._app(scope, receive, send)
            return
        origins = _values(scope, b"origin")
        own = len(origins) == 1 and _is_own(origins[0], _values(scope, b"host")[0])
        foreign = len(origins) == 1 and not own and self._is_allowed(origins[0])
        site = (_values(scope, b"sec-fetch-site") or ["none"])[0]
        if foreign or ((own or not origins) and site in ("same-origin", "none")):
            scope.setdefault("state", {})["foreign"] = foreign
            await self._app(scope, receive, send)
            return
        error = Refused(
            "Another origin may not ask for this.",
            code="foreign_origin",
            hint="Name the page in CORS_ALLOWED_ORIGINS and call with a token.",
        )
        await _refuse(error, self._clock, scope, receive, send)

    def _is_allowed(self, origin: str) -> bool:
        return origin != "null" and ("*" in self._allowed or origin in self._allowed)


class BodyLimit:
    """Refuses a body that says it is too large before a byte of it is read, and any other once it is."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app = app
        self._max = rules.max_body_bytes
        self._larger = rules.larger
        self._clock = rules.clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        said = (_values(scope, b"content-length") or ["0"])[0]
        most = self._larger.get(scope["path"].rstrip("/"), self._max)
        if not said.isdecimal() or int(said[:20]) > most:
            error = TooLarge(f"The body is larger than {most:,} bytes.")
            await error_response(error, self._clock)(scope, receive, send)
            return
        size = 0

        async def receiving() -> Message:
            nonlocal size
            message = await receive()
            if message["type"] == "http.request":
                size += len(message.get("body", b""))
                if size > most:
                    raise HTTPException(413)
            return message

        await self._app(scope, receiving, send)


def _values(scope: Scope, wanted: bytes) -> list[str]:
    """Of a header, by its lower-case name, as ASGI gives it."""
    return [value.decode("latin-1") for name, value in scope["headers"] if name == wanted]


async def _refuse(error: AgentedError, clock: Clock, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    await error_response(error, clock)(scope, receive, send)


@lru_cache(maxsize=256)
def host_name(host: str) -> str:
    """The name of a Host header, in lower case and without its port; an IPv6 address keeps its brackets."""
    name, colon, port = host.strip().lower().rpartition(":")
    if not colon or (host.endswith("]") and host.startswith("[")):
        name = host.strip().lower()
    elif not port.isdecimal():
        return ""
    if name.startswith("[") and name.endswith("]"):
        try:
            return f"[{IPv6Address(name[1:-1])}]"
        except ValueError:
            return ""
    return name


def _is_own(origin: str, host: str) -> bool:
    """Compared by name and port only: a proxy that ends TLS leaves us with the other scheme."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or origin != f"{parts.scheme}://{parts.netloc}":
        return False
    usual = {"http": 80, "https": 443}[parts.scheme]
    name = host_name(host)
    own_port = host.rpartition(":")[2]
    own = int(own_port) if own_port.isdecimal() and host.strip().lower() != name else usual
    return bool(name) and host_name(parts.netloc) == name and (port or usual) == own


def hosts_of(names: Collection[str]) -> frozenset[str]:
    """Configured names as they are compared."""
    return frozenset(host_name(name) for name in names if name.strip()) - {""}
