"""The tree of errors. Expected ends of work are values; these are for what was asked wrongly or cannot be done.

AgentedError(message, code, hint)
├── NotFound      404  exit 4   no such thing, or not visible to the caller
├── Invalid       422  exit 2   the request names a field that is wrong; `field` says which
├── Conflict      409  exit 5   the thing is in a state that does not allow this
├── Refused       403  exit 3   the caller may not (429 with `retry_at`: may later)
├── Unavailable   503  exit 6   something outside is missing or failing
│   ├── ProgramMissing          a program is not installed or cannot be executed
│   ├── CommandFailed           a program ran and failed; `output` holds its last words
│   ├── ProviderFailed          a provider's service answered with an error
│   └── LoggedOut               an account needs a person to sign in
└── Broken        500  exit 1   a fault of our own
"""

from __future__ import annotations

import errno
from datetime import datetime


class AgentedError(Exception):
    """An error that people see: what is wrong, a stable code for programs, and what to do about it."""

    code = "error"
    status = 500
    exit_code = 1

    def __init__(
        self, message: str, *, code: str | None = None, hint: str | None = None, field: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.hint = hint
        self.field = field


class NotFound(AgentedError):
    code = "not_found"
    status = 404
    exit_code = 4


class Invalid(AgentedError):
    code = "invalid"
    status = 422
    exit_code = 2


class Conflict(AgentedError):
    code = "conflict"
    status = 409
    exit_code = 5


class Refused(AgentedError):
    code = "refused"
    status = 403
    exit_code = 3

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        hint: str | None = None,
        field: str | None = None,
        retry_at: datetime | None = None,
    ) -> None:
        super().__init__(message, code=code, hint=hint, field=field)
        self.retry_at = retry_at
        if retry_at is not None:
            self.status = 429


class Unauthenticated(Refused):
    code = "sign_in_required"
    status = 401


class Unavailable(AgentedError):
    code = "unavailable"
    status = 503
    exit_code = 6


class ProgramMissing(Unavailable):
    code = "program_missing"


class CommandFailed(Unavailable):
    code = "command_failed"

    def __init__(self, message: str, *, output: str = "", code: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, code=code, hint=hint)
        self.output = output


class ProviderFailed(Unavailable):
    code = "provider_failed"


class LoggedOut(Unavailable):
    code = "logged_out"


class Broken(AgentedError):
    code = "broken"


def is_outage(error: BaseException) -> bool:
    """Whether only a full disk or a database that does not answer stood in the way: later the same may succeed."""
    if isinstance(error, Unavailable):
        return error.code == "disk_full" or error.code.startswith("database_")
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
