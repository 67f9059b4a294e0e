"""The macOS Keychain, read through the system's own `security` program. Elsewhere it holds nothing."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping

from agented.kit import process
from agented.kit.errors import Unavailable

_PROGRAM = "security"
_HEX_OBJECT = re.compile(r"7b(?:[0-9a-f]{2})+")
# The person may be asked to allow it, and nobody may be there.
_TIMEOUT_S = 10.0


class Keychain:
    """env: the whole environment that `security` is started with; it is looked for on its PATH."""

    def __init__(self, env: Mapping[str, str], run: Callable[..., process.Finished] = process.run) -> None:
        self._env = env
        self._run = run

    def read(self, service: str, account: str | None = None) -> str | None:
        """The password of an item; None when there is no such item or no Keychain."""
        program = shutil.which(_PROGRAM, path=self._env.get("PATH", ""))
        if program is None:
            return None
        argv = [program, "find-generic-password", "-s", service]
        argv += [] if account is None else ["-a", account]
        try:
            answer = self._run([*argv, "-w"], env=self._env, timeout_s=_TIMEOUT_S)
        except Unavailable:
            return None
        return _password(answer.text.removesuffix("\n")) if answer.code == 0 else None


def _password(printed: str) -> str | None:
    """What is not plain text comes in hexadecimal digits; the items read here are JSON, so they begin with 7b, a {."""
    if _HEX_OBJECT.fullmatch(printed):
        return bytes.fromhex(printed).decode("utf-8", "replace")
    return printed or None
