"""The first schema."""

from __future__ import annotations

import agented.executions.store
from agented.kit.db import metadata
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    metadata.create_all(op.get_bind())
