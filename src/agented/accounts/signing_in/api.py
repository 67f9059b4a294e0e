"""HTTP for signing in: a terminal's output as a stream that resumes, what is typed, and how it ends. For admins alone:
what is shown may hold codes."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Header
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from agented.accounts.model import Account
from agented.accounts.signing_in.sessions import SignIn, SignIns, Standing, topic_of, ways_of
from agented.backends.contract import Backend
from agented.kit.bus import Bus
from agented.kit.pty import MOST_COLUMNS, MOST_ROWS
from agented.kit.web import role, still_allowed

_GATHER_S = 0.03
_HEARTBEAT_S = 15.0
_CHECK_S = 2.0


class NewSignIn(BaseModel):
    way: int = Field(default=0, ge=0, le=20, description="Which of its ways.")
    rows: int = Field(default=30, ge=2, le=MOST_ROWS)
    columns: int = Field(default=100, ge=20, le=MOST_COLUMNS)


class Keys(BaseModel):
    text: str = Field(max_length=4096, description="As a terminal sends it: Enter is a carriage return.")


class Size(BaseModel):
    rows: int = Field(ge=2, le=MOST_ROWS)
    columns: int = Field(ge=20, le=MOST_COLUMNS)


class WayOut(BaseModel):
    title: str
    hint: str


class SignInOut(BaseModel):
    key: str
    account: str
    is_default: bool
    backend: str
    title: str = Field(description="Of the CLI.")
    ways: list[WayOut] = Field(description="How its CLI can sign in; empty where it cannot.")
    id: str | None = Field(description="None before the first sign-in.")
    state: str = Field(description="none, running, signed_in, unchanged, failed, cancelled or timed_out")
    detail: str
    way: str
    url: str | None = Field(description="The https address that the CLI asks to be opened.")
    code: str | None = Field(description="The code to type there.")
    started_at: datetime | None
    until: datetime | None = Field(description="When it is given up.")
    ended_at: datetime | None
    size: int = Field(description="Bytes that were printed so far.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInApi:
    bus: Bus
    sign_ins: SignIns


def build_router(ports: SignInApi) -> APIRouter:
    router = APIRouter(prefix="/api/accounts/{key}/sign-in", tags=["accounts"])
    sign_ins = ports.sign_ins

    @router.get("", openapi_extra=role("admin"))
    def get_sign_in(key: str) -> SignInOut:
        """How the account's sign-in stands, and how its CLI can sign in."""
        backend, account = sign_ins.find(key)
        return _out(backend, account, sign_ins.get(account.key))

    @router.post("", status_code=201, openapi_extra=role("admin"))
    def start_sign_in(key: str, wish: NewSignIn) -> SignInOut:
        """Starts the CLI's own sign-in in a terminal. The account `default` of a backend is the person's own login."""
        backend, account = sign_ins.find(key)
        started = sign_ins.start(account.key, way=wish.way, rows=wish.rows, columns=wish.columns)
        return _out(backend, account, started)

    @router.delete("", status_code=204, openapi_extra=role("admin"))
    def cancel_sign_in(key: str) -> None:
        """Ends it with everything that it had started."""
        _, account = sign_ins.find(key)
        sign_ins.cancel(account.key)

    @router.post("/keys", status_code=204, openapi_extra=role("admin"))
    def type_keys(key: str, keys: Keys) -> None:
        _, account = sign_ins.find(key)
        sign_ins.type(account.key, keys.text)

    @router.post("/size", status_code=204, openapi_extra=role("admin"))
    def resize(key: str, size: Size) -> None:
        _, account = sign_ins.find(key)
        sign_ins.resize(account.key, size.rows, size.columns)

    @router.get("/stream", response_class=StreamingResponse, openapi_extra=role("admin"))
    def stream(
        key: str,
        allowed: Annotated[Callable[[], bool], Depends(still_allowed)],
        last_event_id: Annotated[str | None, Header(max_length=200)] = None,
    ) -> StreamingResponse:
        """Server-sent events: `state`, and `output` with bytes in base64 and their offset. Resumes by Last-Event-ID.

        The offset of an output is that of its sign-in; with a new one, told by the id of its state, it begins anew.
        """
        backend, account = sign_ins.find(key)
        viewer = _Viewer(ports, backend, account, last_event_id or "")
        return StreamingResponse(
            viewer.messages(allowed), media_type="text/event-stream", headers={"x-accel-buffering": "no"}
        )

    return router


class _Viewer:
    """Where one viewer stands."""

    def __init__(self, ports: SignInApi, backend: Backend, account: Account, last_event_id: str) -> None:
        self._ports = ports
        self._backend = backend
        self._account = account
        self._id, _, offset = last_event_id.partition("@")
        self._offset = int(offset) if offset.isdecimal() and len(offset) < 16 else 0
        self._told: SignInOut | None = None

    async def messages(self, allowed: Callable[[], bool]) -> AsyncIterator[bytes]:
        yield b"retry: 500\n\n"
        said_at = checked_at = time.monotonic()
        async with self._ports.bus.listen([topic_of(self._account.key)]) as bell:
            while True:
                news = await asyncio.to_thread(self._news)
                for message in news:
                    yield message
                now = time.monotonic()
                if now - checked_at >= _CHECK_S:
                    checked_at = now
                    if not await asyncio.to_thread(allowed):
                        return
                if news:
                    said_at = now
                    await asyncio.sleep(_GATHER_S)
                elif now - said_at >= _HEARTBEAT_S:
                    said_at = now
                    yield b": still here\n\n"
                await bell.wait(_CHECK_S)

    def _news(self) -> list[bytes]:
        """The state where it changed, then what was printed since."""
        sign_in = self._ports.sign_ins.get(self._account.key)
        standing = _out(self._backend, self._account, sign_in)
        found = []
        if standing.id is not None and standing.id != self._id:
            self._id, self._offset = standing.id, 0
        if self._told is None or standing.model_copy(update={"size": self._told.size}) != self._told:
            self._told = standing
            found.append(self._message("state", standing.model_dump_json().encode()))
        if sign_in is not None:
            piece = sign_in.read(self._offset)
            if piece.data:
                self._offset = piece.end
                told = {"id": self._id, "offset": piece.offset, "bytes": base64.b64encode(piece.data).decode()}
                found.append(self._message("output", orjson.dumps(told)))
        return found

    def _message(self, name: str, data: bytes) -> bytes:
        return b"id: %s@%d\nevent: %s\ndata: %s\n\n" % (self._id.encode(), self._offset, name.encode(), data)


def _out(backend: Backend, account: Account, sign_in: SignIn | None) -> SignInOut:
    standing: Standing | None = None if sign_in is None else sign_in.standing()
    return SignInOut(
        key=account.key,
        account=account.name,
        is_default=account.is_default,
        backend=backend.name,
        title=backend.title,
        ways=[WayOut(title=way.title, hint=way.hint) for way in ways_of(backend)],
        id=None if standing is None else standing.id,
        state="none" if standing is None else str(standing.state),
        detail="" if standing is None else standing.detail,
        way="" if standing is None else standing.way,
        url=None if standing is None else standing.shown.url,
        code=None if standing is None else standing.shown.code,
        started_at=None if standing is None else standing.started_at,
        until=None if standing is None else standing.until,
        ended_at=None if standing is None else standing.ended_at,
        size=0 if standing is None else standing.size,
    )
