"""The rehearsal's program: reads a script on stdin and does what it says, one command a line.

Started for every execution of every test and demo, so it imports little, and late. It stands alone: run by
`python -I -S program.py`, it imports nothing of Agented. What each command does is said at its function; a line that
is no command, or whose arguments do not fit, is said as it stands.

Ordinary text goes to stdout as it is. What has a meaning is a JSON line whose first key is "rehearsal".
"""

import os
import sys
import time

VERSION = "1.0"
USAGE = "usage: program.py [--version] [--permission read|edit|full] [--model NAME] [--resume ID]  < SCRIPT"

BAD_USAGE, LIMITED, LOGGED_OUT, NEEDS_INPUT = 2, 70, 71, 72
OUTPUT_GONE = 74

FLOOD_LINE = b"flood " + b"." * 93 + b"\n"
FLOOD_BLOCK = FLOOD_LINE * 10_000
LINES_BLOCK = 20_000

ESCAPES = {number: f"\\u{number:04x}" for number in range(32)} | {34: '\\"', 92: "\\\\", 127: "\\u007f"}


class Ended(Exception):
    """The script asked for the end; carries the exit code."""

    def __init__(self, code: int) -> None:
        self.code = code


class Misfit(Exception):
    """The line began like a command but its arguments do not fit."""


class Rehearsal:
    def __init__(self, permission: str, resumed: bool) -> None:
        self.permission = permission
        self.resumed = resumed
        self.calls = 0

    def perform(self, line: str) -> None:
        word, _, rest = line.strip().partition(" ")
        command = COMMANDS.get(word)
        try:
            if command is None:
                raise Misfit
            command(self, rest)
        except Misfit:
            print_text(line)

    def say(self, text: str) -> None:
        """say TEXT"""
        print_text(text)

    def lines(self, rest: str) -> None:
        """lines N [EVERY_MS]: `line 1` … `line N`, as fast as possible or one each EVERY_MS."""
        words = split(rest, 1, 2)
        count = whole(words[0])
        if len(words) == 2:
            every_s = seconds(words[1]) / 1000
            for number in range(1, count + 1):
                print_text(f"line {number}")
                time.sleep(every_s)
            return
        for first in range(1, count + 1, LINES_BLOCK):
            numbers = range(first, min(first + LINES_BLOCK, count + 1))
            write_all(1, b"line " + "\nline ".join(map(str, numbers)).encode() + b"\n")

    def write(self, rest: str) -> None:
        """write PATH TEXT: a file inside the working folder; refused outside of it and with permission read."""
        path, _, text = rest.partition(" ")
        if not path or not text:
            raise Misfit
        self.calls += 1
        call = str(self.calls)
        print_event("tool_called", id=call, tool="write", path=path, text=text)
        refusal = self.put(path, text)
        print_event("tool_returned", id=call, ok=not refusal, output=refusal or f"wrote {path}")

    def put(self, path: str, text: str, flags: int = os.O_TRUNC) -> str:
        """Why the file was not written; empty when it was."""
        if self.permission == "read":
            return "refused: the permission is read"
        here = os.path.realpath(os.getcwd())
        target = os.path.realpath(path.replace("\0", ""))
        if os.path.commonpath([here, target]) != here or target == here:
            return "refused: the path leaves the working folder"
        try:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flags, 0o644)
            try:
                write_all(descriptor, text.encode("utf-8", "replace") + b"\n")
            finally:
                os.close(descriptor)
        except OSError as error:
            return f"failed: {error.strerror}"
        return ""

    def sleep(self, rest: str) -> None:
        """sleep SECONDS"""
        time.sleep(seconds(rest))

    def stderr(self, text: str) -> None:
        """stderr TEXT"""
        write_all(2, text.encode("utf-8", "replace") + b"\n")

    def limit(self, rest: str) -> None:
        """limit SECONDS: the account's limit is reached and resets in SECONDS; ends the program."""
        resets = time.time() + seconds(rest)
        try:
            date = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(resets))
        except (OverflowError, ValueError, OSError):
            raise Misfit from None
        print_event("limit", resets_at=f"{date}.{int(resets % 1 * 1000):03d}Z")
        raise Ended(LIMITED)

    def used(self, rest: str) -> None:
        """used PERCENT: so much of the account's window of five hours is used; without end or reset."""
        percent = whole(rest)
        if percent > 100:
            raise Misfit
        print_event("used", percent=percent)

    def logged_out(self, rest: str) -> None:
        """logged-out: the account must sign in again; ends the program."""
        alone(rest)
        print_event("logged_out")
        raise Ended(LOGGED_OUT)

    def hang(self, rest: str) -> None:
        """hang: waits for ever, silent"""
        alone(rest)
        while True:
            time.sleep(3600)

    def flood(self, rest: str) -> None:
        """flood MEGABYTES: lines of 100 bytes as fast as they are taken."""
        count = int(seconds(rest) * 10_000)
        for _ in range(count // 10_000):
            write_all(1, FLOOD_BLOCK)
        write_all(1, FLOOD_LINE * (count % 10_000))

    def longline(self, rest: str) -> None:
        """longline MEGABYTES: one line of that many bytes, its line end included."""
        left = max(0, int(seconds(rest) * 1_000_000) - 1)
        block = b"x" * 1_000_000
        while left > 0:
            write_all(1, block[:left])
            left -= len(block)
        write_all(1, b"\n")

    def raw(self, rest: str) -> None:
        """bytes HEX: these bytes on stdout, nothing added."""
        try:
            data = bytes.fromhex(rest)
        except ValueError:
            raise Misfit from None
        write_all(1, data)

    def fork(self, rest: str) -> None:
        """fork SECONDS: leaves a daemon in a session of its own that keeps stdout open; the script goes on."""
        nap_s = seconds(rest)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.setsid()
            daemon = os.fork()
            if daemon == 0:
                os.close(reading)
                os.close(writing)
                time.sleep(nap_s)
            else:
                os.write(writing, str(daemon).encode())
            os._exit(0)
        os.close(writing)
        os.waitpid(child, 0)
        daemon_pid = int(os.read(reading, 20))
        os.close(reading)
        print_event("forked", pid=daemon_pid)

    def ignore_term(self, rest: str) -> None:
        """ignore-term: SIGTERM does nothing from here on."""
        alone(rest)
        import signal

        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def ask(self, question: str) -> None:
        """ask QUESTION: asks a person. Whatever comes back is never taken for a yes; ends the program."""
        if not question:
            raise Misfit
        print_event("needs_input", question=question)
        read_some()
        raise Ended(NEEDS_INPUT)

    def env(self, rest: str) -> None:
        """env: prints the environment, sorted."""
        alone(rest)
        write_all(1, b"".join(b"%s=%s\n" % pair for pair in sorted(os.environb.items())))

    def tokens(self, rest: str) -> None:
        """tokens IN OUT [USD]: tokens used, and what they cost."""
        words = split(rest, 2, 3)
        cost = {"cost_usd": words[2]} if len(words) == 3 and seconds(words[2]) >= 0 else {}
        print_event("tokens", input=whole(words[0]), output=whole(words[1]), **cost)

    def exit(self, rest: str) -> None:
        """exit N: ends at once with code N; the final event is printed for 0 only."""
        code = whole(rest)
        if code > 255:
            raise Misfit
        raise Ended(code)

    def when(self, rest: str) -> None:
        """when NAME=VALUE COMMAND: only if the environment says so; tells accounts apart by their variables."""
        condition, _, command = rest.partition(" ")
        name, equals, value = condition.partition("=")
        if not name or not equals or not command:
            raise Misfit
        if os.environ.get(name) == value:
            self.perform(command)

    def fresh(self, command: str) -> None:
        """fresh COMMAND: only in a session that was not resumed."""
        if not command:
            raise Misfit
        if not self.resumed:
            self.perform(command)

    def resume(self, command: str) -> None:
        """resumed COMMAND: only in a resumed session."""
        if not command:
            raise Misfit
        if self.resumed:
            self.perform(command)

    def once(self, rest: str) -> None:
        """once PATH COMMAND: only if PATH can be made new in the working folder; later attempts there skip it."""
        path, _, command = rest.partition(" ")
        if not path or not command:
            raise Misfit
        if not self.put(path, "", os.O_EXCL):
            self.perform(command)


COMMANDS = {
    "say": Rehearsal.say,
    "lines": Rehearsal.lines,
    "write": Rehearsal.write,
    "sleep": Rehearsal.sleep,
    "stderr": Rehearsal.stderr,
    "limit": Rehearsal.limit,
    "used": Rehearsal.used,
    "logged-out": Rehearsal.logged_out,
    "hang": Rehearsal.hang,
    "flood": Rehearsal.flood,
    "longline": Rehearsal.longline,
    "bytes": Rehearsal.raw,
    "fork": Rehearsal.fork,
    "ignore-term": Rehearsal.ignore_term,
    "ask": Rehearsal.ask,
    "env": Rehearsal.env,
    "tokens": Rehearsal.tokens,
    "exit": Rehearsal.exit,
    "when": Rehearsal.when,
    "fresh": Rehearsal.fresh,
    "resumed": Rehearsal.resume,
    "once": Rehearsal.once,
}


def split(rest: str, least: int, most: int) -> "list[str]":
    words = rest.split()
    if not least <= len(words) <= most:
        raise Misfit
    return words


def alone(rest: str) -> None:
    if rest:
        raise Misfit


def whole(word: str) -> int:
    # isdecimal alone also takes digits of other scripts, and int() limits how long a number may be.
    if not (word.isascii() and word.isdecimal() and len(word) <= 15):
        raise Misfit
    return int(word)


def seconds(word: str) -> float:
    """A number such as 2 or 0.25, not negative, at most a thousand million."""
    if not word.replace(".", "", 1).isdecimal() or not word.isascii():
        raise Misfit
    number = float(word)
    if number > 1e9:
        raise Misfit
    return number


def print_text(text: str) -> None:
    write_all(1, text.encode("utf-8", "replace") + b"\n")


def print_event(kind: str, **values: "str | int | None") -> None:
    pairs = [f'"{name}":{as_json(value)}' for name, value in {"rehearsal": kind, **values}.items()]
    print_text("{" + ",".join(pairs) + "}")


def as_json(value: "str | int | None") -> str:
    """Written by hand because importing json takes longer than the rest of the start."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return f'"{value.translate(ESCAPES)}"'


def write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def read_some() -> bytes:
    try:
        return os.read(0, 1 << 20)
    except OSError:
        return b""


def read_script() -> str:
    parts = []
    while part := read_some():
        parts.append(part)
    return b"".join(parts).decode("utf-8", "replace")


def new_session_id() -> str:
    """A random UUID (version 4)."""
    raw = bytearray(os.urandom(16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    text = raw.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def options(arguments: "list[str]") -> "dict[str, str]":
    found = {"--permission": "edit"}
    rest = iter(arguments)
    for name in rest:
        value = next(rest, None)
        if name not in ("--permission", "--model", "--resume") or value is None:
            raise ValueError
        found[name] = value
    if found["--permission"] not in ("read", "edit", "full"):
        raise ValueError
    return found


def run(chosen: "dict[str, str]") -> int:
    resumed = chosen.get("--resume")
    print_event("session", id=resumed or new_session_id(), model=chosen.get("--model", "rehearsal"))
    rehearsal = Rehearsal(chosen["--permission"], resumed is not None)
    try:
        for line in read_script().split("\n"):
            if line.strip():
                rehearsal.perform(line.rstrip("\r"))
    except Ended as ended:
        if ended.code != 0:
            return ended.code
    print_event("done")
    return 0


def main(arguments: "list[str]") -> int:
    if arguments == ["--version"]:
        print_text(f"rehearsal {VERSION}")
        return 0
    try:
        chosen = options(arguments)
    except ValueError:
        write_all(2, f"{USAGE}\n".encode())
        return BAD_USAGE
    try:
        return run(chosen)
    except BrokenPipeError:
        return OUTPUT_GONE


if __name__ == "__main__":
    # Past the interpreter's own clean-up, which takes as long again as the script.
    os._exit(main(sys.argv[1:]))
