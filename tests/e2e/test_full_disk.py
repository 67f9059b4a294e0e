"""A disk without room, and one that cannot be written: a small file system of its own, in a name space of its own."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from agented.kit.errors import Unavailable
from tests.e2e.served import Served, make_repository, wait_for

MOUNTS = subprocess.run(
    ["unshare", "-rm", "sh", "-c", "mount -t tmpfs none /mnt"], capture_output=True, check=False
).returncode
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or MOUNTS != 0, reason="this kernel lets nobody but root mount a file system"
)


class OnSmallDisk(Served):
    """A server whose data folder is a file system of its own."""

    def command(self, options: str, *words: str) -> list[str]:
        serve = shlex.join([sys.executable, "-m", "agented", *words, "--data", str(self.data)])
        mount = f"mount -t tmpfs -o mode=700,{options} none {shlex.quote(str(self.data))}"
        return ["unshare", "-rm", "sh", "-c", f"{mount} && {serve}"]

    def refused(self, options: str) -> str:
        """Starts where it cannot be; gives what it said."""
        self.data.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            self.command(options, "serve", "--port", "0"), env=self.env, capture_output=True, text=True, timeout=60
        )
        assert done.returncode != 0
        return done.stderr

    def start_on(self, options: str) -> OnSmallDisk:
        self.data.mkdir(parents=True, exist_ok=True)
        prepare, serve = (
            self.command(options, "token", "--role", "admin"),
            self.command(options, "serve", "--port", "0"),
        )
        script = f"{prepare[-1]} && exec {serve[-1].partition('&& ')[2]}"
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                ["unshare", "-rm", "sh", "-c", script], env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        link = self.sign_in_link()
        self.url = link.partition("/sign-in")[0]
        self._token = next(line for line in self.log().splitlines() if line.startswith("agt_"))
        return self

    @property
    def disk(self) -> Path:
        """The data folder as the server sees it."""
        assert self.process is not None
        return Path(f"/proc/{self.process.pid}/root{self.data}")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[OnSmallDisk]:
    server = OnSmallDisk(tmp_path)
    try:
        yield server
    finally:
        server.close()


def test_a_start_on_a_full_disk_says_so(small: OnSmallDisk) -> None:
    said = small.refused("size=16k")
    assert "Traceback" not in said
    assert "full" in said or "No space left" in said
    assert "Free space for" in said or "free disk space" in said


def test_a_start_on_a_read_only_disk_says_so(small: OnSmallDisk) -> None:
    said = small.refused("ro")
    assert "Traceback" not in said
    assert "cannot be written: Read-only file system" in said
    assert str(small.data) in said


def test_a_run_waits_for_room_and_loses_nothing(small: OnSmallDisk, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repository", small.env)
    small.start_on("size=32m")
    run = small.submit(repository, "say ready\nsleep 2\nlines 400000\nwrite done.txt yes")
    wait_for(lambda: "ready" in " ".join(small.lines(run)), what="the first line")
    with _fill(small):
        wait_for(lambda: _room(small) == 0 and _kept(small, run) > 500_000, 60, "the full disk")
        # Not only the output: the server, too, has something to write and no room for it.
        wait_for(lambda: f"{run} waits: " in small.log(), 60, "the server's wait")
        with pytest.raises(Unavailable, match="is full"):
            small.submit(repository, "say too much")
    ended = small.ended(run)
    assert ended["state"] == "succeeded", (ended["reason"], ended["detail"])
    assert ended["detail"] is None
    printed = [line for line in small.lines(run) if line.startswith("line ")]
    assert printed == [f"line {n}" for n in range(1, 400_001)]
    changed = small.get(f"/api/executions/{run}/changes")["files"]
    assert [one["path"] for one in changed] == ["done.txt"]


def test_what_runs_write_while_the_disk_is_full_is_collected_later(small: OnSmallDisk, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repository", small.env)
    small.start_on("size=48m")
    runs = [small.submit(repository, f"say ready\nsleep 2\nsay {n}") for n in range(6)]
    wait_for(lambda: "ready" in small.lines(runs[0]), what="the first line")
    with _fill(small, leave=0):
        wait_for(lambda: any(f"{run} waits: " in small.log() for run in runs), 60, "the server's wait")
    for n, run in enumerate(runs):
        ended = small.ended(run)
        assert (ended["state"], ended["detail"]) == ("succeeded", None)
        assert str(n) in small.lines(run)


@contextmanager
def _fill(server: OnSmallDisk, leave: int = 1024 * 1024) -> Iterator[None]:
    """Takes all room but `leave` bytes until the block ends."""
    filler = server.disk / "filler"
    # What the server writes meanwhile takes of the room, too.
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        file.write(bytes(_room(server) - leave))
    try:
        yield
    finally:
        filler.unlink()


def _room(server: OnSmallDisk) -> int:
    disk = os.statvfs(server.disk)
    return disk.f_bavail * disk.f_bsize


def _kept(server: OnSmallDisk, run: str) -> int:
    return sum(file.stat().st_size for file in (server.disk / "runs" / run).glob("out.*"))
