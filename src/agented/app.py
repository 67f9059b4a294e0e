"""Every part built once, opened and closed in order. Nothing else constructs parts."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from importlib import import_module
from importlib.metadata import version as package_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agented.accounts import choice, login, register
from agented.accounts import store as account_store
from agented.accounts.broker import Broker
from agented.accounts.limits import SeenWindow
from agented.accounts.lookout import Lookout
from agented.accounts.model import DEFAULT_ID, Account, Wall, WallKind, default_account
from agented.accounts.monitor import Crossed, Growth, Monitor, Watched, room_of
from agented.accounts.overview import Overview
from agented.accounts.signing_in.sessions import SignIns
from agented.accounts.walls import Walls
from agented.backends.contract import Backend, Login, Reason
from agented.backends.events import LimitSeen, TokensUsed
from agented.backends.registry import Registry
from agented.bots import store as bot_store
from agented.bots.deliveries import Deliveries
from agented.bots.dispatch import Dispatch
from agented.bots.endings import Endings
from agented.bots.gallery import Gallery
from agented.bots.model import Bot, read_spec
from agented.bots.reports import Reports
from agented.bots.results import Results
from agented.bots.schedule import Schedules
from agented.bots.starting import Starting
from agented.bots.store import BotRun
from agented.bots.watching import MissedDeliveries
from agented.budgets.model import OnHard, Spender, Standing, amount
from agented.budgets.watching import Budgets
from agented.costs.collector import Collector
from agented.costs.model import Owner
from agented.costs.prices import Prices, to_dollars
from agented.executions import store as execution_store
from agented.executions.attempt import End, Limits, find_program
from agented.executions.choosing import Choosing, Room
from agented.executions.engine import Engine
from agented.executions.model import TERMINAL, Attempt, AttemptVerdict, Execution
from agented.executions.requests import TIMERS, Requests
from agented.executions.worker import Overspent, Worker, WorkerPorts
from agented.kit.bus import Bus
from agented.kit.clock import SystemClock
from agented.kit.db import Database, after_commit
from agented.kit.errors import AgentedError, Conflict, Invalid, NotFound, Refused, Unavailable
from agented.kit.files import FileLock, write_atomic
from agented.kit.groups import Group
from agented.kit.ids import new_id
from agented.kit.keychain import Keychain
from agented.kit.process import run
from agented.kit.vault import Vault, derive, load_key
from agented.migrations.upgrade import upgrade
from agented.notices.model import Notice, Topic
from agented.notices.outbox import Outbox
from agented.notices.sending import Sender
from agented.notices.targets import Targets
from agented.projects import store as project_store
from agented.projects.add import SAMPLE, add_by_path, add_sample
from agented.projects.git import Git
from agented.projects.github import GitHub
from agented.projects.model import Project, Sync, Workspace
from agented.projects.repositories import Repositories
from agented.projects.sync import Syncing
from agented.projects.workspaces import Workspaces
from agented.sessions.model import Home
from agented.sessions.watching import Watching
from agented.settings import Settings
from agented.transcripts.keeping import Transcripts
from agented.transcripts.model import Whose
from agented.web.auth import create_link, create_token
from agented.web.collect import (
    AccountsApi,
    BackendsApi,
    BotsApi,
    BudgetsApi,
    CostsApi,
    ExecutionsApi,
    HomeApi,
    Live,
    NoticesApi,
    ProjectsApi,
    Rooms,
    SignInApi,
    TranscriptsApi,
    build_routers,
    changes_to_dict,
)
from agented.web.docs import describe
from agented.web.server import Door, build_app

if TYPE_CHECKING:
    import sqlalchemy as sa
    import uvicorn
    from fastapi import FastAPI
    from prometheus_client import CollectorRegistry

    from agented.kit.web import Caller, Role

    Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

log = logging.getLogger(__name__)

VERSION = package_version("agented")
_HOUSEKEEPING_S = 20.0
_TRIM_EVERY = 30
_LONGEST_TIMER_S = 15.0
_RENEWAL_LOOK_S = 0.5
_FIRST_SWEEP_S = 2.0
_SWEEP_S = 3600.0
_LOOP_END_S = 20.0
_SESSIONS_AT_ONCE = 400
_LONG_GAP = timedelta(minutes=15)
_WALLS = {
    str(Reason.USAGE_LIMIT): WallKind.LIMIT,
    str(Reason.NO_CREDIT): WallKind.CREDIT,
    str(Reason.BAD_CREDENTIALS): WallKind.SIGN_IN,
}


def prepare_folder(settings: Settings) -> None:
    """Makes the data folder, for its owner only. Raises Unavailable when that cannot be done."""
    try:
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = settings.data / f".writable-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise Unavailable(
            f"The data folder {settings.data} cannot be written: {error.strerror}.",
            code="data_folder_not_writable",
            hint="Choose another with --data, make it writable for this user, or free disk space.",
        ) from error


class Shelf:
    """What a data folder holds: database, key, accounts. Usable whether a server runs on it or not."""

    def __init__(self, settings: Settings) -> None:
        prepare_folder(settings)
        self.settings = settings
        self.clock = SystemClock()
        self.db = Database(settings.url)
        try:
            upgrade(self.db)
            self.key = load_key(settings.data)
        except BaseException:
            self.db.close()
            raise
        self.vault = Vault(self.key)
        self.registry = Registry()

    def close(self) -> None:
        self.db.close()

    def new_token(self, *, name: str, role: Role, lives_s: float | None = None) -> str:
        return create_token(self.db, self.clock, name, role, lives_s=lives_s)

    def new_link(self) -> str:
        return create_link(self.db, self.clock)

    def add_account(
        self, *, name: str, backend: str, home: Path | None, env: Mapping[str, str], program: Path | None
    ) -> Account:
        return register.add(
            self.db,
            self.vault,
            self.clock,
            self.registry.get,
            name=name,
            backend=backend,
            home=home,
            env=env,
            program=program,
        )

    def accounts(self) -> list[Account]:
        with self.db.read() as conn:
            return account_store.every(conn)

    def remove_account(self, name: str) -> None:
        register.remove(self.db, name)


def child_base(settings: Settings) -> dict[str, str]:
    """What every child's environment starts from: built from a list of names, never inherited."""
    return {"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": str(settings.home), **settings.base_env}


def look_around(shelf: Shelf) -> Lookout:
    env = child_base(shelf.settings)
    return Lookout(
        backends=shelf.registry.all,
        env=env,
        person_home=shelf.settings.home,
        secrets=Keychain(env),
        clock=shelf.clock,
    )


class _Accounts:
    """What the worker asks of the accounts room, bound to this data folder."""

    def __init__(self, shelf: Shelf, home: Path, secrets: Keychain) -> None:
        self._shelf = shelf
        self._home = home
        self._secrets = secrets
        self.on_end: Callable[[], None] = lambda: None
        settings = shelf.settings
        self.monitor: Monitor | None = None
        self.broker = Broker(shelf.clock)
        self.standing = Walls(clock=shelf.clock, margin_s=settings.limit_margin_s, unknown_s=settings.limit_unknown_s)

    def candidates(self, backend: str, account: str | None) -> list[Account]:
        with self._shelf.db.read() as conn:
            return choice.candidates(conn, self._shelf.vault, self._shelf.clock, backend, account)

    def walls(self) -> list[Wall]:
        with self._shelf.db.read() as conn:
            return self.standing.standing(conn)

    def room(self, account_key: str, model: str | None) -> Room:
        with self._shelf.db.read() as conn:
            standing = account_store.find_standing(conn, account_key)
        return Room(*room_of(standing, model, self._shelf.clock.now()))

    def note_end(self, conn: sa.Connection, attempt: Attempt, model: str | None, end: End) -> bool:
        after_commit(conn, self.on_end)
        key = attempt.account_key
        if key is None:
            return False
        awaited = self.broker.left(attempt.execution_id)
        if self.monitor is not None:
            after_commit(conn, partial(self.monitor.look_in_files, key))
        if end.verdict is AttemptVerdict.SUCCEEDED:
            return self.standing.passed(conn, key, model, attempt.started_at) or awaited
        kind = _WALLS.get(end.reason or "")
        if kind is not None:
            window = end.window or "unknown" if kind is WallKind.LIMIT else str(kind)
            login = self.login_of(key) if kind is WallKind.SIGN_IN else None
            self.standing.reached(
                conn, key, window, end.resets_at, kind=kind, model=model, login=login, detail=end.detail
            )
        return awaited

    def may_start(self, backend: Backend, account: Account, execution_id: str) -> datetime | None:
        return self.broker.enter(account.key, self.read_login(backend, account), execution_id)

    def find(self, account_key: str) -> tuple[Backend, Account]:
        """The account of a key, secrets opened. Raises NotFound."""
        backend, _, account_id = account_key.partition(":")
        known = self._shelf.registry.get(backend)
        with self._shelf.db.read() as conn:
            return known, choice.choose(conn, self._shelf.vault, self._shelf.clock, backend, account_id)

    def note_limits(self, account_key: str, seen: Sequence[LimitSeen]) -> None:
        if self.monitor is not None:
            self.monitor.note_seen(account_key, seen)

    def watched(self, base: Mapping[str, str]) -> list[Watched]:
        """Every account whose limits can be learned: not switched off, signed in, and of a backend that tells them."""
        shelf = self._shelf
        with shelf.db.read() as conn:
            added = [account_store.open_one(conn, shelf.vault, one.id) for one in account_store.every(conn)]
        accounts = [one for one in added if one is not None and not one.disabled]
        found = []
        for backend in shelf.registry.all():
            if backend.limits is None:
                continue
            own = default_account(backend.name, shelf.clock.now())
            for account in [own, *(one for one in accounts if one.backend == backend.name)]:
                signed_in = self.read_login(backend, account)
                if signed_in is None:
                    continue
                env = {**base, **self.env_of(backend, account)}
                home = account.home or backend.default_home(Path(env.get("HOME") or self._home))
                found.append(
                    Watched(
                        account=account,
                        backend=backend,
                        limits=backend.limits,
                        login=signed_in,
                        home=home,
                        program=find_program(backend, env.get("PATH", ""), account.program),
                        env=env,
                    )
                )
        return found

    def name_of(self, conn: sa.Connection, account_key: str) -> str:
        backend, _, account_id = account_key.partition(":")
        known = account_store.find(conn, account_id)
        return known.name if known is not None else f"{self._shelf.registry.get(backend).title}, own login"

    def forget_old(self) -> None:
        with self._shelf.db.write() as conn:
            self.standing.forget_old(conn)

    def login_of(self, account_key: str) -> Login | None:
        backend, _, account = account_key.partition(":")
        try:
            found = next(one for one in self.candidates(backend, account))
            return self.read_login(self._shelf.registry.get(backend), found)
        except AgentedError:
            return None

    def check(self, backend: str, account: str | None) -> None:
        with self._shelf.db.read() as conn:
            choice.check(conn, backend, account)

    def read_login(self, backend: Backend, account: Account) -> Login | None:
        return login.read_login(backend, account, self._home, self._secrets)

    def env_of(self, backend: Backend, account: Account) -> Mapping[str, str]:
        return login.child_env(backend, account)

    def secrets_of(self, account: Account, found: Login | None) -> tuple[str, ...]:
        return login.secrets_of(account, found)


class _Budgets:
    """What the worker asks of the budgets room."""

    def __init__(self, budgets: Budgets, prices: Callable[[], Prices]) -> None:
        self._budgets = budgets
        self._prices = prices

    def check(self, conn: sa.Connection, execution: Execution) -> Overspent | None:
        return told(self._budgets.check(conn, self._spender(execution, None)))

    def spend(self, conn: sa.Connection, execution: Execution, attempt: Attempt, usd: Decimal) -> Overspent | None:
        spender = self._spender(execution, attempt.account_key)
        return told(self._budgets.spend(conn, spender, usd, attempt.started_at))

    def price(self, model: str | None, tokens: TokensUsed) -> Decimal | None:
        price = None if model is None else self._prices().find(model)
        if price is None:
            return None
        return to_dollars(price.cost(tokens.input, tokens.output, tokens.cache_read, tokens.cache_write, 0))

    def _spender(self, execution: Execution, account_key: str | None) -> Spender:
        request = execution.request
        return Spender(
            execution_id=execution.id,
            origin=request.origin,
            project_id=request.project_id,
            account_key=account_key,
        )


def told(standing: Standing | None) -> Overspent | None:
    """A budget that is spent, in the words of executions."""
    if standing is None:
        return None
    budget = standing.budget
    spent, limit = amount(budget, standing.spent), amount(budget, budget.hard or standing.spent)
    detail = f"The budget {budget.name} of {limit} is spent ({spent})."
    return Overspent(detail, standing.ends_at, budget.on_hard is OnHard.ASK)


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
        self.accounts = _Accounts(shelf, settings.home, Keychain(self.env))
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
            tell=self._tell_of_sync,
        )
        self.engine = Engine(self.db, host_limit=settings.host_limit)
        self.notices = Outbox(db=self.db, bus=self.bus, clock=self.clock)
        self.budgets = Budgets(db=self.db, clock=self.clock, tell=self._tell_of_budget)
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
            publish=self._tell,
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
            homes=self._homes,
            owners=self._owners,
            project_of=self._project_at,
            prices_file=settings.prices_file,
            zone=settings.time_zone,
            interval_s=settings.costs_interval_s,
        )
        self.transcripts = Transcripts(
            path=settings.data / "transcripts.db",
            clock=self.clock,
            backends=shelf.registry.all,
            person=settings.home,
            homes=self._homes,
            whose=self._whose,
            project_of=self._project_at,
            keep=settings.keep_transcripts,
            days=settings.transcripts_days,
            interval_s=settings.costs_interval_s,
        )
        self.accounts.on_end = self._collect
        self.watching = Watching(folders=self._session_folders)
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
            crossed=self._tell_of_limit,
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
            budgets=_Budgets(self.budgets, lambda: self.collector.prices),
            # The person's own logins at git hosts are out of reach of what outsiders wrote.
            outsider_env={
                "SSH_AUTH_SOCK": None,
                "GIT_CONFIG_GLOBAL": os.devnull,
                "GIT_CONFIG_NOSYSTEM": "1",
                "GIT_TERMINAL_PROMPT": "0",
                "GH_CONFIG_DIR": os.devnull,
            },
        )

    def _homes(self) -> list[Home]:
        """Every CLI home there is: people's own, and those of accounts that have one."""
        own = [Home(one.name, f"{one.name}:{DEFAULT_ID}", None) for one in self.shelf.registry.all()]
        return own + [Home(one.backend, one.key, one.home) for one in self.shelf.accounts() if one.home is not None]

    def _session_folders(self) -> Iterator[Path]:
        """In which CLIs keep their sessions, in every home there is."""
        sessions = {one.name: one.sessions for one in self.shelf.registry.all() if one.sessions is not None}
        for home in self._homes():
            kept = sessions.get(home.source)
            if kept is not None:
                person = self.settings.home
                for place in kept.own_places(person) if home.path is None else kept.places(home.path):
                    yield place.folder

    def _collect(self) -> None:
        """A run has ended: its last words are on the disk."""
        self.collector.wake()
        self.transcripts.wake()

    def _whose(self, sessions: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Whose]:
        return {
            key: Whose(owner.execution, owner.project or "", owner.account or "")
            for key, owner in self._owners(sessions).items()
        }

    def _owners(self, sessions: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Owner]:
        owners: dict[tuple[str, str], Owner] = {}
        names = sorted({session for _, session in sessions})
        with self.db.read() as conn:
            for first in range(0, len(names), _SESSIONS_AT_ONCE):
                some = names[first : first + _SESSIONS_AT_ONCE]
                for session, backend, execution, project, account in execution_store.of_sessions(conn, some):
                    run = bot_store.find_run(conn, execution)
                    bot = None if run is None else run.bot_id
                    owners[backend, session] = Owner(execution, bot, project, account)
        wanted = set(sessions)
        return {key: owner for key, owner in owners.items() if key in wanted}

    def _project_at(self, folder: str) -> str | None:
        """The project in whose repository a person worked."""
        where = Path(folder)
        with self.db.read() as conn:
            for path in (where, *where.parents):
                project = project_store.by_path(conn, path)
                if project is not None:
                    return project.id
        return None

    def busy_on(self, account_key: str) -> int:
        with self.db.read() as conn:
            return execution_store.count_on_account(conn, account_key)

    def link_of(self, execution_id: str) -> str:
        """Where people see a run."""
        return self._public(f"/runs/{execution_id}")

    def _tell(self, conn: sa.Connection, topic: str, told: Mapping[str, Any]) -> None:
        """What bots did, for people and programs outside."""
        if topic == Topic.BOT_PAUSED:
            title, body, link, key = f"{told['bot']} was paused", told["why"], f"/bots/{told['bot']}", new_id("ntc")
        else:
            addresses = [str(one["url"]) for one in told["result"] if one.get("url")]
            title = f"{told['bot']} {str(told['state']).replace('_', ' ')}: {told['title']}"
            body = "\n".join([*([told["cause"]] if told["cause"] else []), *addresses])
            link, key = f"/runs/{told['execution']}", f"run:{told['execution']}"
        facts = {**told, "address": self._public(link)}
        self.notices.publish(conn, Notice(topic=Topic(topic), title=title, body=body, link=link, facts=facts, key=key))

    def _tell_of_sync(self, conn: sa.Connection, project: Project, sync: Sync) -> None:
        notice = Notice(
            topic=Topic.SYNC_FAILED,
            title=f"{project.name} could not be brought up to date",
            body=sync.synced.detail or "",
            link=f"/projects/{project.id}",
            facts={"project": project.name, "address": self._public(f"/projects/{project.id}")},
            key=new_id("ntc"),
        )
        self.notices.publish(conn, notice)

    def _follow_limits(self, conn: sa.Connection, account_key: str, windows: Sequence[SeenWindow]) -> None:
        if self.accounts.standing.seen(conn, account_key, windows):
            self.requests.look_again(conn)

    def _tell_of_limit(self, conn: sa.Connection, crossed: Crossed) -> None:
        account_key, window, level = crossed
        reset = "" if window.resets_at is None else f", renewed at {window.resets_at:%Y-%m-%d %H:%M} UTC"
        name = self.accounts.name_of(conn, account_key)
        facts = {
            "account": name,
            "key": account_key,
            "window": window.name,
            "level": level,
            "used_percent": window.used_percent,
            "address": self._public("/accounts"),
        }
        notice = Notice(
            topic=Topic.LIMIT_CROSSED,
            title=f"{name} has used {level:g} % of its limit ({window.title})",
            body=f"{window.used_percent:g} %{reset}",
            link="/accounts",
            facts=facts,
            key=new_id("ntc"),
        )
        self.notices.publish(conn, notice)

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

    def _tell_of_budget(self, conn: sa.Connection, standing: Standing, level: str) -> None:
        budget = standing.budget
        limit = budget.hard if level == "hard" else budget.soft
        unit = "usd" if budget.window is None else "percent"
        facts: dict[str, Any] = {
            "budget": budget.name,
            "target": standing.target,
            "level": level,
            f"limit_{unit}": f"{limit:f}",
            f"spent_{unit}": f"{standing.spent:f}",
            **({} if budget.window is None else {"window": budget.window}),
            "address": self._public("/insights"),
        }
        title = f"The budget {budget.name} {'is spent' if level == 'hard' else 'has crossed its soft limit'}"
        body = standing.words(limit) + (f" for {standing.target}" if standing.target else "")
        self.notices.publish(
            conn,
            Notice(
                topic=Topic.BUDGET_CROSSED, title=title, body=body, link="/insights", facts=facts, key=new_id("ntc")
            ),
        )

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


class Server:
    """`agented serve`: the app behind its HTTP door."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.started = threading.Event()
        self.url = ""
        self._app: App | None = None
        self._uvicorn: uvicorn.Server | None = None
        self._stop_asked = False
        self._failure: BaseException | None = None

    def _fail(self, error: BaseException) -> None:
        self._failure = error
        self.stop()

    def run(self) -> None:
        """Serves until `stop` is called. Raises an AgentedError when it cannot start."""
        import uvicorn

        # The engine needs it. Loaded beside the first queries it would break them: it changes what they are made with.
        import_module("sqlalchemy.orm")

        _check_address(self._settings)
        listener = _listen(self._settings)
        try:
            app = self._app = App(self._settings)
            try:
                host, port = listener.getsockname()[:2]
                self.url = app.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
                config = uvicorn.Config(
                    build_http(app, self._lifespan),
                    log_config=None,
                    access_log=False,
                    lifespan="on",
                    timeout_graceful_shutdown=2,
                    server_header=False,
                    proxy_headers=self._settings.behind_tls_proxy,
                )
                self._uvicorn = uvicorn.Server(config)
                self._uvicorn.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # ours are installed
                app.open_soon(self._fail)
                if not self._stop_asked:
                    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
                        runner.run(self._serve(self._uvicorn, listener))
                if self._failure is not None:
                    raise self._failure
            finally:
                (self._settings.data / "server.json").unlink(missing_ok=True)
                app.close()
        finally:
            listener.close()

    async def _serve(self, server: uvicorn.Server, listener: socket.socket) -> None:
        await server._serve([listener])

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        assert self._app is not None
        self._app.bus.attach(asyncio.get_running_loop())
        details = {"url": self.url, "pid": os.getpid(), "version": VERSION}
        write_atomic(self._settings.data / "server.json", json.dumps(details).encode())
        self.started.set()
        yield

    def new_link(self) -> str:
        assert self._app is not None
        return self._app.shelf.new_link()

    def stop(self) -> None:
        self._stop_asked = True
        if self._uvicorn is not None:
            self._uvicorn.should_exit = True


def _check_address(settings: Settings) -> None:
    loopback = settings.host in ("localhost", "::1") or settings.host.startswith("127.")
    if not loopback and not settings.behind_tls_proxy:
        raise Invalid(
            f"{settings.host} can be reached from other machines.",
            field="host",
            hint="Put a proxy that ends TLS in front and set AGENTED_BEHIND_TLS_PROXY=true, or use 127.0.0.1.",
        )


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # With its protocol named, asyncio sends small answers at once; else each waits for the client's delayed ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise Unavailable(
            f"Port {settings.port} of {settings.host} cannot be used: {error.strerror}.",
            code="port_in_use",
            hint="Choose another with --port.",
        ) from error
    return listener


def build_http(app: App, lifespan: Lifespan | None = None) -> FastAPI:
    """All routes of all rooms behind one door."""
    settings, shelf = app.settings, app.shelf
    live = Live(app.db, app.bus, app.runs, app.project_names)
    rooms = Rooms(
        accounts=AccountsApi(
            db=app.db,
            vault=shelf.vault,
            clock=app.clock,
            backend=shelf.registry.get,
            overview=app.overview,
            running=app.busy_on,
            changed=app.accounts_changed,
            refresh=app.monitor.refresh,
            lift=app.lift_walls,
        ),
        backends=BackendsApi(
            all=shelf.registry.all,
            get=shelf.registry.get,
            detect=app.lookout.look,
            read_login=app.lookout.read_login,
            models=app.lookout.models,
        ),
        executions=ExecutionsApi(
            db=app.db,
            requests=app.requests,
            runs=app.runs,
            backend=shelf.registry.get,
            project=app.project_for,
            names=app.project_names,
            check_account=app.accounts.check,
            changes=app.changes_of,
            patch=app.patch_of,
        ),
        projects=ProjectsApi(
            db=app.db,
            git=app.git,
            folder=settings.data,
            clock=app.clock,
            workspaces=app.workspaces,
            syncing=app.syncing,
            is_over=app.is_over,
        ),
        home=HomeApi(
            backends=shelf.registry.all,
            detect=app.lookout.look,
            read_login=app.lookout.read_login,
            git_version=app.git_version,
            has_project=app.has_project,
            has_run=app.has_run,
        ),
        live=live,
        bots=BotsApi(
            db=app.db,
            vault=shelf.vault,
            clock=app.clock,
            bus=app.bus,
            deliveries=app.deliveries,
            reports=app.reports,
            gallery=Gallery(),
            submit=app.requests.submit,
            repositories=app.repositories,
            command=app.worker.describe,
            sample=app.sample,
            drop_branch=app.results.drop_branch,
            starting=app.starting,
            check=app.check_bot,
        ),
        costs=CostsApi(db=app.db, collector=app.collector),
        transcripts=TranscriptsApi(app.transcripts),
        notices=NoticesApi(
            db=app.db,
            targets=Targets(db=app.db, vault=shelf.vault, clock=app.clock),
            outbox=app.notices,
            sender=app.sender,
        ),
        budgets=BudgetsApi(budgets=app.budgets, clock=app.clock),
        sign_in=SignInApi(bus=app.bus, sign_ins=app.sign_ins),
    )
    secret = settings.secret_key.encode() if settings.secret_key else derive(shelf.key, "csrf")
    return build_app(
        Door(
            db=app.db,
            clock=app.clock,
            secret=secret,
            version=VERSION,
            routers=build_routers(rooms),
            allowed_hosts=_words(settings.allowed_hosts),
            cors_origins=_words(settings.cors_allowed_origins),
            tls=settings.behind_tls_proxy,
            static=Path(__file__).parent / "web" / "dist",
            probes={
                "database": app.probe_database,
                "engine": lambda: app.engine.await_ready(0),
                "data folder": lambda: prepare_folder(settings),
            },
            registry=measurements(app, live),
            lifespan=lifespan,
        )
    )


def _note_retry(conn: sa.Connection, before: Execution, again: Execution) -> None:
    """A bot's run that is tried again is still the bot's: its result goes where it was meant to."""
    run = bot_store.find_run(conn, before.id)
    if run is not None:
        bot_store.note_run(conn, replace(run, execution_id=again.id, outcome=None))


def measurements(app: App, live: Live) -> CollectorRegistry:
    """What /metrics tells: executions by state, who watches, and the process itself."""
    from prometheus_client import CollectorRegistry, ProcessCollector
    from prometheus_client.core import GaugeMetricFamily
    from prometheus_client.registry import Collector

    class Executions(Collector):
        def collect(self) -> list[GaugeMetricFamily]:
            gauge = GaugeMetricFamily("agented_executions", "Executions by state.", labels=["state"])
            with app.db.read() as conn:
                for state, count in execution_store.counts(conn).items():
                    gauge.add_metric([str(state)], count)
            syncs = GaugeMetricFamily("agented_project_syncs", "Projects by their last sync.", labels=["state"])
            with app.db.read() as conn:
                for state, count in project_store.sync_counts(conn).items():
                    syncs.add_metric([state], count)
            viewers = GaugeMetricFamily("agented_stream_viewers", "Open event streams.", value=live.viewers)
            return [gauge, syncs, viewers]

    registry = CollectorRegistry()
    registry.register(Executions())
    ProcessCollector(registry=registry)
    return registry


def describe_api() -> dict[str, Any]:
    """The OpenAPI document, without a data folder of anybody's."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        app = App(Settings(data=Path(folder), database_url=None))
        try:
            return describe(build_http(app))
        finally:
            app.shelf.close()


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
