"""HTTP for bots, their webhooks and deliveries."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field
from starlette.datastructures import QueryParams

from agented.bots import saving, store
from agented.bots.deliveries import Accepted, Deliveries, facts_of
from agented.bots.files import read_yaml, write_yaml
from agented.bots.model import Bot
from agented.bots.prompts import names_of
from agented.bots.signatures import Answer, Incoming, Style
from agented.bots.starting import Starting
from agented.bots.store import Delivery
from agented.kit.clock import Clock
from agented.kit.db import Database
from agented.kit.errors import Invalid, NotFound
from agented.kit.groups import Gather
from agented.kit.vault import Vault
from agented.kit.web import Caller, Cursor, Limit, Page, current_caller, decode_cursor, encode_cursor, role, straight

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_SHOWN_BODY = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class BotsApi:
    """Ports of the routes. check: of a source, that its backend and account are there; raises Invalid."""

    db: Database
    vault: Vault
    clock: Clock
    deliveries: Deliveries
    starting: Starting
    check: Callable[[Mapping[str, Any]], None]


class WebhookOut(BaseModel):
    name: str
    path: str = Field(description="Where deliveries are sent to.")
    style: Style
    secret: str | None
    unsigned: bool = Field(description="Everybody who knows the address can start the bot.")


class BotOut(BaseModel):
    id: str
    name: str
    enabled: bool
    version: int
    description: str
    backend: str
    projects: list[str]
    webhooks: list[WebhookOut]
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


class StartWish(BaseModel):
    """What the prompt may name: `input` by name; or the facts of a stored delivery or of a pasted payload."""

    input: dict[str, Any] = Field(default_factory=dict)
    delivery: str | None = None
    payload: Any = None


class StartedOut(BaseModel):
    executions: list[str]


class DryOut(BaseModel):
    project: str
    backend: str
    account: str | None
    model: str | None
    permission: str
    prompt: str
    missing: list[str] = Field(description="Names of the prompt that have no value.")


class DeliveryOut(BaseModel):
    id: str
    state: str
    method: str
    bot: str | None
    trigger: str | None
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


class SecretValue(BaseModel):
    value: str = Field(min_length=1, max_length=20_000)


CallerNow = Annotated[Caller, Depends(current_caller)]


def build_routers(ports: BotsApi) -> list[APIRouter]:
    return [_bots(ports), _webhooks(ports), _deliveries(ports), _secrets(ports)]


def _bots(ports: BotsApi) -> APIRouter:
    router = APIRouter(prefix="/api/bots", tags=["bots"])

    @router.get("", openapi_extra=role("viewer"))
    def list_bots() -> Page[BotOut]:
        with ports.db.read() as conn:
            return Page(items=[_bot_out(bot) for bot in store.every_bot(conn)])

    @router.post("", status_code=201, openapi_extra=role("admin"))
    def add_bot(wish: NewBot, caller: CallerNow) -> BotOut:
        [(name, enabled, source)] = saving.read_documents([{"kind": saving.KIND, **wish.document}])
        ports.check(source)
        return _bot_out(saving.create(ports.db, ports.clock, name, source, enabled=enabled, by=caller.id))

    @router.post("/apply", openapi_extra=role("admin"))
    def apply(wish: Documents, caller: CallerNow) -> Page[PlannedOut]:
        documents = wish.documents if wish.yaml is None else read_yaml(wish.yaml)
        if wish.dry_run:
            planned = saving.plan(ports.db, documents)
        else:
            planned = saving.apply(ports.db, ports.clock, documents, ports.check, caller.id)
        return Page(items=[PlannedOut(name=one.name, act=one.act, parts=list(one.parts)) for one in planned])

    @router.get("/{bot}", openapi_extra=role("viewer"))
    def get_bot(bot: str) -> BotOut:
        return _bot_out(saving.get(ports.db, bot))

    @router.put("/{bot}", openapi_extra=role("admin"))
    def change_bot(bot: str, wish: NewBot, caller: CallerNow) -> BotOut:
        known = saving.get(ports.db, bot)
        [(name, enabled, source)] = saving.read_documents([{"kind": saving.KIND, "name": known.name, **wish.document}])
        if name != known.name:
            raise Invalid("A bot keeps its name.", field="name", hint="Make another bot.")
        ports.check(source)
        return _bot_out(saving.change(ports.db, ports.clock, known, source, enabled=enabled, by=caller.id))

    @router.delete("/{bot}", status_code=204, openapi_extra=role("admin"))
    def remove_bot(bot: str) -> None:
        known = saving.get(ports.db, bot)
        with ports.db.write() as conn:
            store.remove_bot(conn, known.id)

    @router.get("/{bot}/versions", openapi_extra=role("viewer"))
    def versions(bot: str) -> Page[VersionOut]:
        known = saving.get(ports.db, bot)
        with ports.db.read() as conn:
            rows = store.versions_of(conn, known.id)
        return Page(
            items=[
                VersionOut(
                    version=row.version, saved_by=row.saved_by, created_at=_instant(row.created_at), spec=row.source
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
        seed = store.new_delivery_id()
        facts = _facts(ports, wish or StartWish())
        started = ports.starting.start(known, facts, key=None, seed=seed, delivery_id=None)
        return StartedOut(executions=[one.id for one in started])

    @router.post("/{bot}/dry-run", openapi_extra=role("operator"))
    def dry_run(bot: str, wish: StartWish | None = None) -> Page[DryOut]:
        known = saving.get(ports.db, bot)
        planned = ports.starting.plan(known, _facts(ports, wish or StartWish()), None, store.new_delivery_id())
        return Page(
            items=[
                DryOut(
                    project=one.project,
                    backend=one.request.backend,
                    account=one.request.account,
                    model=one.request.model,
                    permission=str(one.request.permission),
                    prompt=one.request.prompt,
                    missing=list(one.missing),
                )
                for one in planned
            ]
        )

    return router


def _facts(ports: BotsApi, wish: StartWish) -> dict[str, Any]:
    facts: dict[str, Any] = {"input": wish.input}
    if wish.delivery is not None:
        facts["delivery"] = facts_of(_delivery_of(ports, wish.delivery))
    elif wish.payload is not None:
        facts["delivery"] = {"payload": wish.payload, "headers": {}, "query": {}, "method": "POST", "id": "pasted"}
    return facts


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
        told = await receiving((scope["path_params"]["key"], incoming))
        if isinstance(told, Accepted):
            known = "true" if told.known else "false"
            text = f'{{"id":"{told.id}","known":{known}}}'
            return Response(text, status_code=200 if told.known else 202, media_type="application/json")
        headers = {**told.headers, "x-content-type-options": "nosniff"}
        return Response(told.body, status_code=told.status, media_type=told.media_type, headers=headers)

    @router.api_route(
        "/{key}", methods=_METHODS, openapi_extra={**role("open"), **straight(answer)}, include_in_schema=False
    )
    async def receive(key: str, request: Request) -> Response:
        return await answer(request.scope, await request.body())

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
        limit: Limit = 50, cursor: Cursor = None, bot: str | None = None, state: str | None = None
    ) -> Page[DeliveryOut]:
        before = None if cursor is None else str(decode_cursor(cursor)["id"])
        owners = _owners(ports)
        address = None
        if bot is not None:
            address = next((key for key, (name, _) in owners.items() if name == bot), "")
        with ports.db.read() as conn:
            found = store.page_of_deliveries(conn, limit + 1, before, address, state)
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
        "size": len(delivery.body),
        "matches": delivery.matches,
        "replay_of": delivery.replay_of,
        "external_id": delivery.external_id,
        "received_at": _instant(delivery.received_at),
        "handled_at": None if delivery.handled_at is None else _instant(delivery.handled_at),
    }


def _bot_out(bot: Bot) -> BotOut:
    return BotOut(
        id=bot.id,
        name=bot.name,
        enabled=bot.enabled,
        version=bot.version,
        description=bot.spec.description,
        backend=bot.spec.backend,
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
