"""A program in a pseudo terminal: what it prints is kept in memory, as far as one scrolls back, and never on disk.

The program runs under a holder (`kit/holder`), a small process that ends it with its whole tree when it is asked to and
also when this process is gone, however it went. Output is read at a bounded pace: a flood waits in the terminal.
"""

from __future__ import annotations

import fcntl
import json
import os
import selectors
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agented.kit import holder
from agented.kit.errors import Conflict, ProgramMissing, Unavailable
from agented.kit.ids import new_id

KEPT = 256 * 1024
"""Bytes of output that are kept."""
MOST_ROWS, MOST_COLUMNS = 200, 500
_CHUNK = 64 * 1024
_PACE = 1024 * 1024
_PACE_S = 1.0
_QUIET_S = 0.1
_WRITE_S = 2.0
_SHORTEST_SECRET = 8


@dataclass(frozen=True, slots=True)
class Piece:
    """Output from an offset on. The offset lies after the one asked for when what was there is not kept any more."""

    offset: int
    data: bytes

    @property
    def end(self) -> int:
        return self.offset + len(self.data)


class Scrollback:
    """The last bytes of a stream, secrets starred. Lengths stay, so an offset names the same byte for ever.

    The end of what is there is held back while it may be the beginning of a secret, but not for longer than a moment.
    """

    def __init__(self, keep: int = KEPT) -> None:
        self._keep = keep
        self._data = bytearray()
        self._begin = 0
        self._held = 0
        self._needles: tuple[bytes, ...] = ()
        self._lock = threading.Lock()

    def mask(self, secrets: Iterable[str]) -> None:
        """From now on these are starred too, also in what is kept already."""
        found = {secret.encode() for secret in secrets if len(secret) >= _SHORTEST_SECRET}
        with self._lock:
            self._needles = tuple(sorted({*self._needles, *found}, key=len, reverse=True))
            self._star(0)

    def append(self, data: bytes) -> None:
        with self._lock:
            longest = max((len(needle) for needle in self._needles), default=1)
            first = max(0, len(self._data) - longest + 1)
            self._data += data
            self._star(first)
            self._held = self._suspect()
            over = len(self._data) - self._keep
            if over > 0:
                del self._data[:over]
                self._begin += over

    @property
    def holds_back(self) -> bool:
        return self._held > 0

    def release(self) -> None:
        """Nothing came after it for a moment: it is no secret, or one that somebody types."""
        self._held = 0

    @property
    def end(self) -> int:
        """Where what may be shown ends."""
        return self._begin + len(self._data) - self._held

    def read(self, after: int) -> Piece:
        with self._lock:
            start = min(max(0, after - self._begin), len(self._data))
            shown = len(self._data) - self._held
            return Piece(self._begin + start, bytes(self._data[start : max(start, shown)]))

    def _star(self, first: int) -> None:
        for needle in self._needles:
            at = self._data.find(needle, first)
            while at >= 0:
                self._data[at : at + len(needle)] = b"*" * len(needle)
                at = self._data.find(needle, at + len(needle))

    def _suspect(self) -> int:
        """The length of the longest end that begins a secret."""
        longest = 0
        for needle in self._needles:
            for length in range(min(len(needle) - 1, len(self._data)), longest, -1):
                if self._data.endswith(needle[:length]):
                    longest = length
                    break
        return longest


class Terminal:
    """env: the whole environment of the program, nothing is inherited. changed: told, from a thread of the terminal's
    own, that there is more output or that it has ended. Raises ProgramMissing when it cannot be started.

    Call everything from threads, not from the event loop.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        rows: int = 30,
        columns: int = 100,
        secrets: Iterable[str] = (),
        grace_s: float = 2.0,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.output = Scrollback()
        self.output.mask(secrets)
        self.exit_code: int | None = None
        self._changed = changed
        self._grace_s = grace_s
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._asked = False
        self._master, terminal = os.openpty()
        try:
            os.set_blocking(self._master, False)
            self._set_size(rows, columns)
            self._holder = self._hold(argv, env, cwd, terminal)
        except BaseException:
            os.close(self._master)
            raise
        finally:
            os.close(terminal)
        self._reader = threading.Thread(target=self._follow, name="terminal", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Of the process that holds the program."""
        return self._holder.pid

    @property
    def has_ended(self) -> bool:
        return self._ended.is_set()

    def write(self, data: bytes) -> None:
        """What a person types. Raises Conflict when it has ended, Unavailable when it takes nothing."""
        until = time.monotonic() + _WRITE_S
        while data:
            with self._lock:
                if self._master < 0:
                    raise Conflict("It has ended.", code="terminal_ended")
                try:
                    data = data[os.write(self._master, data) :]
                    continue
                except BlockingIOError:
                    pass
                except OSError as error:
                    raise Conflict("It has ended.", code="terminal_ended") from error
            if time.monotonic() > until:
                raise Unavailable("The program does not read what is typed.", code="terminal_busy")
            time.sleep(0.01)

    def resize(self, rows: int, columns: int) -> None:
        with self._lock:
            if self._master >= 0:
                self._set_size(rows, columns)

    def end(self) -> None:
        """Asks the program and its tree to end; after a moment they are killed. `wait` tells when nothing is left."""
        with self._lock:
            if self._asked:
                return
            self._asked = True
        assert self._holder.stdin is not None
        with suppress(OSError):
            self._holder.stdin.close()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Whether it has ended, with all that it had started and all that it printed read."""
        return self._ended.wait(timeout_s)

    def _set_size(self, rows: int, columns: int) -> None:
        size = (max(1, min(rows, MOST_ROWS)), max(1, min(columns, MOST_COLUMNS)))
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))

    def _hold(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path, terminal: int) -> subprocess.Popen[bytes]:
        order = {
            "argv": list(argv),
            "env": {**env, holder.MARKER: new_id("pty")},
            "cwd": str(cwd),
            "terminal": terminal,
            "grace_s": self._grace_s,
        }
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", holder.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"PATH": os.defpath},
                pass_fds=(terminal,),
                start_new_session=True,
            )
        except OSError as error:
            raise ProgramMissing(f"{argv[0]} cannot be started: {error.strerror}") from error
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(order).encode() + b"\n")
            process.stdin.flush()
        return process

    def _follow(self) -> None:
        """Reads until the holder is gone, which goes last, and then what is left."""
        gone = self._holder.stdout
        assert gone is not None
        pace = _Pace()
        with selectors.DefaultSelector() as ready:
            ready.register(self._master, selectors.EVENT_READ)
            ready.register(gone, selectors.EVENT_READ)
            hung_up = over = False
            while not over:
                wait_s = _QUIET_S if self.output.holds_back else None
                heard = [key.fileobj for key, _ in ready.select(wait_s)]
                if not heard:
                    self.output.release()
                    self._changed()
                if self._master in heard and not hung_up:
                    hung_up = self._read(pace) is False
                    if hung_up:
                        ready.unregister(self._master)
                over = gone in heard
        while self._read(pace):
            pass
        self._conclude()

    def _read(self, pace: _Pace) -> bool | None:
        """Whether there was a chunk: None when there is none now, False when nothing will ever come."""
        try:
            data = os.read(self._master, _CHUNK)
        except BlockingIOError:
            return None
        except OSError:
            # Nobody holds the other side any more.
            return False
        if not data:
            return False
        self.output.append(data)
        self._changed()
        pace.took(len(data))
        return True

    def _conclude(self) -> None:
        code = self._holder.wait()
        for pipe in (self._holder.stdin, self._holder.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()
        with self._lock:
            os.close(self._master)
            self._master = -1
        self.output.release()
        self.exit_code = code
        self._ended.set()
        self._changed()


class _Pace:
    """At most so many bytes a second are taken."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._taken = 0

    def took(self, count: int) -> None:
        self._taken += count
        if self._taken < _PACE:
            return
        time.sleep(max(0.0, self._since + _PACE_S - time.monotonic()))
        self._since, self._taken = time.monotonic(), 0
