"""What a full-screen program shows, as plain text: for the few that tell something nowhere else."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from agented.kit.errors import AgentedError
from agented.kit.pty import Terminal

_ROWS, _COLUMNS = 50, 140
_LOOK_S = 0.05
_STILL_S = 0.8
_BETWEEN_S = 0.3
_END_S = 10.0
# What programs ask the terminal before they draw: where the cursor is, what it can do, its colours.
_ANSWERS: Mapping[bytes, bytes] = {
    b"\x1b[6n": b"\x1b[1;1R",
    b"\x1b[c": b"\x1b[?62;c",
    b"\x1b[>c": b"\x1b[>0;0;0c",
    b"\x1b[?u": b"\x1b[?0u",
    b"\x1b]10;?": b"\x1b]10;rgb:e0e0/e0e0/e0e0\x1b\\",
    b"\x1b]11;?": b"\x1b]11;rgb:0000/0000/0000\x1b\\",
}
_LONGEST_QUESTION = max(map(len, _ANSWERS)) - 1
_SEQUENCES = re.compile(
    rb"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[PX^_].*?\x1b\\|\x1b.", re.DOTALL
)
_BLANKS = re.compile(r"[ \t]+")


def watch_screen(
    argv: Sequence[str],
    *,
    keys: Sequence[str],
    is_done: Callable[[str], bool],
    env: Mapping[str, str],
    cwd: Path,
    limit_s: float,
) -> str:
    """Types one entry of `keys` after another, each when the screen has been still, and gives all that was drawn.

    It is text in the order of drawing, not a picture of the screen: enough to look for words that are drawn at once.
    Ends the program, and all it has started, when `is_done` holds of it, when it ends by itself, or after `limit_s`.
    Raises ProgramMissing.
    """
    terminal = Terminal(argv, env=env, cwd=cwd, rows=_ROWS, columns=_COLUMNS)
    until = time.monotonic() + limit_s
    drawn, at, left = b"", 0, list(keys)
    still_since = time.monotonic()
    try:
        while time.monotonic() < until:
            piece = terminal.output.read(at)
            if piece.data:
                _answer(terminal, drawn[-_LONGEST_QUESTION:], piece.data)
                drawn, at = drawn + piece.data, piece.end
                still_since = time.monotonic()
                if not left and is_done(_plain(drawn)):
                    break
            elif left and time.monotonic() - still_since >= _STILL_S:
                _type(terminal, left.pop(0))
                still_since = time.monotonic()
            if terminal.wait(_LOOK_S) and not terminal.output.read(at).data:
                break
    finally:
        terminal.end()
        terminal.wait(_END_S)
    return _plain(drawn)


def _type(terminal: Terminal, text: str) -> None:
    """The line's end is typed by itself: what comes at once may be taken for something pasted."""
    words, ends = text.removesuffix("\r"), text.endswith("\r")
    with suppress(AgentedError):
        terminal.write(words.encode())
        if ends:
            time.sleep(_BETWEEN_S)
            terminal.write(b"\r")


def _answer(terminal: Terminal, before: bytes, data: bytes) -> None:
    """Questions that were asked in `data`; one may have begun before it."""
    asked = before + data
    for question, answer in _ANSWERS.items():
        for _ in range(asked.count(question) - before.count(question)):
            with suppress(AgentedError):
                terminal.write(answer)


def _plain(drawn: bytes) -> str:
    return _BLANKS.sub(" ", _SEQUENCES.sub(b" ", drawn).decode("utf-8", "replace"))
