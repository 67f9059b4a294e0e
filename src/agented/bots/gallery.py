"""Bots that are there to be taken: each a document, and a script that shows in rehearsal what it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from agented.backends.contract import Permission
from agented.kit.errors import NotFound

REHEARSAL = "rehearsal"


@dataclass(frozen=True, slots=True)
class Ready:
    """rehearsal: what the rehearsal backend is told instead of the prompt."""

    name: str
    title: str
    summary: str
    document: Mapping[str, Any]
    rehearsal: str

    @property
    def permission(self) -> Permission:
        return Permission(self.document.get("permission", "edit"))


class Gallery:
    def all(self) -> list[Ready]:
        return list(_read())

    def get(self, name: str) -> Ready:
        for one in _read():
            if one.name == name:
                return one
        raise NotFound(f"The gallery has no bot {name[:80]!r}.")


@cache
def _read() -> tuple[Ready, ...]:
    folder = files("agented.bots") / "ready"
    found = []
    for path in sorted((one for one in folder.iterdir() if one.name.endswith(".yaml")), key=lambda one: one.name):
        told = yaml.safe_load(path.read_text())
        document = {"kind": "Bot", **told["document"]}
        found.append(Ready(document["name"], told["title"], told["summary"], document, told["rehearsal"]))
    return tuple(found)
