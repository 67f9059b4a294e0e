from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from agented.executions import keeping
from agented.kit.ids import new_id


def wait_until(holds: Callable[[], object], timeout_s: float = 20.0) -> None:
    """Waits for a condition; fails the test when it does not come."""
    until = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > until:
            raise AssertionError("the condition did not come")
        time.sleep(0.01)


class Kept:
    """One attempt under a real keeper, running a Python script."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "exe"
        self.folder = self.log / "attempt-1"
        self.attempt_id = new_id("att")
        self.child: keeping.Child | None = None

    def start(self, script: str, **limits: Any) -> None:
        self.run([sys.executable, "-I", "-S", "-c", script], **limits)

    def run(
        self,
        argv: list[str],
        *,
        stdin: bytes | None = None,
        secrets: tuple[str, ...] = (),
        number: int = 1,
        cwd: Path | None = None,
        wall_s: float = 60,
        silence_s: float = 60,
        max_bytes: int = 1 << 32,
        grace_s: float = 1,
    ) -> None:
        self.log.mkdir(parents=True, exist_ok=True)
        self.folder = self.log / f"attempt-{number}"
        self.child = keeping.start(
            keeping.Order(
                attempt_id=self.attempt_id,
                number=number,
                log=self.log,
                folder=self.folder,
                argv=argv,
                env={"PATH": os.defpath},
                cwd=cwd or self.log,
                stdin=stdin,
                secrets=secrets,
                wall_s=wall_s,
                silence_s=silence_s,
                max_bytes=max_bytes,
                grace_s=grace_s,
            )
        )

    def end(self, timeout_s: float = 30) -> keeping.ExitReport:
        wait_until(lambda: keeping.read_exit(self.folder) is not None, timeout_s)
        assert self.child is not None
        self.child.reap()
        report = keeping.read_exit(self.folder)
        assert report is not None
        return report


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    keeper = Kept(tmp_path)
    yield keeper
    with suppress(OSError):
        keeping.ask_to_stop(keeper.folder, "cancelled", 0)
    keeping.end_strays(keeper.attempt_id)
    if keeper.child is not None:
        keeper.child.reap()
