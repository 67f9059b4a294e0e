"""Bots are made, changed and compared. Every save is a version; nothing that ran loses its own."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from agented.bots import store
from agented.bots.model import Bot, check_name, differences, read_spec
from agented.bots.triggers import webhook_names
from agented.kit.clock import Clock
from agented.kit.db import Database
from agented.kit.errors import Conflict, Invalid, NotFound
from agented.kit.loose import mapping

KIND = "Bot"
_MOST_DOCUMENTS = 200


@dataclass(frozen=True, slots=True)
class Planned:
    """What an apply would do to one bot. parts: what differs."""

    name: str
    act: Literal["create", "change", "nothing"]
    parts: Sequence[str]


def get(db: Database, id_or_name: str) -> Bot:
    with db.read() as conn:
        bot = store.find_bot(conn, id_or_name)
    if bot is None:
        raise NotFound(f"There is no bot {id_or_name[:80]!r}.")
    return bot


def create(db: Database, clock: Clock, name: Any, source: Mapping[str, Any], *, enabled: bool, by: str) -> Bot:
    """Raises Invalid that names the field, Conflict when the name is taken."""
    check_name(name)
    with db.write() as conn:
        if store.find_bot(conn, name) is not None:
            raise Conflict(f"There is a bot {name!r} already.", code="name_taken", field="name")
        return _write(conn, clock, store.new_bot_id(), name, source, enabled=enabled, by=by, new=True)


def change(db: Database, clock: Clock, bot: Bot, source: Mapping[str, Any], *, enabled: bool, by: str) -> Bot:
    """A version more, unless nothing of the source changed."""
    with db.write() as conn:
        if not differences(bot.source, source):
            if bot.enabled != enabled:
                store.set_enabled(conn, bot.id, enabled, clock.now())
            return _again(conn, bot.id)
        return _write(conn, clock, bot.id, bot.name, source, enabled=enabled, by=by, new=False)


def _write(
    conn: sa.Connection,
    clock: Clock,
    bot_id: str,
    name: str,
    source: Mapping[str, Any],
    *,
    enabled: bool,
    by: str,
    new: bool,
) -> Bot:
    known = {} if new else store.keys_of(conn, bot_id)
    keys = {trigger: known.get(trigger) or secrets.token_urlsafe(24) for trigger in webhook_names(source)}
    read_spec(source, keys)
    if new:
        store.add_bot(conn, bot_id, name, enabled, clock.now())
    store.set_keys(conn, bot_id, keys)
    store.save(conn, bot_id, dict(source), enabled=enabled, by=by, now=clock.now())
    return _again(conn, bot_id)


def _again(conn: sa.Connection, bot_id: str) -> Bot:
    bot = store.find_bot(conn, bot_id)
    assert bot is not None
    return bot


def export(bot: Bot) -> dict[str, Any]:
    """The document that `apply` takes."""
    return {"kind": KIND, "name": bot.name, "enabled": bot.enabled, **bot.source}


def read_documents(documents: Sequence[Any], called: str | None = None) -> list[tuple[str, bool, Mapping[str, Any]]]:
    """(name, enabled, source) of each. called: what the one document is called in errors.

    Raises Invalid that names document and field.
    """
    if not 0 < len(documents) <= _MOST_DOCUMENTS:
        raise Invalid(f"Give 1 to {_MOST_DOCUMENTS} documents.", field="documents")
    found: list[tuple[str, bool, Mapping[str, Any]]] = []
    for number, document in enumerate(documents):
        place = called or f"documents[{number}]"
        given = mapping(document)
        if given.get("kind") != KIND:
            raise Invalid("A document begins with `kind: Bot`.", field=f"{place}.kind")
        enabled = given.get("enabled", True)
        if not isinstance(enabled, bool):
            raise Invalid("`enabled` is true or false.", field=f"{place}.enabled")
        source = {key: value for key, value in given.items() if key not in ("kind", "name", "enabled")}
        try:
            name = check_name(given.get("name"))
            read_spec(source, {})
        except Invalid as error:
            raise Invalid(error.message, field=f"{place}.{error.field}", hint=error.hint) from None
        found.append((name, enabled, source))
    names = [name for name, _, _ in found]
    if len(set(names)) < len(names):
        raise Invalid("Two documents have the same name.", field="documents")
    return found


def plan(db: Database, documents: Sequence[Any]) -> list[Planned]:
    """What `apply` would do, without doing it."""
    planned = []
    with db.read() as conn:
        for name, enabled, source in read_documents(documents):
            bot = store.find_bot(conn, name)
            if bot is None:
                planned.append(Planned(name, "create", sorted(source)))
                continue
            parts = [*differences(bot.source, source), *(["enabled"] if bot.enabled != enabled else [])]
            planned.append(Planned(name, "change" if parts else "nothing", parts))
    return planned


def apply(
    db: Database, clock: Clock, documents: Sequence[Any], check: Callable[[Mapping[str, Any]], None], by: str
) -> list[Planned]:
    """Makes every bot be as its document says; all of them are checked before the first is touched."""
    wanted = read_documents(documents)
    for _, _, source in wanted:
        check(source)
    planned = plan(db, documents)
    for name, enabled, source in wanted:
        with db.read() as conn:
            bot = store.find_bot(conn, name)
        if bot is None:
            create(db, clock, name, source, enabled=enabled, by=by)
        else:
            change(db, clock, bot, source, enabled=enabled, by=by)
    return planned
