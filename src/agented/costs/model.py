"""What the ledger of costs is made of: bookmarks in session files, counted answers, and cells that sum them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from agented.backends.contract import Sessions, Usage

SYNTHETIC = "<synthetic>"
"""What a CLI itself said in a model's place: it costs nothing."""


@dataclass(frozen=True, slots=True)
class Source:
    """A kind of session files that is looked for."""

    name: str
    sessions: Sessions[Usage]


class CellKey(NamedTuple):
    """What the answers of one sum have in common. prices: the version of the table they were priced by, or nothing."""

    source: str
    account: str
    session: str
    model: str
    provider: str
    day: str
    fast: bool
    prices: str


class Answer(NamedTuple):
    """A counted answer. rank and part are its reader's; cost is in picodollars, None without a price."""

    key: str
    part: str
    rank: int
    side: bool
    at: int
    input: int
    output: int
    cache_read: int
    cache_write: int
    cache_write_1h: int
    reasoning: int
    beside: int
    cost: int | None
    own_cost: bool
    workdir: str
    cell: CellKey


class Group(StrEnum):
    """What costs can be told apart by."""

    SOURCE = "source"
    MODEL = "model"
    DAY = "day"
    ACCOUNT = "account"
    PROJECT = "project"
    BOT = "bot"
    SESSION = "session"
    EXECUTION = "execution"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """since, until: the first and the last day, as YYYY-MM-DD. The others are as they stand in the answer."""

    since: str | None = None
    until: str | None = None
    equal: Sequence[tuple[Group, str]] = ()


class Sums(NamedTuple):
    """What answers took together. cost: picodollars of those that have a price."""

    messages: int = 0
    unpriced: int = 0
    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    reasoning: int = 0
    cost: int = 0


@dataclass(frozen=True, slots=True)
class Owner:
    """The run that a session belongs to. account: the key of the account that it ran as."""

    execution: str
    bot: str | None
    project: str | None
    account: str | None
