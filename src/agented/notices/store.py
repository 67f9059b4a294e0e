"""All SQL of notices: targets, and the outbox of what goes to them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from agented.kit.db import UtcTime, metadata
from agented.kit.ids import new_id
from agented.notices.model import NoticeState, Outgoing, Target, TargetKind, Wanted

targets = sa.Table(
    "notice_targets",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("name", sa.String(80), nullable=False, unique=True),
    sa.Column("kind", sa.String(12), nullable=False),
    sa.Column("place", sa.String(300), nullable=False),
    sa.Column("sealed", sa.Text, nullable=False),
    sa.Column("topics", sa.JSON, nullable=False),
    sa.Column("states", sa.JSON, nullable=False),
    sa.Column("bots", sa.JSON, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("last_at", UtcTime),
    sa.Column("last_error", sa.Text),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("updated_at", UtcTime, nullable=False),
)

notices = sa.Table(
    "notices",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("target_id", sa.String(40), nullable=False),
    sa.Column("key", sa.String(200), nullable=False),
    sa.Column("topic", sa.String(40), nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("link", sa.Text, nullable=False),
    sa.Column("facts", sa.JSON, nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("due_at", UtcTime, nullable=False),
    sa.Column("ended_at", UtcTime),
    sa.UniqueConstraint("target_id", "key"),
)
sa.Index("ix_notices_state_due_at", notices.c.state, notices.c.due_at)
sa.Index("ix_notices_target_id_id", notices.c.target_id, notices.c.id)

_WAITING = notices.c.state == NoticeState.WAITING


def add_target(conn: sa.Connection, target: Target) -> None:
    conn.execute(targets.insert().values(**_target_row(target)))


def change_target(conn: sa.Connection, target: Target) -> None:
    """What a person decides of it; how its attempts went is left alone."""
    row = {name: value for name, value in _target_row(target).items() if not name.startswith("last_")}
    conn.execute(targets.update().where(targets.c.id == target.id).values(**row))


def remove_target(conn: sa.Connection, target_id: str) -> bool:
    """With everything that was on its way there."""
    conn.execute(notices.delete().where(notices.c.target_id == target_id))
    return conn.execute(targets.delete().where(targets.c.id == target_id)).rowcount == 1


def find_target(conn: sa.Connection, target_id: str) -> Target | None:
    row = conn.execute(targets.select().where(targets.c.id == target_id)).one_or_none()
    return None if row is None else _target(row)


def id_of_name(conn: sa.Connection, name: str) -> str | None:
    found = conn.execute(sa.select(targets.c.id).where(targets.c.name == name)).scalar()
    return None if found is None else str(found)


def every_target(conn: sa.Connection) -> list[Target]:
    return [_target(row) for row in conn.execute(targets.select().order_by(targets.c.name))]


def note_attempt(conn: sa.Connection, target_id: str, error: str | None, now: datetime) -> None:
    conn.execute(targets.update().where(targets.c.id == target_id).values(last_at=now, last_error=error))


def disable_target(conn: sa.Connection, target_id: str, now: datetime) -> None:
    conn.execute(targets.update().where(targets.c.id == target_id).values(enabled=False, updated_at=now))


def _target_row(target: Target) -> dict[str, Any]:
    row = {name: getattr(target, name) for name in Target.__slots__ if name != "wanted"}
    wanted = target.wanted
    return {**row, "topics": list(wanted.topics), "states": list(wanted.states), "bots": list(wanted.bots)}


def _target(row: sa.Row[Any]) -> Target:
    same = {name: getattr(row, name) for name in Target.__slots__ if name not in ("wanted", "kind")}
    wanted = Wanted(topics=tuple(row.topics), states=tuple(row.states), bots=tuple(row.bots))
    return Target(**same, kind=TargetKind(row.kind), wanted=wanted)


def put(conn: sa.Connection, outgoing: Outgoing) -> bool:
    """False when the target has one of the same key already. Two who write it at once do not fail either."""
    # The dialect that is not needed takes long to load.
    if conn.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
    values = {name: getattr(outgoing, name) for name in Outgoing.__slots__}
    statement = insert(notices).values(**values).on_conflict_do_nothing(index_elements=["target_id", "key"])
    return conn.execute(statement).rowcount == 1


def change(conn: sa.Connection, notice_id: str, **changed: Any) -> None:
    conn.execute(notices.update().where(notices.c.id == notice_id).values(**changed))


def hold_back(conn: sa.Connection, target_id: str, until: datetime) -> None:
    """Nothing goes to the target before then."""
    early = sa.and_(_WAITING, notices.c.target_id == target_id, notices.c.due_at < until)
    conn.execute(notices.update().where(early).values(due_at=until))


def due_targets(conn: sa.Connection, now: datetime) -> list[str]:
    """Who has something to get now; those who wait longest first."""
    query = (
        sa.select(notices.c.target_id)
        .join(targets, sa.and_(targets.c.id == notices.c.target_id, targets.c.enabled))
        .where(_WAITING, notices.c.due_at <= now)
        .group_by(notices.c.target_id)
        .order_by(sa.func.min(notices.c.due_at))
    )
    return [str(one) for one in conn.execute(query).scalars()]


def next_due_at(conn: sa.Connection) -> datetime | None:
    enabled = sa.and_(targets.c.id == notices.c.target_id, targets.c.enabled)
    found: datetime | None = conn.execute(
        sa.select(sa.type_coerce(sa.func.min(notices.c.due_at), UtcTime)).join(targets, enabled).where(_WAITING)
    ).scalar()
    return found


def next_for(conn: sa.Connection, target_id: str, now: datetime) -> tuple[Target, Outgoing] | None:
    """The oldest that the target is to get now."""
    target = find_target(conn, target_id)
    due = sa.and_(_WAITING, notices.c.target_id == target_id, notices.c.due_at <= now)
    row = conn.execute(notices.select().where(due).order_by(notices.c.id).limit(1)).first()
    return None if target is None or not target.enabled or row is None else (target, _outgoing(row))


def find(conn: sa.Connection, notice_id: str) -> Outgoing | None:
    row = conn.execute(notices.select().where(notices.c.id == notice_id)).one_or_none()
    return None if row is None else _outgoing(row)


def page(
    conn: sa.Connection, limit: int, before: str | None, target_id: str | None, state: NoticeState | None
) -> list[Outgoing]:
    """Newest first."""
    query = notices.select().order_by(notices.c.id.desc()).limit(limit)
    for column, value in (("target_id", target_id), ("state", state)):
        if value is not None:
            query = query.where(notices.c[column] == value)
    if before is not None:
        query = query.where(notices.c.id < before)
    return [_outgoing(row) for row in conn.execute(query)]


def forget(conn: sa.Connection, before: datetime) -> int:
    """What still waits for a target that is there is kept, however old."""
    nobody = notices.c.target_id.not_in(sa.select(targets.c.id))
    old = sa.and_(notices.c.created_at < before, sa.or_(sa.not_(_WAITING), nobody))
    return conn.execute(notices.delete().where(old)).rowcount


def _outgoing(row: sa.Row[Any]) -> Outgoing:
    values = {name: getattr(row, name) for name in Outgoing.__slots__}
    return Outgoing(**{**values, "state": NoticeState(row.state)})


def new_target_id() -> str:
    return new_id("tgt")


def new_notice_id() -> str:
    return new_id("ntc")
