"""A program in a pseudo terminal: nothing of its output is lost, nothing of it is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agented.kit.errors import Conflict
from agented.kit.pty import KEPT, Scrollback, Terminal

ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
SECRET = "a-secret-of-the-account"


def until(holds: Callable[[], Any], timeout_s: float = 15) -> Any:
    end = time.monotonic() + timeout_s
    while not (value := holds()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)
    return value


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def now(script: str, **more: Any) -> Terminal:
        opened.append(Terminal(["/bin/sh", "-c", script], **{"env": ENV, "cwd": tmp_path, **more}))
        return opened[-1]

    yield now
    for one in opened:
        one.end()
        assert one.wait(15)


def said(terminal: Terminal) -> str:
    return terminal.output.read(0).data.decode()


def marked(word: str) -> list[psutil.Process]:
    """Living processes with this word among their arguments."""
    return [
        one
        for one in psutil.process_iter(["cmdline", "status"])
        if word in (one.info["cmdline"] or []) and one.info["status"] != psutil.STATUS_ZOMBIE
    ]


def test_a_program_has_a_terminal_of_its_own_with_a_size(start: Callable[..., Terminal]) -> None:
    terminal = start("test -t 0 && test -t 1 && tty </dev/tty && stty size; read x; stty size; exit 3", columns=120)
    until(lambda: "30 120" in said(terminal))
    terminal.resize(41, 90)
    terminal.write(b"\r")
    assert terminal.wait(15)
    assert terminal.exit_code == 3
    assert said(terminal).endswith("41 90\r\n")


def test_nothing_of_a_long_output_is_lost_and_the_environment_is_built(start: Callable[..., Terminal]) -> None:
    terminal = start("env; i=0; while [ $i -lt 9000 ]; do echo line $i; i=$((i+1)); done")
    got, at = b"", 0
    while True:
        ended = terminal.wait(0.01)
        piece = terminal.output.read(at)
        assert piece.offset == at
        got, at = got + piece.data, piece.end
        if ended and not piece.data:
            break
    before, _, lines = got.decode().partition("line 0\r\n")
    assert lines.split("\r\n")[:-1] == [f"line {number}" for number in range(1, 9000)]
    assert {line.partition("=")[0] for line in before.split()} <= {
        "PATH",
        "LANG",
        "PWD",
        "AGENTED_TERMINAL",
        "_",
        "SHLVL",
        "OLDPWD",
    }
    assert terminal.exit_code == 0


def test_a_flood_is_held_back_and_what_is_kept_is_bounded(start: Callable[..., Terminal]) -> None:
    begun = time.monotonic()
    terminal = start("yes")
    until(lambda: terminal.output.end > KEPT)
    terminal.end()
    assert terminal.wait(15)
    assert terminal.output.end < (time.monotonic() - begun + 2) * 1024 * 1024
    piece = terminal.output.read(0)
    assert 0 < len(piece.data) <= KEPT
    assert piece.end == terminal.output.end


def test_the_end_takes_the_whole_tree(start: Callable[..., Terminal], tmp_path: Path) -> None:
    word = f"tree-of-{os.getpid()}-{tmp_path.name}"
    sleep = f"{sys.executable} -c 'import time; time.sleep(300)' {word}"
    terminal = start(f"trap '' HUP TERM; setsid {sleep} & (setsid setsid {sleep} &) ; {sleep}; {sleep}", grace_s=0.3)
    until(lambda: len(marked(word)) >= 3)
    terminal.end()
    assert terminal.wait(15)
    assert marked(word) == []
    assert not psutil.pid_exists(terminal.pid)
    with pytest.raises(Conflict):
        terminal.write(b"x")


def test_what_a_program_leaves_behind_ends_with_it(start: Callable[..., Terminal], tmp_path: Path) -> None:
    word = f"left-by-{os.getpid()}-{tmp_path.name}"
    terminal = start(f"setsid {sys.executable} -c 'import time; time.sleep(300)' {word} & sleep 0.3; exit 5")
    assert terminal.wait(15)
    assert terminal.exit_code == 5
    assert marked(word) == []


def test_a_killed_server_leaves_nothing_behind(tmp_path: Path) -> None:
    word = f"orphan-of-{os.getpid()}-{tmp_path.name}"
    script = f"""
        import sys, time
        from pathlib import Path
        from agented.kit.pty import Terminal
        script = "trap '' HUP; setsid {sys.executable} -c 'import time; time.sleep(300)' {word} & wait"
        Terminal(["/bin/sh", "-c", script], env={ENV!r}, cwd=Path("/"))
        time.sleep(300)
    """
    server = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], env=ENV)
    until(lambda: len(marked(word)) == 1)
    server.kill()
    server.wait()
    until(lambda: marked(word) == [])


def test_a_program_that_is_not_there_is_told_in_the_terminal(tmp_path: Path) -> None:
    terminal = Terminal([str(tmp_path / "nothing")], env=ENV, cwd=tmp_path)
    assert terminal.wait(15)
    assert terminal.exit_code == 127
    assert "No such file" in said(terminal)


def test_secrets_are_starred_also_those_that_come_to_be_known(start: Callable[..., Terminal]) -> None:
    terminal = start(f"printf '%s' {SECRET[:9]}; sleep 0.02; echo '{SECRET[9:]} and another-secret'", secrets=[SECRET])
    assert terminal.wait(15)
    assert said(terminal) == f"{'*' * len(SECRET)} and another-secret\r\n"
    terminal.output.mask(["another-secret"])
    assert said(terminal) == f"{'*' * len(SECRET)} and {'*' * 14}\r\n"


def test_what_looks_like_the_begin_of_a_secret_is_shown_after_a_moment(start: Callable[..., Terminal]) -> None:
    terminal = start(f"printf '%s' {SECRET[:5]}; sleep 30", secrets=[SECRET])
    until(lambda: said(terminal) == SECRET[:5])


@given(st.lists(st.binary(max_size=40), max_size=12), st.integers(1, 60))
def test_the_scrollback_gives_its_last_bytes_at_their_offsets(chunks: list[bytes], keep: int) -> None:
    kept, whole = Scrollback(keep), b""
    for chunk in chunks:
        kept.append(chunk)
        whole += chunk
        piece = kept.read(0)
        assert piece.data == whole[-keep:]
        assert piece.end == kept.end == len(whole)
        middle = kept.read(len(whole) - 1)
        assert middle.data == whole[middle.offset :]


@given(st.integers(1, len(SECRET) - 1), st.integers(1, len(SECRET) - 1), st.text("as-", max_size=20))
def test_no_cut_of_a_secret_is_ever_shown(first: int, second: int, before: str) -> None:
    kept = Scrollback()
    kept.mask([SECRET])
    text = before + SECRET + "!"
    cuts = sorted({len(before) + first, len(before) + second})
    shown = b""
    for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        kept.append(text[begin:end].encode())
        shown += kept.read(len(shown)).data
    assert shown.decode() == before + "*" * len(SECRET) + "!"
