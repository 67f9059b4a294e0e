"""HTTP clients. The only file that talks HTTP to others."""

from __future__ import annotations

import ipaddress
import logging
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import httpx2

from agented.kit.errors import AgentedError, Conflict, Invalid, NotFound, Refused, Unauthenticated, Unavailable
from agented.kit.loose import read_json

_KINDS: dict[int, type[AgentedError]] = {
    401: Unauthenticated,
    403: Refused,
    404: NotFound,
    409: Conflict,
    422: Invalid,
    503: Unavailable,
}

# Addresses that people typed in hold secrets; at its usual level the library logs each one it asks.
for _chatty in ("httpx2", "httpcore2"):
    logging.getLogger(_chatty).setLevel(logging.WARNING)

_CONNECT_S = 5
_WHOLE_S = 15
_LONGEST_REPLY = 2000
_LONGEST_BODY = 1_000_000
_METADATA = ipaddress.ip_address("fd00:ec2::254")
"""Where one cloud's machines ask for their credentials; the others do it on link-local addresses."""


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

    def patch(self, path: str, body: Any) -> Any:
        return self._answer("PATCH", path, json=body)

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


@dataclass(frozen=True, slots=True)
class Reply:
    """text: its beginning. retry_after: as it was sent."""

    status: int
    text: str
    retry_after: str | None


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer as a program reads it. body: its JSON, if it is any. status 0: nothing came, `problem` says why."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


def fetch(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    json_body: Any = None,
    form: Mapping[str, str] | None = None,
    timeout_s: float = 10,
) -> Fetched:
    """Asks an address of the configuration. Follows no redirect, reads at most 1 MB and never raises."""
    until = time.monotonic() + 2 * timeout_s
    loopback = httpx2.URL(url).host in ("127.0.0.1", "localhost", "::1")
    try:
        with (
            httpx2.Client(timeout=timeout_s, follow_redirects=False, trust_env=not loopback) as client,
            client.stream(method, url, headers=dict(headers), json=json_body, data=form) as reply,
        ):
            raw = b""
            for piece in reply.iter_bytes():
                raw += piece
                if len(raw) > _LONGEST_BODY:
                    return Fetched(0, problem="The answer is larger than 1 MB.")
                if time.monotonic() > until:
                    return Fetched(0, problem=f"The answer took longer than {2 * timeout_s:g} s.")
            told = {name.lower(): value for name, value in reply.headers.items()}
            return Fetched(reply.status_code, read_json(raw.decode("utf-8", "replace")), told)
    except httpx2.TimeoutException:
        return Fetched(0, problem=f"No answer within {timeout_s:g} s.")
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return Fetched(0, problem=f"No connection: {error}")


Resolve = Callable[[str, int], list[str]]
"""Gives the IP addresses of a host and port."""


def addresses_of(host: str, port: int) -> list[str]:
    """Raises Unavailable when the name is not known."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        told = error.strerror if isinstance(error, OSError) else "not a name"
        raise Unavailable(f"{host} is not found: {told}.", code="unknown_host") from None
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def check_reachable(host: str, port: int, resolve: Resolve = addresses_of) -> list[str]:
    """The addresses of a host. Raises Refused when one of them is where a machine keeps secrets of its own."""
    found = resolve(host, port)
    for one in found:
        if _is_forbidden(one):
            raise Refused(f"{host} is a link-local address.", code="forbidden_address", hint="Name another host.")
    return found


def _is_forbidden(text: str) -> bool:
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        # An IPv4 address may be dressed up as one of version 6, by itself or by NAT64.
        inner = address.ipv4_mapped or address.sixtofour
        if address in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return inner.is_link_local
    return address.is_link_local or address == _METADATA


def post_to_stranger(address: str, body: bytes, headers: Mapping[str, str], resolve: Resolve = addresses_of) -> Reply:
    """POSTs to an address that somebody typed in: no redirect is followed, and little is read of the answer.

    The connection goes to the very address that was checked: a name that changes in between leads nowhere else.
    Raises Refused for an address that is not to be asked, Unavailable when nobody answers.
    """
    url = _checked_url(address)
    port = url.port or (443 if url.scheme == "https" else 80)
    whole_until = time.monotonic() + _WHOLE_S
    told: httpx2.TransportError | None = None
    timeout = httpx2.Timeout(_WHOLE_S, connect=_CONNECT_S)
    with httpx2.Client(timeout=timeout, trust_env=False, follow_redirects=False) as client:
        for ip in check_reachable(url.raw_host.decode(), port, resolve):
            request = client.build_request(
                "POST",
                url.copy_with(host=ip),
                content=body,
                headers={**headers, "Host": url.netloc.decode()},
                extensions={"sni_hostname": url.raw_host.decode()},
            )
            try:
                return _short_reply(client.send(request, stream=True), whole_until)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                told = error
            except httpx2.TransportError as error:
                raise _no_answer(error) from None
    raise _no_answer(told)


def _checked_url(address: str) -> httpx2.URL:
    with suppress(httpx2.InvalidURL, UnicodeError):
        url = httpx2.URL(address)
        if url.scheme in ("http", "https") and url.host:
            return url
    raise Refused(
        "This is not the address of a web server.", code="forbidden_address", hint="Give http:// or https://."
    )


def _short_reply(reply: httpx2.Response, until: float) -> Reply:
    kept = b""
    try:
        # Who was heard out is done: what went wrong after the status changes nothing.
        with suppress(httpx2.HTTPError):
            for piece in reply.iter_raw():
                kept += piece
                if len(kept) >= _LONGEST_REPLY or time.monotonic() > until:
                    break
    finally:
        reply.close()
    text = kept[:_LONGEST_REPLY].decode("utf-8", "replace")
    return Reply(reply.status_code, text, reply.headers.get("retry-after"))


def _no_answer(error: httpx2.TransportError | None) -> Unavailable:
    if isinstance(error, httpx2.TimeoutException):
        return Unavailable(f"No answer within {_WHOLE_S} s.", code="timeout")
    return Unavailable(f"No connection: {error or 'the host has no address'}.", code="no_connection")
