"""What the translators share: how a provider's answer is judged, whichever CLI passes it on."""

from __future__ import annotations

from datetime import datetime

from agented.backends.contract import Exit, Outcome, Reason, Verdict
from agented.kit.loose import one_line

_BY_STATUS = {
    401: Reason.BAD_CREDENTIALS,
    402: Reason.NO_CREDIT,
    403: Reason.BAD_CREDENTIALS,
    408: Reason.DISCONNECTED,
    429: Reason.RATE_LIMITED,
    503: Reason.OVERLOADED,
    529: Reason.OVERLOADED,
}
_OUTCOMES = {
    Reason.USAGE_LIMIT: Outcome.LIMITED,
    Reason.RATE_LIMITED: Outcome.LIMITED,
    Reason.NO_CREDIT: Outcome.LIMITED,
    Reason.BAD_CREDENTIALS: Outcome.LOGGED_OUT,
}
# What a shell reports for a process ended by SIGINT, SIGKILL, SIGTERM; some CLIs end themselves with it.
_SIGNAL_CODES = {130: 2, 137: 9, 143: 15}


def reason_of_status(status: int) -> Reason | None:
    """What an HTTP status of a provider means; None for one that is no error."""
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if 400 <= status < 500:
        return Reason.BAD_REQUEST
    return Reason.PROVIDER_ERROR if 500 <= status < 600 else None


def ended(reason: Reason, detail: str = "", until: datetime | None = None) -> Verdict:
    """The verdict of a reason: its outcome follows from it."""
    return Verdict(_OUTCOMES.get(reason, Outcome.FAILED), reason, one_line(detail), until)


def killed(exit: Exit) -> Verdict | None:
    """The verdict of a process that a signal ended, told by its code or by its own word."""
    signal = exit.signal if exit.signal is not None else _SIGNAL_CODES.get(exit.code or 0)
    return None if signal is None else ended(Reason.KILLED, f"ended by signal {signal}")
