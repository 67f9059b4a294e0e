"""The first schema."""

from __future__ import annotations

from alembic import op

import agented.accounts.store
import agented.executions.store
import agented.projects.store
import agented.web.store  # noqa: F401 - each registers its tables
from agented.kit.db import metadata

revision = "0001"
down_revision = None


def upgrade() -> None:
    metadata.create_all(op.get_bind())
