"""Who signed a delivery, and how providers have an address proven. Pure; everything that comes in is hostile.

Sources: the providers' own documentation, in the order of `Style`; Standard Webhooks 1.0; CloudEvents HTTP web hooks.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

TOLERANCE_S = 300
_LONGEST_CHALLENGE = 1024


class Style(StrEnum):
    AGENTED = "agented"
    """X-Webhook-Signature-256: sha256=HEX over the body; with X-Webhook-Timestamp over `TIMESTAMP.BODY`."""
    STANDARD = "standard"
    GITHUB = "github"
    SLACK = "slack"
    STRIPE = "stripe"
    GITLAB = "gitlab"
    META = "meta"
    ZOOM = "zoom"
    DROPBOX = "dropbox"
    DISCORD = "discord"
    """The secret is the application's public key, in hexadecimal digits."""
    OKTA = "okta"
    """The secret is the value of the Authorization header."""
    GRAPH = "graph"
    """The secret is the `clientState` of the subscription."""
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request as it came. headers: by lower-case name. now: seconds since the epoch."""

    method: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    now: float


@dataclass(frozen=True, slots=True)
class Checked:
    """why: in words, when it is not good. id: what the sender calls this delivery, when it says so."""

    good: bool
    why: str = ""
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    body: str
    media_type: str = "text/plain"
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200


def check(style: Style, secret: str, incoming: Incoming, tolerance_s: int = TOLERANCE_S) -> Checked:
    """Whether the sender knows the secret, and lately."""
    if style is Style.NONE:
        return Checked(True)
    if not secret:
        return Checked(False, "This trigger has no secret.")
    return _CHECKS[style](secret, incoming, tolerance_s)


_SMALL = 2047
"""More than this at once makes `hashlib` let other threads run, for each of many small bodies: that costs far more than
the hash itself."""
_CHEAP = 64 * 1024


def _sha256(secret: str | bytes, message: bytes) -> str:
    key = secret.encode() if isinstance(secret, str) else secret
    mac = hmac.new(key, digestmod="sha256")
    step = _SMALL if len(message) <= _CHEAP else len(message)
    for start in range(0, len(message), step):
        mac.update(message[start : start + step])
    return mac.hexdigest()


def _same(said: str, right: str) -> bool:
    return hmac.compare_digest(said.encode("utf-8", "surrogateescape"), right.encode())


def _is_lately(said: str, now: float, tolerance_s: int) -> bool:
    return said.isascii() and said.isdigit() and len(said) < 15 and abs(now - int(said)) <= tolerance_s


_STALE = Checked(False, "The timestamp is missing or too far from now.")


def _wrong(header: str, incoming: Incoming) -> Checked:
    missing = header.lower() not in incoming.headers
    return Checked(False, f"The header {header} is missing." if missing else f"The signature in {header} is wrong.")


def _agented(secret: str, incoming: Incoming, tolerance_s: int) -> Checked:
    said = incoming.headers.get("x-webhook-signature-256", "")
    stamp = incoming.headers.get("x-webhook-timestamp")
    message = incoming.body if stamp is None else stamp.encode("utf-8", "surrogateescape") + b"." + incoming.body
    if not _same(said, "sha256=" + _sha256(secret, message)):
        return _wrong("X-Webhook-Signature-256", incoming)
    if stamp is not None and not _is_lately(stamp, incoming.now, tolerance_s):
        return _STALE
    return Checked(True, id=incoming.headers.get("x-webhook-id"))


def _hub(secret: str, incoming: Incoming, _: int) -> Checked:
    said = incoming.headers.get("x-hub-signature-256", "")
    if not _same(said, "sha256=" + _sha256(secret, incoming.body)):
        return _wrong("X-Hub-Signature-256", incoming)
    return Checked(True, id=incoming.headers.get("x-github-delivery"))


def _standard(secret: str, incoming: Incoming, tolerance_s: int) -> Checked:
    own_id, stamp = incoming.headers.get("webhook-id", ""), incoming.headers.get("webhook-timestamp", "")
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        return Checked(False, "The trigger's secret is not one of Standard Webhooks (whsec_ and base64).")
    message = f"{own_id}.{stamp}.".encode("utf-8", "surrogateescape") + incoming.body
    right = "v1," + base64.b64encode(hmac.new(key, message, hashlib.sha256).digest()).decode()
    said = incoming.headers.get("webhook-signature", "").split(" ")
    if not any(_same(one, right) for one in said[:16]):
        return _wrong("webhook-signature", incoming)
    return Checked(True, id=own_id or None) if _is_lately(stamp, incoming.now, tolerance_s) else _STALE


def _stamped(prefix: str, stamp_header: str, header: str) -> Callable[[str, Incoming, int], Checked]:
    """Slack's way, which others took over: `v0:TIMESTAMP:BODY`."""

    def check_it(secret: str, incoming: Incoming, tolerance_s: int) -> Checked:
        stamp = incoming.headers.get(stamp_header.lower(), "")
        message = f"{prefix}:{stamp}:".encode("utf-8", "surrogateescape") + incoming.body
        if not _same(incoming.headers.get(header.lower(), ""), f"{prefix}=" + _sha256(secret, message)):
            return _wrong(header, incoming)
        return Checked(True) if _is_lately(stamp, incoming.now, tolerance_s) else _STALE

    return check_it


def _stripe(secret: str, incoming: Incoming, tolerance_s: int) -> Checked:
    parts = [part.strip().partition("=") for part in incoming.headers.get("stripe-signature", "").split(",")[:32]]
    stamp = next((value for name, _, value in parts if name == "t"), "")
    right = _sha256(secret, stamp.encode("utf-8", "surrogateescape") + b"." + incoming.body)
    if not any(_same(value, right) for name, _, value in parts if name == "v1"):
        return _wrong("Stripe-Signature", incoming)
    return Checked(True) if _is_lately(stamp, incoming.now, tolerance_s) else _STALE


def _gitlab(secret: str, incoming: Incoming, _: int) -> Checked:
    if not _same(incoming.headers.get("x-gitlab-token", ""), secret):
        return _wrong("X-Gitlab-Token", incoming)
    return Checked(True, id=incoming.headers.get("x-gitlab-event-uuid"))


def _meta(secret: str, incoming: Incoming, tolerance_s: int) -> Checked:
    if incoming.method == "GET":
        good = _same(incoming.query.get("hub.verify_token", ""), secret)
        return Checked(good, "" if good else "hub.verify_token is wrong.")
    return _hub(secret, incoming, tolerance_s)


def _dropbox(secret: str, incoming: Incoming, _: int) -> Checked:
    if incoming.method == "GET" and "challenge" in incoming.query:
        return Checked(True)
    good = _same(incoming.headers.get("x-dropbox-signature", ""), _sha256(secret, incoming.body))
    return Checked(True) if good else _wrong("X-Dropbox-Signature", incoming)


def _discord(secret: str, incoming: Incoming, tolerance_s: int) -> Checked:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    stamp = incoming.headers.get("x-signature-timestamp", "")
    message = stamp.encode("utf-8", "surrogateescape") + incoming.body
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(secret))
        key.verify(bytes.fromhex(incoming.headers.get("x-signature-ed25519", "")), message)
    except (InvalidSignature, ValueError):
        return _wrong("X-Signature-Ed25519", incoming)
    return Checked(True) if _is_lately(stamp, incoming.now, tolerance_s) else _STALE


def _okta(secret: str, incoming: Incoming, _: int) -> Checked:
    if incoming.method == "GET" and "x-okta-verification-challenge" in incoming.headers:
        return Checked(True)
    good = _same(incoming.headers.get("authorization", ""), secret)
    return Checked(True) if good else _wrong("Authorization", incoming)


def _graph(secret: str, incoming: Incoming, _: int) -> Checked:
    if "validationToken" in incoming.query:
        return Checked(True)
    told = _object(incoming.body).get("value")
    states = [one.get("clientState") for one in told if isinstance(one, dict)] if isinstance(told, list) else []
    good = bool(states) and all(isinstance(one, str) and _same(one, secret) for one in states)
    return Checked(good, "" if good else "A notification's clientState is missing or wrong.")


_CHECKS: Mapping[Style, Callable[[str, Incoming, int], Checked]] = {
    Style.AGENTED: _agented,
    Style.STANDARD: _standard,
    Style.GITHUB: _hub,
    Style.SLACK: _stamped("v0", "X-Slack-Request-Timestamp", "X-Slack-Signature"),
    Style.STRIPE: _stripe,
    Style.GITLAB: _gitlab,
    Style.META: _meta,
    Style.ZOOM: _stamped("v0", "x-zm-request-timestamp", "x-zm-signature"),
    Style.DROPBOX: _dropbox,
    Style.DISCORD: _discord,
    Style.OKTA: _okta,
    Style.GRAPH: _graph,
}


def challenge(style: Style, secret: str, incoming: Incoming) -> Answer | None:
    """The answer by which a provider knows that the address is ours; None when it asks for none.

    Only for what `check` found good: an answer to anybody would make us an oracle.
    """
    if incoming.method == "OPTIONS":
        origin = incoming.headers.get("webhook-request-origin", "")
        return _cloud_events(origin) if origin else None
    asked = _CHALLENGES.get(style)
    return asked(secret, incoming) if asked is not None else None


def _cloud_events(origin: str) -> Answer:
    return Answer("", headers={"WebHook-Allowed-Origin": origin[:255], "WebHook-Allowed-Rate": "120"})


def _echo(text: Any) -> Answer | None:
    if not isinstance(text, str) or not 0 < len(text) <= _LONGEST_CHALLENGE or not text.isprintable():
        return None
    return Answer(text)


def _slack_challenge(_: str, incoming: Incoming) -> Answer | None:
    told = _object(incoming.body)
    return _echo(told.get("challenge")) if told.get("type") == "url_verification" else None


def _meta_challenge(_: str, incoming: Incoming) -> Answer | None:
    asks = incoming.method == "GET" and incoming.query.get("hub.mode") == "subscribe"
    return _echo(incoming.query.get("hub.challenge")) if asks else None


def _zoom_challenge(secret: str, incoming: Incoming) -> Answer | None:
    told = _object(incoming.body)
    payload = told.get("payload")
    token = payload.get("plainToken") if isinstance(payload, dict) else None
    if told.get("event") != "endpoint.url_validation" or _echo(token) is None:
        return None
    answer = {"plainToken": token, "encryptedToken": _sha256(secret, str(token).encode())}
    return Answer(json.dumps(answer), "application/json")


def _okta_challenge(_: str, incoming: Incoming) -> Answer | None:
    said = incoming.headers.get("x-okta-verification-challenge")
    if incoming.method != "GET" or _echo(said) is None:
        return None
    return Answer(json.dumps({"verification": said}), "application/json")


def _discord_challenge(_: str, incoming: Incoming) -> Answer | None:
    return Answer('{"type":1}', "application/json") if _object(incoming.body).get("type") == 1 else None


_CHALLENGES: Mapping[Style, Callable[[str, Incoming], Answer | None]] = {
    Style.SLACK: _slack_challenge,
    Style.META: _meta_challenge,
    Style.ZOOM: _zoom_challenge,
    Style.GRAPH: lambda _, incoming: _echo(incoming.query.get("validationToken")),
    Style.DROPBOX: lambda _, incoming: _echo(incoming.query.get("challenge")) if incoming.method == "GET" else None,
    Style.OKTA: _okta_challenge,
    Style.DISCORD: _discord_challenge,
}


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
