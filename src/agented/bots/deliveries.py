"""Deliveries come in: verified, stored, and only then answered. What they start is `dispatch`'s."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import orjson
from sqlalchemy import Connection

from agented.bots import store
from agented.bots.signatures import Answer, Checked, Incoming, Style, challenge, check
from agented.bots.store import Delivery
from agented.bots.triggers import WebhookTrigger
from agented.kit.bus import Bus
from agented.kit.clock import Clock
from agented.kit.db import Database
from agented.kit.errors import AgentedError, Invalid, NotFound, Refused
from agented.kit.groups import Group
from agented.kit.vault import Vault
from agented.projects.events import Ignored, read_event

_Door = tuple[WebhookTrigger, str]
TOPIC = "deliveries"
EVERY = "*"
"""The address that serves every webhook trigger."""
GITHUB = "github"
SERVER = "server"
"""Among the secrets that a GitHub delivery fits: GITHUB_WEBHOOK_SECRET."""
ASKED = "asked"
"""Instead of them: we asked GitHub for the delivery ourselves, which is worth as much as any signature."""
_KEY = re.compile(r"[A-Za-z0-9_-]{1,60}")
_DEEPEST = 60
_NESTED = frozenset({dict, list})
_KEPT_HEADERS = 100
_LONGEST_HEADER = 2000
_HIDDEN = re.compile(
    r"(proxy-)?authorization|cookie|x-gitlab-token|.*(secret|password|api-?key|access-?token|auth-?token|session).*"
)
_SIGNATURES = re.compile(r".*signature.*")
_METHODS_WITHOUT_BODY = ("GET", "DELETE")


class NotSigned(AgentedError):
    """The delivery is not from who should send it."""

    status = 401
    code = "not_signed"


class WrongType(AgentedError):
    status = 415
    code = "unsupported_media_type"


@dataclass(frozen=True, slots=True)
class Accepted:
    """known: it came before under the same id, and is not handled again."""

    id: str
    known: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliveries:
    """group: writes deliveries with `store.add_deliveries`. github_secret: GITHUB_WEBHOOK_SECRET, if it is set."""

    db: Database
    vault: Vault
    bus: Bus
    clock: Clock
    group: Group[Delivery, str | None]
    github_secret: str | None = None

    def receive_all(self, came: Sequence[tuple[str, Incoming]]) -> Sequence[Answer | Accepted | Exception]:
        """For each, by its address: what it gets. A delivery that is accepted is on the disk.

        Failures are NotFound, NotSigned, WrongType, Invalid, or of the database.
        """
        with self.db.read() as conn:
            doors = {key: self._door(conn, key) for key in {key for key, _ in came}}
        found = [self._examine(doors[key], key, incoming) for key, incoming in came]
        kept = iter(self.add_all([one for one in found if isinstance(one, Delivery)]))
        return [next(kept) if isinstance(one, Delivery) else one for one in found]

    def _door(self, conn: Connection, key: str) -> _Door | AgentedError:
        # What is no key of ours is not asked for: not every database takes every text.
        trigger = store.trigger_at(conn, key) if _KEY.fullmatch(key) else None
        if trigger is None:
            return NotFound("There is no webhook at this address.")
        try:
            return trigger, self._secret(store.sealed_secret(conn, trigger.secret or ""), trigger)
        except AgentedError as error:
            return error

    def _examine(self, door: _Door | AgentedError, key: str, incoming: Incoming) -> Answer | Delivery | AgentedError:
        """A delivery is what is to be kept."""
        if isinstance(door, AgentedError):
            return door
        trigger, secret = door
        checked = check(trigger.style, secret, incoming, trigger.tolerance_s)
        if not checked.good:
            return NotSigned(checked.why)
        try:
            answer = challenge(trigger.style, secret, incoming)
            if answer is None:
                check_payload(incoming)
        except AgentedError as error:
            return error
        return self._new(key, incoming, checked.id) if answer is None else answer

    def receive_any(self, incoming: Incoming) -> Answer | Accepted:
        """At the address of all: kept for each trigger that the signature fits. Raises what `receive_all` gives."""
        with self.db.read() as conn:
            triggers = [one for bot in store.every_bot(conn) if bot.enabled for one in bot.spec.webhooks]
            secrets = {one.secret: store.sealed_secret(conn, one.secret) for one in triggers if one.secret}
        if not triggers:
            raise NotFound("No bot has a webhook.")
        good: list[tuple[WebhookTrigger, Checked]] = []
        for trigger in triggers:
            secret = self._secret(secrets.get(trigger.secret or ""), trigger)
            checked = check(trigger.style, secret, incoming, trigger.tolerance_s)
            if not checked.good:
                continue
            answer = challenge(trigger.style, secret, incoming)
            if answer is not None and trigger.style is not Style.NONE:
                return answer
            good.append((trigger, checked))
        if not good:
            raise NotSigned("No webhook of a bot fits this signature.")
        read_payload(incoming)
        external_id = next((checked.id for _, checked in good if checked.id), None)
        return self.add(self._new(EVERY, incoming, external_id, checked=[trigger.key for trigger, _ in good]))

    def receive_github(self, incoming: Incoming) -> Answer | Accepted:
        """Source: docs.github.com, "Validating webhook deliveries". Raises Refused when no secret is set at all."""
        with self.db.read() as conn:
            names = {one.secret for bot in store.every_bot(conn) for one in bot.spec.github if one.secret}
            sealed = {name: store.sealed_secret(conn, name) for name in sorted(names)}
        secrets = {name: self.vault.open(one, f"secrets/{name}") for name, one in sealed.items() if one}
        if self.github_secret:
            secrets[SERVER] = self.github_secret
        if not secrets:
            raise Refused(
                "No secret for GitHub's webhooks is set.",
                code="github_secret_unset",
                hint="Set GITHUB_WEBHOOK_SECRET, or name a `secret` in a bot's github trigger.",
            )
        fits = {name: check(Style.GITHUB, secret, incoming) for name, secret in secrets.items()}
        good = [name for name, checked in fits.items() if checked.good]
        if not good:
            raise NotSigned(next(iter(fits.values())).why)
        payload = read_payload(incoming)
        event = incoming.headers.get("x-github-event", "")[:60]
        if event == "ping":
            return Answer("pong")
        if not event or not isinstance(payload, dict):
            raise Invalid("This is no event of GitHub.", field="X-GitHub-Event")
        external_id = incoming.headers.get("x-github-delivery")
        return self.add(self._new(GITHUB, incoming, external_id, checked=good, event=event, payload=payload))

    def _secret(self, sealed: str | None, trigger: WebhookTrigger) -> str:
        return "" if sealed is None else self.vault.open(sealed, f"secrets/{trigger.secret}")

    def _new(
        self,
        key: str,
        incoming: Incoming,
        external_id: str | None,
        *,
        checked: Sequence[str] = (),
        event: str | None = None,
        payload: Any = None,
    ) -> Delivery:
        return Delivery(
            id=store.new_delivery_id(),
            address=key,
            external_id=None if external_id is None else external_id[:200],
            lane=key if event is None else lane_of(event, payload),
            event=event,
            checked=list(checked),
            method=incoming.method,
            query=dict(list(incoming.query.items())[:_KEPT_HEADERS]),
            headers=_kept(incoming.headers),
            body=incoming.body,
            state="stored",
            matches=[],
            replay_of=None,
            received_at=self.clock.now(),
            handled_at=None,
        )

    def add(self, delivery: Delivery) -> Accepted:
        [outcome] = self.add_all([delivery])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def add_all(self, deliveries: Sequence[Delivery]) -> Sequence[Accepted | Exception]:
        """Returns when they are on the disk, with others that came at the same time."""
        outcomes = self.group.put_many(deliveries)
        if None in outcomes:
            self.bus.ring(TOPIC)
        return [_accepted(one, before) for one, before in zip(deliveries, outcomes, strict=True)]

    def replay(self, delivery_id: str) -> Accepted:
        """The same again, as a delivery of its own."""
        with self.db.read() as conn:
            first = store.find_delivery(conn, delivery_id)
        if first is None:
            raise NotFound(f"There is no delivery {delivery_id[:60]}.")
        values = {name: getattr(first, name) for name in Delivery.__slots__}
        values |= {"id": store.new_delivery_id(), "external_id": None, "replay_of": first.id}
        values |= {"state": "stored", "matches": [], "received_at": self.clock.now(), "handled_at": None}
        return self.add(Delivery(**values))


def lane_of(event: str, payload: Any) -> str:
    """One lane for each repository, and one for what names none."""
    read = read_event(event, payload)
    return f"{GITHUB}:{'' if isinstance(read, Ignored) else read.remote}"[:260]


def _accepted(delivery: Delivery, before: str | Exception | None) -> Accepted | Exception:
    if isinstance(before, Exception):
        return before
    return Accepted(before or delivery.id, known=before is not None)


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    shown = list(headers.items())[:_KEPT_HEADERS]
    return {
        name[:200]: "[secret]" if _HIDDEN.fullmatch(name) and not _SIGNATURES.match(name) else value[:_LONGEST_HEADER]
        for name, value in shown
    }


def check_payload(incoming: Incoming) -> None:
    """Raises what `read_payload` raises, in a fraction of its time for most of what comes."""
    if _is_json(incoming):
        with suppress(ValueError):
            _check_depth_of(incoming.body, orjson.loads(incoming.body))
            return
    # What orjson does not take, such as UTF-16, is decided by whoever reads it later.
    read_payload(incoming)


def _kind_of(incoming: Incoming | Delivery) -> str:
    return incoming.headers.get("content-type", "").partition(";")[0].strip().lower()


def _is_json(incoming: Incoming | Delivery) -> bool:
    kind = _kind_of(incoming)
    return kind.endswith(("/json", "+json")) or (not kind and incoming.body[:1] in b"{[")


def read_payload(incoming: Incoming | Delivery) -> Any:
    """The body by its type: JSON, a form (GitHub's `payload` field is JSON again), or text.

    Raises WrongType for what is none of these, Invalid for JSON that is none or too deep.
    """
    kind = _kind_of(incoming)
    if not incoming.body:
        return dict(incoming.query) if incoming.method in _METHODS_WITHOUT_BODY else {}
    if _is_json(incoming):
        return _json(incoming.body)
    if kind == "application/x-www-form-urlencoded":
        form = dict(parse_qsl(_text(incoming.body), keep_blank_values=True, max_num_fields=1000))
        return _json(form["payload"].encode()) if form.keys() == {"payload"} else form
    if kind.startswith("text/") or kind.endswith(("/xml", "+xml")):
        return _text(incoming.body)
    raise WrongType(f"A body of type {kind[:80] or 'unknown'!r} is not read.", hint="Send JSON, a form, text or XML.")


def _text(body: bytes) -> str:
    return body.decode("utf-8", "replace")


def _json(body: bytes) -> Any:
    try:
        value = json.loads(body, parse_constant=_no_constant)
    except RecursionError:
        raise Invalid("The JSON is nested too deep.", field="body") from None
    except ValueError as error:
        raise Invalid(f"The body is no JSON: {str(error)[:120]}.", field="body") from None
    _check_depth_of(body, value)
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


def _check_depth_of(body: bytes, value: Any) -> None:
    # It is no deeper than it has brackets, whatever else is in its texts; bytes of UTF-16 hold these bytes too.
    if body.count(b"{") + body.count(b"[") > _DEEPEST:
        _check_depth(value)


def _check_depth(value: Any, left: int = _DEEPEST) -> None:
    if type(value) not in _NESTED:
        return
    if not left:
        raise Invalid(f"The JSON is nested deeper than {_DEEPEST} levels.", field="body")
    for inner in value.values() if isinstance(value, dict) else value:
        # Asked here too: most are plain values, and a call costs more than the question.
        if type(inner) in _NESTED:
            _check_depth(inner, left - 1)


def facts_of(delivery: Delivery) -> dict[str, Any]:
    """What templates and conditions see of a delivery."""
    return {
        "id": delivery.id,
        "method": delivery.method,
        "query": dict(delivery.query),
        "headers": dict(delivery.headers),
        "payload": read_payload(delivery),
    }
