"""Holds one program in a terminal: it is the parent of the program, and the end of whatever that leaves behind.

Run as a program by `kit/pty`. Its first line on stdin is the order, as JSON: argv, env, cwd, the terminal's descriptor,
grace_s. Whatever comes after it, also the end of stdin because the server is gone, ends the program with its whole
tree. It exits with the program's code, or with 128 + the signal that killed it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import sys
import termios
import time
from typing import Any

import psutil

MARKER = "AGENTED_TERMINAL"
NOT_STARTED = 127
_PR_SET_CHILD_SUBREAPER = 36
_LOOK_S = 0.05
_LEFT_BEHIND_S = 1.0
_RESTORED = (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGQUIT, signal.SIGTERM, signal.SIGCHLD)


def main() -> int:
    order = json.loads(_first_line())
    wake, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    asked: list[int] = []
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(ignored, signal.SIG_IGN)
    _adopt_orphans()
    leader = _start(order)
    status: int | None = None
    while status is None and not asked:
        ready, _, _ = select.select([0, wake], [], [])
        if wake in ready:
            os.read(wake, 4096)
        if 0 in ready:
            asked.append(0)
        status = _reap(leader)
    left = _end_tree(order, leader, float(order["grace_s"]) if asked else _LEFT_BEHIND_S)
    status = left if status is None else status
    if sys.platform == "darwin":
        # The last one who closes a terminal there throws away what was not read yet.
        with contextlib.suppress(termios.error):
            termios.tcdrain(int(order["terminal"]))
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _first_line() -> bytes:
    """Byte by byte: what comes after it is an order to end."""
    line = bytearray()
    while (byte := os.read(0, 1)) and byte != b"\n":
        line += byte
    return bytes(line)


def _start(order: dict[str, Any]) -> int:
    """The program leads a session of its own, with the terminal as its controlling one. Nothing else runs here yet,
    so that a fork is safe."""
    pid = os.fork()
    if pid:
        return pid
    try:
        terminal = int(order["terminal"])
        os.setsid()
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
        for descriptor in (0, 1, 2):
            os.dup2(terminal, descriptor)
        os.closerange(3, 64)
        signal.set_wakeup_fd(-1)
        for number in _RESTORED:
            signal.signal(number, signal.SIG_DFL)
        os.chdir(order["cwd"])
        os.execve(order["argv"][0], order["argv"], order["env"])  # noqa: S606 - no shell is meant
    except OSError as error:
        with contextlib.suppress(OSError):
            os.write(2, f"{order['argv'][0]} cannot be started: {error.strerror}\r\n".encode())
    finally:
        os._exit(NOT_STARTED)


def _reap(leader: int) -> int | None:
    """The leader's status, once it has ended."""
    found = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == leader:
                found = status
    return found


def _end_tree(order: dict[str, Any], leader: int, grace_s: float) -> int:
    """Asks everything that lives to end, then kills, until nothing lives. Gives the leader's status."""
    until = time.monotonic() + grace_s
    asked: set[int] = set()
    status = 0
    while True:
        found = _reap(leader)
        status = status if found is None else found
        living = _tree(order)
        if not living:
            return status
        over = time.monotonic() >= until
        for process in living:
            with contextlib.suppress(psutil.Error):
                if over:
                    process.kill()
                elif process.pid not in asked:
                    asked.add(process.pid)
                    # An interactive shell heeds only the first; a stopped program needs the third to hear the others.
                    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGCONT):
                        process.send_signal(number)
        time.sleep(_LOOK_S)


def _tree(order: dict[str, Any]) -> list[psutil.Process]:
    """Everything below this process. Where orphans are not adopted they are known by their marker variable."""
    me = psutil.Process()
    found = me.children(recursive=True)
    if sys.platform != "linux":
        known = {me.pid, *(process.pid for process in found)}
        found += [one for one in psutil.process_iter() if one.pid not in known and _is_marked(one, order)]
    return [process for process in found if _lives(process)]


def _is_marked(process: psutil.Process, order: dict[str, Any]) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        return bool(process.environ().get(MARKER) == order["env"][MARKER])
    return False


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def _adopt_orphans() -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


if __name__ == "__main__":
    raise SystemExit(main())
