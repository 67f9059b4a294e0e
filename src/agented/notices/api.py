"""HTTP for notices and their targets. Addresses go in and never come out; a secret that was made comes out once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, Field

from agented.kit.db import Database
from agented.kit.web import Cursor, Limit, Page, decode_cursor, encode_cursor, role
from agented.notices import store
from agented.notices.model import NoticeState, Outgoing, Target, TargetKind, Wanted
from agented.notices.outbox import Outbox
from agented.notices.sending import Sender
from agented.notices.targets import Saved, Targets, Wish


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticesApi:
    db: Database
    targets: Targets
    outbox: Outbox
    sender: Sender


_GOES_TO = "Of the web server, or what Apprise calls a URL. It is never told again."
_SIGNED_WITH = "Base64 of 24 to 64 bytes, as Standard Webhooks has it."


class TargetBody(BaseModel):
    name: str = Field(max_length=80)
    topics: list[str] = Field(default_factory=list, max_length=20, description="Of what it hears; none for all.")
    states: list[str] = Field(
        default_factory=list, max_length=20, description="Of runs: only those that ended so; none for all."
    )
    bots: list[str] = Field(default_factory=list, max_length=200, description="Only these; none for all.")
    enabled: bool = True


class NewTarget(TargetBody):
    kind: TargetKind
    address: str = Field(min_length=1, max_length=4000, description=_GOES_TO)
    secret: str | None = Field(
        default=None, min_length=1, max_length=200, description=f"{_SIGNED_WITH} None makes one."
    )


class ChangedTarget(TargetBody):
    address: str | None = Field(default=None, min_length=1, max_length=4000, description="None keeps the one there is.")
    secret: str | None = Field(default=None, min_length=1, max_length=200, description=f"{_SIGNED_WITH} None keeps it.")
    new_secret: bool = Field(default=False, description="Makes another secret and tells it once.")


class TargetOut(BaseModel):
    id: str
    name: str
    kind: TargetKind
    place: str = Field(description="The part of the address that may be seen.")
    topics: list[str]
    states: list[str]
    bots: list[str]
    enabled: bool
    last_at: str | None
    last_error: str | None = Field(description="How the newest attempt failed; none when it went well.")
    created_at: str
    updated_at: str


class SavedTarget(TargetOut):
    secret: str | None = Field(description="The secret that was made, told this once.")


class NoticeOut(BaseModel):
    id: str = Field(description="Also the `webhook-id`, at every attempt.")
    target: str | None
    target_id: str
    topic: str
    title: str
    body: str
    link: str
    state: NoticeState
    tries: int = Field(description="Attempts that failed.")
    error: str | None
    created_at: str
    due_at: str = Field(description="When it is tried next, while it waits.")
    ended_at: str | None


def build_routers(ports: NoticesApi) -> list[APIRouter]:
    return [_targets(ports), _notices(ports)]


def _targets(ports: NoticesApi) -> APIRouter:
    router = APIRouter(prefix="/api/notices/targets", tags=["notices"])

    @router.get("", openapi_extra=role("admin"))
    def list_targets() -> Page[TargetOut]:
        with ports.db.read() as conn:
            return Page(items=[_target_out(target) for target in store.every_target(conn)])

    @router.post("", status_code=201, openapi_extra=role("admin"))
    def add_target(wish: NewTarget) -> SavedTarget:
        return _saved_out(ports.targets.add(wish.kind, _wish(wish, wish.address, wish.secret)))

    @router.put("/{target_id}", openapi_extra=role("admin"))
    def change_target(target_id: str, wish: ChangedTarget) -> SavedTarget:
        wanted = _wish(wish, wish.address, wish.secret)
        return _saved_out(ports.targets.change(target_id, wanted, new_secret=wish.new_secret))

    @router.delete("/{target_id}", status_code=204, openapi_extra=role("admin"))
    def remove_target(target_id: str) -> None:
        ports.targets.remove(target_id)

    @router.post("/{target_id}/test", openapi_extra=role("admin"))
    def test_target(target_id: str) -> NoticeOut:
        """Sends a notice now, once, and tells how that went."""
        target = ports.targets.get(target_id)
        return _notice_out(ports.sender.test(target), {target.id: target.name})

    return router


def _notices(ports: NoticesApi) -> APIRouter:
    router = APIRouter(prefix="/api/notices", tags=["notices"])

    @router.get("", openapi_extra=role("viewer"))
    def list_notices(
        limit: Limit = 50, cursor: Cursor = None, target: str | None = None, state: NoticeState | None = None
    ) -> Page[NoticeOut]:
        before = None if cursor is None else str(decode_cursor(cursor)["id"])
        with ports.db.read() as conn:
            found = store.page(conn, limit + 1, before, target, state)
            names = {one.id: one.name for one in store.every_target(conn)}
        items = found[:limit]
        more = encode_cursor({"id": items[-1].id}) if len(found) > limit else None
        return Page(items=[_notice_out(one, names) for one in items], next_cursor=more)

    @router.post("/{notice_id}/resend", status_code=202, openapi_extra=role("operator"))
    def resend(notice_id: str) -> NoticeOut:
        again = ports.outbox.send_again(notice_id)
        with ports.db.read() as conn:
            target = store.find_target(conn, again.target_id)
        return _notice_out(again, {} if target is None else {target.id: target.name})

    return router


def _wish(body: TargetBody, address: str | None, secret: str | None) -> Wish:
    wanted = Wanted(topics=tuple(body.topics), states=tuple(body.states), bots=tuple(body.bots))
    return Wish(name=body.name, address=address, secret=secret, wanted=wanted, enabled=body.enabled)


def _target_out(target: Target) -> TargetOut:
    return TargetOut(
        id=target.id,
        name=target.name,
        kind=target.kind,
        place=target.place,
        topics=list(target.wanted.topics),
        states=list(target.wanted.states),
        bots=list(target.wanted.bots),
        enabled=target.enabled,
        last_at=None if target.last_at is None else _instant(target.last_at),
        last_error=target.last_error,
        created_at=_instant(target.created_at),
        updated_at=_instant(target.updated_at),
    )


def _saved_out(saved: Saved) -> SavedTarget:
    return SavedTarget(**_target_out(saved.target).model_dump(), secret=saved.made_secret)


def _notice_out(one: Outgoing, names: dict[str, str]) -> NoticeOut:
    return NoticeOut(
        id=one.id,
        target=names.get(one.target_id),
        target_id=one.target_id,
        topic=one.topic,
        title=one.title,
        body=one.body,
        link=one.link,
        state=one.state,
        tries=one.tries,
        error=one.error,
        created_at=_instant(one.created_at),
        due_at=_instant(one.due_at),
        ended_at=None if one.ended_at is None else _instant(one.ended_at),
    )


def _instant(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
