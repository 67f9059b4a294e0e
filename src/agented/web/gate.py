"""Who may pass to which route. Every route says so itself; what says nothing is not served."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from fastapi.routing import iter_route_contexts
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from agented.kit.clock import Clock
from agented.kit.errors import AgentedError, Broken, NotFound, Refused, Unauthenticated
from agented.kit.web import ROLES, Role
from agented.web.auth import Auth, SignedIn
from agented.web.errors import MethodNotAllowed, error_response
from agented.web.security import SAFE_METHODS, is_data_path

_COOKIE = "agented_session"


def cookie_name(tls: bool) -> str:
    """Over TLS the browser itself holds the cookie to this host and path."""
    return f"__Host-{_COOKIE}" if tls else _COOKIE


@dataclass(frozen=True, slots=True)
class Way:
    """One route of the table. straight: for `web/straight`."""

    path: str
    pattern: re.Pattern[str]
    methods: frozenset[str]
    role: Role | Literal["open"]
    straight: Callable[[Scope, bytes], Awaitable[Response]] | None = None


def table_of(routes: Sequence[BaseRoute]) -> list[Way]:
    """The routes in the order in which they are tried. Raises Broken for one that declares no role."""
    ways = []
    for route in iter_route_contexts(routes):
        extra = getattr(route, "openapi_extra", None) or {}
        declared = extra.get("x-role")
        if route.path is None or not route.methods or declared not in (*ROLES, "open"):
            raise Broken(f"The route {route.path} declares no role.", hint="Give it openapi_extra=role(...).")
        ways.append(Way(route.path, route.path_regex, frozenset(route.methods), declared, extra.get("x-straight")))
    return ways


def _root(path: str) -> str:
    """The first two parts of a path: most routes can be told apart by them."""
    return "/".join(path.split("/", 3)[:3])


class Ways:
    """The table by the roots of its paths, so that a request is not held against every route there is."""

    def __init__(self, table: Sequence[Way]) -> None:
        self._open_roots = [way for way in table if "{" in _root(way.path)]
        roots = {_root(way.path) for way in table} - {_root(way.path) for way in self._open_roots}
        self._by_root = {
            root: [way for way in table if _root(way.path) == root or way in self._open_roots] for root in roots
        }

    def at(self, path: str) -> list[Way]:
        return [way for way in self._by_root.get(_root(path), self._open_roots) if way.pattern.match(path)]


class Gate:
    """Finds out who calls before anything of the request is read, and refuses who may not."""

    def __init__(self, app: ASGIApp, table: Sequence[Way], auth: Auth, clock: Clock, tls: bool) -> None:
        self._app = app
        self._ways = Ways(table)
        self._auth = auth
        self._clock = clock
        self._cookie = cookie_name(tls)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http":
            try:
                way = self._way(scope["path"], scope["method"])
                if way is not None:
                    await self._admit(way, scope)
            except AgentedError as error:
                await error_response(error, self._clock)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _way(self, path: str, method: str) -> Way | None:
        """None for the files of the web app, which everybody may read."""
        known = self._ways.at(path)
        for way in known:
            if method in way.methods:
                return way
        if known:
            raise MethodNotAllowed(sorted(frozenset().union(*(way.methods for way in known))))
        if is_data_path(path):
            raise NotFound("There is nothing at this path.", hint="/docs lists what there is.")
        return None

    async def _admit(self, way: Way, scope: Scope) -> None:
        connection = HTTPConnection(scope)
        # Who brings nothing is nobody; that costs no thread, so liveness answers while all of them are busy.
        brings = any(name in (b"authorization", b"cookie") for name, _ in scope["headers"]) and (
            "authorization" in connection.headers or self._cookie in connection.cookies
        )
        who = await run_in_threadpool(self._who, connection) if brings else None
        state = scope.setdefault("state", {})
        state["signed_in"] = who
        state["caller"] = who.caller if who else None
        if who is not None:
            state["still_allowed"] = who.still
        if way.role == "open":
            return
        if who is None:
            raise Unauthenticated("Sign in first.", hint="`agented link` prints a link, `agented token` a token.")
        if who.session is not None and scope["method"] not in SAFE_METHODS:
            said = connection.headers.get("x-csrf-token", "")
            if not self._auth.is_csrf_token(who.session, said):
                raise Refused(
                    "The request does not carry this session's X-CSRF-Token.",
                    code="csrf_token_missing",
                    hint="GET /api/session tells the token.",
                )
        if not who.caller.may(way.role):
            raise Refused(
                f"This needs the role {way.role}; {who.caller.name} is {who.caller.role}.", code="role_too_low"
            )

    def _who(self, connection: HTTPConnection) -> SignedIn | None:
        """A token counts before a cookie; the cookie of a page of another origin does not count."""
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme:
            return self._auth.by_token(token.strip()) if scheme.lower() == "bearer" else None
        cookie = connection.cookies.get(self._cookie)
        if not cookie or connection.scope["state"].get("foreign"):
            return None
        return self._auth.by_cookie(cookie)


def signed_in(connection: HTTPConnection) -> SignedIn | None:
    """Dependency: who is at the door, with session and user."""
    return cast("SignedIn | None", connection.state.signed_in)
