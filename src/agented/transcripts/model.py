"""Values of this room. Times are microseconds since the epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """One session of a CLI. items: how many things were said and done; size: bytes that are kept of them.

    execution: the run it belongs to, empty for a person's.
    """

    id: int
    source: str
    session: str
    account: str
    title: str
    model: str
    workdir: str
    project: str
    execution: str
    began: int
    last: int
    items: int
    size: int


class Item(NamedTuple):
    """seq: its place in the transcript, from 1."""

    seq: int
    at: int
    kind: str
    text: str
    tool: str
    tool_kind: str
    call: str
    ok: bool
    side: bool


class Hit(NamedTuple):
    """marks: where in the snippet the words stand, as (first, behind the last)."""

    seq: int
    at: int
    kind: str
    snippet: str
    marks: Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """words: phrases that must all stand in one thing said; the last of each may go on."""

    words: Sequence[str] = ()
    source: str | None = None
    account: str | None = None
    project: str | None = None
    of_runs: bool | None = None
    since: int | None = None
    until: int | None = None


class Whose(NamedTuple):
    """execution: empty for a person's session. account: that of the run, where it is known better."""

    execution: str
    project: str
    account: str


@dataclass(frozen=True, slots=True)
class Risk:
    """Sessions that a CLI deletes before they are kept here. first_at: when the first of them goes."""

    source: str
    account: str
    sessions: int
    days: float
    first_at: datetime
