"""What a start says when it cannot be: clearly, at once, and without touching anything."""

from __future__ import annotations

import sqlite3

from tests.e2e.served import Served


def test_a_second_server_on_the_same_folder_is_refused(served: Served) -> None:
    second = served.call("serve", "--port", "0")
    assert second.returncode != 0
    assert "Traceback" not in second.stderr
    assert str(served.data) in second.stderr
    assert served.get("/health/liveness")


def test_a_newer_schema_is_refused_and_left_as_it_is(served: Served) -> None:
    served.terminate()
    database = sqlite3.connect(served.data / "agented.db")
    with database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    refused = served.call("serve", "--port", "0")
    assert refused.returncode != 0
    assert "Traceback" not in refused.stderr
    assert "newer release" in refused.stderr
    database = sqlite3.connect(served.data / "agented.db")
    assert database.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999",)
    database.close()


def test_a_file_that_is_no_database_is_named(served: Served) -> None:
    served.terminate()
    for name in ("agented.db-wal", "agented.db-shm"):
        (served.data / name).unlink(missing_ok=True)
    (served.data / "agented.db").write_bytes(b"this is no database, but a letter to my aunt\n" * 200)
    refused = served.call("serve", "--port", "0")
    assert refused.returncode != 0
    assert "Traceback" not in refused.stderr
    assert "agented.db" in refused.stderr


def test_a_port_that_is_taken_is_named(served: Served) -> None:
    port = served.url.rpartition(":")[2]
    other = Served(served.data.parent / "other")
    refused = other.call("serve", "--port", port)
    assert refused.returncode != 0
    assert "Traceback" not in refused.stderr
    assert port in refused.stderr
