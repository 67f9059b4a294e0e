"""The same server on PostgreSQL: runs, and loses nothing when it is killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from tests.e2e.served import Served, make_repository, wait_for


def test_a_server_on_postgresql_runs_and_recovers(tmp_path: Path, new_postgres: str) -> None:
    served = Served(tmp_path, database_url=new_postgres)
    try:
        served.start()
        repository = make_repository(tmp_path / "repository", served.env)
        run = served.submit(repository, "lines 100 20\nwrite made.txt x\ntokens 1 2")
        wait_for(lambda: len(served.lines(run)) > 10)
        served.kill()
        served.start()
        ended = served.ended(run)
        assert (ended["state"], ended["attempt_count"], ended["tokens"]["output"]) == ("succeeded", 1, 2)
        assert [line for line in served.lines(run) if line.startswith("line ")] == [f"line {n}" for n in range(1, 101)]
        assert ended["changes"]["files"] == 1
        assert not (served.data / "agented.db").exists()
    finally:
        served.close()


def test_runs_go_on_when_the_database_was_away(tmp_path: Path, new_postgres: str) -> None:
    served = Served(tmp_path, database_url=new_postgres)
    try:
        served.start()
        repository = make_repository(tmp_path / "repository", served.env)
        runs = [served.submit(repository, f"lines 100 20\nwrite made{n}.txt x") for n in range(3)]
        wait_for(lambda: len(served.lines(runs[0])) > 10)
        with _away(new_postgres):
            wait_for(lambda: f"{runs[0]} waits: " in served.log(), what="the server's wait")
        for n, run in enumerate(runs):
            ended = served.ended(run)
            assert (ended["state"], ended["detail"], ended["attempt_count"]) == ("succeeded", None, 1)
            lines = [line for line in served.lines(run) if line.startswith("line ")]
            assert lines == [f"line {one}" for one in range(1, 101)]
            changed = served.get(f"/api/executions/{run}/changes")["files"]
            assert [one["path"] for one in changed] == [f"made{n}.txt"]
        assert served.ended(served.submit(repository, "say next"))["state"] == "succeeded"
    finally:
        served.close()


@contextmanager
def _away(url: str) -> Iterator[None]:
    """The database lets nobody in until the block ends, and has thrown out who was there."""
    server, _, name = url.rpartition("/")
    admin = sa.create_engine(f"{server.replace('postgresql:', 'postgresql+psycopg:')}/postgres").execution_options(
        isolation_level="AUTOCOMMIT"
    )
    with admin.connect() as conn:
        conn.execute(sa.text(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false'))
        conn.execute(
            sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"), {"name": name}
        )
        try:
            yield
        finally:
            conn.execute(sa.text(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS true'))
    admin.dispose()
