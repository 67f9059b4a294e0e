"""What the house asks of an AI coding CLI. A backend is data: a part that is None means "this CLI cannot".

A backend starts no process, opens no socket and reads no environment: it builds commands, reads lines, and reads the
files of the CLI home it is given. The engine does the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from agented.backends.events import Event, TokensUsed


class Permission(StrEnum):
    READ = "read"
    """Looks, answers, changes nothing."""
    EDIT = "edit"
    """Changes files of its workspace and runs what the CLI considers safe there."""
    FULL = "full"
    """Runs anything without asking."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line as the CLI printed it, decoded (bad bytes replaced), without its line end."""

    text: str
    stderr: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a command is built for.

    program: the start of argv that runs the CLI (its path, or an interpreter and a script).
    home: the account's own CLI home, or None for the person's default one.
    resume: the CLI's session id to go on with.
    max_cost_usd: passed on where the CLI has a flag for it.
    """

    program: Sequence[str]
    prompt: str
    workdir: Path
    home: Path | None = None
    model: str | None = None
    permission: Permission = Permission.EDIT
    resume: str | None = None
    mcp_config: Path | None = None
    max_cost_usd: Decimal | None = None
    as_root: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """argv with absolute program; `env` is added to the built environment; stdin None means /dev/null."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes | None = None
    pty: bool = False


@dataclass(frozen=True, slots=True)
class Exit:
    """How the leader ended: an exit code, or the signal that killed it."""

    code: int | None
    signal: int | None = None


class Outcome(StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LIMITED = "limited"
    LOGGED_OUT = "logged_out"


class Reason(StrEnum):
    """Why an attempt did not succeed, as far as a CLI's own words tell. Engine-side reasons are in executions."""

    USAGE_LIMIT = "usage_limit"
    RATE_LIMITED = "rate_limited"
    NO_CREDIT = "no_credit"
    BAD_CREDENTIALS = "bad_credentials"
    OVERLOADED = "overloaded"
    PROVIDER_ERROR = "provider_error"
    BAD_REQUEST = "bad_request"
    DISCONNECTED = "disconnected"
    UNREACHABLE = "unreachable"
    MAX_TURNS = "max_turns"
    BUDGET_EXHAUSTED = "budget_exhausted"
    NEEDS_INPUT = "needs_input"
    PERMISSION_DENIED = "permission_denied"
    SESSION_MISSING = "session_missing"
    BAD_CONFIG = "bad_config"
    INTERRUPTED = "interrupted"
    NO_FINAL_EVENT = "no_final_event"
    CLI_ERROR = "cli_error"
    KILLED = "killed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an attempt meant. `reason` is None exactly when it succeeded; `detail` is one line for people."""

    outcome: Outcome
    reason: Reason | None = None
    detail: str = ""
    until: datetime | None = None


class Output(Protocol):
    """Reads one attempt's lines in order. Never raises, whatever it is fed."""

    def feed(self, line: Line) -> Iterable[Event]: ...

    def verdict(self, exit: Exit) -> Verdict: ...


class NewOutput(Protocol):
    def __call__(self, before: TokensUsed = ...) -> Output:
        """`before`: what earlier attempts of the same CLI session used (some CLIs print running totals)."""
        ...


@dataclass(frozen=True, slots=True)
class VersionRange:
    """Versions this translator was checked with: from <= version < below, as dotted numbers."""

    since: str
    below: str

    def holds(self, version: str) -> bool:
        return _numbers(self.since) <= _numbers(version) < _numbers(self.below)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:4])


class Secrets(Protocol):
    """The system's secret store (macOS Keychain); answers None everywhere else."""

    def read(self, service: str, account: str | None = None) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Login:
    """Credentials as read, never written. kind: subscription | api_key. `secrets` are masked in all output."""

    kind: str
    email: str | None = None
    plan: str | None = None
    token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None
    secrets: Sequence[str] = field(default=(), repr=False)
    provider: str | None = None
    """Where a CLI signs in to many providers, the one this login is for."""


class Credentials(Protocol):
    def read(self, home: Path, secrets: Secrets, env: Mapping[str, str]) -> Login | None:
        """The login of a CLI home, or None. Tolerates missing, torn and foreign files.

        home: the account's CLI home, or the person's home folder with `env` naming nothing else.
        env: the account's extra environment; a key there wins as it does in the CLI.
        """
        ...


class WindowKind(StrEnum):
    SESSION = "session"
    """Some hours long."""
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    CREDITS = "credits"
    """Money that was paid before, or a cap on what is paid after."""
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One allowance of an account. name: the provider's own. used_percent: 0 to 100, None when nobody said.

    scope: the kind of model that it is for. length_s: how long it is.
    """

    name: str
    title: str
    kind: WindowKind = WindowKind.OTHER
    used_percent: float | None = None
    resets_at: datetime | None = None
    length_s: int | None = None
    scope: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request to a provider. base: the name of its address in `Limits.bases`; path: after it.

    form: sent as a form; body: sent as JSON.
    """

    base: str
    path: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Any = None
    form: Mapping[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Converse:
    """Lines to say to the CLI itself; it is ended once `is_last` holds for one of its own."""

    command: Command
    lines: Sequence[str]
    is_last: Callable[[str], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAt:
    """A screen of the CLI itself: what is typed when it is still, one after the other, and what tells that it is there.

    It is drawn in an empty folder that `build` is given. The answer has all that was drawn as one line.
    """

    build: Callable[[Path], Command]
    keys: Sequence[str]
    is_done: Callable[[str], bool]
    limit_s: float = 25.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: an HTTP answer, or lines of the CLI. status 0: nothing came, `problem` says why."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    lines: Sequence[str] = ()
    problem: str = ""


class LimitState(StrEnum):
    """How the last attempt to learn an account's limits went."""

    OK = "ok"
    THROTTLED = "throttled"
    """Asked too often: the last good answer stands."""
    NOT_ALLOWED = "not_allowed"
    """Signed in, but this login may not ask."""
    LOGGED_OUT = "logged_out"
    PLAN_UNSUPPORTED = "plan_unsupported"
    """The provider serves this plan in this CLI no more."""
    UNREACHABLE = "unreachable"
    UNREADABLE = "unreadable"
    """It answered something that is not known."""
    NONE = "none"
    """This login has no windows: a key that pays by use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitReading:
    state: LimitState
    windows: Sequence[Window] = ()
    plan: str | None = None
    email: str | None = None
    detail: str = ""
    retry_after_s: float | None = None
    seen_at: datetime | None = None
    """When it was told, if that was earlier: then it tells of no other windows than these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskingPlace:
    """home: as `Credentials.read` takes it. env: the account's own variables; one that points the CLI at another
    address means that its token is not for the provider. task: what a command of the CLI is built from, for `Converse`.
    options: values of settings that are not addresses.
    """

    home: Path
    task: Task
    env: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)


Asking = Generator[Ask | Converse | LookAt, Answer, LimitReading]


class Limits(Protocol):
    """Learns an account's windows. It sends nothing itself: it yields what is to be asked and is sent the answers."""

    bases: Mapping[str, str]
    """The providers' addresses by name; a setting may replace each."""

    def read(self, login: Login, place: AskingPlace, now: datetime) -> Asking:
        """Never raises, whatever it is sent."""
        ...

    def told(self, home: Path) -> LimitReading | None:
        """What the CLI has written by itself into a home, with its time; None where it writes nothing of it."""
        ...


class Usage(NamedTuple):
    """What one answer of a model took, as a session file tells it.

    key, part: name it among all answers of this CLI, whatever file tells of it. Rows of one key and part are one
    answer, of which the row with the highest rank holds. Rows of one key and different parts are different answers,
    but for those that may only replay another (`side`): of these none counts beside one that does not, and only one
    among themselves.
    session: the session that a run would know; a helper's own session counts as its caller's where the file tells it.
    at: microseconds since the epoch.
    input: never what came from a cache. cache_write is kept for 5 minutes, cache_write_1h for an hour; none is in both.
    reasoning: as the CLI tells it. beside: as many of these are not within output; they cost what output does.
    cost_usd: what the CLI itself says it cost, as it wrote it.
    """

    key: str
    part: str
    rank: int
    side: bool
    session: str
    workdir: str
    model: str
    provider: str
    at: int
    input: int
    output: int
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    reasoning: int = 0
    beside: int = 0
    fast: bool = False
    cost_usd: float | None = None


class Kept(StrEnum):
    """How a CLI keeps its sessions in a file."""

    LINES = "lines"
    """One JSON value a line; lines are only added."""
    WHOLE = "whole"
    """Written anew each time."""
    DATABASE = "database"
    """SQLite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Files of sessions: those in the folder whose names begin and end so; `deep` takes the folders in it, too.

    within: only those that have a folder of this name above them.
    """

    folder: Path
    suffix: str
    prefix: str = ""
    kept: Kept = Kept.LINES
    deep: bool = True
    within: str = ""


class Speech(NamedTuple):
    """One thing that was said or done in a session, as a session file tells it.

    key: names it within its session; a later one of the same key replaces it. Copies of a file tell the same keys.
    at: microseconds since the epoch; None where the file does not say: then it follows the one before.
    kind: asked (by the person or the program that runs the CLI) | said | thinking | called | returned | note | bad |
    title (what the session is called). text: for `called` its arguments as JSON.
    call: joins what a tool returned with its call. ok: whether that went well.
    side: a helper of the session said it.
    """

    session: str
    key: str
    at: int | None
    kind: str
    text: str
    tool: str = ""
    tool_kind: str = ""
    call: str = ""
    ok: bool = True
    side: bool = False
    workdir: str = ""
    model: str = ""


Row = TypeVar("Row", covariant=True)


class LineReader(Protocol[Row]):
    """Reads the lines of one file in order. Never raises, whatever it is fed."""

    def feed(self, line: bytes | bytearray, offset: int) -> None:
        """A line, and where it begins. Only lines that hold one of the needles are fed."""
        ...

    def state(self) -> str:
        """What a reader must know that goes on after these lines."""
        ...

    def rows(self) -> Iterable[Row]:
        """What the lines told. Asked for once, at the end."""
        ...


class Sessions(Protocol[Row]):
    """Where a CLI keeps what was said and what that took, and how to read it. Starts nothing and never raises."""

    needles: Sequence[bytes]
    """A line without any of these tells nothing that is looked for."""

    def places(self, home: Path) -> Sequence[Place]:
        """Those of a CLI home, as `home_env` would name it."""
        ...

    def own_places(self, person: Path) -> Sequence[Place]:
        """Those of a person who set nothing, by their home folder."""
        ...

    def new_reader(self, path: Path, state: str = "") -> LineReader[Row]:
        """For a file kept as lines, from its beginning or from where a reader left this state."""
        ...

    def read_whole(self, path: Path, data: bytes) -> Iterable[Row]:
        """For a file kept as a whole."""
        ...

    def read_database(self, path: Path, state: str) -> tuple[Iterable[Row], str]:
        """For a database: what was added or changed since a state, and the state after that."""
        ...


@dataclass(frozen=True, slots=True)
class Model:
    id: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Models:
    """What `--model` takes: a fixed list, or a command to ask the CLI with and a reader of its answer."""

    known: Sequence[Model] = ()
    command: Callable[[Task], Command] | None = None
    parse: Callable[[str], Sequence[Model]] | None = None


@dataclass(frozen=True, slots=True)
class LoginWay:
    """One way to sign in: arguments after the program that start it in a terminal. hint: when to take it."""

    title: str
    arguments: Sequence[str]
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    name: str
    """Short and lower-case: what --backend takes."""
    title: str
    program: str
    """The file looked for on PATH."""
    tested: VersionRange
    build_command: Callable[[Task], Command]
    new_output: NewOutput
    home_env: Callable[[Path], Mapping[str, str]]
    """The variables that point the CLI at a home of its own."""
    default_home: Callable[[Path], Path]
    """The CLI home inside a person's home folder, as `home_env` would name it."""
    install_hint: str
    """The exact command that installs it."""
    sign_in_hint: str
    """The exact act that signs in."""
    builtin: Sequence[str] | None = None
    """Set when the program ships with us: the start of argv. Nothing is looked for on PATH then."""
    version_args: Sequence[str] = ("--version",)
    needs_login: bool = True
    can_resume: bool = False
    continue_prompt: str | None = (
        "The process that worked on this task was interrupted. Look at what is done already and finish the task."
    )
    """Said when a session is resumed after its process was lost; None says the prompt again."""
    config_names: Sequence[str] = ()
    """Names of the files and folders in a repository that configure it or tell it what to do."""
    permissions: Sequence[Permission] = (Permission.READ, Permission.EDIT, Permission.FULL)
    credentials: Credentials | None = None
    sessions: Sessions[Usage] | None = None
    transcripts: Sessions[Speech] | None = None
    """The same files, read for what was said in them."""
    kept_for: Callable[[Path | None, Path], timedelta | None] | None = None
    """How long the CLI itself keeps session files of a home (None: the person's own) of a person. None for ever."""
    models: Models | None = None
    limits: Limits | None = None
    login_command: Sequence[str] | None = None
    """Arguments after the program that start the CLI's own sign-in in a terminal."""
    login_ways: Sequence[LoginWay] = ()
    """Where there are several, all of them, the one for most people first."""
    login_env: Mapping[str, str] = field(default_factory=dict)
    """What the sign-in has in its environment, above all so that no browser is opened on the server."""
