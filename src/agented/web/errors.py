"""Every error in one shape: status + {"error": {code, message, hint, field}}; what broke is logged, never shown."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agented.kit.clock import Clock
from agented.kit.errors import AgentedError, Broken, Conflict, Invalid, NotFound, Unauthenticated
from agented.kit.ids import new_id

log = logging.getLogger(__name__)


class TooLarge(Invalid):
    code = "body_too_large"
    status = 413


class WrongHost(AgentedError):
    code = "wrong_host"
    status = 421


class MethodNotAllowed(AgentedError):
    code = "method_not_allowed"
    status = 405

    def __init__(self, methods: Sequence[str]) -> None:
        super().__init__(f"This path answers only {', '.join(methods)}.")
        self.methods = methods


def error_response(error: AgentedError, clock: Clock) -> JSONResponse:
    told: dict[str, Any] = {
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "field": error.field,
    }
    headers = {}
    retry_at = getattr(error, "retry_at", None)
    if retry_at is not None:
        told["retry_at"] = retry_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        headers["retry-after"] = str(max(1, math.ceil((retry_at - clock.now()).total_seconds())))
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, MethodNotAllowed):
        headers["allow"] = ", ".join(error.methods)
    return JSONResponse({"error": told}, status_code=error.status, headers=headers)


def response_to(error: AgentedError | HTTPException, clock: Clock) -> JSONResponse:
    """The answer; what is our own fault is logged."""
    told = _from_http(error) if isinstance(error, HTTPException) else error
    if isinstance(told, Broken):
        log.error("%s: %s", told.code, told.message, exc_info=told)
    return error_response(told, clock)


def install_handlers(app: FastAPI, clock: Clock) -> None:
    def answering(translate: Callable[[Any], AgentedError]) -> Callable[[Request, Any], Awaitable[JSONResponse]]:
        async def handle(_request: Request, error: Any) -> JSONResponse:
            return response_to(translate(error), clock)

        return handle

    app.add_exception_handler(AgentedError, answering(lambda error: error))
    app.add_exception_handler(RequestValidationError, answering(_from_validation))
    app.add_exception_handler(HTTPException, answering(_from_http))


def _from_validation(error: RequestValidationError) -> Invalid:
    """The first thing that is wrong with the request; what was sent is not repeated."""
    faults = error.errors()
    first = faults[0]
    place = [str(part) for part in first["loc"]]
    if first["type"] == "json_invalid":
        return Invalid("The body is not valid JSON.", field="body")
    names = [part for part in place[1:] if part] or place
    field = ".".join(names)
    if place == ["body"] and first["type"] != "value_error":
        return Invalid(
            "The body must be a JSON object.", field="body", hint="Send it with `Content-Type: application/json`."
        )
    more = f" ({len(faults) - 1} more)" if len(faults) > 1 else ""
    return Invalid(f"{field}: {_lower_first(str(first['msg']))}.{more}", field=field)


def _lower_first(text: str) -> str:
    text = text.removeprefix("Value error, ")
    return text[:1].lower() + text[1:].rstrip(".")


def _from_http(error: HTTPException) -> AgentedError:
    if error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return TooLarge("The body is too large.")
    if error.status_code == HTTPStatus.NOT_FOUND:
        return NotFound("There is nothing at this path.")
    if error.status_code == HTTPStatus.CONFLICT:
        return Conflict(str(error.detail))
    other = AgentedError(str(error.detail), code=f"http_{error.status_code}")
    other.status = error.status_code
    return other


def note_fault(scope: Scope) -> Broken:
    """Logs the fault that is being handled; gives what people are told of it."""
    fault_id = new_id("err")
    log.exception("%s: %s %s broke", fault_id, scope.get("method", scope["type"]), scope["path"])
    return Broken("Something broke on our side.", hint=f"The server's log tells more at {fault_id}.")


class Faults:
    """The request handler's door: a fault of ours becomes a 500 with an id that is also in the log."""

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception:
            broken = note_fault(scope)
            if started or scope["type"] != "http":
                raise
            await error_response(broken, self._clock)(scope, receive, send)
