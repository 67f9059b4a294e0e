"""Brings a database to this release's schema."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from agented.kit.db import Database
from agented.kit.errors import Conflict

HEAD = "0010"
"""The last revision; a test holds it equal to the newest script."""


def upgrade(db: Database) -> None:
    """Runs the migrations that are missing. Raises Conflict, and writes nothing, on a schema of a newer release."""
    current = _current(db)
    if current == HEAD:
        return
    if current is not None and current > HEAD:
        raise Conflict(
            f"The database was written by a newer release (schema {current}, this release knows {HEAD}).",
            code="newer_schema",
            hint="Start the newer release, or restore a backup made before the upgrade.",
        )
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    with db.write() as conn:
        config.attributes["connection"] = conn
        command.upgrade(config, "head")


def _current(db: Database) -> str | None:
    with db.read() as conn:
        if not sa.inspect(conn).has_table("alembic_version"):
            return None
        return conn.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
