"""HTTP clients. The only file that talks HTTP to others."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any

import httpx2

from agented.kit.errors import AgentedError, Conflict, Invalid, NotFound, Refused, Unauthenticated, Unavailable

_KINDS: dict[int, type[AgentedError]] = {
    401: Unauthenticated,
    403: Refused,
    404: NotFound,
    409: Conflict,
    422: Invalid,
    503: Unavailable,
}


class JsonClient:
    """Speaks to one server with a bearer token; a reply that is an error becomes the AgentedError it tells of."""

    def __init__(self, base_url: str, token: str) -> None:
        # No proxy is asked for what this very machine answers.
        loopback = httpx2.URL(base_url).host in ("127.0.0.1", "localhost", "::1")
        self._client = httpx2.Client(
            base_url=base_url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx2.Timeout(60, connect=5),
            trust_env=not loopback,
        )

    def __enter__(self) -> JsonClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._client.close()

    def get(self, path: str, **params: Any) -> Any:
        return self._answer("GET", path, params={k: v for k, v in params.items() if v is not None})

    def post(self, path: str, body: Any = None) -> Any:
        return self._answer("POST", path, json=body if body is not None else {})

    def put(self, path: str, body: Any) -> Any:
        return self._answer("PUT", path, json=body)

    def delete(self, path: str) -> None:
        self._answer("DELETE", path)

    def _answer(self, method: str, path: str, **rest: Any) -> Any:
        try:
            reply = self._client.request(method, path, **rest)
        except httpx2.TransportError as error:
            raise Unavailable(f"The server does not answer: {error}", code="server_unreachable") from error
        if reply.is_error:
            raise _error_of(reply)
        return reply.json() if reply.content else None

    def events(self, path: str, last_id: str | None = None, **params: Any) -> Iterator[tuple[str, str, str]]:
        """Server-sent events (WHATWG HTML 9.2) as (id, event, data), until the server ends the stream.

        Raises Unavailable when the connection breaks; go on with the last id.
        """
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
        timeout = httpx2.Timeout(60, connect=5)
        try:
            with self._client.stream("GET", path, params=params, headers=headers, timeout=timeout) as reply:
                if reply.is_error:
                    reply.read()
                    raise _error_of(reply)
                yield from _messages(reply.iter_lines())
        except httpx2.TransportError as error:
            raise Unavailable(f"The connection broke: {error}", code="disconnected") from error


def _messages(lines: Iterator[str]) -> Iterator[tuple[str, str, str]]:
    last_id, name = "", "message"
    data: list[str] = []
    for line in lines:
        if not line:
            if data:
                yield last_id, name, "\n".join(data)
            name, data = "message", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "id":
            last_id = value
        elif field == "event":
            name = value
        elif field == "data":
            data.append(value)


def _error_of(reply: httpx2.Response) -> AgentedError:
    try:
        told = reply.json()["error"]
        message, code, hint, field = told["message"], told["code"], told.get("hint"), told.get("field")
    except (ValueError, KeyError, TypeError):
        message, code, hint, field = f"The server answered {reply.status_code}.", "server_error", None, None
    return _KINDS.get(reply.status_code, AgentedError)(message, code=code, hint=hint, field=field)
