from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.served import Served, make_repository


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    server = Served(tmp_path)
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture
def repository(tmp_path: Path, served: Served) -> Path:
    return make_repository(tmp_path / "repository", served.env)
