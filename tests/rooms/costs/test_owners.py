"""Whose a session is, as the app knows it: of the run whose attempt reported it, or of the project of its folder."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agented.app.main import App
from agented.bots import store as bot_store
from agented.bots.store import BotRun
from agented.costs import store
from agented.costs.model import Filter, Group
from agented.executions import store as execution_store
from agented.executions.model import Attempt, AttemptState, Request
from agented.kit.ids import new_id
from agented.settings import Settings
from tests.fakes.sessions import Tree

GROUPS = (Group.EXECUTION, Group.BOT, Group.PROJECT, Group.ACCOUNT, Group.SESSION)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    env = {"HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"]}
    one = App(Settings(data=tmp_path / "data", base_env=env, time_zone="UTC"))
    yield one
    one.close()


def _owned(app: App) -> dict[tuple[str, ...], int]:
    app.collector.collect()
    with app.db.read() as conn:
        return {key: sums.messages for key, sums in store.sums(store.shelf_of(conn), GROUPS, Filter())}


def test_a_session_is_its_runs_its_bots_and_its_accounts(app: App, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "home")
    mine, theirs = tree.claude(2, extras=False), tree.claude(3, extras=False)
    request = Request(origin="usr_1", project_id="prj_1", backend="claude", prompt="say hello")
    with app.db.write() as conn:
        execution, _ = execution_store.add(conn, request, app.clock.now())
        for number, session in enumerate([None, theirs.stem, theirs.stem], 1):
            attempt = Attempt(
                id=new_id("att"),
                execution_id=execution.id,
                number=number,
                state=AttemptState.ENDED,
                started_at=app.clock.now(),
                log_offset=0,
                first_event=0,
                session_id=session,
                backend="claude",
                account_key="claude:acc_1",
            )
            execution_store.add_attempt(conn, attempt)
        bot_store.note_run(conn, BotRun(execution_id=execution.id, bot_id="bot_1", version=1))
    assert _owned(app) == {
        ("", "", "", "claude:default", mine.stem): 2,
        (execution.id, "bot_1", "prj_1", "claude:acc_1", theirs.stem): 3,
    }


def test_a_persons_session_is_the_projects_in_whose_folder_they_worked(app: App, tmp_path: Path) -> None:
    repository = tmp_path / "sample"
    (repository / "deep").mkdir(parents=True)
    subprocess.run(["git", "init", "-q", str(repository)], env={"PATH": os.environ["PATH"]}, check=True)
    for words in (["config", "user.email", "t@example.test"], ["config", "user.name", "T"]):
        subprocess.run(["git", "-C", str(repository), *words], env={"PATH": os.environ["PATH"]}, check=True)
    commit = ["git", "-C", str(repository), "commit", "-q", "--allow-empty", "-m", "first"]
    subprocess.run(commit, env={"PATH": os.environ["PATH"]}, check=True)
    project = app.project_named(str(repository))
    tree = Tree(tmp_path / "home")
    path = tree.claude(1, extras=False)
    path.write_text(path.read_text().replace("/work/sample", str(repository / "deep")))
    assert _owned(app) == {("", "", project.id, "claude:default", path.stem): 1}
