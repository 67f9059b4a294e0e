"""The product without its HTTP: every part built once, opened and closed in order."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agented.accounts.limits import SeenWindow
from agented.accounts.monitor import Growth, Monitor
from agented.accounts.overview import Overview
from agented.accounts.signing_in.sessions import SignIns
from agented.app.adapters import Accounts, Spending, told
from agented.app.belonging import Belonging
from agented.app.shelf import VERSION, Shelf, child_base, look_around, prepare_folder
from agented.app.telling import Telling
from agented.bots import store as bot_store
from agented.bots.deliveries import Deliveries
from agented.bots.dispatch import Dispatch
from agented.bots.endings import Endings
from agented.bots.model import Bot, read_spec
from agented.bots.reports import Reports
from agented.bots.results import Results
from agented.bots.schedule import Schedules
from agented.bots.starting import Starting
from agented.bots.store import BotRun
from agented.bots.watching import MissedDeliveries
from agented.budgets.model import Spender
from agented.budgets.watching import Budgets
from agented.costs.collector import Collector
from agented.executions import store as execution_store
from agented.executions.attempt import Limits, find_program
from agented.executions.choosing import Choosing
from agented.executions.engine import Engine
from agented.executions.model import TERMINAL, Execution
from agented.executions.requests import TIMERS, Requests
from agented.executions.worker import Worker, WorkerPorts
from agented.kit.bus import Bus
from agented.kit.db import after_commit
from agented.kit.errors import AgentedError, Conflict, Invalid, NotFound, Refused
from agented.kit.files import FileLock
from agented.kit.groups import Group
from agented.kit.keychain import Keychain
from agented.kit.process import run
from agented.notices.outbox import Outbox
from agented.notices.sending import Sender
from agented.projects import store as project_store
from agented.projects.add import SAMPLE, add_by_path, add_sample
from agented.projects.git import Git
from agented.projects.github import GitHub
from agented.projects.model import Project, Workspace
from agented.projects.repositories import Repositories
from agented.projects.sync import Syncing
from agented.projects.workspaces import Workspaces
from agented.sessions.watching import Watching
from agented.settings import Settings
from agented.transcripts.keeping import Transcripts
from agented.web.collect import (
    changes_to_dict,
)

if TYPE_CHECKING:
    import sqlalchemy as sa

    from agented.kit.web import Caller


log = logging.getLogger(__name__)
_HOUSEKEEPING_S = 20.0
_TRIM_EVERY = 30
_LONGEST_TIMER_S = 15.0
_RENEWAL_LOOK_S = 0.5
_FIRST_SWEEP_S = 2.0
_SWEEP_S = 3600.0
_LOOP_END_S = 20.0
_LONG_GAP = timedelta(minutes=15)


class App:
    """The product without its HTTP: one per data folder, held by a lock."""

    def __init__(self, settings: Settings) -> None:
        prepare_folder(settings)
        self.settings = settings
        self._lock = FileLock(settings.data / "server.lock")
        try:
            if not self._lock.acquire():
                raise Conflict(
                    f"Another Agented server works on {settings.data}.",
                    code="data_folder_in_use",
                    hint="Stop it first, or choose another folder with --data.",
                )
            self.shelf = Shelf(settings)
        except BaseException:
            self._lock.close()
            raise
        shelf = self.shelf
        self.db, self.clock, self.bus = shelf.db, shelf.clock, Bus()
        self.url = f"http://{settings.host}:{settings.port}"
        self.runs = settings.data / "runs"
        self.env = child_base(settings)
        self.accounts = Accounts(shelf, settings.home, Keychain(self.env))
        self.notices = Outbox(db=self.db, bus=self.bus, clock=self.clock)
        self.telling = Telling(self.notices, self._public, self.accounts.name_of)
        self.belonging = Belonging(self.db, shelf, settings.home)
        self.lookout = look_around(shelf)
        github_env = {**self.env, **settings.github_env}
        self.github = GitHub(github_env)
        self.git = Git(github_env, helper=self.github.helper)
        self.workspaces = Workspaces(
            self.db,
            self.git,
            settings.data,
            self.clock,
            lambda: settings.project_limit,
            [name for backend in shelf.registry.all() for name in backend.config_names],
        )
        self.syncing = Syncing(
            self.db,
            self.git,
            self.clock,
            interval_s=settings.sync_interval_s,
            parallel=settings.sync_parallel,
            tell=self.telling.of_sync,
        )
        self.engine = Engine(self.db, host_limit=settings.host_limit)
        self.budgets = Budgets(db=self.db, clock=self.clock, tell=self.telling.of_budget)
        self.reports = Reports(settings.data / "reports")
        self.results = Results(
            db=self.db,
            clock=self.clock,
            git=self.git,
            github=self.github,
            workspaces=self.workspaces,
            project=self._find_project,
            runs=self.runs,
            reports=self.reports,
            link=self.link_of,
            bot_of=self.bot_of,
        )
        self.worker = Worker(self._worker_ports())
        self.requests = Requests(
            db=self.db,
            bus=self.bus,
            clock=self.clock,
            engine=self.engine,
            runs=self.runs,
            grace_s=settings.grace_s,
            on_retry=_note_retry,
        )
        self.starting = Starting(db=self.db, clock=self.clock, project=self.project_named, submit=self.requests.submit)
        self.repositories = Repositories(
            db=self.db, git=self.git, github=self.github, folder=settings.data, clock=self.clock
        )
        self.dispatch = Dispatch(
            db=self.db,
            bus=self.bus,
            clock=self.clock,
            starting=self.starting,
            outdate=self.requests.outdate,
            repositories=self.repositories,
            pace_s=lambda: settings.repository_pace_s,
        )
        self.sender = Sender(db=self.db, vault=shelf.vault, bus=self.bus, clock=self.clock)
        self.schedules = Schedules(db=self.db, bus=self.bus, clock=self.clock, starting=self.starting)
        self.endings = Endings(
            db=self.db,
            bus=self.bus,
            clock=self.clock,
            starting=self.starting,
            github=self.github,
            link=self.link_of,
            bot_of=self.bot_of,
            words_of=self.results.words_of,
            publish=self.telling.of_bot,
        )
        self.deliveries = Deliveries(
            db=self.db,
            vault=shelf.vault,
            bus=self.bus,
            clock=self.clock,
            group=Group(self.db, bot_store.add_deliveries),
            github_secret=settings.github_webhook_secret,
        )
        self.collector = Collector(
            db=self.db,
            clock=self.clock,
            backends=shelf.registry.all,
            person=settings.home,
            homes=self.belonging.homes,
            owners=self.belonging.owners,
            project_of=self.belonging.project_at,
            prices_file=settings.prices_file,
            zone=settings.time_zone,
            interval_s=settings.costs_interval_s,
        )
        self.transcripts = Transcripts(
            path=settings.data / "transcripts.db",
            clock=self.clock,
            backends=shelf.registry.all,
            person=settings.home,
            homes=self.belonging.homes,
            whose=self.belonging.whose,
            project_of=self.belonging.project_at,
            keep=settings.keep_transcripts,
            days=settings.transcripts_days,
            interval_s=settings.costs_interval_s,
        )
        self.accounts.on_end = self._collect
        self.watching = Watching(folders=self.belonging.folders)
        if settings.watch_sessions and settings.costs_interval_s:
            self.collector.changes = self.watching.add(self.collector.hear)
            if settings.keep_transcripts:
                self.transcripts.changes = self.watching.add(self.transcripts.hear)
        self.missed = MissedDeliveries(
            db=self.db,
            clock=self.clock,
            github=self.github,
            deliveries=self.deliveries,
            remotes=self.repositories.remotes,
        )
        self.monitor = self.accounts.monitor = Monitor(
            db=self.db,
            bus=self.bus,
            clock=self.clock,
            watched=lambda: self.accounts.watched(self.env),
            busy=lambda key: self.busy_on(key) > 0,
            addresses=settings.endpoints,
            options={
                "google_client_id": settings.google_client_id or "",
                "google_client_secret": settings.google_client_secret or "",
            },
            agent=f"agented/{VERSION}",
            interval_s=settings.limits_interval_s,
            idle_interval_s=settings.limits_idle_interval_s,
            levels=settings.levels,
            told=self._follow_limits,
            grown=self._windows_used,
            folder=settings.data / "screens",
            crossed=self.telling.of_limit,
        )
        self.overview = Overview(
            db=self.db,
            vault=shelf.vault,
            clock=self.clock,
            backends=shelf.registry.all,
            read_login=self.accounts.read_login,
            walls=self.accounts.standing,
        )
        self.sign_ins = SignIns(
            bus=self.bus,
            clock=self.clock,
            find=self.accounts.find,
            read_login=self.accounts.read_login,
            program=lambda backend, account: find_program(backend, self.env["PATH"], account.program),
            env=self.env,
            folder=settings.data / "sign-in",
            told=lambda _: self.accounts_changed(),
            limit_s=settings.sign_in_s,
        )
        self._stopping = threading.Event()
        self._opener: threading.Thread | None = None
        self._housekeeper = threading.Thread(target=self._keep_house, name="housekeeper", daemon=True)
        self._loops = [
            threading.Thread(target=loop, name=name, daemon=True)
            for name, loop in (
                ("dispatcher", self.dispatch.run),
                ("scheduler", self.schedules.run),
                ("endings", self.endings.run),
                ("teller", self.sender.run),
                ("collector", self.collector.run),
                ("transcripts", self.transcripts.run),
                ("timers", self._keep_time),
                ("sweeper", self._fetch_missed),
                ("limits", self.monitor.run),
                *([("watcher", self.watching.run)] if self.watching.readers else []),
            )
        ]

    def _worker_ports(self) -> WorkerPorts:
        settings = self.settings
        return WorkerPorts(
            db=self.db,
            bus=self.bus,
            clock=self.clock,
            engine=self.engine,
            workspaces=self.workspaces,
            accounts=self.accounts,
            choosing=Choosing(
                accounts=self.accounts,
                backend=self.shelf.registry.get,
                clock=self.clock,
                path=self.env["PATH"],
                pauses_s=settings.pauses_s,
                reserve_percent=settings.reserve_percent,
                busy=self.busy_on,
                takes=self._takes,
                most=lambda: settings.account_limit,
            ),
            backend=self.shelf.registry.get,
            project=self._find_project,
            version=self.lookout.version,
            base_env=self.env,
            runs=self.runs,
            limits=Limits(
                wall_s=settings.wall_s,
                silence_s=settings.silence_s,
                max_bytes=settings.output_limit_mb * 1_000_000,
                grace_s=settings.grace_s,
            ),
            host_limit=lambda: settings.host_limit,
            account_limit=lambda: settings.account_limit,
            results=self.results,
            budgets=Spending(self.budgets, lambda: self.collector.prices),
            # The person's own logins at git hosts are out of reach of what outsiders wrote.
            outsider_env={
                "SSH_AUTH_SOCK": None,
                "GIT_CONFIG_GLOBAL": os.devnull,
                "GIT_CONFIG_NOSYSTEM": "1",
                "GIT_TERMINAL_PROMPT": "0",
                "GH_CONFIG_DIR": os.devnull,
            },
        )

    def _collect(self) -> None:
        """A run has ended: its last words are on the disk."""
        self.collector.wake()
        self.transcripts.wake()

    def busy_on(self, account_key: str) -> int:
        with self.db.read() as conn:
            return execution_store.count_on_account(conn, account_key)

    def link_of(self, execution_id: str) -> str:
        """Where people see a run."""
        return self._public(f"/runs/{execution_id}")

    def _follow_limits(self, conn: sa.Connection, account_key: str, windows: Sequence[SeenWindow]) -> None:
        if self.accounts.standing.seen(conn, account_key, windows):
            self.requests.look_again(conn)

    def _windows_used(self, conn: sa.Connection, growth: Growth) -> None:
        """Shares what was used of a window among the runs of that time, by how long they worked then."""
        ran = execution_store.ran_on(conn, growth.account_key, growth.since, growth.until)
        shares = [
            (
                attempt,
                origin,
                project,
                min(attempt.ended_at or growth.until, growth.until) - max(attempt.started_at, growth.since),
            )
            for attempt, origin, project in ran
        ]
        whole = sum((share for *_, share in shares), timedelta())
        if not whole:
            return
        gap = growth.until - growth.since
        # In so long a time others may have used the account as well.
        part = min(1.0, whole / gap) if gap > _LONG_GAP else 1.0
        kind = str(growth.window.kind) if growth.window.scope is None else ""
        for attempt, origin, project, share in shares:
            spender = Spender(
                execution_id=attempt.execution_id, origin=origin, project_id=project, account_key=growth.account_key
            )
            percent = Decimal(str(round(growth.percent * part * (share / whole), 6)))
            over = told(self.budgets.use(conn, spender, growth.window.name, kind, percent))
            if over is not None:
                after_commit(conn, partial(self.worker.overspent, attempt.execution_id, attempt.id, over))

    def _takes(self, origin: str, backend: str) -> dict[str, float]:
        """What a bot's run takes of each window of a backend's accounts, as it was learned."""
        if not origin.startswith("bot:"):
            return {}
        learned = self.budgets.learned(origin.removeprefix("bot:"))
        return {one.window: float(one.percent) for one in learned if one.backend == backend}

    def accounts_changed(self) -> None:
        """Who waits for an account looks again; new ones are asked for their limits."""
        with self.db.write() as conn:
            self.requests.look_again(conn)
        self.bus.ring("limits")

    def lift_walls(self, account_key: str) -> None:
        with self.db.write() as conn:
            if self.accounts.standing.lift(conn, account_key):
                self.requests.look_again(conn)

    def _public(self, path: str) -> str:
        return f"{(self.settings.public_url or self.url).rstrip('/')}{path}"

    def bot_of(self, run: BotRun) -> Bot | None:
        """The bot as it was when it ran; None when it was removed."""
        with self.db.read() as conn:
            return bot_store.find_version(conn, run.bot_id, run.version)

    def _find_project(self, project_id: str) -> Project | None:
        with self.db.read() as conn:
            return project_store.find(conn, project_id)

    def project_for(self, wanted: str, caller: Caller) -> Project:
        """A project by its id; a path makes one of an admin's repository."""
        if not Path(wanted).is_absolute():
            found = self._find_project(wanted)
            if found is None or found.forgotten_at is not None:
                raise Invalid(
                    f"There is no project {wanted[:80]!r}.",
                    field="project",
                    hint="Give a project's id, or the absolute path of a git repository.",
                )
            return found
        if not caller.may("admin"):
            raise Refused("Only an admin may name a path of this machine.", hint="Use the id of a known project.")
        try:
            return add_by_path(self.db, self.git, wanted, self.clock)
        except Invalid as error:
            raise Invalid(error.message, field="project", hint=error.hint) from error

    def project_named(self, wanted: str) -> Project:
        """A project as a bot names it: by its id, its name, or the path of a repository."""
        if Path(wanted).is_absolute():
            return add_by_path(self.db, self.git, wanted, self.clock)
        with self.db.read() as conn:
            known = [one for one in project_store.every(conn) if one.forgotten_at is None]
        found = [one for one in known if wanted in (one.id, one.name)]
        if len(found) == 1:
            return found[0]
        if wanted == SAMPLE and not found:
            # What ready-made bots and the docs name to try things on.
            return self.sample()
        how_many = "There is no project" if not found else f"{len(found)} projects are"
        hint = "Give its id." if found else "Add it first, or give the absolute path of a git repository."
        raise Invalid(f"{how_many} called {wanted[:80]!r}.", field="projects", hint=hint)

    def check_bot(self, source: Mapping[str, Any]) -> None:
        """Raises Invalid for a bot that could never start: no such backend, account or project."""
        spec = read_spec(source, {})
        for number, step in enumerate(spec.chain):
            try:
                self.shelf.registry.get(step.backend)
                self.accounts.check(step.backend, step.account)
            except (NotFound, Invalid) as error:
                field = f"chain[{number}].{error.field or 'backend'}"
                raise Invalid(error.message, field=field, hint=error.hint) from None
        for name in spec.projects:
            self.project_named(name)

    def sample(self) -> Project:
        return add_sample(self.db, self.git, self.settings.data, self.clock)

    def project_names(self, ids: list[str]) -> dict[str, str]:
        with self.db.read() as conn:
            return project_store.names(conn, ids)

    def changes_of(self, execution: Execution) -> dict[str, Any]:
        return changes_to_dict(self.workspaces.collect(self._workspace_of(execution)))

    def patch_of(self, execution: Execution) -> bytes:
        return self.workspaces.patch(self._workspace_of(execution))

    def _workspace_of(self, execution: Execution) -> Workspace:
        with self.db.read() as conn:
            workspace = project_store.find_workspace(conn, execution.id)
        if workspace is None:
            raise NotFound("It has no workspace, so nothing was changed.", code="no_workspace")
        return workspace

    def is_over(self, execution_id: str) -> bool:
        with self.db.read() as conn:
            execution = execution_store.find(conn, execution_id)
        return execution is None or execution.state in TERMINAL

    def has_project(self) -> bool:
        with self.db.read() as conn:
            return bool(project_store.list_page(conn, 1))

    def has_run(self) -> bool:
        with self.db.read() as conn:
            return bool(execution_store.page(conn, limit=1))

    def git_version(self) -> str | None:
        try:
            return run(["git", "--version"], env=self.env, timeout_s=10).text.strip()
        except AgentedError:
            return None

    def probe_database(self) -> None:
        with self.db.read() as conn:
            execution_store.last_rev(conn)

    def open(self) -> None:
        """Takes up what was left unfinished and begins to work."""
        self.runs.mkdir(mode=0o700, exist_ok=True)
        with self.db.read() as conn:
            living = {execution.id for execution in execution_store.unfinished(conn)}
        # Before the first run: a workspace opened from now on is nobody's leftover.
        self.workspaces.sweep(living)
        self.engine.start(self.worker.drive)
        self._housekeeper.start()
        for loop in self._loops:
            loop.start()
        self.syncing.start()

    def open_soon(self, failed: Callable[[BaseException], None]) -> None:
        """`open` in a thread: people are answered meanwhile, what they ask for waits. `failed` hears of its failure."""

        def work() -> None:
            try:
                self.open()
            except BaseException as error:  # noqa: BLE001 - carried to the server's own thread
                failed(error)

        self._opener = threading.Thread(target=work, name="opener")
        self._opener.start()

    def close(self) -> None:
        """Lets go of everything. What runs goes on under its keepers."""
        if self._opener is not None:
            self._opener.join()
        self._stopping.set()
        self.sign_ins.close()
        self.syncing.stop()
        for part in (self.dispatch, self.schedules, self.endings, self.sender, self.monitor):
            part.stop()
        self.watching.stop()
        self.collector.stop()
        self.transcripts.stop()
        self.bus.ring(TIMERS)
        self.worker.leave()
        for loop in self._loops:
            if loop.is_alive():
                loop.join(_LOOP_END_S)
        self.engine.stop()
        if self._housekeeper.is_alive():
            self._housekeeper.join()
        self.shelf.close()
        self._lock.close()

    def _keep_time(self) -> None:
        """Wakes who waited for a time, when it has come."""
        while not self._stopping.is_set():
            heard = self.bus.count(TIMERS)
            wait_s = _LONGEST_TIMER_S
            try:
                if self.accounts.broker.is_awaited:
                    wait_s = _RENEWAL_LOOK_S
                    if self.accounts.broker.look(self.accounts.login_of):
                        with self.db.write() as conn:
                            self.requests.look_again(conn, ["account_refreshing"])
                following = self.worker.wake_due()
                if following is not None:
                    wait_s = min(wait_s, max(0.02, (following - self.clock.now()).total_seconds()))
            except Exception:
                # The scheduled loop is one of the four doors where every fault is caught.
                if not self._stopping.is_set():
                    log.exception("who waits for a time could not be woken")
            self.bus.wait(TIMERS, heard, wait_s)

    def _fetch_missed(self) -> None:
        """At the start, and each hour: deliveries of GitHub that came while no server listened."""
        wait_s = _FIRST_SWEEP_S
        while not self._stopping.wait(wait_s):
            try:
                fetched = self.missed.sweep()
                if fetched:
                    log.info("fetched %s missed deliveries of GitHub", fetched)
            except Exception:
                # The scheduled loop is one of the four doors where every fault is caught.
                if not self._stopping.is_set():
                    log.exception("missed deliveries could not be looked for")
            wait_s = _SWEEP_S

    def _keep_house(self) -> None:
        """At the start and now and then: leftovers swept, the forgotten put back, who may go on woken."""
        rounds = 0
        while not self._stopping.is_set():
            try:
                self.lookout.look()
                self.requests.requeue_forgotten()
                self.worker.wake_waiting()
                self.engine.rest()
                if rounds % _TRIM_EVERY == 0:
                    self.engine.drop_finished()
                    self.dispatch.forget_old()
                    self.notices.forget_old()
                    self.budgets.forget_old()
                    self.accounts.forget_old()
                    self.monitor.forget_old()
            except Exception:
                # The scheduled loop is one of the four doors where every fault is caught.
                if not self._stopping.is_set():
                    log.exception("housekeeping failed")
            rounds += 1
            self._stopping.wait(_HOUSEKEEPING_S)


def _note_retry(conn: sa.Connection, before: Execution, again: Execution) -> None:
    """A bot's run that is tried again is still the bot's: its result goes where it was meant to."""
    run = bot_store.find_run(conn, before.id)
    if run is not None:
        bot_store.note_run(conn, replace(run, execution_id=again.id, outcome=None))
