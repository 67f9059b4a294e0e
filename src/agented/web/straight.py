"""The short way to a route that programs ask thousands of times a second.

It takes only requests that no guard has anything to say about: a POST to a known host, of a stated size that is
allowed, of no page. All others go the usual way, through every guard and the framework.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from agented.kit.errors import AgentedError
from agented.web.errors import error_response, note_fault, response_to
from agented.web.gate import Way, Ways
from agented.web.security import Rules, host_name, safe_headers

_REMARKABLE = frozenset({b"origin", b"sec-fetch-site", b"transfer-encoding", b"expect", b"upgrade"})


class Straight:
    def __init__(self, app: ASGIApp, table: Sequence[Way], rules: Rules) -> None:
        self._app = app
        self._ways = Ways([way for way in table if way.straight is not None and way.role == "open"])
        self._rules = rules
        self._hosts = rules.known_hosts
        self._safe = safe_headers(rules)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        way = self._way(scope)
        if way is None:
            await self._app(scope, receive, send)
            return
        body = await _read(receive)
        if body is None:
            return  # nobody is left to answer
        response = await self._answer(way, scope, body)
        headers = self._safe(response.raw_headers, True)
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})

    def _way(self, scope: Scope) -> Way | None:
        if scope["type"] != "http" or scope["method"] != "POST":
            return None
        ways = self._ways.at(scope["path"])
        return ways[0] if ways and "POST" in ways[0].methods and self._is_plain(scope) else None

    def _is_plain(self, scope: Scope) -> bool:
        hosts, sizes = [], []
        for name, value in scope["headers"]:
            if name in _REMARKABLE:
                return False
            if name == b"host":
                hosts.append(value)
            elif name == b"content-length":
                sizes.append(value)
        return (
            len(hosts) == len(sizes) == 1
            and host_name(hosts[0].decode("latin-1")) in self._hosts
            and sizes[0].isdigit()
            and int(sizes[0][:20]) <= self._rules.max_body_bytes
        )

    async def _answer(self, way: Way, scope: Scope, body: bytes) -> Response:
        match = way.pattern.match(scope["path"])
        scope["path_params"] = match.groupdict() if match else {}
        assert way.straight is not None
        try:
            return await way.straight(scope, body)
        except AgentedError as error:
            return response_to(error, self._rules.clock)
        except Exception:  # noqa: BLE001 - logged by note_fault
            # The request handler is one of the four doors where every fault is caught; this is its short way.
            return error_response(note_fault(scope), self._rules.clock)


async def _read(receive: Receive) -> bytes | None:
    """None when the sender has gone away. No longer than the size that was stated: HTTP's framing sees to that."""
    message = await receive()
    if not message.get("more_body"):
        return message["body"] if message["type"] == "http.request" else None
    parts = [message["body"]]
    while message.get("more_body"):
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message["body"])
    return b"".join(parts)
