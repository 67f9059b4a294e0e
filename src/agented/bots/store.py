"""All SQL of bots: bots, their versions, the addresses of their triggers, deliveries, and what these started."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import chain
from typing import Any

import orjson
import sqlalchemy as sa

from agented.bots.model import Bot, Spec, read_spec
from agented.bots.triggers import WebhookTrigger
from agented.kit.clock import to_micros
from agented.kit.db import UtcTime, metadata
from agented.kit.ids import new_id

bots = sa.Table(
    "bots",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("name", sa.String(80), nullable=False, unique=True),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("source", sa.JSON, nullable=False),
    sa.Column("paused", sa.Text),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("updated_at", UtcTime, nullable=False),
)

versions = sa.Table(
    "bot_versions",
    metadata,
    sa.Column("bot_id", sa.String(40), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("source", sa.JSON, nullable=False),
    sa.Column("saved_by", sa.String(120), nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
)

addresses = sa.Table(
    "bot_addresses",
    metadata,
    sa.Column("key", sa.String(60), primary_key=True),
    sa.Column("bot_id", sa.String(40), nullable=False),
    sa.Column("trigger", sa.String(80), nullable=False),
    sa.UniqueConstraint("bot_id", "trigger"),
)
"""The address of a webhook trigger stays the same over versions: it stands in other people's settings."""

secrets = sa.Table(
    "secrets",
    metadata,
    sa.Column("name", sa.String(80), primary_key=True),
    sa.Column("sealed", sa.Text, nullable=False),
    sa.Column("updated_at", UtcTime, nullable=False),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("address", sa.String(60), nullable=False),
    sa.Column("external_id", sa.String(200)),
    sa.Column("lane", sa.String(260), nullable=False, server_default=""),
    sa.Column("event", sa.String(60)),
    sa.Column("checked", sa.JSON, nullable=False, server_default="[]"),
    sa.Column("method", sa.String(10), nullable=False),
    sa.Column("query", sa.JSON, nullable=False),
    sa.Column("headers", sa.JSON, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("matches", sa.JSON, nullable=False),
    sa.Column("replay_of", sa.String(40)),
    sa.Column("received_at", UtcTime, nullable=False),
    sa.Column("handled_at", UtcTime),
    sa.UniqueConstraint("address", "external_id"),
)
sa.Index("ix_deliveries_state_id", deliveries.c.state, deliveries.c.id)

runs = sa.Table(
    "bot_runs",
    metadata,
    sa.Column("execution_id", sa.String(40), primary_key=True),
    sa.Column("bot_id", sa.String(40), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("delivery_id", sa.String(40)),
    sa.Column("trigger", sa.String(80)),
    sa.Column("depth", sa.Integer, nullable=False, server_default="0"),
    sa.Column("about", sa.JSON, nullable=False, server_default="{}"),
    sa.Column("outcome", sa.String(16)),
    sa.Column("closed_at", UtcTime),
)
sa.Index("ix_bot_runs_bot_id_execution_id", runs.c.bot_id, runs.c.execution_id)
sa.Index("ix_bot_runs_delivery_id", runs.c.delivery_id)
sa.Index("ix_bot_runs_closed_at_execution_id", runs.c.closed_at, runs.c.execution_id)

paces = sa.Table(
    "repository_paces",
    metadata,
    sa.Column("repository", sa.String(260), primary_key=True),
    sa.Column("last_at", UtcTime, nullable=False),
)
"""When bots were last, or will next be, started by events of a repository."""

schedules = sa.Table(
    "bot_schedules",
    metadata,
    sa.Column("bot_id", sa.String(40), primary_key=True),
    sa.Column("trigger", sa.String(80), primary_key=True),
    sa.Column("line", sa.String(200), nullable=False),
    sa.Column("next_at", UtcTime, nullable=False),
    sa.Column("last_at", UtcTime),
    sa.Column("note", sa.Text),
)

results = sa.Table(
    "bot_results",
    metadata,
    sa.Column("execution_id", sa.String(40), primary_key=True),
    sa.Column("bot_id", sa.String(40), nullable=False),
    sa.Column("project_id", sa.String(40), nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("evidence", sa.JSON, nullable=False),
    sa.Column("detail", sa.Text),
    sa.Column("updated_at", UtcTime, nullable=False),
)
sa.Index("ix_bot_results_project_id_execution_id", results.c.project_id, results.c.execution_id)
sa.Index("ix_bot_results_bot_id_execution_id", results.c.bot_id, results.c.execution_id)

comments = sa.Table(
    "bot_comments",
    metadata,
    sa.Column("bot_id", sa.String(40), primary_key=True),
    sa.Column("subject", sa.String(255), primary_key=True),
    sa.Column("comment_id", sa.BigInteger, nullable=False),
)
"""The one comment that a bot keeps on a pull request or issue."""


# What every delivery asks for is said in the driver's own words: that takes a third of the time.
_TRIGGER_AT = (
    "SELECT a.trigger AS trigger, CAST(b.source AS TEXT) AS text FROM bot_addresses a JOIN bots b ON b.id = a.bot_id"
    " WHERE a.key = {}"
)
_SEALED = "SELECT sealed FROM secrets WHERE name = {}"
_NAMES = tuple(column.name for column in deliveries.c)
_ROWS = 32
"""Stored by one statement: the driver goes to and fro between Python and the database once for each statement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event that came in. state: stored, handled or failed. matches: whether each trigger was met, and why."""

    id: str
    address: str
    external_id: str | None
    lane: str
    """Deliveries of one lane are handled in order; lanes do not wait for each other."""
    event: str | None
    checked: list[str]
    """Which addresses or secrets its signature fits, where one address serves several."""
    method: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    state: str
    matches: list[dict[str, Any]]
    replay_of: str | None
    received_at: datetime
    handled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Handled:
    """What came of a delivery."""

    id: str
    state: str
    matches: list[dict[str, Any]]

    @property
    def started(self) -> bool:
        return any(one["executions"] for one in self.matches)


def add_bot(conn: sa.Connection, bot_id: str, name: str, enabled: bool, now: datetime) -> None:
    row = {"id": bot_id, "name": name, "enabled": enabled, "version": 0, "source": {}}
    conn.execute(bots.insert().values(**row, created_at=now, updated_at=now))


def save(conn: sa.Connection, bot_id: str, source: Mapping[str, Any], *, enabled: bool, by: str, now: datetime) -> int:
    """Stores a version more; gives its number."""
    last = conn.execute(sa.select(bots.c.version).where(bots.c.id == bot_id)).scalar_one()
    version = int(last) + 1
    conn.execute(versions.insert().values(bot_id=bot_id, version=version, source=source, saved_by=by, created_at=now))
    changed = {"source": source, "version": version, "enabled": enabled, "paused": None, "updated_at": now}
    conn.execute(bots.update().where(bots.c.id == bot_id).values(**changed))
    return version


def set_enabled(conn: sa.Connection, bot_id: str, enabled: bool, now: datetime) -> None:
    conn.execute(bots.update().where(bots.c.id == bot_id).values(enabled=enabled, paused=None, updated_at=now))


def pause(conn: sa.Connection, bot_id: str, why: str, now: datetime) -> bool:
    """Switches a bot off by itself; False when it is off already."""
    query = bots.update().where(bots.c.id == bot_id, bots.c.enabled.is_(True))
    return conn.execute(query.values(enabled=False, paused=why, updated_at=now)).rowcount == 1


def remove_bot(conn: sa.Connection, bot_id: str) -> None:
    """Its versions and deliveries stay: what ran is still explained."""
    conn.execute(addresses.delete().where(addresses.c.bot_id == bot_id))
    conn.execute(schedules.delete().where(schedules.c.bot_id == bot_id))
    conn.execute(bots.delete().where(bots.c.id == bot_id))


def keys_of(conn: sa.Connection, bot_id: str) -> dict[str, str]:
    """The address of each webhook trigger, by its name."""
    found = conn.execute(sa.select(addresses.c.trigger, addresses.c.key).where(addresses.c.bot_id == bot_id))
    return {str(name): str(key) for name, key in found}


def set_keys(conn: sa.Connection, bot_id: str, keys: Mapping[str, str]) -> None:
    known = keys_of(conn, bot_id)
    for name in known.keys() - keys.keys():
        conn.execute(addresses.delete().where(addresses.c.bot_id == bot_id, addresses.c.trigger == name))
    for name in keys.keys() - known.keys():
        conn.execute(addresses.insert().values(bot_id=bot_id, trigger=name, key=keys[name]))


def bot_of_address(conn: sa.Connection, key: str) -> tuple[Bot, str] | None:
    """The bot that an address belongs to, and the trigger's name."""
    row = conn.execute(addresses.select().where(addresses.c.key == key)).one_or_none()
    bot = None if row is None else find_bot(conn, row.bot_id)
    return None if bot is None or row is None else (bot, str(row.trigger))


def trigger_at(conn: sa.Connection, key: str) -> WebhookTrigger | None:
    """The trigger of an address, in one question: it is asked for every delivery."""
    row = conn.exec_driver_sql(_TRIGGER_AT.format(_mark(conn)), (key,)).one_or_none()
    if row is None:
        return None
    return next((one for one in _spec(row.text, ((row.trigger, key),)).webhooks if one.name == row.trigger), None)


@lru_cache(maxsize=256)
def _spec(text: str, keys: tuple[tuple[str, str], ...]) -> Spec:
    """Known by the text itself, so that no change of it is missed."""
    return read_spec(json.loads(text), dict(keys))


def _spec_of(source: Mapping[str, Any], keys: Mapping[str, str]) -> Spec:
    return _spec(json.dumps(source), tuple(sorted(keys.items())))


def find_bot(conn: sa.Connection, id_or_name: str) -> Bot | None:
    wanted = sa.or_(bots.c.id == id_or_name, bots.c.name == id_or_name)
    row = conn.execute(bots.select().where(wanted)).one_or_none()
    return None if row is None else _bot(row, keys_of(conn, row.id))


def find_version(conn: sa.Connection, bot_id: str, version: int) -> Bot | None:
    """A bot as it was saved at a version."""
    bot = find_bot(conn, bot_id)
    if bot is None or bot.version == version:
        return bot
    where = sa.and_(versions.c.bot_id == bot_id, versions.c.version == version)
    source = conn.execute(sa.select(versions.c.source).where(where)).scalar()
    if source is None:
        return None
    return replace(bot, version=version, source=source, spec=_spec_of(source, keys_of(conn, bot_id)))


def every_bot(conn: sa.Connection) -> list[Bot]:
    rows = conn.execute(bots.select().order_by(bots.c.name)).all()
    return [_bot(row, keys_of(conn, row.id)) for row in rows]


def versions_of(conn: sa.Connection, bot_id: str) -> list[sa.Row[Any]]:
    """Newest first."""
    query = versions.select().where(versions.c.bot_id == bot_id).order_by(versions.c.version.desc()).limit(200)
    return list(conn.execute(query).all())


def _bot(row: sa.Row[Any], keys: Mapping[str, str]) -> Bot:
    return Bot(
        id=row.id,
        name=row.name,
        enabled=row.enabled,
        version=row.version,
        spec=_spec_of(row.source, keys),
        source=row.source,
        created_at=row.created_at,
        updated_at=row.updated_at,
        paused=row.paused,
    )


def put_secret(conn: sa.Connection, name: str, sealed: str, now: datetime) -> None:
    conn.execute(secrets.delete().where(secrets.c.name == name))
    conn.execute(secrets.insert().values(name=name, sealed=sealed, updated_at=now))


def sealed_secret(conn: sa.Connection, name: str) -> str | None:
    found = conn.exec_driver_sql(_SEALED.format(_mark(conn)), (name,)).scalar()
    return None if found is None else str(found)


def secret_names(conn: sa.Connection) -> list[str]:
    return [str(name) for name in conn.execute(sa.select(secrets.c.name).order_by(secrets.c.name)).scalars()]


def remove_secret(conn: sa.Connection, name: str) -> bool:
    return conn.execute(secrets.delete().where(secrets.c.name == name)).rowcount == 1


def add_deliveries(conn: sa.Connection, new: Sequence[Delivery]) -> list[str | None]:
    """Stores them; for each the id of the one that came before under the same external id, where there is one."""
    stored = 0
    for start in range(0, len(new), _ROWS):
        rows = [_values(one) for one in new[start : start + _ROWS]]
        text = _insert(len(rows), _mark(conn))
        stored += conn.exec_driver_sql(text, tuple(chain.from_iterable(rows))).rowcount
    if stored == len(new):
        return [None] * stored
    first = _ids_of(conn, new)
    found = [first.get((one.address, one.external_id), one.id) for one in new]
    return [None if was == one.id else was for was, one in zip(found, new, strict=True)]


def _mark(conn: sa.Connection) -> str:
    """A parameter's place in the driver's own words."""
    return "?" if conn.dialect.name == "sqlite" else "%s"


@lru_cache(maxsize=2 * _ROWS)
def _insert(rows: int, mark: str) -> str:
    row = f"({', '.join([mark] * len(_NAMES))})"
    names = ", ".join(f'"{name}"' for name in _NAMES)
    return f"INSERT INTO deliveries ({names}) VALUES {', '.join([row] * rows)} ON CONFLICT DO NOTHING"  # noqa: S608


def _values(one: Delivery) -> tuple[Any, ...]:
    """In the order of the columns, as they are stored."""
    return (
        one.id,
        one.address,
        one.external_id,
        one.lane,
        one.event,
        orjson.dumps(one.checked).decode(),
        one.method,
        orjson.dumps(one.query).decode(),
        orjson.dumps(one.headers).decode(),
        one.body,
        one.state,
        orjson.dumps(one.matches).decode(),
        one.replay_of,
        to_micros(one.received_at),
        None if one.handled_at is None else to_micros(one.handled_at),
    )


def _ids_of(conn: sa.Connection, new: Sequence[Delivery]) -> dict[tuple[str, str | None], str]:
    """Who stands under their external ids now, by address and external id."""
    known: dict[tuple[str, str | None], str] = {}
    for address in {one.address for one in new}:
        named = {one.external_id for one in new if one.address == address and one.external_id is not None}
        which = sa.and_(deliveries.c.address == address, deliveries.c.external_id.in_(named))
        rows = conn.execute(sa.select(deliveries.c.external_id, deliveries.c.id).where(which))
        known |= {(address, row.external_id): str(row.id) for row in rows}
    return known


def waiting_lanes(conn: sa.Connection) -> list[str]:
    """Lanes with deliveries that nobody has handled yet, the longest waiting first."""
    oldest = sa.func.min(deliveries.c.id)
    query = sa.select(deliveries.c.lane).where(deliveries.c.state == "stored")
    return [str(lane) for lane in conn.execute(query.group_by(deliveries.c.lane).order_by(oldest).limit(200)).scalars()]


def waiting_deliveries(conn: sa.Connection, lane: str, limit: int) -> list[Delivery]:
    """Those of a lane that nobody has handled yet, oldest first."""
    query = deliveries.select().where(deliveries.c.state == "stored", deliveries.c.lane == lane)
    return [_delivery(row) for row in conn.execute(query.order_by(deliveries.c.id).limit(limit))]


def known_external_ids(conn: sa.Connection, address: str, ids: Collection[str]) -> set[str]:
    query = sa.select(deliveries.c.external_id).where(
        deliveries.c.address == address, deliveries.c.external_id.in_(list(ids))
    )
    return {str(one) for one in conn.execute(query).scalars()}


def handled(conn: sa.Connection, done: Sequence[Handled], now: datetime) -> None:
    changed = {"state": sa.bindparam("new_state"), "matches": sa.bindparam("new_matches"), "handled_at": now}
    rows = [{"which": one.id, "new_state": one.state, "new_matches": one.matches} for one in done]
    conn.execute(deliveries.update().where(deliveries.c.id == sa.bindparam("which")).values(**changed), rows)


def find_delivery(conn: sa.Connection, delivery_id: str) -> Delivery | None:
    row = conn.execute(deliveries.select().where(deliveries.c.id == delivery_id)).one_or_none()
    return None if row is None else _delivery(row)


def page_of_deliveries(
    conn: sa.Connection,
    limit: int,
    before: str | None,
    *,
    bot: str | None = None,
    text: str | None = None,
    **equal: str | None,
) -> list[Delivery]:
    """Newest first. bot: a name that stands in the matches. text: in lane, event or an id. equal: values of columns."""
    query = deliveries.select().order_by(deliveries.c.id.desc()).limit(limit)
    for column, value in equal.items():
        if value is not None:
            query = query.where(deliveries.c[column] == value)
    if bot is not None:
        named = sa.cast(deliveries.c.matches, sa.Text).contains(f'"bot": "{bot}"', autoescape=True)
        query = query.where(named)
    if text:
        columns = (deliveries.c.lane, deliveries.c.event, deliveries.c.external_id, deliveries.c.id)
        query = query.where(sa.or_(*(column.icontains(text, autoescape=True) for column in columns)))
    if before is not None:
        query = query.where(deliveries.c.id < before)
    return [_delivery(row) for row in conn.execute(query)]


def forget_deliveries(conn: sa.Connection, before: datetime) -> int:
    return conn.execute(deliveries.delete().where(deliveries.c.received_at < before)).rowcount


@dataclass(frozen=True, slots=True, kw_only=True)
class BotRun:
    """What a bot ran, and why. depth: how many bots started each other before. about: what GitHub said it is about."""

    execution_id: str
    bot_id: str
    version: int
    delivery_id: str | None = None
    trigger: str | None = None
    depth: int = 0
    about: Mapping[str, Any] = field(default_factory=dict)
    outcome: str | None = None


def note_run(conn: sa.Connection, run: BotRun) -> None:
    if find_run(conn, run.execution_id) is None:
        conn.execute(runs.insert().values(**{name: getattr(run, name) for name in BotRun.__slots__}))


def find_run(conn: sa.Connection, execution_id: str) -> BotRun | None:
    row = conn.execute(runs.select().where(runs.c.execution_id == execution_id)).one_or_none()
    return None if row is None else _run(row)


def _run(row: sa.Row[Any]) -> BotRun:
    return BotRun(**{name: getattr(row, name) for name in BotRun.__slots__})


def open_runs(conn: sa.Connection, after: str, limit: int) -> list[BotRun]:
    """Runs whose end nobody has seen to yet, by id."""
    query = runs.select().where(runs.c.closed_at.is_(None), runs.c.execution_id > after)
    return [_run(row) for row in conn.execute(query.order_by(runs.c.execution_id).limit(limit))]


def close_run(conn: sa.Connection, execution_id: str, outcome: str, now: datetime) -> None:
    conn.execute(runs.update().where(runs.c.execution_id == execution_id).values(outcome=outcome, closed_at=now))


def mark_run(conn: sa.Connection, execution_id: str, outcome: str) -> None:
    conn.execute(runs.update().where(runs.c.execution_id == execution_id).values(outcome=outcome))


def last_outcomes(
    conn: sa.Connection, bot_id: str, limit: int, since: datetime, leave_out: Collection[str]
) -> list[str]:
    """How the last runs of a bot ended, newest first."""
    query = sa.select(runs.c.outcome).where(
        runs.c.bot_id == bot_id, runs.c.closed_at > since, runs.c.outcome.not_in(list(leave_out))
    )
    return [str(one) for one in conn.execute(query.order_by(runs.c.closed_at.desc()).limit(limit)).scalars()]


def unfinished_of_trigger(conn: sa.Connection, bot_id: str, trigger: str) -> str | None:
    """A run of this trigger whose end nobody has seen to yet."""
    query = sa.select(runs.c.execution_id).where(
        runs.c.bot_id == bot_id, runs.c.trigger == trigger, runs.c.closed_at.is_(None)
    )
    found = conn.execute(query.limit(1)).scalar()
    return None if found is None else str(found)


def take_turn(conn: sa.Connection, repository: str, now: datetime, pace: timedelta) -> datetime:
    """When an event of a repository may act: now, or together with all that wait for its next turn."""
    query = sa.select(paces.c.last_at).where(paces.c.repository == repository)
    if conn.dialect.name != "sqlite":
        query = query.with_for_update()
    last: datetime | None = conn.execute(query).scalar()
    if last is not None and now < last <= now + pace:
        return last
    # A clock that jumped back must not hold a repository for as long as it jumped.
    rested = last is None or now - last >= pace or last > now
    at = now if rested or last is None else last + pace
    if last is None:
        conn.execute(paces.insert().values(repository=repository, last_at=at))
    else:
        conn.execute(paces.update().where(paces.c.repository == repository).values(last_at=at))
    return at


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """line: cron line and zone that next_at was reckoned from. note: why the last time was left out."""

    bot_id: str
    trigger: str
    line: str
    next_at: datetime
    last_at: datetime | None
    note: str | None


def every_schedule(conn: sa.Connection) -> list[Schedule]:
    rows = conn.execute(schedules.select().order_by(schedules.c.next_at))
    return [Schedule(**{name: getattr(row, name) for name in Schedule.__slots__}) for row in rows]


def put_schedule(conn: sa.Connection, schedule: Schedule) -> None:
    drop_schedule(conn, schedule.bot_id, schedule.trigger)
    conn.execute(schedules.insert().values(**{name: getattr(schedule, name) for name in Schedule.__slots__}))


def drop_schedule(conn: sa.Connection, bot_id: str, trigger: str) -> None:
    conn.execute(schedules.delete().where(schedules.c.bot_id == bot_id, schedules.c.trigger == trigger))


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptResult:
    """state: pending, delivered, failed. evidence: what is there, by kind, with its address."""

    execution_id: str
    bot_id: str
    project_id: str
    state: str
    evidence: Sequence[Mapping[str, Any]]
    detail: str | None
    updated_at: datetime


def put_result(conn: sa.Connection, result: KeptResult) -> None:
    conn.execute(results.delete().where(results.c.execution_id == result.execution_id))
    conn.execute(results.insert().values(**{name: getattr(result, name) for name in KeptResult.__slots__}))


def find_result(conn: sa.Connection, execution_id: str) -> KeptResult | None:
    row = conn.execute(results.select().where(results.c.execution_id == execution_id)).one_or_none()
    return None if row is None else _result(row)


def page_of_results(conn: sa.Connection, limit: int, before: str | None, **equal: str | None) -> list[KeptResult]:
    """Newest first. equal: values of columns."""
    query = results.select().order_by(results.c.execution_id.desc()).limit(limit)
    for column, value in equal.items():
        query = query if value is None else query.where(results.c[column] == value)
    if before is not None:
        query = query.where(results.c.execution_id < before)
    return [_result(row) for row in conn.execute(query)]


def _result(row: sa.Row[Any]) -> KeptResult:
    return KeptResult(**{name: getattr(row, name) for name in KeptResult.__slots__})


def comment_of(conn: sa.Connection, bot_id: str, subject: str) -> int | None:
    query = sa.select(comments.c.comment_id).where(comments.c.bot_id == bot_id, comments.c.subject == subject)
    found = conn.execute(query).scalar()
    return None if found is None else int(found)


def keep_comment(conn: sa.Connection, bot_id: str, subject: str, comment_id: int) -> None:
    conn.execute(comments.delete().where(comments.c.bot_id == bot_id, comments.c.subject == subject))
    conn.execute(comments.insert().values(bot_id=bot_id, subject=subject, comment_id=comment_id))


def runs_of_delivery(conn: sa.Connection, delivery_id: str) -> list[str]:
    query = sa.select(runs.c.execution_id).where(runs.c.delivery_id == delivery_id).order_by(runs.c.execution_id)
    return [str(one) for one in conn.execute(query).scalars()]


def runs_of_bot(conn: sa.Connection, bot_id: str, limit: int) -> list[tuple[str, int]]:
    """(execution, version), newest first."""
    query = runs.select().where(runs.c.bot_id == bot_id).order_by(runs.c.execution_id.desc()).limit(limit)
    return [(row.execution_id, row.version) for row in conn.execute(query)]


def _delivery(row: sa.Row[Any]) -> Delivery:
    return Delivery(**{name: getattr(row, name) for name in Delivery.__slots__})


def new_bot_id() -> str:
    return new_id("bot")


def new_delivery_id() -> str:
    return new_id("dlv")
