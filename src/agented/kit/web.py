"""What every room's `api` file needs of HTTP: who calls, which role a route asks for, pages, and how errors look."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeVar, cast

from fastapi import Query, Request, Response
from pydantic import BaseModel, Field

from agented.kit.errors import Invalid, Unauthenticated

Role = Literal["viewer", "operator", "admin"]
ROLES: tuple[Role, ...] = ("viewer", "operator", "admin")
"""From the least to the most."""

_LONGEST_CURSOR = 2000


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as the door has found out.

    id: what work is credited to: `user:NAME` or `token:NAME`; tokens of one name count as one caller.
    kind: `user` for a person's session in the browser, `token` for a program.
    """

    id: str
    name: str
    role: Role
    kind: Literal["user", "token"]

    def may(self, role: Role) -> bool:
        return ROLES.index(self.role) >= ROLES.index(role)


def role(name: Role | Literal["open"]) -> dict[str, Any]:
    """For `openapi_extra`: the least role that may call the route, or `open` for everybody."""
    return {"x-role": name}


def straight(answer: Callable[[MutableMapping[str, Any], bytes], Awaitable[Response]]) -> dict[str, Any]:
    """For `openapi_extra` of an open route that programs ask very often: the server may call this, with the ASGI scope
    and the body, past the framework's own way to the route."""
    return {"x-straight": answer}


def current_caller(request: Request) -> Caller:
    """Dependency: the caller. The door lets nobody without a role pass to a route that asks for one."""
    caller = optional_caller(request)
    if caller is None:
        raise Unauthenticated("Sign in first.")
    return caller


def optional_caller(request: Request) -> Caller | None:
    """Dependency of open routes: the caller, if somebody is signed in."""
    return cast("Caller | None", getattr(request.state, "caller", None))


def still_allowed(request: Request) -> Callable[[], bool]:
    """Dependency of long answers: asks again whether the caller is signed in. Blocks; call it from a thread."""
    ask = getattr(request.state, "still_allowed", None)
    return cast("Callable[[], bool]", ask) if ask is not None else _nobody


def _nobody() -> bool:
    return False


Limit = Annotated[int, Query(ge=1, le=200, description="Items per page.")]
Cursor = Annotated[
    str | None, Query(max_length=_LONGEST_CURSOR, description="`next_cursor` of the page before; none for the first.")
]


def encode_cursor(position: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(position, separators=(",", ":")).encode()).decode().rstrip("=")


class Position(dict[str, Any]):
    """What a cursor holds. A part that is not there is the fault of who made the cursor up."""

    def __missing__(self, part: str) -> Any:
        raise _bad_cursor()


def decode_cursor(text: str) -> Position:
    """The position of a cursor. Raises Invalid for what `encode_cursor` has not made."""
    try:
        padded = text[:_LONGEST_CURSOR] + "=" * (-len(text) % 4)
        position = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, RecursionError):
        position = None
    if not isinstance(position, dict):
        raise _bad_cursor()
    return Position(position)


def _bad_cursor() -> Invalid:
    return Invalid("The cursor is not one of ours.", field="cursor", hint="Ask for the first page without a cursor.")


Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    items: list[Item]
    next_cursor: str | None = None


class ErrorDetail(BaseModel):
    code: str = Field(description="Stable, for programs.")
    message: str = Field(description="What is wrong, for people.")
    hint: str | None = Field(description="What to do about it.")
    field: str | None = Field(description="The field of the request that is wrong.")
    retry_at: str | None = Field(default=None, description="When it may be tried again.")


class ErrorOut(BaseModel):
    """Every answer that is an error."""

    error: ErrorDetail
