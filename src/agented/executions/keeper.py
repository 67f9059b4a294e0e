"""The keeper: a small process of its own that owns one attempt's CLI, whatever becomes of the server.

Run as a program (`python -I -S keeper.py`, standard library only) it takes one JSON order on stdin, starts the CLI in a
session of its own, appends what it prints to the execution's log, enforces the limits, ends the whole process tree,
and leaves `exit.json`. It is never a child that dies with the server. The server only follows the files:

    <execution>/out.NNNNNN     raw bytes in segments of SEGMENT bytes
    <execution>/index          RECORD for each piece: where it starts, its line, time, stream and attempt
    <attempt>/lock             held by an advisory lock for as long as the keeper lives
    <attempt>/keeper.json      pid and start time, the leader's pid
    <attempt>/control          a FIFO: one JSON line {"stop": reason} ends the attempt
    <attempt>/exit.json        how it ended; written whole, with fsync, as the last act

An index record is written before its bytes, so that a reader never attributes bytes to the wrong stream.

With a full disk the keeper stops reading until there is room again: the CLI waits on its pipe and nothing is lost.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import signal
import struct
import sys
import time
from _thread import allocate_lock, start_new_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

SEGMENT = 16 * 1024 * 1024
RECORD = struct.Struct("<QQQII")
"""offset, line (line ends before it), microseconds since the epoch, stream and flags, attempt number"""
STDOUT = 0
STDERR = 1
INSERTED = 256
"""Flag: one line end that the keeper put in, since the other stream had to go on before this one ended its line."""
MARKER = "AGENTED_ATTEMPT"

_CHUNK = 256 * 1024
_SYNC_BYTES = 1024 * 1024
_SYNC_S = 1.0
_MERGE_US = 10_000
_HOLD_S = 0.1
_HOLD_BYTES = 1024 * 1024
_FULL_S = 0.2
_MASK = b"[secret]"
_PR_SET_CHILD_SUBREAPER = 36
_F_SETPIPE_SZ = 1031
_RESTORED = ("SIGINT", "SIGHUP", "SIGPIPE", "SIGQUIT", "SIGTERM", "SIGCHLD")


def _pause() -> None:
    time.sleep(_FULL_S)


def _patiently(act: Callable[[], T], while_full: Callable[[], None]) -> T:
    """Does it as soon as the disk has room."""
    while True:
        try:
            return act()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
        while_full()


def _write_patiently(descriptor: int, data: bytes | memoryview, while_full: Callable[[], None]) -> int:
    return _patiently(lambda: os.write(descriptor, data), while_full)


class Log:
    """Appends pieces of the two streams, each line of one stream in one place as far as time allows."""

    def __init__(
        self,
        folder: str,
        attempt: int,
        offset: int,
        line: int,
        *,
        in_line: bool,
        while_full: Callable[[], None] = _pause,
    ) -> None:
        self._folder = folder
        self._while_full = while_full
        self._attempt = attempt
        self.offset = offset
        self.line = line
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._index = os.open(os.path.join(folder, "index"), flags, 0o600)
        self._segment = -1
        self._number = -1
        self._last: tuple[int, int, int] | None = None
        self._open_stream: int | None = None
        self._held: dict[int, bytearray] = {STDOUT: bytearray(), STDERR: bytearray()}
        self._held_since = 0.0
        self._unsynced = 0
        self._synced_at = time.monotonic()
        self._syncing = allocate_lock()
        if in_line:
            self._put(STDOUT | INSERTED, b"\n")

    def append(self, stream: int, data: bytes) -> None:
        if self._open_stream is not None and self._open_stream != stream:
            held = self._held[stream]
            if not held:
                self._held_since = time.monotonic()
            held += data
            if len(held) > _HOLD_BYTES:
                self._release()
            return
        self._put(stream, data)
        self._open_stream = None if data.endswith(b"\n") else stream
        if self._open_stream is None:
            self._release()

    def wait_s(self) -> float | None:
        """Seconds until `tick` has something to do, None when nothing is pending."""
        now = time.monotonic()
        waits = []
        if self._held[STDOUT] or self._held[STDERR]:
            waits.append(self._held_since + _HOLD_S - now)
        if self._unsynced:
            waits.append(self._synced_at + _SYNC_S - now)
        return max(0.0, min(waits)) if waits else None

    def tick(self) -> None:
        now = time.monotonic()
        if (self._held[STDOUT] or self._held[STDERR]) and now - self._held_since >= _HOLD_S:
            self._release()
        if self._unsynced and now - self._synced_at >= _SYNC_S:
            self._sync()

    def close(self) -> None:
        self._release()
        with self._syncing:
            if self._segment >= 0:
                os.fdatasync(self._segment)
                os.close(self._segment)
                self._segment = -1
            os.fsync(self._index)
            os.close(self._index)

    def _release(self) -> None:
        """Writes what was held back; ends the other stream's unfinished line first."""
        for stream in (STDOUT, STDERR):
            held = self._held[stream]
            if not held:
                continue
            if self._open_stream is not None and self._open_stream != stream:
                self._put(self._open_stream | INSERTED, b"\n")
            data = bytes(held)
            held.clear()
            self._put(stream, data)
            self._open_stream = None if data.endswith(b"\n") else stream

    def _put(self, kind: int, data: bytes) -> None:
        now = time.time_ns() // 1000
        last = self._last
        if last is None or last[0] != kind or now - last[1] >= _MERGE_US or self.offset - last[2] >= _CHUNK:
            self._write_whole(self._index, RECORD.pack(self.offset, self.line, now, kind, self._attempt))
            self._last = (kind, now, self.offset)
        view = memoryview(data)
        while view:
            number, inside = divmod(self.offset, SEGMENT)
            if number != self._number:
                self._open_segment(number)
            part = view[: SEGMENT - inside]
            written = _write_patiently(self._segment, part, self._while_full)
            self.offset += written
            self._unsynced += written
            view = view[written:]
        self.line += data.count(b"\n")
        if self._unsynced >= _SYNC_BYTES:
            self._sync()

    def _write_whole(self, descriptor: int, data: bytes) -> None:
        while data:
            data = data[_write_patiently(descriptor, data, self._while_full) :]

    def _open_segment(self, number: int) -> None:
        if self._segment >= 0:
            self._sync(wait=True)
            os.close(self._segment)
        path = os.path.join(self._folder, f"out.{number:06d}")
        self._segment = _patiently(
            lambda: os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), self._while_full
        )
        self._number = number

    def _sync(self, wait: bool = False) -> None:
        """Brings what was written to the disk, beside the reading: a slow disk must not slow the CLI. One at a time."""
        if self._segment < 0 or not self._syncing.acquire(wait):
            return
        self._unsynced = 0
        self._synced_at = time.monotonic()
        start_new_thread(self._sync_now, (os.dup(self._segment),))

    def _sync_now(self, segment: int) -> None:
        try:
            os.fdatasync(segment)
        finally:
            os.close(segment)
            self._syncing.release()


class Mask:
    """Replaces secrets in a stream of chunks, also when one lies across a border: a tail that may be the start of a
    secret is held back until more is known."""

    def __init__(self, needles: list[bytes]) -> None:
        self._needles = sorted(set(needles), key=len, reverse=True)
        self._tail = b""

    def feed(self, data: bytes) -> bytes:
        if not self._needles:
            return data
        data = self._replace(self._tail + data)
        keep = self._suspect(data)
        self._tail = data[len(data) - keep :]
        return data[: len(data) - keep]

    def end(self) -> bytes:
        tail, self._tail = self._replace(self._tail), b""
        return tail

    def _replace(self, data: bytes) -> bytes:
        for needle in self._needles:
            if needle in data:
                data = data.replace(needle, _MASK)
        return data

    def _suspect(self, data: bytes) -> int:
        """The length of the longest end of data that starts a secret."""
        longest = 0
        for needle in self._needles:
            start = max(0, len(data) - len(needle) + 1)
            at = data.find(needle[:1], start)
            while at >= 0:
                if len(data) - at <= longest:
                    break
                if needle.startswith(data[at:]):
                    longest = len(data) - at
                    break
                at = data.find(needle[:1], at + 1)
        return longest


def descendants(root: int) -> list[int]:
    """Living processes below `root`, from the process table; zombies do not count."""
    children: dict[int, list[int]] = {}
    for pid, parent in _process_table():
        children.setdefault(parent, []).append(pid)
    found: list[int] = []
    todo = [root]
    while todo:
        for child in children.get(todo.pop(), ()):
            found.append(child)
            todo.append(child)
    return found


def _process_table() -> list[tuple[int, int]]:
    if not os.path.isdir("/proc/self"):
        return _process_table_by_ps()
    table = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue
        if fields[0] not in (b"Z", b"X"):
            table.append((int(name), int(fields[1])))
    return table


def _process_table_by_ps() -> list[tuple[int, int]]:
    reading, writing = os.pipe()
    pid = os.posix_spawn(
        "/bin/ps",
        ["ps", "-axo", "pid=,ppid=,stat="],
        {},
        file_actions=[(os.POSIX_SPAWN_DUP2, writing, 1), (os.POSIX_SPAWN_CLOSE, reading)],
    )
    os.close(writing)
    with os.fdopen(reading) as file:
        rows = [line.split() for line in file]
    os.waitpid(pid, 0)
    return [(int(row[0]), int(row[1])) for row in rows if len(row) == 3 and row[2][0] != "Z" and int(row[0]) != pid]


class Keeper:
    def __init__(self, order: dict[str, object]) -> None:
        self._order = order
        self._folder = str(order["folder"])
        self._limits = {name: _number(order.get(name)) for name in ("wall_s", "silence_s", "max_bytes")}
        self._grace_s = _number(order.get("grace_s")) or 5.0
        secrets = order.get("secrets")
        needles = [str(secret).encode() for secret in secrets] if isinstance(secrets, list) else []
        self._masks = {STDOUT: Mask(needles), STDERR: Mask(needles)}
        begin = (_int(order["attempt"]), _int(order["offset"]), _int(order["line"]))
        self._log = Log(str(order["log"]), *begin, in_line=bool(order["in_line"]), while_full=self._while_full)
        self._poll = select.poll()
        self._pipes: dict[int, int] = {}
        self._stdin = -1
        self._to_write = memoryview(b"")
        self._leader = 0
        self._status: int | None = None
        self._stop: str | None = None
        self._killed_at: float | None = None
        self._seen = 0
        self._discarded = 0
        self._left_behind = 0
        self._cleaned = False

    def run(self) -> None:
        started = time.time()
        self._start_clock = time.monotonic()
        self._last_output = self._start_clock
        self._hear()
        try:
            self._spawn()
        except OSError as error:
            self._finish(started, {"errno": errno.errorcode.get(error.errno or 0, ""), "message": error.strerror or ""})
            return
        self._leave(
            "keeper.json", {"pid": os.getpid(), "leader": self._leader, "started_at": started, "boot": _boot_id()}
        )
        while not self._over():
            self._step()
        self._finish(started, None)

    def _hear(self) -> None:
        """Signals and the control FIFO both wake the poll."""
        wake, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._ask_to_stop("shutdown"))
        for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGQUIT):
            signal.signal(ignored, signal.SIG_IGN)
        self._wake_read = wake
        self._poll.register(wake, select.POLLIN)
        path = os.path.join(self._folder, "control")
        if not os.path.exists(path):
            os.mkfifo(path, 0o600)
        self._control = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll.register(self._control, select.POLLIN)
        if os.path.exists(os.path.join(self._folder, "stop.json")):
            self._read_stop_file()

    def _spawn(self) -> None:
        argv = [str(word) for word in _list(self._order["argv"])]
        env_order = self._order["env"]
        env = {str(k): str(v) for k, v in env_order.items()} if isinstance(env_order, dict) else {}
        stdin = self._order.get("stdin")
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        in_read = -1
        actions: list[tuple[object, ...]] = []
        if isinstance(stdin, str):
            import binascii

            self._to_write = memoryview(binascii.a2b_base64(stdin))
            in_read, self._stdin = os.pipe()
            os.set_blocking(self._stdin, False)
            self._poll.register(self._stdin, select.POLLOUT)
            actions.append((os.POSIX_SPAWN_DUP2, in_read, 0))
        else:
            actions.append((os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0))
        actions += [(os.POSIX_SPAWN_DUP2, out_write, 1), (os.POSIX_SPAWN_DUP2, err_write, 2)]
        for reading, stream in ((out_read, STDOUT), (err_read, STDERR)):
            if sys.platform == "linux":
                try:
                    fcntl.fcntl(reading, _F_SETPIPE_SZ, 1024 * 1024)
                except OSError:
                    pass  # an unprivileged user over its pipe quota keeps the default size
            self._pipes[reading] = stream
            self._poll.register(reading, select.POLLIN)
        here = os.getcwd()
        os.chdir(str(self._order["cwd"]))
        try:
            self._leader = os.posix_spawn(
                argv[0],
                argv,
                env,
                file_actions=actions,
                setsid=True,
                setsigmask=[],
                setsigdef=[getattr(signal, name) for name in _RESTORED],
            )
        finally:
            os.chdir(here)
            for descriptor in (out_write, err_write, in_read):
                if descriptor >= 0:
                    os.close(descriptor)

    def _over(self) -> bool:
        """The leader was reaped, nothing of its tree lives, and its pipes are at their end (or were given up)."""
        if self._status is None:
            return False
        if not self._cleaned:
            self._clean()
        return not self._pipes or time.monotonic() > self._drain_until

    def _step(self) -> None:
        for descriptor, happened in self._poll.poll(self._timeout_ms()):
            if descriptor in self._pipes:
                self._read(descriptor)
            elif descriptor == self._stdin:
                self._feed(happened)
            elif descriptor == self._control:
                self._obey()
            else:
                _drain(self._wake_read)
        self._reap()
        self._log.tick()
        self._enforce()

    def _while_full(self) -> None:
        """What goes on while nothing can be written: orders to stop and time limits; the silence is not the CLI's."""
        select.select([self._wake_read, self._control], [], [], _FULL_S)
        _drain(self._wake_read)
        self._last_output = time.monotonic()
        self._obey()
        self._reap()
        self._enforce()

    def _timeout_ms(self) -> int:
        waits = [1.0]
        pending = self._log.wait_s()
        if pending is not None:
            waits.append(pending)
        now = time.monotonic()
        if self._killed_at is not None and self._status is None:
            waits.append(0.05)
        if self._cleaned:
            waits.append(max(0.0, self._drain_until - now))
        for name, since in (("wall_s", self._start_clock), ("silence_s", self._last_output)):
            limit = self._limits[name]
            if limit is not None and self._stop is None:
                waits.append(max(0.0, since + limit - now))
        return int(min(waits) * 1000) + 1

    def _read(self, descriptor: int) -> None:
        stream = self._pipes[descriptor]
        data = os.read(descriptor, _CHUNK)
        if not data:
            self._poll.unregister(descriptor)
            os.close(descriptor)
            del self._pipes[descriptor]
            self._keep(stream, self._masks[stream].end())
            return
        self._last_output = time.monotonic()
        self._keep(stream, self._masks[stream].feed(data))

    def _keep(self, stream: int, data: bytes) -> None:
        limit = self._limits["max_bytes"]
        if limit is not None and self._seen + len(data) > limit:
            room = max(0, int(limit) - self._seen)
            self._discarded += len(data) - room
            data = data[:room]
            self._ask_to_stop("output_limit")
        self._seen += len(data)
        if data:
            self._log.append(stream, data)

    def _feed(self, happened: int) -> None:
        try:
            if not happened & (select.POLLERR | select.POLLHUP):
                self._to_write = self._to_write[os.write(self._stdin, self._to_write[:_CHUNK]) :]
                if self._to_write:
                    return
        except BlockingIOError:
            return
        except BrokenPipeError:
            pass  # the CLI does not read its stdin; what it does without is its verdict
        self._poll.unregister(self._stdin)
        os.close(self._stdin)
        self._stdin = -1

    def _obey(self) -> None:
        try:
            os.read(self._control, 65536)
        except BlockingIOError:
            return
        self._read_stop_file()

    def _read_stop_file(self) -> None:
        """The order to stop is a file, so that one given before the FIFO existed is obeyed too."""
        try:
            with open(os.path.join(self._folder, "stop.json")) as file:
                order = json.load(file)
        except (OSError, ValueError):
            return
        grace = _number(order.get("grace_s"))
        if grace is not None:
            self._grace_s = grace
        self._ask_to_stop(str(order.get("reason") or "cancelled"))

    def _ask_to_stop(self, reason: str) -> None:
        if self._stop is not None or self._status is not None:
            return
        self._stop = reason
        self._killed_at = time.monotonic()
        self._signal_tree(signal.SIGTERM)

    def _signal_tree(self, number: int) -> None:
        """Everything below the keeper: tools lead sessions of their own, so the leader's group is not the tree."""
        for pid in descendants(os.getpid()):
            _kill(pid, number)
            if number == signal.SIGTERM:
                _kill(pid, signal.SIGCONT)

    def _enforce(self) -> None:
        now = time.monotonic()
        wall, silence = self._limits["wall_s"], self._limits["silence_s"]
        if self._stop is None and self._status is None:
            if wall is not None and now - self._start_clock >= wall:
                self._ask_to_stop("wall_time")
            elif silence is not None and now - self._last_output >= silence:
                self._ask_to_stop("silence")
        if self._killed_at is not None and self._status is None and now - self._killed_at >= self._grace_s:
            self._signal_tree(signal.SIGKILL)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._leader:
                self._status = status

    def _clean(self) -> None:
        """After the leader: daemons that left the group are asked, then killed, until none is left."""
        until = time.monotonic() + (1.0 if self._stop is None else self._grace_s)
        asked: set[int] = set()
        while True:
            self._reap()
            living = descendants(os.getpid())
            if not living:
                break
            if self._stop is None:
                self._left_behind = max(self._left_behind, len(living))
            over = time.monotonic() >= until
            for pid in living:
                if over:
                    _kill(pid, signal.SIGKILL)
                elif pid not in asked:
                    asked.add(pid)
                    _kill(pid, signal.SIGTERM)
                    _kill(pid, signal.SIGCONT)
            self._read_what_is_there(0.02)
        self._cleaned = True
        self._drain_until = time.monotonic() + 2.0

    def _read_what_is_there(self, wait_s: float) -> None:
        for descriptor, happened in self._poll.poll(int(wait_s * 1000)):
            if descriptor in self._pipes:
                self._read(descriptor)
            elif descriptor == self._stdin:
                self._feed(happened)
            elif descriptor == self._control:
                self._obey()
            else:
                _drain(self._wake_read)
        self._log.tick()

    def _finish(self, started: float, error: dict[str, str] | None) -> None:
        for stream, mask in self._masks.items():
            if stream in self._pipes.values():
                self._keep(stream, mask.end())
        self._log.close()
        status = self._status
        signalled = status is not None and os.WIFSIGNALED(status)
        self._leave(
            "exit.json",
            {
                "code": os.WEXITSTATUS(status) if status is not None and not signalled else None,
                "signal": os.WTERMSIG(status) if status is not None and signalled else None,
                "stop": self._stop,
                "error": error,
                "leader": self._leader,
                "started_at": started,
                "ended_at": time.time(),
                "offset": self._log.offset,
                "lines": self._log.line,
                "bytes": self._seen,
                "discarded": self._discarded,
                "left_behind": self._left_behind,
            },
        )

    def _leave(self, name: str, value: dict[str, object]) -> None:
        path = os.path.join(self._folder, name)
        _patiently(lambda: _write_atomic(path, value), self._while_full)


def _kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _drain(descriptor: int) -> None:
    try:
        while os.read(descriptor, 4096):
            pass
    except BlockingIOError:
        return


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _int(value: object) -> int:
    if not isinstance(value, int):
        raise ValueError(f"not a whole number: {value!r}")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise ValueError(f"not a list: {value!r}")
    return value


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


def _write_atomic(path: str, value: dict[str, object]) -> None:
    temporary = path + ".new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        data = json.dumps(value).encode()
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(temporary, path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def _adopt_orphans() -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def main() -> None:
    order = json.loads(sys.stdin.buffer.read())
    lock = os.open(os.path.join(str(order["folder"]), "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        os.write(1, b"k")
    except BrokenPipeError:
        pass  # the server died meanwhile; what it ordered is done all the same
    _adopt_orphans()
    Keeper(order).run()


if __name__ == "__main__":
    main()
