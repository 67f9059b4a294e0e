"""Targets are checked when they are saved; their addresses and secrets are kept sealed and never told again."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from agented.kit.clock import Clock
from agented.kit.db import Database
from agented.kit.errors import Conflict, Invalid, NotFound
from agented.kit.vault import Vault
from agented.notices import services, store, webhook
from agented.notices.model import Target, TargetKind, Topic, Wanted

_NAME = re.compile(r"[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]{0,78}[^\s\x00-\x1f\x7f])?")
_UNSAFE = re.compile(r"[\s\x00-\x1f\x7f\\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A target as somebody wants it. address, secret: None leaves what is there."""

    name: str
    address: str | None
    secret: str | None
    wanted: Wanted
    enabled: bool


@dataclass(frozen=True, slots=True)
class Saved:
    """made_secret: one that was generated just now; it is told this once."""

    target: Target
    made_secret: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    db: Database
    vault: Vault
    clock: Clock

    def add(self, kind: TargetKind, wish: Wish) -> Saved:
        """Raises Invalid that names the field, or Conflict."""
        made = webhook.new_secret() if kind is TargetKind.WEBHOOK and wish.secret is None else None
        secret = _checked_secret(kind, wish.secret or made)
        address = wish.address or ""
        now = self.clock.now()
        target_id = store.new_target_id()
        target = Target(
            id=target_id,
            name=_checked_name(wish.name),
            kind=kind,
            place=_place_of(kind, address),
            sealed=_seal(self.vault, target_id, address, secret),
            wanted=_checked_wanted(wish.wanted),
            enabled=wish.enabled,
            last_at=None,
            last_error=None,
            created_at=now,
            updated_at=now,
        )
        with self.db.write() as conn:
            if store.id_of_name(conn, target.name) is not None:
                raise _taken(target.name)
            store.add_target(conn, target)
        return Saved(target, made)

    def change(self, target_id: str, wish: Wish, *, new_secret: bool) -> Saved:
        """Raises NotFound, Conflict, and Invalid that names the field."""
        known = self.get(target_id)
        made = webhook.new_secret() if new_secret and known.kind is TargetKind.WEBHOOK else None
        changed = replace(
            known,
            name=_checked_name(wish.name),
            place=known.place if wish.address is None else _place_of(known.kind, wish.address),
            sealed=self._sealed_again(known, wish.address, made or wish.secret),
            wanted=_checked_wanted(wish.wanted),
            enabled=wish.enabled,
            updated_at=self.clock.now(),
        )
        with self.db.write() as conn:
            if store.id_of_name(conn, changed.name) not in (None, known.id):
                raise _taken(changed.name)
            store.change_target(conn, changed)
        return Saved(changed, made)

    def _sealed_again(self, known: Target, address: str | None, secret: str | None) -> str:
        if address is None and secret is None:
            return known.sealed
        if address is None or (secret is None and known.kind is TargetKind.WEBHOOK):
            kept_address, kept_secret = unseal(self.vault, known)
            address, secret = address or kept_address, secret or kept_secret
        return _seal(self.vault, known.id, address, _checked_secret(known.kind, secret))

    def get(self, target_id: str) -> Target:
        with self.db.read() as conn:
            found = store.find_target(conn, target_id)
        if found is None:
            raise _missing(target_id)
        return found

    def remove(self, target_id: str) -> None:
        with self.db.write() as conn:
            if not store.remove_target(conn, target_id):
                raise _missing(target_id)


def unseal(vault: Vault, target: Target) -> tuple[str, str]:
    """(address, secret). Raises Unavailable when another key sealed them."""
    opened = json.loads(vault.open(target.sealed, f"notice_targets/{target.id}"))
    return opened["address"], opened["secret"]


def _seal(vault: Vault, target_id: str, address: str, secret: str) -> str:
    return vault.seal(json.dumps({"address": address, "secret": secret}), f"notice_targets/{target_id}")


def _missing(target_id: str) -> NotFound:
    return NotFound(f"There is no target {target_id[:60]}.")


def _taken(name: str) -> Conflict:
    return Conflict(f"There is a target {name} already.", code="name_taken", field="name")


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Invalid("A name has 1 to 80 characters, and no spaces around them.", field="name")
    return name


def _checked_wanted(wanted: Wanted) -> Wanted:
    for one in wanted.topics:
        if one not in list(Topic):
            raise Invalid(f"There is no topic {one[:60]!r}.", field="topics", hint=f"There are {', '.join(Topic)}.")
    return wanted


def _checked_secret(kind: TargetKind, secret: str | None) -> str:
    if kind is TargetKind.APPRISE and secret:
        raise Invalid("Only webhooks are signed with a secret.", field="secret", hint="Leave it out.")
    if kind is TargetKind.WEBHOOK and not webhook.is_secret(secret or ""):
        raise Invalid(
            "A secret is base64 of 24 to 64 bytes, with or without whsec_ before it.",
            field="secret",
            hint="Leave it out to have one made.",
        )
    return secret or ""


def _place_of(kind: TargetKind, address: str) -> str:
    """The part of the address that may be seen. Raises Invalid for what is no address."""
    return services.place_of(address)[:300] if kind is TargetKind.APPRISE else _place_of_webhook(address)


def _place_of_webhook(address: str) -> str:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host or _UNSAFE.search(address):
        raise Invalid(
            "This is not the address of a web server.", field="address", hint="Give one with http:// or https://."
        )
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}{f':{port}' if port else ''}"[:300]
