"""Drives one execution from where it stands to where it must wait or has ended.

`drive` may be called again at any point after a crash: it decides from evidence (the row, the attempt's folder), never
from what it meant to do. A CLI is never started blindly: an attempt that may have started is followed or found lost.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from agented.accounts.model import Account
from agented.backends.contract import Backend, Command, Login, Permission, Reason, Task
from agented.backends.events import LimitSeen, TokensUsed
from agented.executions import keeping, store
from agented.executions.attempt import (
    End,
    Follower,
    Limits,
    Progress,
    find_program,
    launch,
)
from agented.executions.choosing import Choice, Choosing, NoneFree
from agented.executions.engine import Detached, Engine
from agented.executions.handover import hand_over
from agented.executions.journal import Journal
from agented.executions.model import (
    HELD,
    MAX_ATTEMPTS,
    MOST_RESETS,
    REASONS,
    TERMINAL,
    Attempt,
    AttemptState,
    AttemptVerdict,
    Execution,
    OnLimit,
    Request,
    Retry,
    State,
    Trust,
    add_tokens,
)
from agented.executions.output import Kept
from agented.executions.requests import TIMERS
from agented.kit.bus import Bus
from agented.kit.clock import Clock, from_micros
from agented.kit.db import Database
from agented.kit.errors import AgentedError, is_outage
from agented.kit.ids import new_id
from agented.projects.model import Changes, Project, Wanted, Workspace

if TYPE_CHECKING:
    import sqlalchemy as sa

log = logging.getLogger(__name__)

_BOOT_LOOK_S = 0.05
_OUTAGE_S = 2.0
_NOTES_OF = 5_000
"""Events that a hand-over note is made of."""

_FINAL: Mapping[AttemptVerdict, State] = {
    AttemptVerdict.SUCCEEDED: State.SUCCEEDED,
    AttemptVerdict.FAILED: State.FAILED,
    AttemptVerdict.LIMITED: State.FAILED,
    AttemptVerdict.LOGGED_OUT: State.FAILED,
    AttemptVerdict.CANCELLED: State.CANCELLED,
    AttemptVerdict.TIMED_OUT: State.TIMED_OUT,
    AttemptVerdict.LOST: State.FAILED,
}


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of an execution's result. reason: why it is not there, from the table of reasons."""

    reason: str | None = None
    detail: str | None = None


class ResultPort(Protocol):
    """Who brings an execution's result to where people expect it."""

    def deliver(self, execution: Execution, workspace: Workspace, leaving: threading.Event) -> Delivered:
        """Called after a success, again after a crash: what was delivered already is found, not made twice.

        It may be given up with whatever answer once `leaving` is set.
        """
        ...


class WorkspacePort(Protocol):
    """What the worker needs of the projects room."""

    def open(self, project: Project, wanted: Wanted, execution_id: str) -> Workspace | None: ...
    def get(self, execution_id: str) -> Workspace | None: ...
    def is_full(self, project_id: str) -> bool: ...
    def collect(self, workspace: Workspace) -> Changes: ...
    def close(self, workspace: Workspace) -> Workspace: ...
    def rest(self, execution_id: str) -> None: ...


class AccountPort(Protocol):
    """What the worker needs of the accounts room."""

    def read_login(self, backend: Backend, account: Account) -> Login | None: ...
    def env_of(self, backend: Backend, account: Account) -> Mapping[str, str]: ...
    def secrets_of(self, account: Account, login: Login | None) -> tuple[str, ...]: ...

    def may_start(self, backend: Backend, account: Account, execution_id: str) -> datetime | None:
        """None: now. Else until when it waits at the longest for another run of the account to renew its login."""
        ...

    def note_end(self, conn: sa.Connection, attempt: Attempt, model: str | None, end: End) -> bool:
        """What an attempt's end says of its account: a wall that others need not run into, or that there is none.

        True when others of the account may go on.
        """
        ...

    def note_limits(self, account_key: str, seen: Sequence[LimitSeen]) -> None: ...


@dataclass(frozen=True, slots=True)
class Overspent:
    """A budget that is spent. until: when its period is over. asks: a person decides."""

    detail: str
    until: datetime | None
    asks: bool


class BudgetPort(Protocol):
    """What the worker needs of the budgets room."""

    def check(self, conn: sa.Connection, execution: Execution) -> Overspent | None:
        """The budget that lets it not start now."""
        ...

    def spend(self, conn: sa.Connection, execution: Execution, attempt: Attempt, usd: Decimal) -> Overspent | None:
        """Notes what an attempt has spent so far; the budget that this has used up."""
        ...

    def price(self, model: str | None, tokens: TokensUsed) -> Decimal | None:
        """What tokens cost by the table of prices; None when the model is not in it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPorts:
    """base_env: what every CLI's environment starts from. versions: the CLI's version as last detected."""

    db: Database
    bus: Bus
    clock: Clock
    engine: Engine
    workspaces: WorkspacePort
    accounts: AccountPort
    choosing: Choosing
    backend: Callable[[str], Backend]
    project: Callable[[str], Project | None]
    version: Callable[[str], str | None]
    base_env: Mapping[str, str]
    runs: Path
    limits: Limits
    host_limit: Callable[[], int]
    account_limit: Callable[[], int]
    results: ResultPort
    budgets: BudgetPort
    outsider_env: Mapping[str, str | None]
    """What the environment has instead when outsiders' work is looked at; None takes a variable away."""


class Worker:
    def __init__(self, ports: WorkerPorts) -> None:
        self._ports = ports
        self._leaving = threading.Event()
        self._children: dict[str, keeping.Child] = {}
        self._slot_lock = threading.Lock()
        self._over: dict[str, str] = {}

    def leave(self) -> None:
        """The server goes: runs go on under their keepers, drives are broken off."""
        self._leaving.set()
        self._ports.bus.ring("slots")

    def drive(self, execution_id: str) -> None:
        """Raises Detached when the server leaves before the end. While the disk is full or the database away it waits;
        every other fault ends the execution as `broken`.
        """
        act: Callable[[str], None] = self._drive
        broken = False
        while True:
            try:
                act(execution_id)
                return
            except Exception as error:
                # The worker loop is one of the four doors where every fault is caught.
                if self._leaving.is_set():
                    # The database closes while threads still look; the next start takes up what they meant to do.
                    raise Detached from error
                if is_outage(error):
                    log.warning("%s waits: %s", execution_id, error)
                    if self._leaving.wait(_OUTAGE_S):
                        raise Detached from error
                    continue
                log.exception("driving %s failed", execution_id)
                if broken:
                    raise
                broken = True
                act = partial(self._give_up, f"{type(error).__name__}: {error}")

    def _give_up(self, detail: str, execution_id: str) -> None:
        for attempt in self._attempts(execution_id)[-1:]:
            # Nobody follows it any more.
            keeping.ask_to_stop(self.attempt_folder(attempt), "cancelled", self._ports.limits.grace_s)
        self._fail(execution_id, "broken", detail)

    def folder(self, execution_id: str) -> Path:
        return self._ports.runs / execution_id

    def attempt_folder(self, attempt: Attempt) -> Path:
        return self.folder(attempt.execution_id) / f"attempt-{attempt.number}"

    def _drive(self, execution_id: str) -> None:
        while True:
            if self._leaving.is_set():
                raise Detached
            with self._ports.db.read() as conn:
                execution = store.find(conn, execution_id)
            if execution is None or execution.state in TERMINAL or execution.state is State.WAITING:
                return
            if execution.state is State.QUEUED:
                self._take(execution)
            elif execution.state is State.PREPARING:
                self._prepare(execution)
            else:
                self._see_through(execution)

    def _take(self, execution: Execution) -> None:
        """QUEUED -> PREPARING when the machine has a slot; recovered runs may hold more slots than the queue knows."""
        while not self._leaving.is_set():
            heard = self._ports.bus.count("slots")
            with self._slot_lock, self._ports.db.write() as conn:
                if store.count_active(conn) < self._ports.host_limit():
                    store.move(conn, execution.id, State.PREPARING, started_at=self._ports.clock.now())
                    store.advance_fair_time(conn, execution.fair_tag)
                    break
                now = store.find(conn, execution.id)
            if now is None or now.state is not State.QUEUED:
                return
            self._ports.bus.wait("slots", heard, 1.0)
        self._ring(execution.id)

    def _prepare(self, execution: Execution) -> None:
        """PREPARING -> RUNNING with a started attempt, or WAITING, or FAILED."""
        before = self._attempts(execution.id)
        if before and before[-1].state is AttemptState.STARTING:
            self._settle_start(execution, before[-1])
            return
        if self._wait_for_turn(execution):
            return
        if self._wait_for_budget(execution, before):
            return
        choice = self._ports.choosing.choose(execution, before)
        if isinstance(choice, NoneFree):
            self._hold(execution, choice, before)
            return
        if not choice.account.is_default and self._wait_for_account(execution, choice.account):
            return
        project = self._ports.project(execution.request.project_id)
        if project is None:
            self._fail(execution.id, "project_missing", "The project is not known any more.")
            return
        try:
            request = execution.request
            wanted = Wanted(ref=request.ref, fetch=request.fetch, config_from=request.config_from)
            workspace = self._ports.workspaces.open(project, wanted, execution.id)
        except AgentedError as error:
            if is_outage(error):
                raise
            self._fail(execution.id, "workspace_failed", error.message)
            return
        if workspace is None:
            self._wait_for_project(execution)
            return
        until = self._ports.accounts.may_start(choice.backend, choice.account, execution.id)
        if until is not None:
            detail = f"{choice.account.name}: {REASONS['account_refreshing'].title}"
            self._hold(execution, NoneFree(until, "account_refreshing", detail, choice.account.key), before)
            return
        self._start(execution, choice, workspace, before)

    def _hold(self, execution: Execution, none: NoneFree, before: list[Attempt]) -> None:
        """PREPARING, and no account may be used now: it waits for the time, or that was its end."""
        if none.until is None:
            last = before[-1] if before else None
            verdict = AttemptVerdict.FAILED if last is None else last.verdict or AttemptVerdict.LOST
            self._finish(execution.id, _FINAL[verdict], none.reason, none.detail, last)
            return
        with self._ports.db.write() as conn:
            store.move(
                conn,
                execution.id,
                State.WAITING,
                reason=none.reason,
                detail=none.detail,
                resume_at=none.until,
                account_key=none.account_key,
                admitted=False,
            )
        self._ports.workspaces.rest(execution.id)
        self._ring(execution.id)
        self._ports.bus.ring(TIMERS)
        self.wake_waiting()

    def _wait_for_budget(self, execution: Execution, before: list[Attempt]) -> bool:
        if execution.may_overspend:
            return False
        with self._ports.db.read() as conn:
            over = self._ports.budgets.check(conn, execution)
        if over is None and before and before[-1].reason == "budget_ask":
            over = Overspent(before[-1].detail or "", None, asks=True)
        if over is None:
            return False
        if execution.request.on_limit is OnLimit.FAIL:
            self._hold(execution, NoneFree(None, "over_budget", over.detail), before)
        elif over.asks or over.until is None:
            self._await_person(execution, over.detail)
        else:
            self._hold(execution, NoneFree(over.until, "budget", over.detail), before)
        return True

    def _await_person(self, execution: Execution, detail: str) -> None:
        with self._ports.db.write() as conn:
            store.move(
                conn, execution.id, State.WAITING, reason="budget_ask", detail=detail, resume_at=None, admitted=False
            )
        self._ports.workspaces.rest(execution.id)
        self._ring(execution.id)
        self.wake_waiting()

    def _start(self, execution: Execution, choice: Choice, workspace: Workspace, before: list[Attempt]) -> None:
        ports = self._ports
        request = execution.request
        backend, account, program = choice.backend, choice.account, choice.program
        step = request.chain[choice.step] if request.chain else None
        model = request.model if step is None else step.model
        last = before[-1] if before else None
        mine = [one for one in before if one.account_key == account.key]
        missing = bool(mine) and mine[-1].reason == Reason.SESSION_MISSING
        sessions = [one.session_id for one in mine if one.session_id and backend.can_resume and not missing]
        resume = sessions[-1] if sessions else None
        permission = Permission.READ if request.trust is Trust.OUTSIDER else request.permission
        prompt = request.prompt
        if resume is not None:
            prompt = backend.continue_prompt or prompt
        elif last is not None and last.account_key != account.key:
            # Another account or CLI does not know the session.
            with Journal(self.folder(execution.id)) as journal:
                prompt = hand_over(journal.read(max(0, journal.count() - _NOTES_OF), _NOTES_OF), prompt)
        command = backend.build_command(
            Task(
                program=program,
                prompt=prompt,
                workdir=workspace.path,
                home=account.home,
                model=model,
                permission=permission,
                resume=resume,
                max_cost_usd=request.max_cost_usd,
                as_root=os.geteuid() == 0,
            )
        )
        login = ports.accounts.read_login(backend, account)
        account_env = ports.accounts.env_of(backend, account)
        secrets = ports.accounts.secrets_of(account, login)
        folder = self.folder(execution.id)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with Kept(folder) as kept, Journal(folder) as journal:
            offset, _, _ = kept.end()
            first_event = journal.count()
        attempt = Attempt(
            id=new_id("att"),
            execution_id=execution.id,
            number=len(before) + 1,
            state=AttemptState.STARTING,
            started_at=ports.clock.now(),
            log_offset=offset,
            first_event=first_event,
            account_name=account.name,
            session_id=resume,
            resumed=resume is not None,
            cli_version=ports.version(backend.name),
            command=_shown(command, secrets),
            backend=backend.name,
            account_key=account.key,
            choice=choice.why,
            step=choice.step,
        )
        chosen = {} if step is None else {"backend": step.backend, "account": step.account, "model": step.model}
        with ports.db.write() as conn:
            moved = store.move(
                conn,
                execution.id,
                State.RUNNING,
                only_from={State.PREPARING},
                branch=workspace.branch,
                account_name=account.name,
                account_key=account.key,
                choice=choice.why,
                step=choice.step,
                asked=False,
                attempt_count=attempt.number,
                reason=None,
                detail=None,
                **chosen,
            )
            if moved is None:
                return
            store.add_attempt(conn, attempt)
        self._ring(execution.id)
        changed = ports.outsider_env if request.trust is Trust.OUTSIDER else {}
        base = {name: value for name, value in {**ports.base_env, **changed}.items() if value is not None}
        env = {**base, "TERM": "dumb", **command.env, **account_env}
        try:
            self._launch(execution, attempt, command, env, workspace.path, secrets)
        except OSError as error:
            if is_outage(error):
                raise
            self._end(execution.id, attempt, End(AttemptVerdict.FAILED, "launch_failed", str(error)))

    def describe(self, request: Request) -> list[str]:
        """The command line that a request would run, as far as it is known before it has an account and a workspace."""
        backend = self._ports.backend(request.backend)
        program = find_program(backend, self._ports.base_env.get("PATH", os.defpath), None) or (backend.program,)
        outsider = request.trust is Trust.OUTSIDER
        task = Task(
            program=program,
            prompt=request.prompt,
            workdir=Path("WORKSPACE"),
            model=request.model,
            permission=Permission.READ if outsider else request.permission,
            as_root=os.geteuid() == 0,
        )
        return list(_shown(backend.build_command(task), ()))

    def _launch(
        self,
        execution: Execution,
        attempt: Attempt,
        command: Command,
        env: Mapping[str, str],
        cwd: Path,
        secrets: tuple[str, ...],
    ) -> None:
        limits = self._ports.limits
        child = launch(
            attempt=attempt,
            command=command,
            env=env,
            cwd=cwd,
            log=self.folder(execution.id),
            folder=self.attempt_folder(attempt),
            secrets=secrets,
            limits=Limits(
                wall_s=execution.request.wall_s or limits.wall_s,
                silence_s=execution.request.silence_s or limits.silence_s,
                max_bytes=limits.max_bytes,
                grace_s=limits.grace_s,
            ),
        )
        self._children[attempt.id] = child
        with self._ports.db.write() as conn:
            store.change_attempt(conn, attempt.id, state=AttemptState.RUNNING)

    def _see_through(self, execution: Execution) -> None:
        """RUNNING or STOPPING: follow the attempt to its end, then end the execution or go on to its next attempt."""
        attempts = self._attempts(execution.id)
        if not attempts:
            # Stopped while it was prepared: nothing runs.
            state, reason = _stopped(execution)
            self._finish(execution.id, state, reason, execution.detail or "Stopped on request.")
            return
        attempt = attempts[-1]
        if attempt.state is AttemptState.STARTING:
            self._settle_start(execution, attempt)
            return
        if attempt.state in (AttemptState.ENDED, AttemptState.LOST):
            self._conclude(execution.id, attempts)
            return
        if execution.state is State.STOPPING:
            keeping.ask_to_stop(self.attempt_folder(attempt), _stopped(execution)[1], self._ports.limits.grace_s)
        earlier = [done for done in attempts[:-1] if done.session_id and done.session_id == attempt.session_id]
        before = TokensUsed()
        for done in earlier:
            before = add_tokens(before, done.tokens)
        total = TokensUsed()
        for done in attempts[:-1]:
            total = add_tokens(total, done.tokens)
        self._follow(execution, attempt, before, total)

    def _follow(self, execution: Execution, attempt: Attempt, before: TokensUsed, total: TokensUsed) -> None:
        backend = self._ports.backend(attempt.backend or execution.request.backend)
        follower = Follower(
            execution_id=execution.id,
            attempt=attempt,
            log=self.folder(execution.id),
            folder=self.attempt_folder(attempt),
            output=backend.new_output(before),
            bus=self._ports.bus,
            clock=self._ports.clock,
            grace_s=self._ports.limits.grace_s,
            leaving=self._leaving,
            report=lambda progress: self._report(execution.id, attempt, progress, total),
        )
        end = follower.follow()
        child = self._children.pop(attempt.id, None)
        if child is not None:
            child.reap()
        self._end(execution.id, attempt, end)

    def _report(self, execution_id: str, attempt: Attempt, progress: Progress, total: TokensUsed) -> None:
        at = None if progress.last_output_us is None else from_micros(progress.last_output_us)
        if progress.limits and attempt.account_key is not None:
            seen, progress.limits = list(progress.limits.values()), {}
            self._ports.accounts.note_limits(attempt.account_key, seen)
        tokens = add_tokens(total, progress.tokens)
        session = {"session_id": progress.session_id} if progress.session_id else {}
        with self._ports.db.write() as conn:
            store.change_attempt(
                conn,
                attempt.id,
                tokens=progress.tokens,
                pid=keeping.leader_of(self.attempt_folder(attempt)),
                **session,
            )
            store.change(
                conn,
                execution_id,
                lines=progress.lines,
                bytes=progress.bytes,
                last_output_at=at,
                **session,
                **store.token_changes(tokens),
            )
            self._spend(conn, execution_id, attempt, progress, total)
        self._ring(execution_id)

    def _spend(
        self, conn: sa.Connection, execution_id: str, attempt: Attempt, progress: Progress, earlier: TokensUsed
    ) -> None:
        """Compares what was spent so far with budgets; an attempt that is over one is asked to stop."""
        usd = self._cost_of(progress)
        if usd is None or usd == progress.spent_usd:
            return
        progress.spent_usd = usd
        execution = store.get(conn, execution_id)
        over = self._ports.budgets.spend(conn, execution, attempt, usd)
        if execution.state is not State.RUNNING or execution.may_overspend:
            return
        most = execution.request.max_cost_usd
        whole = usd + (earlier.cost_usd or 0)
        stop = None
        if most is not None and whole >= most:
            stop = "run_budget"
            self._over[attempt.id] = f"It was to spend at most ${most:f}, and has spent ${whole:.4f}."
        elif over is not None:
            self._stop_for(attempt, over)
        if stop is not None:
            keeping.ask_to_stop(self.attempt_folder(attempt), stop, self._ports.limits.grace_s)

    def overspent(self, execution_id: str, attempt_id: str, over: Overspent) -> None:
        """What it took was learned elsewhere: stops the attempt, if it still works and no person let it go on."""
        with self._ports.db.read() as conn:
            execution = store.find(conn, execution_id)
        if execution is None or execution.state is not State.RUNNING or execution.may_overspend:
            return
        attempt = next((one for one in self._attempts(execution_id) if one.id == attempt_id), None)
        if attempt is not None and attempt.ended_at is None:
            self._stop_for(attempt, over)

    def _stop_for(self, attempt: Attempt, over: Overspent) -> None:
        self._over[attempt.id] = over.detail
        stop = "budget_ask" if over.asks else "over_budget"
        keeping.ask_to_stop(self.attempt_folder(attempt), stop, self._ports.limits.grace_s)

    def _cost_of(self, progress: Progress) -> Decimal | None:
        """What the CLI says that it cost, else what its tokens cost; and those of answers that are not counted yet."""
        price = self._ports.budgets.price
        tokens = progress.tokens
        usd = tokens.cost_usd
        if usd is None and tokens != TokensUsed():
            usd = price(progress.model, tokens)
        for seen in progress.seen.values():
            used = TokensUsed(seen.input, seen.output, seen.cache_read, seen.cache_write)
            cost = price(seen.model or progress.model, used)
            if cost is not None:
                usd = cost + (usd or 0)
        return usd

    def _end(self, execution_id: str, attempt: Attempt, end: End) -> None:
        """Writes an attempt's end, once, then draws the conclusion."""
        lost = end.verdict is AttemptVerdict.LOST
        over = self._over.pop(attempt.id, None)
        if over is not None and end.reason in ("over_budget", "budget_ask", Reason.BUDGET_EXHAUSTED):
            end = replace(end, detail=over)
        with self._ports.db.write() as conn:
            model = store.get(conn, execution_id).request.model
            freed = self._ports.accounts.note_end(conn, attempt, model, end)
            if freed:
                store.bring_forward(conn, HELD, self._ports.clock.now())
            store.change_attempt(
                conn,
                attempt.id,
                state=AttemptState.LOST if lost else AttemptState.ENDED,
                verdict=end.verdict,
                reason=end.reason,
                detail=end.detail or None,
                exit_code=end.exit_code,
                signal=end.signal,
                ended_at=self._ports.clock.now(),
            )
        if freed:
            self._ports.bus.ring(TIMERS)
        self._conclude(execution_id, self._attempts(execution_id))

    def _conclude(self, execution_id: str, attempts: list[Attempt]) -> None:
        """The last attempt's verdict by its retry rule: another attempt, or the execution's end."""
        attempt = attempts[-1]
        verdict = attempt.verdict or AttemptVerdict.LOST
        with self._ports.db.write() as conn:
            execution = store.get(conn, execution_id)
            goes_on = execution.state is State.RUNNING and _tries_again(attempts)
            if goes_on:
                told: dict[str, Any] = {"reason": attempt.reason, "detail": attempt.detail}
                goes_on = store.move(conn, execution_id, State.PREPARING, **told) is not None
        if goes_on:
            self._ring(execution_id)
            return
        if execution.state is State.STOPPING:
            state, reason = _stopped(execution)
            self._finish(execution_id, state, reason, execution.detail, attempt)
            return
        if verdict is AttemptVerdict.SUCCEEDED:
            delivered = self._deliver(execution)
            if delivered.reason is not None:
                self._finish(execution_id, State.FAILED, delivered.reason, delivered.detail, attempt)
                return
        self._finish(execution_id, _FINAL[verdict], attempt.reason, attempt.detail, attempt)

    def _deliver(self, execution: Execution) -> Delivered:
        workspace = self._ports.workspaces.get(execution.id)
        if workspace is None:
            return Delivered()
        delivered = self._ports.results.deliver(execution, workspace, self._leaving)
        if self._leaving.is_set():
            raise Detached
        return delivered

    def _finish(
        self, execution_id: str, state: State, reason: str | None, detail: str | None, attempt: Attempt | None = None
    ) -> None:
        """Collects the changes, gives the workspace back, and writes the terminal state."""
        changes, note = self._put_away(execution_id)
        with self._ports.db.write() as conn:
            store.move(
                conn,
                execution_id,
                state,
                reason=reason,
                detail=" ".join(part for part in (detail, note) if part) or None,
                exit_code=None if attempt is None else attempt.exit_code,
                ended_at=self._ports.clock.now(),
                **changes,
            )
            # A cancel that came in the very last moment stands: the execution is STOPPING and ends as CANCELLED.
            left = store.get(conn, execution_id)
            if left.state is State.STOPPING:
                final, why = _stopped(left)
                store.move(conn, execution_id, final, reason=why, ended_at=self._ports.clock.now(), **changes)
        self._ring(execution_id)
        self.wake_waiting()

    def _put_away(self, execution_id: str) -> tuple[dict[str, Any], str]:
        workspace = self._ports.workspaces.get(execution_id)
        if workspace is None:
            return {}, ""
        try:
            stats = self._ports.workspaces.collect(workspace).stats
            self._ports.workspaces.close(workspace)
        except AgentedError as error:
            if is_outage(error):
                raise
            log.warning("workspace of %s: %s", execution_id, error.message)
            return {}, f"Its workspace could not be put away: {error.message}"
        return {"changed_files": stats.files, "additions": stats.additions, "deletions": stats.deletions}, ""

    def _fail(self, execution_id: str, reason: str, detail: str) -> None:
        self._finish(execution_id, State.FAILED, reason, detail)

    def _settle_start(self, execution: Execution, attempt: Attempt) -> None:
        """A start that a crash cut off. Where no CLI ran, the attempt does not count."""
        while (started := keeping.has_started(self.attempt_folder(attempt), attempt.id)) is None:
            if self._leaving.wait(_BOOT_LOOK_S):
                raise Detached
        if started:
            with self._ports.db.write() as conn:
                store.change_attempt(conn, attempt.id, state=AttemptState.RUNNING)
            return
        log.info("attempt %s of %s never started; it is made anew", attempt.number, execution.id)
        shutil.rmtree(self.attempt_folder(attempt), ignore_errors=True)
        with self._ports.db.write() as conn:
            store.drop_attempt(conn, attempt.id)
            store.move(conn, execution.id, State.PREPARING, only_from={State.RUNNING})

    def _wait_for_turn(self, execution: Execution) -> bool:
        """Whether its bot, or its bot on the same subject, runs as many as it may."""
        request = execution.request
        if not request.most and not request.most_per_subject:
            return False
        full = None
        with self._ports.db.write() as conn:
            store.bump(conn, "rev")
            if request.most and store.count_admitted(conn, request.origin, None, execution.id) >= request.most:
                full = "bot_full"
            elif request.most_per_subject and request.subject is not None:
                busy = store.count_admitted(conn, request.origin, request.subject, execution.id)
                full = "subject_full" if busy >= request.most_per_subject else None
            if full is None:
                store.change(conn, execution.id, admitted=True)
                return False
            store.move(conn, execution.id, State.WAITING, reason=full, detail=REASONS[full].title)
        self._ring(execution.id)
        return True

    def _wait_for_project(self, execution: Execution) -> None:
        with self._ports.db.write() as conn:
            store.bump(conn, "rev")
            if not self._ports.workspaces.is_full(execution.request.project_id):
                return
            told: dict[str, Any] = {
                "reason": "project_full",
                "detail": REASONS["project_full"].title,
                "admitted": False,
            }
            store.move(conn, execution.id, State.WAITING, **told)
        self._ring(execution.id)

    def _wait_for_account(self, execution: Execution, account: Account) -> bool:
        with self._ports.db.write() as conn:
            store.bump(conn, "rev")
            busy = store.count_active(conn, account_name=account.name, besides=execution.id)
            if busy < self._ports.account_limit():
                store.change(conn, execution.id, account_name=account.name)
                return False
            detail = f"{account.name}: {REASONS['account_full'].title}"
            waiting: dict[str, Any] = {"reason": "account_full", "detail": detail, "account_name": account.name}
            store.move(conn, execution.id, State.WAITING, **waiting, admitted=False)
        self._ring(execution.id)
        return True

    def wake_waiting(self) -> None:
        """Puts back into the queue who can go on: one per project and account that has room."""
        woken = []
        with self._ports.db.write() as conn:
            store.bump(conn, "rev")
            for waiting in store.waiting_heads(conn):
                full = waiting.reason == "project_full" and self._ports.workspaces.is_full(waiting.request.project_id)
                full = full or (
                    waiting.reason == "account_full"
                    and store.count_active(conn, account_name=waiting.account_name) >= self._ports.account_limit()
                )
                full = full or self._has_no_turn(conn, waiting)
                if not full and self._put_back(conn, waiting):
                    woken.append(waiting.id)
        for execution_id in woken:
            self._ring(execution_id)

    def _has_no_turn(self, conn: sa.Connection, waiting: Execution) -> bool:
        request = waiting.request
        if waiting.reason == "bot_full":
            return store.count_admitted(conn, request.origin, None, waiting.id) >= request.most
        if waiting.reason == "subject_full":
            return store.count_admitted(conn, request.origin, request.subject, waiting.id) >= request.most_per_subject
        return False

    def _put_back(self, conn: sa.Connection, waiting: Execution) -> bool:
        turn = waiting.turn + 1
        moved = store.move(conn, waiting.id, State.QUEUED, turn=turn, reason=None, detail=None, resume_at=None)
        if moved is not None:
            self._ports.engine.enqueue(conn, moved)
        return moved is not None

    def wake_due(self) -> datetime | None:
        """Puts back into the queue whose time has come; gives when the next one's comes."""
        now = self._ports.clock.now()
        with self._ports.db.read() as conn:
            due = store.due(conn, now)
        if due:
            with self._ports.db.write() as conn:
                woken = [waiting.id for waiting in due if self._put_back(conn, waiting)]
            for execution_id in woken:
                self._ring(execution_id)
            self._ports.engine.hurry()
        with self._ports.db.read() as conn:
            return store.next_due(conn)

    def _attempts(self, execution_id: str) -> list[Attempt]:
        with self._ports.db.read() as conn:
            return store.attempts_of(conn, execution_id)

    def _ring(self, execution_id: str) -> None:
        for topic in (f"execution:{execution_id}", "executions", "slots"):
            self._ports.bus.ring(topic)


def _tries_again(attempts: Sequence[Attempt]) -> bool:
    """Whether an execution may look for another account or another time after the last of its attempts."""
    last = attempts[-1]
    rule = REASONS.get(last.reason or "")
    alike = sum(1 for one in attempts if one.reason == last.reason)
    if rule is None:
        return False
    if rule.retry is Retry.ONCE:
        return alike < MAX_ATTEMPTS
    if rule.retry is Retry.RESET:
        return alike <= MOST_RESETS
    return rule.retry in (Retry.PAUSE, Retry.OTHER)


def _stopped(execution: Execution) -> tuple[State, str]:
    """How an execution ends that was asked to stop."""
    superseded = execution.reason == "superseded"
    return (State.SUPERSEDED, "superseded") if superseded else (State.CANCELLED, "cancelled")


def _shown(command: Command, secrets: tuple[str, ...]) -> tuple[str, ...]:
    """The command line for people: secrets masked, long words shortened."""
    words = []
    for word in command.argv:
        for secret in secrets:
            if len(secret) >= 8:
                word = word.replace(secret, "[secret]")
        words.append(word if len(word) <= 300 else word[:300] + "…")
    return tuple(words)
