from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agented.backends.registry import Registry
from agented.costs.scan import scan
from tests.fakes.sessions import Tree, small, told

Rows = dict[tuple[str, str, str], tuple[Any, ...]]
BACKENDS = Registry().all()


def true_rows(tree: Tree) -> Rows:
    cent = Decimal("1e-8")
    rows = tree.truth.rows()
    return {key: (*row[:-1], None if row[-1] is None else row[-1].quantize(cent)) for key, row in rows.items()}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return small(tmp_path / "home")


@pytest.fixture
def count(tmp_path: Path) -> Callable[[], Rows]:
    """What a scan of `home` says, with what it knows kept beside it."""
    return lambda: told(scan(tmp_path / "home", tmp_path / "known", BACKENDS, zone="UTC"))
