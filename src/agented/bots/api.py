"""HTTP for bots, their webhooks and deliveries."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Depends, Query, Response
from fastapi import Request as HttpRequest
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams

from agented.bots import saving, store
from agented.bots.deliveries import EVERY, GITHUB, Accepted, Deliveries, facts_of
from agented.bots.files import read_yaml, write_yaml
from agented.bots.gallery import REHEARSAL, Gallery, Ready
from agented.bots.model import Bot, read_spec
from agented.bots.prompts import names_of
from agented.bots.reports import Reports
from agented.bots.schedule import TOPIC as SCHEDULES
from agented.bots.schema import SCHEMA
from agented.bots.signatures import Answer, Incoming, Style
from agented.bots.starting import Cause, Planned, Starting, Submit
from agented.bots.store import Delivery, KeptResult
from agented.bots.times import check_cron, check_zone, times_after
from agented.executions.model import Request
from agented.kit.bus import Bus
from agented.kit.clock import Clock
from agented.kit.db import Database
from agented.kit.errors import Invalid, NotFound
from agented.kit.groups import Gather
from agented.kit.vault import Vault
from agented.kit.web import Caller, Cursor, Limit, Page, current_caller, decode_cursor, encode_cursor, role, straight
from agented.projects.events import Ignored, read_event
from agented.projects.github import Remote
from agented.projects.model import Project

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_SHOWN_BODY = 256 * 1024
_MOST_TIMES = 60
_WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class BotsApi:
    """Ports of the routes. check: of a source, that its backend and account are there; raises Invalid."""

    db: Database
    vault: Vault
    clock: Clock
    bus: Bus
    deliveries: Deliveries
    starting: Starting
    repositories: FindRepository
    reports: Reports
    gallery: Gallery
    submit: Submit
    command: Callable[[Request], list[str]]
    """The command line that a request would run."""
    drop_branch: Callable[[str], None]
    sample: Callable[[], Project]
    """The project to try things on."""
    check: Callable[[Mapping[str, Any]], None]

    def changed(self) -> None:
        """Says that bots are others now."""
        self.bus.ring(SCHEDULES)
        self.bus.ring("bots")


class FindRepository(Protocol):
    def find(self, remote: Remote) -> Project | None: ...


class WebhookOut(BaseModel):
    name: str
    path: str = Field(description="Where deliveries are sent to.")
    style: Style
    secret: str | None
    unsigned: bool = Field(description="Everybody who knows the address can start the bot.")


class StepOut(BaseModel):
    backend: str
    account: str | None
    model: str | None


class GitHubOut(BaseModel):
    name: str
    events: list[str]
    path: str = Field(description="Where GitHub's webhooks are sent to.")
    secret: str | None = Field(description="The trigger's own secret; else GITHUB_WEBHOOK_SECRET.")


class ScheduleOut(BaseModel):
    bot: str
    name: str
    cron: str
    timezone: str
    next: list[str] = Field(description="The next five times.")
    week: list[str] = Field(description="The times of the next seven days, at most sixty.")
    last_at: str | None
    note: str | None = Field(description="Why a time was left out, if one was.")
    enabled: bool


class TimesOut(BaseModel):
    next: list[str]


class BotOut(BaseModel):
    id: str
    name: str
    enabled: bool
    paused: str | None = Field(description="Why it was switched off by itself, if it was.")
    version: int
    description: str
    backend: str
    chain: list[StepOut]
    projects: list[str]
    webhooks: list[WebhookOut]
    github: list[GitHubOut]
    schedules: list[ScheduleOut]
    after: list[str] = Field(description="The bots after which it starts.")
    results: list[str]
    document: dict[str, Any] = Field(description="What `agented bots apply` takes.")
    yaml: str = Field(description="The same as text.")
    inputs: list[str] = Field(description="What the prompt asks for when it is started by hand.")
    created_at: str
    updated_at: str


class NewBot(BaseModel):
    """A document of kind Bot."""

    document: dict[str, Any]


class Documents(BaseModel):
    """Documents of kind Bot, or a text that holds them as YAML."""

    documents: list[dict[str, Any]] = Field(default_factory=list)
    yaml: str | None = Field(default=None, max_length=4 * 1024 * 1024)
    dry_run: bool = Field(default=False, description="Only tells what would be done.")


class PlannedOut(BaseModel):
    name: str
    act: str
    parts: list[str]


class VersionOut(BaseModel):
    version: int
    saved_by: str
    created_at: str
    spec: dict[str, Any]
    yaml: str


class StartWish(BaseModel):
    """What the prompt may name: `input` by name; or the facts of a stored delivery or of a pasted payload."""

    input: dict[str, Any] = Field(default_factory=dict)
    delivery: str | None = None
    payload: Any = None
    event: str | None = Field(default=None, max_length=60, description="The kind of GitHub's event the payload is of.")


class PreviewWish(StartWish):
    """A bot that is not saved yet, as a document or as YAML, and what it would be started by."""

    document: dict[str, Any] | None = None
    yaml: str | None = Field(default=None, max_length=4 * 1024 * 1024)


class StartedOut(BaseModel):
    executions: list[str]


class DryOut(BaseModel):
    project: str
    backend: str
    account: str | None
    model: str | None
    permission: str
    trust: str
    chain: list[StepOut]
    command: list[str]
    begins_at: str = Field(description="What its workspace begins with.")
    result: list[str]
    prompt: str
    missing: list[str] = Field(description="Names of the prompt that have no value.")


class DeliveryOut(BaseModel):
    id: str
    state: str
    method: str
    bot: str | None
    trigger: str | None
    source: str = Field(description="The repository or the trigger that it came for.")
    event: str | None
    size: int
    matches: list[dict[str, Any]]
    replay_of: str | None
    external_id: str | None
    received_at: str
    handled_at: str | None


class DeliveryDetail(DeliveryOut):
    headers: dict[str, str]
    query: dict[str, str]
    body: str = Field(description="As text; base64 where it is none.")
    encoding: str
    truncated: bool
    executions: list[str]


class AcceptedOut(BaseModel):
    id: str
    known: bool = Field(description="It came before under the same id and is not handled again.")


class ResultOut(BaseModel):
    execution: str
    bot: str | None
    project: str
    state: str
    evidence: list[dict[str, Any]]
    detail: str | None
    updated_at: str


class ReportOut(BaseModel):
    markdown: str
    findings: list[dict[str, Any]]
    counts: dict[str, int]
    bot: str
    project: str
    execution: str
    at: str


class ReadyOut(BaseModel):
    """A bot that is there to be taken."""

    name: str
    title: str
    summary: str
    document: dict[str, Any]
    yaml: str


class TryWish(BaseModel):
    project: str | None = Field(default=None, description="A project's name or id; the sample when none is named.")


class SecretValue(BaseModel):
    value: str = Field(min_length=1, max_length=20_000)


CallerNow = Annotated[Caller, Depends(current_caller)]


def build_routers(ports: BotsApi) -> list[APIRouter]:
    return [
        _bots(ports),
        _webhooks(ports),
        _deliveries(ports),
        _schedules(ports),
        _results(ports),
        _secrets(ports),
    ]


def _bots(ports: BotsApi) -> APIRouter:
    router = APIRouter(prefix="/api/bots", tags=["bots"])

    @router.get("", openapi_extra=role("viewer"))
    def list_bots() -> Page[BotOut]:
        with ports.db.read() as conn:
            found = store.every_bot(conn)
        return Page(items=[_bot_out(ports, bot) for bot in found])

    @router.get("/schema", openapi_extra=role("viewer"))
    def schema() -> dict[str, Any]:
        """The JSON schema of documents of kind Bot."""
        return dict(SCHEMA)

    @router.get("/gallery", openapi_extra=role("viewer"))
    def gallery() -> Page[ReadyOut]:
        return Page(items=[_ready_out(one) for one in ports.gallery.all()])

    @router.post("/gallery/{name}/try", status_code=202, openapi_extra=role("operator"))
    def try_ready(name: str, caller: CallerNow, wish: TryWish | None = None) -> StartedOut:
        """Runs it in rehearsal: nothing is spent, no CLI and no GitHub is asked."""
        ready = ports.gallery.get(name)
        named = None if wish is None else wish.project
        project = ports.sample() if named is None else ports.starting.project(named)
        request = Request(
            origin=caller.id,
            project_id=project.id,
            backend=REHEARSAL,
            prompt=ready.rehearsal,
            permission=ready.permission,
        )
        return StartedOut(executions=[ports.submit(request).id])

    @router.post("/preview", openapi_extra=role("operator"))
    def preview(wish: PreviewWish) -> Page[DryOut]:
        """A dry run of a bot that is not saved."""
        documents = [wish.document or {}] if wish.yaml is None else read_yaml(wish.yaml)
        if len(documents) != 1:
            raise Invalid("Give one document.", field="yaml")
        [(name, enabled, source)] = saving.read_documents(documents, "document")
        now = ports.clock.now()
        bot = Bot(
            id="bot_preview",
            name=name,
            enabled=enabled,
            version=0,
            spec=read_spec(source, {}),
            source=source,
            created_at=now,
            updated_at=now,
        )
        return _dry(ports, bot, wish)

    @router.post("", status_code=201, openapi_extra=role("admin"))
    def add_bot(wish: NewBot, caller: CallerNow) -> BotOut:
        [(name, enabled, source)] = saving.read_documents([{"kind": saving.KIND, **wish.document}])
        ports.check(source)
        made = saving.create(ports.db, ports.clock, name, source, enabled=enabled, by=caller.id)
        ports.changed()
        return _bot_out(ports, made)

    @router.post("/apply", openapi_extra=role("admin"))
    def apply(wish: Documents, caller: CallerNow) -> Page[PlannedOut]:
        documents = wish.documents if wish.yaml is None else read_yaml(wish.yaml)
        if wish.dry_run:
            planned = saving.plan(ports.db, documents)
        else:
            planned = saving.apply(ports.db, ports.clock, documents, ports.check, caller.id)
            ports.changed()
        return Page(items=[PlannedOut(name=one.name, act=one.act, parts=list(one.parts)) for one in planned])

    @router.get("/{bot}", openapi_extra=role("viewer"))
    def get_bot(bot: str) -> BotOut:
        return _bot_out(ports, saving.get(ports.db, bot))

    @router.put("/{bot}", openapi_extra=role("admin"))
    def change_bot(bot: str, wish: NewBot, caller: CallerNow) -> BotOut:
        known = saving.get(ports.db, bot)
        [(name, enabled, source)] = saving.read_documents([{"kind": saving.KIND, "name": known.name, **wish.document}])
        if name != known.name:
            raise Invalid("A bot keeps its name.", field="name", hint="Make another bot.")
        ports.check(source)
        changed = saving.change(ports.db, ports.clock, known, source, enabled=enabled, by=caller.id)
        ports.changed()
        return _bot_out(ports, changed)

    @router.delete("/{bot}", status_code=204, openapi_extra=role("admin"))
    def remove_bot(bot: str) -> None:
        known = saving.get(ports.db, bot)
        with ports.db.write() as conn:
            store.remove_bot(conn, known.id)
        ports.changed()

    @router.get("/{bot}/versions", openapi_extra=role("viewer"))
    def versions(bot: str) -> Page[VersionOut]:
        known = saving.get(ports.db, bot)
        with ports.db.read() as conn:
            rows = store.versions_of(conn, known.id)
        return Page(
            items=[
                VersionOut(
                    version=row.version,
                    saved_by=row.saved_by,
                    created_at=_instant(row.created_at),
                    spec=row.source,
                    yaml=write_yaml([{"kind": saving.KIND, "name": known.name, **row.source}]),
                )
                for row in rows
            ]
        )

    @router.get("/{bot}/runs", openapi_extra=role("viewer"))
    def runs(bot: str, limit: Limit = 50) -> Page[dict[str, Any]]:
        known = saving.get(ports.db, bot)
        with ports.db.read() as conn:
            found = store.runs_of_bot(conn, known.id, limit)
        return Page(items=[{"execution": execution, "version": version} for execution, version in found])

    @router.post("/{bot}/run", status_code=202, openapi_extra=role("operator"))
    def run_bot(bot: str, wish: StartWish | None = None) -> StartedOut:
        known = saving.get(ports.db, bot)
        started = ports.starting.start(known, _cause(ports, known, wish or StartWish()))
        return StartedOut(executions=[one.id for one in started])

    @router.post("/{bot}/dry-run", openapi_extra=role("operator"))
    def dry_run(bot: str, wish: StartWish | None = None) -> Page[DryOut]:
        return _dry(ports, saving.get(ports.db, bot), wish or StartWish())

    return router


def _dry(ports: BotsApi, bot: Bot, wish: StartWish) -> Page[DryOut]:
    cause = _cause(ports, bot, wish)
    if not bot.spec.projects and not cause.projects:
        cause = replace(cause, projects=(_any_repository(ports.clock.now()),))
    planned = ports.starting.plan(bot, cause)
    return Page(items=[_dry_out(ports, bot, one) for one in planned])


def _any_repository(now: datetime) -> Project:
    """Stands for the one that an event will name."""
    name = "the repository of the event"
    return Project(id="", name=name, path=Path("REPOSITORY"), url=None, default_branch="", created_at=now)


def _dry_out(ports: BotsApi, bot: Bot, planned: Planned) -> DryOut:
    request = planned.request
    begins = request.ref or request.fetch or "the default branch"
    if request.config_from is not None:
        begins += f", with the configuration of {request.config_from}"
    return DryOut(
        project=planned.project,
        backend=request.backend,
        account=request.account,
        model=request.model,
        permission=str(request.permission),
        trust=str(request.trust),
        chain=_chain_out(bot),
        command=ports.command(request),
        begins_at=begins,
        result=[str(one.kind) for one in bot.spec.results],
        prompt=request.prompt,
        missing=list(planned.missing),
    )


def _cause(ports: BotsApi, bot: Bot, wish: StartWish) -> Cause:
    """Started by hand: with what a person gave, or with a stored or pasted delivery as if it came now."""
    facts: dict[str, Any] = {"input": wish.input}
    delivery = None if wish.delivery is None else _delivery_of(ports, wish.delivery)
    kind, payload = wish.event, wish.payload
    if delivery is not None:
        facts["delivery"] = facts_of(delivery)
        kind, payload = delivery.event, facts["delivery"]["payload"]
    elif payload is not None:
        facts["delivery"] = {"payload": payload, "headers": {}, "query": {}, "method": "POST", "id": "pasted"}
    seed = store.new_delivery_id()
    if not kind:
        return Cause(facts=facts, key=None, seed=seed, trigger="hand")
    event = read_event(kind, payload)
    if isinstance(event, Ignored):
        raise Invalid(event.reason, field="event")
    found = ports.repositories.find(event.remote)
    return Cause(
        facts={**facts, **event.facts},
        key=None,
        seed=seed,
        trigger="hand",
        event=event,
        projects=() if found is None or bot.spec.projects else (found,),
    )


def _webhooks(ports: BotsApi) -> APIRouter:
    router = APIRouter(prefix="/api/webhooks", tags=["webhooks"])
    receiving: Gather[tuple[str, Incoming], Answer | Accepted] = Gather(ports.deliveries.receive_all, "receiving")

    async def answer(scope: MutableMapping[str, Any], body: bytes) -> Response:
        incoming = Incoming(
            method=scope["method"],
            query=dict(QueryParams(scope["query_string"])) if scope["query_string"] else {},
            headers=_headers(scope["headers"]),
            body=body,
            now=ports.clock.now().timestamp(),
        )
        key = scope["path_params"].get("key", EVERY)
        if key in (GITHUB, EVERY):
            accept = ports.deliveries.receive_github if key == GITHUB else ports.deliveries.receive_any
            told = await run_in_threadpool(accept, incoming)
        else:
            told = await receiving((key, incoming))
        if isinstance(told, Accepted):
            known = "true" if told.known else "false"
            text = f'{{"id":"{told.id}","known":{known}}}'
            return Response(text, status_code=200 if told.known else 202, media_type="application/json")
        headers = {**told.headers, "x-content-type-options": "nosniff"}
        return Response(told.body, status_code=told.status, media_type=told.media_type, headers=headers)

    @router.api_route(
        "/{key}", methods=_METHODS, openapi_extra={**role("open"), **straight(answer)}, include_in_schema=False
    )
    async def receive(key: str, request: HttpRequest) -> Response:
        return await answer(request.scope, await request.body())

    @router.api_route("", methods=_METHODS, openapi_extra=role("open"), include_in_schema=False)
    @router.api_route("/", methods=_METHODS, openapi_extra=role("open"), include_in_schema=False)
    async def receive_any(request: HttpRequest) -> Response:
        return await answer(request.scope, await request.body())

    @router.post("/github/", openapi_extra=role("open"), include_in_schema=False)
    async def receive_github(request: HttpRequest) -> Response:
        return await answer({**request.scope, "path_params": {"key": GITHUB}}, await request.body())

    return router


def _schedules(ports: BotsApi) -> APIRouter:
    router = APIRouter(prefix="/api/schedules", tags=["schedules"])

    @router.get("", openapi_extra=role("viewer"))
    def list_schedules() -> Page[ScheduleOut]:
        """Of all bots, the next one first."""
        with ports.db.read() as conn:
            found = store.every_bot(conn)
        out = [one for bot in found for one in _schedules_out(ports, bot)]
        return Page(items=sorted(out, key=lambda one: one.next))

    @router.get("/times", openapi_extra=role("viewer"))
    def times(
        cron: Annotated[str, Query(max_length=120)], timezone: Annotated[str, Query(max_length=60)] = "UTC"
    ) -> TimesOut:
        """The next five times of a cron line."""
        check_zone(timezone, "timezone")
        return TimesOut(next=_next_times(check_cron(cron, "cron"), timezone, ports.clock.now()))

    return router


def _results(ports: BotsApi) -> APIRouter:
    router = APIRouter(prefix="/api", tags=["results"])

    @router.get("/results", openapi_extra=role("viewer"))
    def list_results(
        limit: Limit = 50,
        cursor: Cursor = None,
        project: str | None = None,
        bot: str | None = None,
        execution: str | None = None,
    ) -> Page[ResultOut]:
        """What bots brought: pull requests, comments, reports; newest first."""
        before = None if cursor is None else str(decode_cursor(cursor)["id"])
        bot_id = None if bot is None else saving.get(ports.db, bot).id
        with ports.db.read() as conn:
            equal = {"project_id": project, "bot_id": bot_id, "execution_id": execution}
            found = store.page_of_results(conn, limit + 1, before, **equal)
            names = {one.id: one.name for one in store.every_bot(conn)}
        items = found[:limit]
        more = encode_cursor({"id": items[-1].execution_id}) if len(found) > limit else None
        return Page(items=[_result_out(one, names) for one in items], next_cursor=more)

    @router.get("/results/{execution_id}", openapi_extra=role("viewer"))
    def get_result(execution_id: str) -> ResultOut:
        with ports.db.read() as conn:
            found = store.find_result(conn, execution_id)
            names = {one.id: one.name for one in store.every_bot(conn)}
        if found is None:
            raise NotFound("This run has no result that was asked for.")
        return _result_out(found, names)

    @router.delete("/results/{execution_id}/branch", status_code=204, openapi_extra=role("operator"))
    def drop_branch(execution_id: str) -> None:
        """Deletes the branch that the run has pushed, and so closes its pull request."""
        ports.drop_branch(execution_id)

    @router.get("/reports/{project_id}/{bot}/{name}", openapi_extra=role("viewer"))
    def get_report(project_id: str, bot: str, name: str) -> ReportOut:
        markdown, told = ports.reports.read(project_id, bot, name)
        return ReportOut(markdown=markdown, **{key: told[key] for key in ReportOut.model_fields if key != "markdown"})

    return router


def _headers(given: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """One that came twice is one value, as HTTP says: no second signature stands in for a wrong first."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in given}
    if len(headers) < len(given):
        headers = {}
        for name, value in ((name.decode("latin-1"), value.decode("latin-1")) for name, value in given):
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _deliveries(ports: BotsApi) -> APIRouter:
    router = APIRouter(prefix="/api/deliveries", tags=["deliveries"])

    @router.get("", openapi_extra=role("viewer"))
    def list_deliveries(
        limit: Limit = 50,
        cursor: Cursor = None,
        bot: str | None = None,
        state: str | None = None,
        event: str | None = None,
        q: Annotated[str | None, Query(max_length=200)] = None,
    ) -> Page[DeliveryOut]:
        """q: part of a repository, an event, or an id."""
        before = None if cursor is None else str(decode_cursor(cursor)["id"])
        owners = _owners(ports)
        with ports.db.read() as conn:
            found = store.page_of_deliveries(conn, limit + 1, before, bot=bot, text=q, state=state, event=event)
        items = found[:limit]
        more = encode_cursor({"id": items[-1].id}) if len(found) > limit else None
        return Page(items=[DeliveryOut(**_delivery_out(one, owners)) for one in items], next_cursor=more)

    @router.get("/{delivery_id}", openapi_extra=role("viewer"))
    def get_delivery(delivery_id: str) -> DeliveryDetail:
        delivery = _delivery_of(ports, delivery_id)
        with ports.db.read() as conn:
            executions = store.runs_of_delivery(conn, delivery_id)
        text, encoding = _shown_body(delivery.body[:_SHOWN_BODY])
        return DeliveryDetail(
            **_delivery_out(delivery, _owners(ports)),
            headers=dict(delivery.headers),
            query=dict(delivery.query),
            body=text,
            encoding=encoding,
            truncated=len(delivery.body) > _SHOWN_BODY,
            executions=executions,
        )

    @router.post("/{delivery_id}/replay", status_code=202, openapi_extra=role("operator"))
    def replay(delivery_id: str) -> AcceptedOut:
        accepted = ports.deliveries.replay(delivery_id)
        return AcceptedOut(id=accepted.id, known=accepted.known)

    return router


def _secrets(ports: BotsApi) -> APIRouter:
    router = APIRouter(prefix="/api/secrets", tags=["secrets"])

    @router.get("", openapi_extra=role("admin"))
    def list_secrets() -> Page[str]:
        """Names alone: a value is never told again."""
        with ports.db.read() as conn:
            return Page(items=store.secret_names(conn))

    @router.put("/{name}", status_code=204, openapi_extra=role("admin"))
    def put_secret(name: str, wish: SecretValue) -> None:
        if not name.replace("_", "").replace("-", "").replace(".", "").isalnum() or len(name) > 80:
            raise Invalid("A secret's name has letters, digits, dots, dashes and underscores.", field="name")
        sealed = ports.vault.seal(wish.value, f"secrets/{name}")
        with ports.db.write() as conn:
            store.put_secret(conn, name, sealed, ports.clock.now())

    @router.delete("/{name}", status_code=204, openapi_extra=role("admin"))
    def remove_secret(name: str) -> None:
        with ports.db.write() as conn:
            if not store.remove_secret(conn, name):
                raise NotFound(f"There is no secret {name[:80]!r}.")

    return router


def _delivery_of(ports: BotsApi, delivery_id: str) -> Delivery:
    with ports.db.read() as conn:
        found = store.find_delivery(conn, delivery_id)
    if found is None:
        raise NotFound(f"There is no delivery {delivery_id[:60]}.")
    return found


def _owners(ports: BotsApi) -> dict[str, tuple[str, str]]:
    """(bot, trigger) by address."""
    with ports.db.read() as conn:
        return {one.key: (bot.name, one.name) for bot in store.every_bot(conn) for one in bot.spec.webhooks}


def _delivery_out(delivery: Delivery, owners: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    bot, trigger = owners.get(delivery.address, (None, None))
    return {
        "id": delivery.id,
        "state": delivery.state,
        "method": delivery.method,
        "bot": bot,
        "trigger": trigger,
        "source": delivery.lane if delivery.event else trigger or "",
        "event": delivery.event,
        "size": len(delivery.body),
        "matches": delivery.matches,
        "replay_of": delivery.replay_of,
        "external_id": delivery.external_id,
        "received_at": _instant(delivery.received_at),
        "handled_at": None if delivery.handled_at is None else _instant(delivery.handled_at),
    }


def _chain_out(bot: Bot) -> list[StepOut]:
    return [StepOut(backend=one.backend, account=one.account, model=one.model) for one in bot.spec.chain]


def _ready_out(ready: Ready) -> ReadyOut:
    return ReadyOut(
        name=ready.name,
        title=ready.title,
        summary=ready.summary,
        document=dict(ready.document),
        yaml=write_yaml([ready.document]),
    )


def _result_out(kept: KeptResult, names: Mapping[str, str]) -> ResultOut:
    return ResultOut(
        execution=kept.execution_id,
        bot=names.get(kept.bot_id),
        project=kept.project_id,
        state=kept.state,
        evidence=[dict(one) for one in kept.evidence],
        detail=kept.detail,
        updated_at=_instant(kept.updated_at),
    )


def _schedules_out(ports: BotsApi, bot: Bot) -> list[ScheduleOut]:
    if not bot.spec.schedules:
        return []
    with ports.db.read() as conn:
        rows = {one.trigger: one for one in store.every_schedule(conn) if one.bot_id == bot.id}
    out = []
    for one in bot.spec.schedules:
        row = rows.get(one.name)
        last = None if row is None or row.last_at is None else _instant(row.last_at)
        now = ports.clock.now()
        following = [_instant(at) for at in islice(times_after(one.cron, one.zone, now), _MOST_TIMES)]
        out.append(
            ScheduleOut(
                bot=bot.name,
                name=one.name,
                cron=one.cron,
                timezone=one.zone,
                next=following[:5],
                week=[at for at in following if at < _instant(now + _WEEK)],
                last_at=last,
                note=None if row is None else row.note,
                enabled=bot.enabled,
            )
        )
    return out


def _next_times(cron: str, zone: str, now: datetime) -> list[str]:
    return [_instant(at) for at in islice(times_after(cron, zone, now), 5)]


def _bot_out(ports: BotsApi, bot: Bot) -> BotOut:
    return BotOut(
        id=bot.id,
        name=bot.name,
        enabled=bot.enabled,
        paused=bot.paused,
        version=bot.version,
        description=bot.spec.description,
        backend=bot.spec.chain[0].backend,
        chain=_chain_out(bot),
        github=[
            GitHubOut(name=one.name, events=list(one.events), path="/api/webhooks/github/", secret=one.secret)
            for one in bot.spec.github
        ],
        schedules=_schedules_out(ports, bot),
        after=[one.bot for one in bot.spec.after],
        results=[str(one.kind) for one in bot.spec.results],
        projects=list(bot.spec.projects),
        webhooks=[
            WebhookOut(
                name=one.name,
                path=f"/api/webhooks/{one.key}",
                style=one.style,
                secret=one.secret,
                unsigned=one.style is Style.NONE,
            )
            for one in bot.spec.webhooks
        ],
        document=saving.export(bot),
        yaml=write_yaml([saving.export(bot)]),
        inputs=sorted({name.removeprefix("input.") for name in names_of(bot.spec.prompt) if name.startswith("input.")}),
        created_at=_instant(bot.created_at),
        updated_at=_instant(bot.updated_at),
    )


def _shown_body(body: bytes) -> tuple[str, str]:
    try:
        return body.decode(), "text"
    except UnicodeDecodeError:
        return base64.b64encode(body).decode(), "base64"


def _instant(at: Any) -> str:
    return str(at.isoformat(timespec="milliseconds").replace("+00:00", "Z"))
