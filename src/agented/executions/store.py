"""All SQL of executions and attempts. Moves between states are compare-and-set; terminal states are written once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from agented.backends.contract import Permission
from agented.backends.events import TokensUsed
from agented.executions.model import (
    ACTIVE,
    MOVES,
    TERMINAL,
    Attempt,
    AttemptState,
    AttemptVerdict,
    Execution,
    OnLimit,
    Request,
    State,
    Step,
    Trust,
    title_of,
)
from agented.kit.db import UtcTime, metadata
from agented.kit.ids import new_id

_BigInt = sa.BigInteger

executions = sa.Table(
    "executions",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("rev", _BigInt, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("reason", sa.String(40)),
    sa.Column("detail", sa.Text),
    sa.Column("origin", sa.String(120), nullable=False),
    sa.Column("idempotency_key", sa.String(200)),
    sa.Column("project_id", sa.String(40), nullable=False),
    sa.Column("backend", sa.String(60), nullable=False),
    sa.Column("prompt", sa.Text, nullable=False),
    sa.Column("title", sa.String(120), nullable=False),
    sa.Column("permission", sa.String(8), nullable=False),
    sa.Column("model", sa.String(200)),
    sa.Column("ref", sa.String(255)),
    sa.Column("account", sa.String(120)),
    sa.Column("account_name", sa.String(120)),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("fair_tag", _BigInt, nullable=False),
    sa.Column("turn", sa.Integer, nullable=False),
    sa.Column("wall_s", sa.Float),
    sa.Column("silence_s", sa.Float),
    sa.Column("chain", sa.JSON, nullable=False, server_default="[]"),
    sa.Column("step", sa.Integer, nullable=False, server_default="0"),
    sa.Column("trust", sa.String(12), nullable=False, server_default=Trust.OWN),
    sa.Column("fetch", sa.String(255)),
    sa.Column("config_from", sa.String(255)),
    sa.Column("subject", sa.String(255)),
    sa.Column("most", sa.Integer, nullable=False, server_default="0"),
    sa.Column("most_per_subject", sa.Integer, nullable=False, server_default="0"),
    sa.Column("admitted", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("on_limit", sa.String(8), nullable=False, server_default=OnLimit.WAIT),
    sa.Column("asked", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("max_cost_usd", sa.String(40)),
    sa.Column("may_overspend", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("account_key", sa.String(120)),
    sa.Column("choice", sa.Text),
    sa.Column("resume_at", UtcTime),
    sa.Column("branch", sa.String(255)),
    sa.Column("session_id", sa.String(200)),
    sa.Column("exit_code", sa.Integer),
    sa.Column("tokens_input", _BigInt, nullable=False),
    sa.Column("tokens_output", _BigInt, nullable=False),
    sa.Column("tokens_cache_read", _BigInt, nullable=False),
    sa.Column("tokens_cache_write", _BigInt, nullable=False),
    sa.Column("cost_usd", sa.String(40)),
    sa.Column("attempt_count", sa.Integer, nullable=False),
    sa.Column("lines", _BigInt, nullable=False),
    sa.Column("bytes", _BigInt, nullable=False),
    sa.Column("changed_files", sa.Integer),
    sa.Column("additions", sa.Integer),
    sa.Column("deletions", sa.Integer),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("started_at", UtcTime),
    sa.Column("ended_at", UtcTime),
    sa.Column("last_output_at", UtcTime),
    sa.UniqueConstraint("idempotency_key"),
)
sa.Index("ix_executions_rev", executions.c.rev)
sa.Index("ix_executions_state_id", executions.c.state, executions.c.id)
sa.Index("ix_executions_project_id_id", executions.c.project_id, executions.c.id)
sa.Index("ix_executions_backend_id", executions.c.backend, executions.c.id)
sa.Index("ix_executions_origin_fair_tag", executions.c.origin, executions.c.fair_tag)
sa.Index("ix_executions_subject_id", executions.c.subject, executions.c.id)
sa.Index("ix_executions_state_resume_at", executions.c.state, executions.c.resume_at)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("execution_id", sa.String(40), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("verdict", sa.String(16)),
    sa.Column("reason", sa.String(40)),
    sa.Column("detail", sa.Text),
    sa.Column("account_name", sa.String(120)),
    sa.Column("pid", sa.Integer),
    sa.Column("exit_code", sa.Integer),
    sa.Column("signal", sa.Integer),
    sa.Column("started_at", UtcTime, nullable=False),
    sa.Column("ended_at", UtcTime),
    sa.Column("session_id", sa.String(200)),
    sa.Column("resumed", sa.Boolean, nullable=False),
    sa.Column("cli_version", sa.String(60)),
    sa.Column("command", sa.JSON, nullable=False),
    sa.Column("backend", sa.String(60)),
    sa.Column("account_key", sa.String(120)),
    sa.Column("choice", sa.Text),
    sa.Column("step", sa.Integer, nullable=False, server_default="0"),
    sa.Column("log_offset", _BigInt, nullable=False),
    sa.Column("first_event", _BigInt, nullable=False),
    sa.Column("tokens_input", _BigInt, nullable=False),
    sa.Column("tokens_output", _BigInt, nullable=False),
    sa.Column("tokens_cache_read", _BigInt, nullable=False),
    sa.Column("tokens_cache_write", _BigInt, nullable=False),
    sa.Column("cost_usd", sa.String(40)),
    sa.UniqueConstraint("execution_id", "number"),
)

sa.Index("ix_attempts_session_id", attempts.c.session_id)
sa.Index("ix_attempts_account_key", attempts.c.account_key, attempts.c.ended_at)

counters = sa.Table(
    "execution_counters",
    metadata,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("value", _BigInt, nullable=False),
)
"""`rev` (last revision given), `fair_time` (virtual time of the fair queue), and one per state, kept on each move."""


def bump(conn: sa.Connection, name: str, by: int = 1) -> int:
    """Adds to a counter and gives its new value; the row lock orders concurrent writers."""
    row = conn.execute(
        counters.update().where(counters.c.name == name).values(value=counters.c.value + by).returning(counters.c.value)
    ).first()
    if row is not None:
        return int(row[0])
    conn.execute(counters.insert().values(name=name, value=by))
    return by


def counts(conn: sa.Connection) -> dict[str, int]:
    """How many executions stand in each state."""
    rows = conn.execute(sa.select(counters.c.name, counters.c.value).where(counters.c.name.in_(list(State))))
    return dict.fromkeys(State, 0) | {str(name): int(value) for name, value in rows}


def last_rev(conn: sa.Connection) -> int:
    return int(conn.execute(sa.select(counters.c.value).where(counters.c.name == "rev")).scalar() or 0)


def add(
    conn: sa.Connection, request: Request, now: datetime, *, not_before: datetime | None = None
) -> tuple[Execution, bool]:
    """Stores a request as a QUEUED execution; the one that has its key already, and False, when there is one.

    not_before: it is WAITING until then.
    """
    if request.key is not None:
        found = conn.execute(executions.select().where(executions.c.idempotency_key == request.key)).first()
        if found is not None:
            return _execution(found), False
    values: dict[str, Any] = {
        "id": new_id("exe"),
        "rev": bump(conn, "rev"),
        "state": State.QUEUED if not_before is None else State.WAITING,
        "reason": None if not_before is None else "coalescing",
        "resume_at": not_before,
        "origin": request.origin,
        "idempotency_key": request.key,
        "project_id": request.project_id,
        "backend": request.backend,
        "prompt": request.prompt,
        "title": title_of(request.prompt),
        "permission": request.permission,
        "model": request.model,
        "ref": request.ref,
        "account": request.account,
        "priority": request.priority,
        "fair_tag": _next_tag(conn, request.origin),
        "turn": 1,
        "wall_s": request.wall_s,
        "silence_s": request.silence_s,
        "chain": [[step.backend, step.account, step.model] for step in request.chain],
        "step": 0,
        "trust": request.trust,
        "fetch": request.fetch,
        "config_from": request.config_from,
        "subject": request.subject,
        "most": request.most,
        "most_per_subject": request.most_per_subject,
        "admitted": False,
        "on_limit": request.on_limit,
        "max_cost_usd": None if request.max_cost_usd is None else f"{request.max_cost_usd:f}",
        "attempt_count": 0,
        "lines": 0,
        "bytes": 0,
        "created_at": now,
        **_token_values(TokensUsed()),
    }
    conn.execute(executions.insert().values(values))
    bump(conn, values["state"])
    return get(conn, values["id"]), True


def _next_tag(conn: sa.Connection, origin: str) -> int:
    """Start-time fair queueing: an origin's next request stands one behind its last, and never behind the present."""
    present = conn.execute(sa.select(counters.c.value).where(counters.c.name == "fair_time")).scalar() or 0
    last = conn.execute(sa.select(sa.func.max(executions.c.fair_tag)).where(executions.c.origin == origin)).scalar()
    return max(int(present), int(last or 0)) + 1


def advance_fair_time(conn: sa.Connection, tag: int) -> None:
    present = conn.execute(sa.select(counters.c.value).where(counters.c.name == "fair_time")).scalar() or 0
    if tag > present:
        bump(conn, "fair_time", tag - int(present))


def get(conn: sa.Connection, execution_id: str) -> Execution:
    """Raises LookupError when there is none."""
    found = find(conn, execution_id)
    if found is None:
        raise LookupError(execution_id)
    return found


def find(conn: sa.Connection, execution_id: str) -> Execution | None:
    row = conn.execute(executions.select().where(executions.c.id == execution_id)).first()
    return None if row is None else _execution(row)


def move(
    conn: sa.Connection, execution_id: str, to: State, *, only_from: Collection[State] | None = None, **changes: Any
) -> Execution | None:
    """Moves an execution if the table of moves allows it from where it stands; None when it does not (any more)."""
    sources = [state for state, targets in MOVES.items() if to in targets]
    if only_from is not None:
        sources = [state for state in sources if state in only_from]
    query = sa.select(executions.c.state).where(executions.c.id == execution_id)
    if conn.dialect.name != "sqlite":
        query = query.with_for_update()
    before = conn.execute(query).scalar()
    if before is None or before not in sources:
        return None
    done = conn.execute(
        executions.update()
        .where(executions.c.id == execution_id, executions.c.state == before)
        .values(state=to, rev=bump(conn, "rev"), **changes)
    )
    if done.rowcount == 0:
        return None
    bump(conn, str(before), -1)
    bump(conn, to)
    return get(conn, execution_id)


def change(conn: sa.Connection, execution_id: str, **changes: Any) -> None:
    """Changes what is not the state; a terminal execution keeps its values."""
    conn.execute(
        executions.update()
        .where(executions.c.id == execution_id, executions.c.state.not_in(TERMINAL))
        .values(rev=bump(conn, "rev"), **changes)
    )


def next_turn(conn: sa.Connection, execution: Execution) -> Execution | None:
    """The execution with its next turn, unless it has ended or another took that turn."""
    done = conn.execute(
        executions.update()
        .where(
            executions.c.id == execution.id,
            executions.c.turn == execution.turn,
            executions.c.state.not_in(TERMINAL),
        )
        .values(turn=execution.turn + 1)
    )
    return get(conn, execution.id) if done.rowcount else None


def page(
    conn: sa.Connection,
    *,
    limit: int,
    before: str | None = None,
    states: Collection[str] = (),
    backend: str | None = None,
    project_id: str | None = None,
    account_name: str | None = None,
    reason: str | None = None,
    origin: str | None = None,
    text: str | None = None,
) -> list[Execution]:
    """Newest first, without prompts; `before` is the last id of the page before."""
    equal = {"backend": backend, "project_id": project_id, "origin": origin}
    equal |= {"account_name": account_name, "reason": reason}
    # Several states are read as one short page each: an index gives each in order, a filter over history would not.
    groups: list[Collection[str]] = [[state] for state in states] if states else [()]
    found: list[Execution] = []
    for group in groups:
        query = sa.select(*_LISTED).order_by(executions.c.id.desc()).limit(limit)
        if group:
            query = query.where(executions.c.state.in_(group))
        if before is not None:
            query = query.where(executions.c.id < before)
        for column, value in equal.items():
            if value is not None:
                query = query.where(executions.c[column] == value)
        if text:
            escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            query = query.where(executions.c.title.ilike(f"%{escaped}%", escape="\\"))
        found += [_execution(row) for row in conn.execute(query)]
    return sorted(found, key=lambda execution: execution.id, reverse=True)[:limit]


def changed_since(conn: sa.Connection, rev: int, limit: int) -> list[Execution]:
    query = sa.select(*_LISTED).where(executions.c.rev > rev).order_by(executions.c.rev).limit(limit)
    return [_execution(row) for row in conn.execute(query)]


def unfinished(conn: sa.Connection) -> list[Execution]:
    """Every execution that still has to be driven, oldest first."""
    alive = [state for state in State if state not in TERMINAL]
    query = executions.select().where(executions.c.state.in_(alive)).order_by(executions.c.id)
    return [_execution(row) for row in conn.execute(query)]


def count_admitted(conn: sa.Connection, origin: str, subject: str | None, besides: str) -> int:
    """How many of an origin (and subject, if one is given) were let in and have not ended."""
    query = sa.select(sa.func.count()).where(
        executions.c.state.in_(list(ACTIVE)),
        executions.c.admitted.is_(True),
        executions.c.origin == origin,
        executions.c.id != besides,
    )
    if subject is not None:
        query = query.where(executions.c.subject == subject)
    return int(conn.execute(query).scalar() or 0)


def living_of_subject(conn: sa.Connection, origin: str, subject: str, before: str | None = None) -> list[Execution]:
    """Unfinished executions of an origin and subject; before: only those asked for earlier than this one."""
    alive = [state for state in State if state not in TERMINAL]
    query = executions.select().where(
        executions.c.subject == subject,
        executions.c.origin == origin,
        executions.c.state.in_(alive),
    )
    if before is not None:
        query = query.where(executions.c.id < before)
    return [_execution(row) for row in conn.execute(query.order_by(executions.c.id))]


def due(conn: sa.Connection, now: datetime) -> list[Execution]:
    """Who waited for a time that has come."""
    query = executions.select().where(executions.c.state == State.WAITING, executions.c.resume_at <= now)
    return [_execution(row) for row in conn.execute(query.order_by(executions.c.resume_at).limit(500))]


def next_due(conn: sa.Connection) -> datetime | None:
    found: datetime | None = conn.execute(
        sa.select(executions.c.resume_at)
        .where(executions.c.state == State.WAITING, executions.c.resume_at.is_not(None))
        .order_by(executions.c.resume_at)
        .limit(1)
    ).scalar()
    return found


def count_active(conn: sa.Connection, *, account_name: str | None = None, besides: str = "") -> int:
    query = sa.select(sa.func.count()).select_from(executions).where(executions.c.state.in_(list(ACTIVE)))
    if account_name is not None:
        query = query.where(executions.c.account_name == account_name, executions.c.id != besides)
    return int(conn.execute(query).scalar() or 0)


def count_on_account(conn: sa.Connection, account_key: str) -> int:
    """How many run on an account now."""
    query = sa.select(sa.func.count()).select_from(executions)
    mine = query.where(executions.c.state.in_(list(ACTIVE)), executions.c.account_key == account_key)
    return int(conn.execute(mine).scalar() or 0)


def bring_forward(conn: sa.Connection, reasons: Collection[str], now: datetime) -> int:
    """Who waits for one of these reasons looks again now. Gives how many do."""
    done = conn.execute(
        executions.update()
        .where(
            executions.c.state == State.WAITING,
            executions.c.reason.in_(list(reasons)),
            executions.c.resume_at > now,
        )
        .values(resume_at=now)
    )
    return done.rowcount


_PLACES: Mapping[str, Sequence[str]] = {
    "project_full": ("project_id",),
    "account_full": ("account_name",),
    "bot_full": ("origin",),
    "subject_full": ("origin", "subject"),
}
"""Reasons to wait for a place, and the columns that say for which."""


def waiting_heads(conn: sa.Connection) -> list[Execution]:
    """Who waits for a place, first the ones that come first: by priority, then by fairness; at most 50."""
    query = (
        executions.select()
        .where(executions.c.state == State.WAITING, executions.c.reason.in_(list(_PLACES)))
        .order_by(executions.c.priority.desc(), executions.c.fair_tag, executions.c.id)
    )
    heads: dict[tuple[str, ...], Execution] = {}
    for row in conn.execute(query):
        key = (row.reason, *(str(getattr(row, name) or "") for name in _PLACES[row.reason]))
        if key not in heads:
            heads[key] = _execution(row)
        if len(heads) >= 50:
            break
    return list(heads.values())


def add_attempt(conn: sa.Connection, attempt: Attempt) -> None:
    conn.execute(
        attempts.insert().values(
            id=attempt.id,
            execution_id=attempt.execution_id,
            number=attempt.number,
            state=attempt.state,
            account_name=attempt.account_name,
            started_at=attempt.started_at,
            resumed=attempt.resumed,
            session_id=attempt.session_id,
            cli_version=attempt.cli_version,
            command=list(attempt.command),
            backend=attempt.backend,
            account_key=attempt.account_key,
            choice=attempt.choice,
            step=attempt.step,
            log_offset=attempt.log_offset,
            first_event=attempt.first_event,
            **_token_values(attempt.tokens),
        )
    )


def change_attempt(conn: sa.Connection, attempt_id: str, **changes: Any) -> bool:
    """Fenced: an attempt that ended or was lost is not changed again. True when it was changed."""
    if "tokens" in changes:
        changes |= _token_values(changes.pop("tokens"))
    done = conn.execute(
        attempts.update()
        .where(
            attempts.c.id == attempt_id,
            attempts.c.state.in_([AttemptState.STARTING, AttemptState.RUNNING]),
        )
        .values(**changes)
    )
    return done.rowcount > 0


def drop_attempt(conn: sa.Connection, attempt_id: str) -> None:
    """Forgets an attempt that is known to have started nothing."""
    conn.execute(attempts.delete().where(attempts.c.id == attempt_id, attempts.c.state == AttemptState.STARTING))


def attempts_of(conn: sa.Connection, execution_id: str) -> list[Attempt]:
    query = attempts.select().where(attempts.c.execution_id == execution_id).order_by(attempts.c.number)
    return [_attempt(row) for row in conn.execute(query)]


def token_changes(tokens: TokensUsed) -> Mapping[str, Any]:
    return _token_values(tokens)


def _token_values(tokens: TokensUsed) -> dict[str, Any]:
    return {
        "tokens_input": tokens.input,
        "tokens_output": tokens.output,
        "tokens_cache_read": tokens.cache_read,
        "tokens_cache_write": tokens.cache_write,
        "cost_usd": None if tokens.cost_usd is None else str(tokens.cost_usd),
    }


def _tokens(row: Any) -> TokensUsed:
    cost = None if row.cost_usd is None else Decimal(row.cost_usd)
    return TokensUsed(row.tokens_input, row.tokens_output, row.tokens_cache_read, row.tokens_cache_write, cost)


_LISTED = [column for column in executions.c if column.name != "prompt"]


def _execution(row: Any) -> Execution:
    return Execution(
        id=row.id,
        rev=row.rev,
        state=State(row.state),
        request=Request(
            origin=row.origin,
            project_id=row.project_id,
            backend=row.backend,
            prompt=getattr(row, "prompt", ""),
            permission=Permission(row.permission),
            model=row.model,
            ref=row.ref,
            account=row.account,
            key=row.idempotency_key,
            priority=row.priority,
            wall_s=row.wall_s,
            silence_s=row.silence_s,
            chain=tuple(Step(*step) for step in row.chain),
            trust=Trust(row.trust),
            fetch=row.fetch,
            config_from=row.config_from,
            subject=row.subject,
            most=row.most,
            most_per_subject=row.most_per_subject,
            on_limit=OnLimit(row.on_limit),
            max_cost_usd=None if row.max_cost_usd is None else Decimal(row.max_cost_usd),
        ),
        step=row.step,
        resume_at=row.resume_at,
        created_at=row.created_at,
        fair_tag=row.fair_tag,
        turn=row.turn,
        reason=row.reason,
        detail=row.detail,
        title=row.title,
        branch=row.branch,
        account_name=row.account_name,
        account_key=row.account_key,
        choice=row.choice,
        asked=row.asked,
        may_overspend=row.may_overspend,
        session_id=row.session_id,
        exit_code=row.exit_code,
        tokens=_tokens(row),
        started_at=row.started_at,
        ended_at=row.ended_at,
        last_output_at=row.last_output_at,
        attempt_count=row.attempt_count,
        lines=row.lines,
        bytes=row.bytes,
        changed_files=row.changed_files,
        additions=row.additions,
        deletions=row.deletions,
    )


def _attempt(row: Any) -> Attempt:
    return Attempt(
        id=row.id,
        execution_id=row.execution_id,
        number=row.number,
        state=AttemptState(row.state),
        verdict=None if row.verdict is None else AttemptVerdict(row.verdict),
        reason=row.reason,
        detail=row.detail,
        account_name=row.account_name,
        pid=row.pid,
        exit_code=row.exit_code,
        signal=row.signal,
        started_at=row.started_at,
        ended_at=row.ended_at,
        session_id=row.session_id,
        resumed=row.resumed,
        cli_version=row.cli_version,
        command=tuple(row.command),
        backend=row.backend,
        account_key=row.account_key,
        choice=row.choice,
        step=row.step,
        log_offset=row.log_offset,
        first_event=row.first_event,
        tokens=_tokens(row),
    )


def ran_on(conn: sa.Connection, account_key: str, since: datetime, until: datetime) -> list[tuple[Attempt, str, str]]:
    """Attempts that worked on an account between two times, each with its execution's origin and project."""
    query = (
        sa.select(attempts, executions.c.origin, executions.c.project_id)
        .join(executions, executions.c.id == attempts.c.execution_id)
        .where(
            attempts.c.account_key == account_key,
            attempts.c.started_at < until,
            sa.or_(attempts.c.ended_at.is_(None), attempts.c.ended_at > since),
        )
        .order_by(attempts.c.id)
    )
    return [(_attempt(row), row.origin, row.project_id) for row in conn.execute(query)]


def of_sessions(conn: sa.Connection, sessions: Sequence[str]) -> list[tuple[str, str, str, str, str | None]]:
    """Which execution a CLI's session belongs to: session, backend, execution, its project, and the account's key."""
    query = (
        sa.select(
            attempts.c.session_id,
            sa.func.coalesce(attempts.c.backend, executions.c.backend),
            executions.c.id,
            executions.c.project_id,
            attempts.c.account_key,
        )
        .join(executions, executions.c.id == attempts.c.execution_id)
        .where(attempts.c.session_id.in_(sessions))
        .order_by(attempts.c.id)
    )
    return [(row[0], row[1], row[2], row[3], row[4]) for row in conn.execute(query)]
