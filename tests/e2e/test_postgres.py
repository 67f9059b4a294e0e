"""The same server on PostgreSQL: runs, and loses nothing when it is killed."""

from __future__ import annotations

from pathlib import Path

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
