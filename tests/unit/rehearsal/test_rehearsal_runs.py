"""Every command of the rehearsal, in a real child process, read by its own translator."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agented.backends.contract import Exit, Line, Outcome, Permission, Reason, Task, Verdict
from agented.backends.events import (
    Concluded,
    Event,
    LimitReached,
    NeedsInput,
    Notice,
    Said,
    SessionStarted,
    TokensUsed,
    ToolCalled,
    ToolReturned,
    Unparsed,
)
from agented.backends.rehearsal import BACKEND
from agented.kit.process import run


@dataclass(frozen=True)
class Ran:
    stdout: bytes
    stderr: bytes
    code: int
    events: Sequence[Event]
    verdict: Verdict

    @property
    def said(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Said)]

    @property
    def middle(self) -> list[bytes]:
        """The lines between the session line and the final one."""
        return self.stdout.splitlines()[1:-1]


def task(script: str, workdir: Path, **choices: object) -> Task:
    assert BACKEND.builtin is not None
    values: dict[str, object] = {"program": BACKEND.builtin, "prompt": script, "workdir": workdir, **choices}
    return Task(**values)  # type: ignore[arg-type]  # the tests name the fields


def rehearse(script: str, workdir: Path, env: Mapping[str, str] | None = None, **choices: object) -> Ran:
    command = BACKEND.build_command(task(script, workdir, **choices))
    finished = run(
        command.argv, env={**(env or {}), **command.env}, cwd=workdir, stdin=command.stdin or b"", timeout_s=60
    )
    code = finished.code
    return read(finished.stdout, finished.stderr, code)


def read(stdout: bytes, stderr: bytes, code: int) -> Ran:
    output = BACKEND.new_output()
    lines = [Line(text) for text in stdout.decode("utf-8", "replace").split("\n")[:-1]]
    lines += [Line(text, stderr=True) for text in stderr.decode("utf-8", "replace").split("\n")[:-1]]
    events = [event for line in lines for event in output.feed(line)]
    ended = Exit(None, -code) if code < 0 else Exit(code)
    return Ran(stdout, stderr, code, events, output.verdict(ended))


@contextmanager
def started(script: str, workdir: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = BACKEND.build_command(task(script, workdir))
    with subprocess.Popen(
        list(command.argv), env=dict(command.env), cwd=workdir, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        process.stdin.write(command.stdin or b"")
        process.stdin.close()
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[bytes], wanted: bytes) -> bytes:
    """The line that holds `wanted`; fails when the output ends before it."""
    assert process.stdout is not None
    for line in process.stdout:
        if wanted in line:
            return line
    pytest.fail(f"the output ended before {wanted!r}")


def test_an_empty_script_starts_a_session_and_concludes(tmp_path: Path) -> None:
    ran = rehearse("", tmp_path)
    assert [type(event) for event in ran.events] == [SessionStarted, Concluded]
    assert ran.verdict == Verdict(Outcome.SUCCEEDED)


def test_text_is_printed_as_it_is_and_said(tmp_path: Path) -> None:
    ran = rehearse('say hello\nJust a sentence.\r\n\nsay {"a": 1}\nsay naïve ☃\n', tmp_path)
    assert ran.middle == [b"hello", b"Just a sentence.", b'{"a": 1}', "naïve ☃".encode()]
    assert ran.said == ["hello", "Just a sentence.", '{"a": 1}', "naïve ☃"]


@pytest.mark.parametrize(
    "line",
    [
        "lines many",
        "lines",
        "lines 3 4 5",
        "sleep well",
        "exit the building",
        "exit 300",
        "exit -1",
        "hang on",
        "env x",
        "tokens 1",
        "bytes zz",
        "limit soon",
        "limit 99999999999",
        "write file",
        "ask",
        "fork it",
        "logged-out again",
        "ignore-term please",
        "flood the room",
        "when A",
        "once",
        "fresh",
        "sleep ٣",
        "lines 9999999999999999999999",
    ],
)
def test_a_line_that_only_looks_like_a_command_is_said(line: str, tmp_path: Path) -> None:
    ran = rehearse(line, tmp_path)
    assert ran.said == [line]
    assert ran.verdict.outcome is Outcome.SUCCEEDED


def test_lines_are_numbered_and_stay_out_of_the_conversation(tmp_path: Path) -> None:
    ran = rehearse("lines 3\nlines 2 1\n", tmp_path)
    assert ran.middle == [b"line 1", b"line 2", b"line 3", b"line 1", b"line 2"]
    assert ran.said == []
    assert Unparsed("line 1") in ran.events


def test_a_million_lines_are_whole(tmp_path: Path) -> None:
    ran = run(BACKEND.build_command(task("lines 1000000", tmp_path)).argv, env={}, stdin=b"lines 1000000", timeout_s=60)
    assert ran.stdout.splitlines()[1:-1] == [b"line %d" % number for number in range(1, 1_000_001)]


def test_timed_lines_come_one_by_one(tmp_path: Path) -> None:
    with started("lines 1000 200", tmp_path) as process:
        read_until(process, b"line 2\n")
        assert process.poll() is None


def test_write_makes_the_file_and_is_told_as_a_tool_call(tmp_path: Path) -> None:
    ran = rehearse('write notes/a.txt he said "x" \\ y', tmp_path)
    assert (tmp_path / "notes" / "a.txt").read_text() == 'he said "x" \\ y\n'
    called, returned = ran.events[1:3]
    assert called == ToolCalled("1", "write", {"path": "notes/a.txt", "text": 'he said "x" \\ y'}, kind="edit")
    assert returned == ToolReturned("1", True, "wrote notes/a.txt")


@pytest.mark.parametrize("path", ["../out.txt", "/etc/agented-was-here", ".", "away/x", "a/../../x"])
def test_write_does_not_leave_the_workspace(path: str, tmp_path: Path) -> None:
    workdir, outside = tmp_path / "work", tmp_path / "outside"
    workdir.mkdir()
    outside.mkdir()
    (workdir / "away").symlink_to(outside)
    ran = rehearse(f"write {path} text\nsay still here", workdir)
    returned = [event for event in ran.events if isinstance(event, ToolReturned)]
    assert [event.ok for event in returned] == [False]
    assert ran.said == ["still here"]
    assert sorted(tmp_path.rglob("*")) == [outside, workdir, workdir / "away"]


def test_write_over_a_folder_fails_and_the_script_goes_on(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    ran = rehearse("write folder text", tmp_path)
    assert [event.ok for event in ran.events if isinstance(event, ToolReturned)] == [False]
    assert ran.verdict.outcome is Outcome.SUCCEEDED


def test_the_permission_read_changes_nothing(tmp_path: Path) -> None:
    ran = rehearse("write a.txt text\nonce b.txt say never", tmp_path, permission=Permission.READ)
    assert [event.ok for event in ran.events if isinstance(event, ToolReturned)] == [False]
    assert ran.said == []
    assert list(tmp_path.iterdir()) == []


def test_stderr_goes_to_stderr_and_says_nothing(tmp_path: Path) -> None:
    ran = rehearse("stderr a warning", tmp_path)
    assert ran.stderr == b"a warning\n"
    assert ran.events[-1] == Unparsed("a warning")


def test_sleep_takes_its_time(tmp_path: Path) -> None:
    before = time.monotonic()
    rehearse("sleep 0.3", tmp_path)
    assert time.monotonic() - before >= 0.3


def test_a_limit_tells_when_it_resets(tmp_path: Path) -> None:
    before = datetime.now(UTC)
    ran = rehearse("say before\nlimit 3600\nsay never", tmp_path)
    assert ran.said == ["before"]
    assert ran.verdict.outcome is Outcome.LIMITED
    assert ran.verdict.reason is Reason.USAGE_LIMIT
    assert ran.verdict.until is not None
    assert abs(ran.verdict.until - before - timedelta(hours=1)) < timedelta(seconds=30)
    assert isinstance(ran.events[-1], LimitReached)


def test_logged_out(tmp_path: Path) -> None:
    ran = rehearse("logged-out\nsay never", tmp_path)
    assert (ran.verdict.outcome, ran.verdict.reason) == (Outcome.LOGGED_OUT, Reason.BAD_CREDENTIALS)
    assert ran.said == []


def test_a_question_is_never_answered_with_yes(tmp_path: Path) -> None:
    ran = rehearse("ask Delete everything?\nwrite deleted yes", tmp_path)
    assert ran.events[-1] == NeedsInput("Delete everything?")
    assert (ran.verdict.outcome, ran.verdict.reason) == (Outcome.FAILED, Reason.NEEDS_INPUT)
    assert ran.verdict.detail == "Delete everything?"
    assert list(tmp_path.iterdir()) == []


def test_tokens_are_counted(tmp_path: Path) -> None:
    assert TokensUsed(input=1200, output=50) in rehearse("tokens 1200 50", tmp_path).events


@pytest.mark.parametrize("code", [1, 3, 70, 71, 72, 255])
def test_an_exit_code_is_a_failure_whatever_the_number(code: int, tmp_path: Path) -> None:
    ran = rehearse(f"exit {code}\nsay never", tmp_path)
    assert ran.code == code
    assert ran.verdict == Verdict(Outcome.FAILED, Reason.CLI_ERROR, f"exit code {code}")
    assert ran.said == []


def test_exit_0_concludes(tmp_path: Path) -> None:
    ran = rehearse("exit 0\nsay never", tmp_path)
    assert ran.verdict == Verdict(Outcome.SUCCEEDED)
    assert ran.said == []


def test_the_environment_is_what_was_given(tmp_path: Path) -> None:
    ran = rehearse("env", tmp_path, env={"ZED": "last one", "ALPHA": "1"}, home=tmp_path)
    lines = [line for line in ran.middle if not line.startswith(b"LC_CTYPE=")]  # the interpreter may set it itself
    assert lines == [b"ALPHA=1", b"REHEARSAL_HOME=%s" % os.fsencode(tmp_path), b"ZED=last one"]


def test_bytes_are_raw(tmp_path: Path) -> None:
    ran = rehearse("bytes 00ff 1b5b 0a", tmp_path)
    assert ran.middle == [b"\x00\xff\x1b["]


def test_a_flood_is_as_long_as_asked_and_stays_out_of_the_conversation(tmp_path: Path) -> None:
    ran = rehearse("flood 1.5", tmp_path)
    assert len(ran.middle) == 15_000
    assert {len(line) for line in ran.middle} == {99}
    assert ran.said == []


def test_a_long_line_is_one_line(tmp_path: Path) -> None:
    ran = rehearse("longline 2.5", tmp_path)
    assert [len(line) for line in ran.middle] == [2_499_999]
    assert ran.said == []


def test_a_prompt_of_many_megabytes_arrives(tmp_path: Path) -> None:
    ran = rehearse("x" * 5_000_000 + "\nsay end", tmp_path)
    assert [len(line) for line in ran.middle] == [5_000_000, 3]
    assert ran.said == ["end"]


def test_a_forked_daemon_outlives_the_program_and_holds_its_stdout(tmp_path: Path) -> None:
    with started("fork 600\nsay after", tmp_path) as process:
        line = read_until(process, b'"forked"')
        pid = int(line.rpartition(b":")[2].strip(b"}\n"))
        try:
            read_until(process, b'"done"')
            assert process.wait(20) == 0
            os.kill(pid, 0)  # raises if it is gone
            assert os.getsid(pid) not in (pid, os.getsid(0), process.pid)
            assert process.stdout is not None
            assert select.select([process.stdout], [], [], 0.1)[0] == []  # open, at no end
        finally:
            os.kill(pid, signal.SIGKILL)
        assert process.stdout.read() == b""
    assert any(isinstance(event, Notice) for event in BACKEND.new_output().feed(Line(line.decode().strip())))


def test_a_hanging_run_dies_of_sigterm_without_a_final_event(tmp_path: Path) -> None:
    with started("say ready\nhang", tmp_path) as process:
        read_until(process, b"ready")
        process.terminate()
        assert process.stdout is not None
        ran = read(process.stdout.read(), b"", process.wait(20))
    assert ran.events == []
    assert (ran.verdict.outcome, ran.verdict.reason) == (Outcome.FAILED, Reason.KILLED)


def test_sigterm_can_be_ignored(tmp_path: Path) -> None:
    with started("ignore-term\nsay ready\nlines 4 50\nsay still here", tmp_path) as process:
        read_until(process, b"ready")
        process.terminate()
        read_until(process, b"still here")
        assert process.wait(20) == 0


def test_a_reader_that_is_gone_ends_the_program(tmp_path: Path) -> None:
    with started("say ready\nflood 100000", tmp_path) as process:
        read_until(process, b"ready")
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(20) == 74


def test_a_session_has_an_id_of_its_own_and_a_resumed_one_keeps_it(tmp_path: Path) -> None:
    first, second = rehearse("", tmp_path).events[0], rehearse("", tmp_path).events[0]
    assert isinstance(first, SessionStarted)
    assert first != second
    again = rehearse('say "more"', tmp_path, resume=first.session_id, model="other")
    assert again.events[0] == SessionStarted(first.session_id, "other")
    assert again.said == ['"more"']


def test_conditions_tell_attempts_and_accounts_apart(tmp_path: Path) -> None:
    script = "when TIER=low limit 60\nfresh say first\nresumed say again\nonce .marker say once\nsay end"
    assert rehearse(script, tmp_path, env={"TIER": "low"}).verdict.outcome is Outcome.LIMITED
    assert rehearse(script, tmp_path, env={"TIER": "high"}).said == ["first", "once", "end"]
    assert rehearse(script, tmp_path, resume="abc").said == ["again", "end"]


def test_arguments_that_it_does_not_know_are_refused(tmp_path: Path) -> None:
    assert BACKEND.builtin is not None
    for arguments in (["--nonsense"], ["--permission", "all"], ["--resume"]):
        finished = run([*BACKEND.builtin, *arguments], env={}, cwd=tmp_path)
        assert finished.code == 2
        assert finished.stdout == b""
        assert finished.error_text.startswith("usage: ")


def test_it_tells_its_version(tmp_path: Path) -> None:
    assert BACKEND.builtin is not None
    assert run([*BACKEND.builtin, *BACKEND.version_args], env={}, cwd=tmp_path).text == "rehearsal 1.0\n"
    assert BACKEND.tested.holds("1.0")
