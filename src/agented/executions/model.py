"""What an execution and its attempts are, how they move, and what each reason means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from agented.backends.contract import Permission, Reason
from agented.backends.events import TokensUsed


class State(StrEnum):
    QUEUED = "queued"
    PREPARING = "preparing"
    RUNNING = "running"
    WAITING = "waiting"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    SUPERSEDED = "superseded"


TERMINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.TIMED_OUT, State.SUPERSEDED})
ACTIVE = frozenset({State.PREPARING, State.RUNNING, State.STOPPING})

MOVES: Mapping[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.PREPARING, State.CANCELLED, State.SUPERSEDED, State.FAILED, State.STOPPING}),
    State.PREPARING: frozenset({State.RUNNING, State.WAITING, State.FAILED, State.STOPPING}),
    State.RUNNING: frozenset({State.SUCCEEDED, State.FAILED, State.PREPARING, State.STOPPING, State.TIMED_OUT}),
    State.WAITING: frozenset({State.QUEUED, State.CANCELLED, State.FAILED, State.SUPERSEDED, State.STOPPING}),
    State.STOPPING: frozenset({State.CANCELLED, State.SUPERSEDED}),
}


class AttemptState(StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    ENDED = "ended"
    LOST = "lost"


class AttemptVerdict(StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LIMITED = "limited"
    LOGGED_OUT = "logged_out"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    LOST = "lost"


class Trust(StrEnum):
    """Who wrote what an execution works on."""

    OWN = "own"
    OUTSIDER = "outsider"
    """Somebody without write access: it only reads, gets nothing secret, and no configuration that came with it."""


class OnLimit(StrEnum):
    """What an execution does when no account of its chain may be used for a time."""

    WAIT = "wait"
    """It is held and goes on by itself."""
    FAIL = "fail"


class Retry(StrEnum):
    """What happens by itself after an attempt that ended with a reason."""

    NEVER = "never"
    """A person decides."""
    ONCE = "once"
    """One more attempt in the same workspace, resuming the CLI's session where it can."""
    PAUSE = "pause"
    """Another account of the chain, or the same one after a pause that grows; a few times."""
    RESET = "reset"
    """Another account of the chain, or the same one after its reset, in the same session where it can."""
    OTHER = "other"
    """Another account of the chain, if there is one."""


class Fix(StrEnum):
    """What a person most likely does next: the button a page offers."""

    RETRY = "retry"
    CHANGE = "change"
    """Start it again with something changed: the prompt, the model, the account, a limit."""
    SIGN_IN = "sign_in"
    READ = "read"
    """Read the log from its first error."""
    WAIT = "wait"
    """Wait, go on at once, or stop waiting."""
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ReasonRule:
    """One row of the table of reasons: what people read, what they do, and the one retry rule."""

    title: str
    action: str
    fix: Fix
    retry: Retry = Retry.NEVER


REASONS: Mapping[str, ReasonRule] = {
    Reason.USAGE_LIMIT: ReasonRule(
        "The account's usage limit is reached", "Retry after the reset or on another account", Fix.CHANGE, Retry.RESET
    ),
    Reason.RATE_LIMITED: ReasonRule(
        "The provider asked for fewer requests", "Retry in a few minutes", Fix.RETRY, Retry.PAUSE
    ),
    Reason.NO_CREDIT: ReasonRule(
        "The account has no credit left", "Add credit or use another account", Fix.CHANGE, Retry.OTHER
    ),
    Reason.BAD_CREDENTIALS: ReasonRule("The CLI is not signed in", "Sign in and retry", Fix.SIGN_IN, Retry.OTHER),
    Reason.OVERLOADED: ReasonRule("The provider is overloaded", "Retry later", Fix.RETRY, Retry.PAUSE),
    Reason.PROVIDER_ERROR: ReasonRule("The provider failed", "Retry later", Fix.RETRY, Retry.PAUSE),
    Reason.BAD_REQUEST: ReasonRule("The provider refused the request", "Check the model's name", Fix.CHANGE),
    Reason.DISCONNECTED: ReasonRule("The connection to the provider broke", "Retry", Fix.RETRY, Retry.PAUSE),
    Reason.UNREACHABLE: ReasonRule(
        "The provider cannot be reached", "Check the network and retry", Fix.RETRY, Retry.PAUSE
    ),
    Reason.MAX_TURNS: ReasonRule("The CLI's limit of turns is reached", "Retry with a smaller task", Fix.CHANGE),
    Reason.BUDGET_EXHAUSTED: ReasonRule("The run's budget is spent", "Raise the budget and retry", Fix.CHANGE),
    Reason.NEEDS_INPUT: ReasonRule("The CLI asked a question", "Answer it in the prompt and retry", Fix.CHANGE),
    Reason.PERMISSION_DENIED: ReasonRule("The permission did not suffice", "Retry with a wider permission", Fix.CHANGE),
    Reason.SESSION_MISSING: ReasonRule(
        "The CLI's session to resume is gone", "Start a new run", Fix.CHANGE, Retry.ONCE
    ),
    Reason.BAD_CONFIG: ReasonRule("The CLI refused its configuration", "Read the log", Fix.READ),
    Reason.INTERRUPTED: ReasonRule("The CLI was interrupted", "Retry", Fix.RETRY),
    Reason.NO_FINAL_EVENT: ReasonRule("The CLI ended without its final word", "Read the log", Fix.READ),
    Reason.CLI_ERROR: ReasonRule("The CLI failed", "Read the log", Fix.READ),
    Reason.KILLED: ReasonRule("The CLI was killed from outside", "Retry", Fix.RETRY),
    "cancelled": ReasonRule("Stopped by a person", "Retry", Fix.RETRY),
    "wall_time": ReasonRule("It ran longer than allowed", "Raise the time limit and retry", Fix.CHANGE),
    "silence": ReasonRule("It printed nothing for too long", "Read the log", Fix.READ),
    "output_limit": ReasonRule("It printed more than allowed", "Read the log", Fix.READ),
    "shutdown": ReasonRule("The machine was shut down", "Retry", Fix.RETRY, Retry.ONCE),
    "lost": ReasonRule("Its keeper was killed; what became of it is not known", "Retry", Fix.RETRY, Retry.ONCE),
    "program_missing": ReasonRule("The CLI is not installed", "Install it and retry", Fix.RETRY),
    "not_executable": ReasonRule("The CLI cannot be executed", "Make it executable and retry", Fix.RETRY),
    "launch_failed": ReasonRule("The CLI could not be started", "Read the detail", Fix.NONE),
    "workspace_failed": ReasonRule("The workspace could not be made", "Read the detail", Fix.NONE),
    "account_missing": ReasonRule("The account is gone", "Choose another account", Fix.CHANGE),
    "backend_missing": ReasonRule("The backend is not installed", "Install its plug-in", Fix.NONE),
    "project_missing": ReasonRule("The project is gone", "Add it again", Fix.NONE),
    "project_full": ReasonRule("All workspaces of the project are in use", "It goes on by itself", Fix.NONE),
    "account_full": ReasonRule("The account runs as many as it may", "It goes on by itself", Fix.NONE),
    "account_refreshing": ReasonRule(
        "Another run renews the account's login first", "It goes on by itself in a moment", Fix.WAIT
    ),
    "bot_full": ReasonRule("The bot runs as many as it may", "It goes on by itself", Fix.NONE),
    "subject_full": ReasonRule("The bot works on the same thing already", "It goes on by itself", Fix.NONE),
    "limited": ReasonRule("It waits for an account's limit to be renewed", "It goes on by itself", Fix.WAIT),
    "reserved": ReasonRule("What is left of the limit is kept for people", "It goes on by itself", Fix.WAIT),
    "backing_off": ReasonRule("It waits before it tries again", "It goes on by itself", Fix.WAIT),
    "signed_out": ReasonRule("The account is not signed in", "Sign in; it goes on by itself", Fix.SIGN_IN),
    "budget": ReasonRule("A budget is spent", "It goes on when the budget's period is over", Fix.WAIT),
    "over_budget": ReasonRule("A budget was spent while it worked", "Raise the budget and retry", Fix.RETRY),
    "budget_ask": ReasonRule("A budget is spent; a person decides", "Let it go on, or stop it", Fix.WAIT, Retry.OTHER),
    "coalescing": ReasonRule("It waits for what else happens in the repository", "It starts by itself", Fix.NONE),
    "superseded": ReasonRule("Something newer took its place", "Nothing is to be done", Fix.NONE),
    "no_result": ReasonRule("It ended without the result it was asked for", "Read what it said", Fix.READ),
    "result_failed": ReasonRule("Its result could not be delivered", "Mend the cause and retry", Fix.RETRY),
    "broken": ReasonRule("A fault of Agented", "Report it with the server's log", Fix.NONE),
}

MAX_ATTEMPTS = 2

MOST_RESETS = 24
"""So many limits one execution meets before it has failed."""

HELD = ("limited", "reserved", "backing_off", "signed_out", "budget", "account_refreshing")
"""Reasons to wait for a time that a change of the accounts may bring nearer."""


@dataclass(frozen=True, slots=True)
class Step:
    """One choice of a chain."""

    backend: str
    account: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Please run this. `key`: the same key is the same execution. priority: 0 (last) to 9 (first).

    chain: what is tried one after the other; empty means the one step that backend, account and model say. fetch: a ref
    of the remote to bring before, such as refs/pull/7/head. config_from: the commit from which the CLIs' own
    configuration is taken. subject: what it works on, such as one pull request. most: how many of its origin, and
    most_per_subject: how many of its origin and subject, run at once; 0 is no limit. max_cost_usd: what it may
    spend, in all its attempts.
    """

    origin: str
    project_id: str
    backend: str
    prompt: str
    permission: Permission = Permission.EDIT
    model: str | None = None
    ref: str | None = None
    account: str | None = None
    key: str | None = None
    priority: int = 5
    wall_s: float | None = None
    silence_s: float | None = None
    chain: tuple[Step, ...] = ()
    trust: Trust = Trust.OWN
    fetch: str | None = None
    config_from: str | None = None
    subject: str | None = None
    most: int = 0
    most_per_subject: int = 0
    on_limit: OnLimit = OnLimit.WAIT
    max_cost_usd: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    id: str
    state: State
    request: Request
    created_at: datetime
    rev: int
    fair_tag: int
    turn: int = 0
    """How often it was put into the engine's queue; each turn is one workflow of the engine."""
    step: int = 0
    """Where in its chain it stands."""
    resume_at: datetime | None = None
    """When it goes on by itself, while it waits for a time."""
    reason: str | None = None
    detail: str | None = None
    title: str = ""
    branch: str | None = None
    account_name: str | None = None
    account_key: str | None = None
    """The account that it runs on, or whose limit it waits for."""
    choice: str | None = None
    """Why it runs on that account."""
    asked: bool = False
    """A person asked that it goes on at once."""
    may_overspend: bool = False
    """A person let it go on although a budget is spent."""
    session_id: str | None = None
    exit_code: int | None = None
    tokens: TokensUsed = field(default_factory=TokensUsed)
    started_at: datetime | None = None
    ended_at: datetime | None = None
    last_output_at: datetime | None = None
    attempt_count: int = 0
    lines: int = 0
    bytes: int = 0
    changed_files: int | None = None
    additions: int | None = None
    deletions: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    id: str
    execution_id: str
    number: int
    state: AttemptState
    started_at: datetime
    log_offset: int
    first_event: int
    account_name: str | None = None
    verdict: AttemptVerdict | None = None
    reason: str | None = None
    detail: str | None = None
    pid: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    ended_at: datetime | None = None
    session_id: str | None = None
    resumed: bool = False
    cli_version: str | None = None
    command: tuple[str, ...] = ()
    backend: str | None = None
    account_key: str | None = None
    choice: str | None = None
    step: int = 0
    tokens: TokensUsed = field(default_factory=TokensUsed)


def title_of(prompt: str) -> str:
    """The first line that says something, at most 120 characters."""
    for line in prompt.splitlines():
        if line.strip():
            return line.strip()[:120]
    return ""


def add_tokens(left: TokensUsed, right: TokensUsed) -> TokensUsed:
    cost: Decimal | None = None
    if left.cost_usd is not None or right.cost_usd is not None:
        cost = (left.cost_usd or Decimal(0)) + (right.cost_usd or Decimal(0))
    return TokensUsed(
        input=left.input + right.input,
        output=left.output + right.output,
        cache_read=left.cache_read + right.cache_read,
        cache_write=left.cache_write + right.cache_write,
        cost_usd=cost,
    )
