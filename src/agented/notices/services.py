"""Chats, mail and phones through Apprise, which knows how to speak to each. Loaded when one is used."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from agented.kit.errors import Invalid, Refused, Unavailable
from agented.kit.http import Resolve, check_reachable
from agented.kit.vault import mask
from agented.notices.model import Answer, Outcome, Outgoing

if TYPE_CHECKING:
    from apprise import NotifyBase

_BAD_STATES = ("failed", "timed_out")
_LONGEST_ERROR = 500
_HTTPS = 443


def place_of(address: str) -> str:
    """The part of the address that may be seen. Raises Invalid for one that Apprise does not know."""
    host = _host_of(_service(address))
    return f"{address.partition('://')[0].lower()}://{host or '…'}"


def send(address: str, outgoing: Outgoing, resolve: Resolve) -> Outcome:
    try:
        service = _service(address)
        host = _host_of(service)
        if host is not None:
            check_reachable(host, service.port or _HTTPS, resolve)
    except (Invalid, Refused) as error:
        return Outcome(Answer.REFUSED, error.message)
    except Unavailable as error:
        return Outcome(Answer.AGAIN, error.message)
    error_text = _notify(service, outgoing)
    if error_text is None:
        return Outcome(Answer.DONE)
    return Outcome(Answer.AGAIN, mask(error_text, _hidden_parts(address, host))[:_LONGEST_ERROR])


def _service(address: str) -> NotifyBase:
    # They log addresses; what is to be known of a failure is in the result.
    logging.getLogger("apprise").propagate = False
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    from apprise import Apprise, AppriseAsset

    asset = AppriseAsset(http_redirects=False, secure_logging=True, app_id="Agented", app_desc="Agented")
    service = Apprise.instantiate(address, asset=asset, suppress_exceptions=True)
    if service is None:
        raise Invalid(
            "Apprise does not know this address.",
            field="address",
            hint="Such as slack://…, mailto://…, discord://…: github.com/caronc/apprise lists them.",
        )
    return service


def _host_of(service: NotifyBase) -> str | None:
    """The host, where the address must name one: elsewhere a token or a topic stands in its place."""
    told = service.template_tokens.get("host", {})
    named = bool(told.get("required")) and not told.get("private")
    return str(service.host) if named and service.host else None


def _notify(service: NotifyBase, outgoing: Outgoing) -> str | None:
    """What went wrong, if anything did."""
    from apprise import Apprise, NotifyFormat, NotifyType

    sender = Apprise(asset=service.asset)
    sender.add(service)
    failed = outgoing.facts.get("state") in _BAD_STATES or outgoing.topic.endswith("failed")
    result = sender.notify(
        title=outgoing.title,
        body="\n\n".join(part for part in (outgoing.body, outgoing.link) if part) or outgoing.topic,
        notify_type=NotifyType.FAILURE if failed else NotifyType.INFO,
        body_format=NotifyFormat.TEXT,
    )
    if result:
        return None
    return " ".join(entry.message for entry in result.logs()) or f"{service.service_name} did not take it."


def _hidden_parts(address: str, host: str | None) -> set[str]:
    words = {word for word in re.split(r"[/:@?&=#,]+", address.partition("://")[2]) if word != host}
    return words | {unquote(word) for word in words}
