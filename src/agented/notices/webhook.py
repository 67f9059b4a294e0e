"""Webhooks as Standard Webhooks 1.0 has them (standardwebhooks.com): JSON, signed with a shared secret."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from agented.kit.errors import Refused, Unavailable
from agented.kit.http import Reply, Resolve, post_to_stranger
from agented.notices.model import Answer, Outcome, Outgoing

_PREFIX = "whsec_"
_SHORTEST, _LONGEST = 24, 64
_LONGEST_WAIT_S = 24 * 3600.0
_SHOWN = 200


def new_secret() -> str:
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def is_secret(text: str) -> bool:
    try:
        return _SHORTEST <= len(_key(text)) <= _LONGEST
    except ValueError:
        return False


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)


def sign(secret: str, message_id: str, stamp: int, body: bytes) -> str:
    signed = f"{message_id}.{stamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256)).decode()


def body_of(outgoing: Outgoing) -> bytes:
    """The same bytes at every attempt."""
    data = {**outgoing.facts, "title": outgoing.title, "body": outgoing.body, "link": outgoing.link}
    told = {"type": outgoing.topic, "timestamp": outgoing.created_at.isoformat().replace("+00:00", "Z"), "data": data}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def send(address: str, secret: str, outgoing: Outgoing, now: datetime, resolve: Resolve) -> Outcome:
    body, stamp = body_of(outgoing), int(now.timestamp())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Agented",
        "webhook-id": outgoing.id,
        "webhook-timestamp": str(stamp),
        "webhook-signature": sign(secret, outgoing.id, stamp, body),
    }
    try:
        return _outcome(post_to_stranger(address, body, headers, resolve), now)
    except Refused as error:
        return Outcome(Answer.REFUSED, error.message)
    except Unavailable as error:
        return Outcome(Answer.AGAIN, error.message)


def _outcome(reply: Reply, now: datetime) -> Outcome:
    if 200 <= reply.status < 300:
        return Outcome(Answer.DONE)
    said = " ".join(reply.text[:_SHOWN].split())
    error = f"It answered {reply.status}{': ' + said if said else '.'}"
    if reply.status == 410:
        return Outcome(Answer.GONE, f"{error} Nothing is wanted there any more: the target was turned off.")
    if 300 <= reply.status < 400:
        error = f"It answered {reply.status}; redirects are not followed."
    return Outcome(Answer.AGAIN, error, _wait_s(reply.retry_after, now))


def _wait_s(text: str | None, now: datetime) -> float:
    """Retry-After is a number of seconds or a date (RFC 9110, 10.2.3); what is neither counts as not sent."""
    try:
        wait = float(text or 0) if (text or "0").isascii() and (text or "0").isdigit() else _until(text or "", now)
    except (ValueError, OverflowError):
        return 0
    return min(max(wait, 0), _LONGEST_WAIT_S)


def _until(text: str, now: datetime) -> float:
    at = parsedate_to_datetime(text)
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds()
