"""Finds the server that works on a data folder."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

from agented.kit.files import is_locked

if TYPE_CHECKING:
    from agented.settings import Settings


def running_url(settings: Settings) -> str | None:
    """The address of the server that works on this data folder now."""
    if not is_locked(settings.data / "server.lock"):
        return None
    with suppress(FileNotFoundError, ValueError, KeyError):
        return str(json.loads((settings.data / "server.json").read_text())["url"])
    return None
