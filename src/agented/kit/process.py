"""Short helper programs (git, gh, `--version`): run to their end, bounded in time, with a built environment."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agented.kit.errors import CommandFailed, ProgramMissing

_MOST_LINES = 1000
_LONGEST_LINE = 1_000_000


@dataclass(frozen=True, slots=True)
class Finished:
    argv: tuple[str, ...]
    code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        return self.stdout.decode("utf-8", "replace")

    @property
    def error_text(self) -> str:
        return self.stderr.decode("utf-8", "replace")

    def check(self) -> Finished:
        """Itself when the program ended with 0, else raises CommandFailed with its last words."""
        if self.code != 0:
            said = (self.error_text.strip() or self.text.strip())[-2000:]
            raise CommandFailed(f"`{' '.join(self.argv[:3])}` ended with {self.code}: {said}", output=said)
        return self


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdin: bytes = b"",
    timeout_s: float = 60,
) -> Finished:
    """Runs a program to its end. `env` is the whole environment, nothing is inherited.

    Raises ProgramMissing when it cannot be started and CommandFailed when it does not end within `timeout_s`
    (its whole group is then killed). Must be called from a thread, not from the event loop.
    """
    try:
        process = subprocess.Popen(
            list(argv),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        if cwd is not None and not cwd.is_dir():
            raise CommandFailed(f"The folder {cwd} does not exist.", code="folder_missing") from error
        raise ProgramMissing(f"{argv[0]} is not installed.", hint=f"Install {argv[0]} and try again.") from error
    except PermissionError as error:
        raise ProgramMissing(f"{argv[0]} is not executable.", hint=f"chmod +x {argv[0]}") from error
    except OSError as error:
        raise ProgramMissing(f"{argv[0]} cannot be started: {error.strerror}") from error
    try:
        stdout, stderr = process.communicate(stdin, timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        kill_group(process.pid)
        process.communicate()
        raise CommandFailed(f"`{' '.join(argv[:3])}` did not end within {timeout_s:g} s.", code="timeout") from error
    except BaseException:
        kill_group(process.pid)
        process.wait()
        raise
    return Finished(tuple(argv), process.returncode, stdout, stderr)


def converse(
    argv: Sequence[str],
    lines: Sequence[str],
    is_last: Callable[[str], bool],
    *,
    env: Mapping[str, str],
    cwd: Path,
    timeout_s: float = 20,
) -> list[str]:
    """Says lines to a program and reads its own, until one is the last; then ends its whole group.

    Gives what it said, also when it never said the last. Raises ProgramMissing when it cannot be started.
    """
    try:
        process = subprocess.Popen(
            list(argv),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise ProgramMissing(f"{argv[0]} cannot be started: {error.strerror}") from error
    said: list[str] = []
    # Killed after the time: reading then comes to its end by itself.
    timer = threading.Timer(timeout_s, kill_group, (process.pid,))
    timer.start()
    try:
        assert process.stdin is not None and process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.write("".join(f"{line}\n" for line in lines).encode())
            process.stdin.flush()
        for _ in range(_MOST_LINES):
            raw = process.stdout.readline(_LONGEST_LINE)
            if not raw:
                break
            said.append(raw.decode("utf-8", "replace").rstrip("\n"))
            if is_last(said[-1]):
                break
    finally:
        timer.cancel()
        kill_group(process.pid)
        with suppress(BrokenPipeError):
            process.communicate()
    return said


def kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
