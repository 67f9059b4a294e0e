"""The schema that the migrations make is the one that the stores describe, on both databases."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

import agented.accounts.store
import agented.bots.store
import agented.budgets.store
import agented.costs.tables
import agented.executions.store
import agented.notices.store
import agented.projects.store
import agented.web.store  # noqa: F401 - each registers its tables
from agented.kit.db import Database, metadata
from agented.kit.errors import Conflict
from agented.migrations.upgrade import HEAD, upgrade


def test_the_migrations_make_what_the_stores_describe(db: Database) -> None:
    with db.read() as conn:
        context = MigrationContext.configure(conn, opts={"compare_type": False})
        left = [step for step in compare_metadata(context, metadata) if "dbos" not in str(step).lower()]
    assert left == []


def test_an_upgrade_of_what_is_up_to_date_changes_nothing(db: Database) -> None:
    upgrade(db)
    with db.read() as conn:
        assert conn.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() == HEAD


def test_a_newer_schema_is_refused_and_left_as_it_is(db: Database) -> None:
    with db.write() as conn:
        conn.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Conflict) as refused:
        upgrade(db)
    assert refused.value.code == "newer_schema"
    with db.read() as conn:
        assert conn.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() == "9999"
