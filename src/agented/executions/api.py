"""HTTP for executions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from agented.backends.contract import Backend, Permission
from agented.executions import model, store
from agented.executions.journal import Journal
from agented.executions.model import TERMINAL, Execution, OnLimit, State, Trust
from agented.executions.output import Kept, ShownLine
from agented.executions.requests import Requests
from agented.executions.wire import attempt_out, execution_out, line_out
from agented.kit.db import Database
from agented.kit.errors import Invalid, NotFound
from agented.kit.web import Caller, current_caller, decode_cursor, encode_cursor, role
from agented.projects.model import Project


class StepIn(BaseModel):
    backend: str = Field(max_length=60)
    account: str | None = Field(default=None, max_length=120)
    model: str | None = Field(default=None, max_length=200)


class NewExecution(BaseModel):
    project: str = Field(description="A project's id; for an admin also the path of a repository on this machine.")
    backend: str | None = Field(default=None, max_length=60, description="Needed where no chain is given.")
    prompt: str
    permission: Permission = Permission.EDIT
    model: str | None = Field(default=None, max_length=200)
    ref: str | None = Field(default=None, max_length=255)
    key: str | None = Field(default=None, max_length=200)
    account: str | None = Field(
        default=None, max_length=120, description="By name or id; none for whichever of the backend may be used."
    )
    chain: list[StepIn] = Field(
        default_factory=list, max_length=10, description="What is tried in turn, instead of backend, account and model."
    )
    on_limit: OnLimit = Field(default=OnLimit.WAIT, description="What it does when no account may be used for a time.")
    priority: int = Field(default=5, ge=0, le=9)
    wall_s: float | None = Field(default=None, gt=0, le=7 * 86400)
    silence_s: float | None = Field(default=None, gt=0, le=7 * 86400)
    max_cost_usd: Decimal | None = Field(default=None, gt=0, le=100_000, description="What it may spend at most.")


class CancelWish(BaseModel):
    reason: str | None = Field(default=None, max_length=500)


class TokensOut(BaseModel):
    input: int
    output: int
    cache_read: int
    cache_write: int
    cost_usd: str | None


class ProjectRef(BaseModel):
    id: str
    name: str


class ChangeStats(BaseModel):
    files: int
    additions: int
    deletions: int


class Cause(BaseModel):
    """What the reason means, what to do about it, and the kind of that act."""

    title: str
    action: str
    fix: model.Fix


class ExecutionOut(BaseModel):
    id: str
    state: State
    reason: str | None
    detail: str | None
    cause: Cause | None
    title: str
    backend: str
    project: ProjectRef
    permission: Permission
    model: str | None
    ref: str | None
    branch: str | None
    account: str | None
    origin: str
    priority: int
    trust: Trust
    subject: str | None = Field(description="What it works on, such as one pull request.")
    resume_at: str | None = Field(description="When it goes on by itself, while it waits for a time.")
    choice: str | None = Field(description="Why it runs on this account.")
    account_key: str | None = Field(description="The account that it runs on, or whose limit it waits for.")
    on_limit: OnLimit
    session_id: str | None
    exit_code: int | None
    tokens: TokensOut
    created_at: str
    started_at: str | None
    ended_at: str | None
    last_output_at: str | None
    attempt_count: int
    lines: int
    bytes: int
    changes: ChangeStats | None
    rev: int


class AttemptOut(BaseModel):
    id: str
    number: int
    state: model.AttemptState
    verdict: model.AttemptVerdict | None
    reason: str | None
    detail: str | None
    account: str | None
    backend: str | None
    choice: str | None
    pid: int | None
    exit_code: int | None
    signal: int | None
    started_at: str
    ended_at: str | None
    session_id: str | None
    resumed: bool
    cli_version: str | None
    command: list[str]


class ExecutionDetail(ExecutionOut):
    prompt: str
    attempts: list[AttemptOut]


class ExecutionPage(BaseModel):
    items: list[ExecutionOut]
    next_cursor: str | None


class LineOut(BaseModel):
    n: int
    t: str
    stream: str
    text: str
    truncated: bool | None = None
    bytes: int | None = None


class LogPage(BaseModel):
    lines: list[LineOut]
    total: int
    complete: bool


class Matches(BaseModel):
    matches: list[int]
    total: int
    capped: bool


class EventPage(BaseModel):
    items: list[dict[str, Any]]
    last_seq: int
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionsApi:
    """Ports of the routes. project: finds by id, or makes a project of an admin's path."""

    db: Database
    requests: Requests
    runs: Path
    backend: Callable[[str], Backend]
    project: Callable[[str, Caller], Project]
    names: Callable[[list[str]], dict[str, str]]
    check_account: Callable[[str, str | None], None]
    changes: Callable[[Execution], dict[str, Any]]
    patch: Callable[[Execution], bytes]


CallerNow = Annotated[Caller, Depends(current_caller)]


def build_router(ports: ExecutionsApi) -> APIRouter:
    router = APIRouter(prefix="/api/executions", tags=["executions"])

    def row(execution: Execution) -> dict[str, Any]:
        project_id = execution.request.project_id
        return execution_out(execution, ports.names([project_id]).get(project_id, ""))

    @router.post("", status_code=202, response_model=ExecutionOut, openapi_extra=role("operator"))
    def submit(wish: NewExecution, caller: CallerNow) -> dict[str, Any]:
        steps = _steps(wish)
        for step in steps:
            ports.backend(step.backend)
            ports.check_account(step.backend, step.account)
        project = ports.project(wish.project, caller)
        execution = ports.requests.submit(
            model.Request(
                origin=caller.id,
                project_id=project.id,
                backend=steps[0].backend,
                prompt=wish.prompt,
                permission=wish.permission,
                model=steps[0].model,
                ref=wish.ref or None,
                account=steps[0].account,
                chain=steps if len(steps) > 1 else (),
                on_limit=wish.on_limit,
                key=wish.key or None,
                priority=wish.priority,
                wall_s=wish.wall_s,
                silence_s=wish.silence_s,
                max_cost_usd=wish.max_cost_usd,
            )
        )
        return row(execution)

    @router.get("", response_model=ExecutionPage, openapi_extra=role("viewer"))
    def list_executions(
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: str | None = None,
        state: str | None = None,
        backend: str | None = None,
        project: str | None = None,
        account: str | None = None,
        reason: str | None = None,
        origin: str | None = None,
        q: Annotated[str | None, Query(max_length=200)] = None,
    ) -> dict[str, Any]:
        states = _states(state)
        before = None if cursor is None else str(decode_cursor(cursor)["id"])
        with ports.db.read() as conn:
            found = store.page(
                conn,
                limit=limit + 1,
                before=before,
                states=states,
                backend=backend,
                project_id=project,
                account_name=account,
                reason=reason,
                origin=origin,
                text=q,
            )
        items, more = found[:limit], len(found) > limit
        names = ports.names([item.request.project_id for item in items])
        return {
            "items": [execution_out(item, names.get(item.request.project_id, "")) for item in items],
            "next_cursor": encode_cursor({"id": items[-1].id}) if more else None,
        }

    @router.get("/counts", openapi_extra=role("viewer"))
    def count() -> dict[str, int]:
        with ports.db.read() as conn:
            return store.counts(conn)

    @router.get("/{execution_id}", response_model=ExecutionDetail, openapi_extra=role("viewer"))
    def get(execution_id: str) -> dict[str, Any]:
        execution = ports.requests.get(execution_id)
        with ports.db.read() as conn:
            attempts = store.attempts_of(conn, execution_id)
        return {
            **row(execution),
            "prompt": execution.request.prompt,
            "attempts": [attempt_out(attempt) for attempt in attempts],
        }

    @router.post("/{execution_id}/resume", response_model=ExecutionOut, openapi_extra=role("operator"))
    def resume(execution_id: str) -> dict[str, Any]:
        """What waits for a time goes on at once."""
        return row(ports.requests.resume(execution_id))

    @router.post("/{execution_id}/cancel", response_model=ExecutionOut, openapi_extra=role("operator"))
    def cancel(execution_id: str, wish: CancelWish | None = None) -> dict[str, Any]:
        return row(ports.requests.cancel(execution_id, wish.reason if wish else None))

    @router.post("/{execution_id}/retry", status_code=202, response_model=ExecutionOut, openapi_extra=role("operator"))
    def retry(execution_id: str, caller: CallerNow) -> dict[str, Any]:
        return row(ports.requests.retry(execution_id, caller.id))

    @router.get(
        "/{execution_id}/log",
        response_model=LogPage,
        response_model_exclude_none=True,
        openapi_extra=role("viewer"),
    )
    def log(
        execution_id: str,
        first: Annotated[int, Query(alias="from", ge=1)] = 1,
        limit: Annotated[int, Query(ge=1, le=2000)] = 500,
    ) -> Response:
        complete = ports.requests.get(execution_id).state in TERMINAL
        with Kept(ports.runs / execution_id) as kept:
            total = kept.total()
            lines = kept.lines(first, limit)
        return _json(_page(lines, total, complete))

    @router.get(
        "/{execution_id}/log/lines",
        response_model=LogPage,
        response_model_exclude_none=True,
        openapi_extra=role("viewer"),
    )
    def some_lines(
        execution_id: str,
        n: Annotated[str, Query(max_length=8000, pattern=r"^[0-9]{1,12}(,[0-9]{1,12})*$")],
    ) -> Response:
        """Lines by their numbers, at most 500 of them: what a page of matches shows."""
        complete = ports.requests.get(execution_id).state in TERMINAL
        numbers = sorted({int(number) for number in n.split(",")})[:500]
        with Kept(ports.runs / execution_id) as kept:
            total = kept.total()
            lines = [line for number in numbers for line in kept.lines(number, 1)]
        return _json(_page(lines, total, complete))

    @router.get("/{execution_id}/log/errors", response_model=Matches, openapi_extra=role("viewer"))
    def errors(execution_id: str, limit: Annotated[int, Query(ge=1, le=10_000)] = 1000) -> dict[str, Any]:
        """Numbers of the lines on stderr and of those that speak of an error."""
        ports.requests.get(execution_id)
        with Kept(ports.runs / execution_id) as kept:
            found = kept.errors(limit)
        return {"matches": found.lines, "total": found.total, "capped": found.capped}

    @router.get("/{execution_id}/log.txt", response_class=Response, openapi_extra=role("viewer"))
    def log_text(execution_id: str, request: Request) -> Response:
        ports.requests.get(execution_id)
        with Kept(ports.runs / execution_id) as kept:
            size = kept.size()
        start, end = _range(request.headers.get("range"), size)
        headers = {
            "content-disposition": f'attachment; filename="{execution_id}.txt"',
            "accept-ranges": "bytes",
            "content-length": str(end - start),
        }
        if (start, end) != (0, size):
            headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
        return StreamingResponse(
            _raw(ports.runs / execution_id, start, end),
            status_code=200 if (start, end) == (0, size) else 206,
            media_type="text/plain; charset=utf-8",
            headers=headers,
        )

    @router.get("/{execution_id}/log/search", response_model=Matches, openapi_extra=role("viewer"))
    def search(
        execution_id: str,
        q: Annotated[str, Query(min_length=1, max_length=1000)],
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
        ignore_case: bool = False,
    ) -> dict[str, Any]:
        ports.requests.get(execution_id)
        with Kept(ports.runs / execution_id) as kept:
            found = kept.search(q, limit, ignore_case=ignore_case)
        return {"matches": found.lines, "total": found.total, "capped": found.capped}

    @router.get("/{execution_id}/events", response_model=EventPage, openapi_extra=role("viewer"))
    def events(
        execution_id: str,
        after: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=5000)] = 500,
    ) -> Response:
        complete = ports.requests.get(execution_id).state in TERMINAL
        with Journal(ports.runs / execution_id) as journal:
            items = journal.read(after, limit)
            last = journal.count()
        return _json({"items": items, "last_seq": last, "complete": complete})

    @router.get("/{execution_id}/changes", openapi_extra=role("viewer"))
    def changes(execution_id: str) -> dict[str, Any]:
        return ports.changes(ports.requests.get(execution_id))

    @router.get("/{execution_id}/changes.patch", response_class=Response, openapi_extra=role("viewer"))
    def patch(execution_id: str) -> Response:
        return Response(
            ports.patch(ports.requests.get(execution_id)),
            media_type="text/plain; charset=utf-8",
            headers={"content-disposition": f'attachment; filename="{execution_id}.patch"'},
        )

    return router


def _steps(wish: NewExecution) -> tuple[model.Step, ...]:
    """Raises Invalid where it says both, or neither."""
    if not wish.chain:
        if not wish.backend:
            raise Invalid("Say which backend runs it.", field="backend", hint="`GET /api/backends` lists them.")
        return (model.Step(wish.backend, wish.account or None, wish.model or None),)
    if wish.backend or wish.account or wish.model:
        raise Invalid("Give a chain, or one backend; not both.", field="chain")
    return tuple(model.Step(step.backend, step.account or None, step.model or None) for step in wish.chain)


def _states(text: str | None) -> list[str]:
    states = [part for part in (text or "").split(",") if part]
    for name in states:
        if name not in set(State):
            raise Invalid(f"There is no state {name[:40]!r}.", field="state", hint="States: " + ", ".join(State) + ".")
    return states


def _range(header: str | None, size: int) -> tuple[int, int]:
    """One byte range of RFC 9110 section 14; anything else is the whole."""
    unit, _, spec = (header or "").partition("=")
    first, dash, last = spec.partition("-")
    if unit.strip() != "bytes" or not dash or not (first + last).isdigit():
        return 0, size
    if not first:
        return max(0, size - int(last)), size
    start = int(first)
    if start >= size:
        raise NotFound(f"The log has {size} bytes.", code="range_not_satisfiable")
    return start, min(size, int(last) + 1) if last else size


def _raw(folder: Path, start: int, end: int) -> Iterator[bytes]:
    with Kept(folder) as kept:
        yield from kept.raw(start, end)


def _page(lines: list[ShownLine], total: int, complete: bool) -> dict[str, Any]:
    """total: counted before the lines were read, so that who goes on after it misses none that came meanwhile."""
    total = max(total, lines[-1].n if lines else 0)
    return {"lines": [line_out(line) for line in lines], "total": total, "complete": complete}


def _json(value: object) -> Response:
    """Pages of log lines are built as plain values and encoded once: validation would cost more than the reading."""
    import orjson

    return Response(orjson.dumps(value), media_type="application/json")
