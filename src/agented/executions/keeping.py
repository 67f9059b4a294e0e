"""The server's side of a keeper: starts it, asks it to stop, and tells from evidence what became of it.

Evidence, in this order: `exit.json` (it ended), a held lock (it lives), neither (it is lost). A process id alone is no
evidence: ids are reused.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from agented.executions import keeper as program
from agented.executions.output import Kept
from agented.kit.files import is_locked, write_atomic

MARKER = program.MARKER


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a keeper is told, through a pipe only: the command and the secrets never reach a file or an argument.

    log: the execution's folder, shared by its attempts. folder: this attempt's own.
    """

    attempt_id: str
    number: int
    log: Path
    folder: Path
    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    stdin: bytes | None
    secrets: Sequence[str]
    wall_s: float
    silence_s: float
    max_bytes: int
    grace_s: float


@dataclass(frozen=True, slots=True)
class ExitReport:
    """`exit.json`. stop: why we ended it, None when it ended by itself. error: why it could not be started."""

    code: int | None
    signal: int | None
    stop: str | None
    error: str | None
    error_kind: str | None
    leader: int
    offset: int
    lines: int
    bytes: int
    discarded: int
    left_behind: int
    ended_at: float


class Child:
    """A keeper that this process started, to be reaped when it has ended."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid = process.pid

    def reap(self, timeout_s: float = 5.0) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)


def start(order: Order) -> Child:
    """Starts a keeper and returns when it holds its lock. Call it from a thread."""
    order.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with Kept(order.log) as kept:
        offset, line, in_line = kept.end()
    message = {
        "attempt": order.number,
        "log": str(order.log),
        "folder": str(order.folder),
        "argv": list(order.argv),
        "env": {**order.env, MARKER: order.attempt_id},
        "cwd": str(order.cwd),
        "stdin": None if order.stdin is None else b64encode(order.stdin).decode(),
        "secrets": list(order.secrets),
        "wall_s": order.wall_s,
        "silence_s": order.silence_s,
        "max_bytes": order.max_bytes,
        "grace_s": order.grace_s,
        "offset": offset,
        "line": line,
        "in_line": in_line,
    }
    with (order.folder / "keeper.err").open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", program.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={MARKER: order.attempt_id, "PATH": order.env.get("PATH", "")},
            cwd=order.folder,
            start_new_session=True,
        )
    assert process.stdin is not None and process.stdout is not None
    with suppress(BrokenPipeError):
        process.stdin.write(json.dumps(message).encode())
    with suppress(BrokenPipeError):
        process.stdin.close()
    process.stdout.read(1)
    process.stdout.close()
    return Child(process)


def read_exit(folder: Path) -> ExitReport | None:
    try:
        values = json.loads((folder / "exit.json").read_bytes())
    except FileNotFoundError:
        return None
    error = values["error"] or {}
    return ExitReport(
        code=values["code"],
        signal=values["signal"],
        stop=values["stop"],
        error=error.get("message"),
        error_kind=error.get("errno"),
        leader=values["leader"],
        offset=values["offset"],
        lines=values["lines"],
        bytes=values["bytes"],
        discarded=values["discarded"],
        left_behind=values["left_behind"],
        ended_at=values["ended_at"],
    )


def is_alive(folder: Path) -> bool:
    return is_locked(folder / "lock")


def has_started(folder: Path, attempt_id: str) -> bool | None:
    """Whether a start that a crash may have cut off came to anything; None while its keeper is still booting.

    A keeper makes its lock file once it has read its whole order and before it starts the CLI: without that file no
    CLI ran. One that got half an order ends by itself.
    """
    lock = folder / "lock"
    if lock.exists():
        return True
    if processes_of(attempt_id):
        return None
    # It may have taken its lock and ended between the two looks.
    return lock.exists()


def leader_of(folder: Path) -> int | None:
    """The CLI's process id, once it runs."""
    with suppress(FileNotFoundError, ValueError):
        pid = json.loads((folder / "keeper.json").read_bytes())["leader"]
        return int(pid)
    return None


def ask_to_stop(folder: Path, reason: str, grace_s: float) -> None:
    """Idempotent; the first reason counts. Returns at once: the end shows as `exit.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    order = folder / "stop.json"
    if not order.exists():
        write_atomic(order, json.dumps({"reason": reason, "grace_s": grace_s}).encode())
    try:
        control = os.open(folder / "control", os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return
    try:
        os.write(control, b"stop\n")
    except OSError:
        return
    finally:
        os.close(control)


def processes_of(attempt_id: str) -> list[psutil.Process]:
    """Living processes that carry the attempt's marker, and everything below them."""
    found: dict[int, psutil.Process] = {}
    user = os.getuid()
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.uids().real != user or process.environ().get(MARKER) != attempt_id:
                continue
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            found[process.pid] = process
            for child in process.children(recursive=True):
                found[child.pid] = child
    return list(found.values())


def end_strays(attempt_id: str, timeout_s: float = 5.0, pause: Callable[[float], None] = time.sleep) -> int:
    """Kills what a killed keeper left behind, until none is left. Gives how many there were."""
    until = time.monotonic() + timeout_s
    ended: set[int] = set()
    while True:
        living = processes_of(attempt_id)
        if not living:
            return len(ended)
        for process in living:
            with suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
                ended.add(process.pid)
        if time.monotonic() > until:
            return len(ended)
        pause(0.02)


def describe_error(report: ExitReport, argv: Sequence[str]) -> tuple[str, str]:
    """Reason code and one line for a CLI that could not be started."""
    name = argv[0] if argv else "the program"
    if report.error_kind == "ENOENT":
        return "program_missing", f"{name} does not exist."
    if report.error_kind in ("EACCES", "ENOEXEC"):
        return "not_executable", f"{name} cannot be executed: {report.error}."
    return "launch_failed", f"{name} could not be started: {report.error}."


def read_errors(folder: Path) -> str:
    """The last words of a keeper that failed by itself."""
    with suppress(FileNotFoundError):
        return (folder / "keeper.err").read_text(errors="replace")[-2000:]
    return ""
