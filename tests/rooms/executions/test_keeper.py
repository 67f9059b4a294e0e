"""The keeper with real processes: every byte kept, every process ended, every end told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from agented.executions import keeping
from agented.executions.output import Kept as Log
from tests.rooms.executions.conftest import Kept, wait_until


def text_of(kept: Kept) -> bytes:
    with Log(kept.log) as log:
        return b"".join(log.raw(0, log.size()))


def test_output_and_exit_code_are_kept(kept: Kept) -> None:
    kept.start("import sys; print('one'); print('two'); sys.exit(3)")
    report = kept.end()
    assert (report.code, report.signal, report.stop, report.error) == (3, None, None, None)
    assert text_of(kept) == b"one\ntwo\n"
    assert (report.lines, report.bytes) == (2, 8)


def test_death_by_signal_is_told(kept: Kept) -> None:
    kept.start("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    report = kept.end()
    assert (report.code, report.signal) == (None, signal.SIGSEGV)


def test_stdin_is_fed_and_then_at_its_end(kept: Kept) -> None:
    kept.run(
        [sys.executable, "-I", "-S", "-c", "import sys; d = sys.stdin.buffer.read(); print(len(d))"],
        stdin=b"x" * 3_000_000,
    )
    kept.end()
    assert text_of(kept) == b"3000000\n"


def test_without_a_prompt_stdin_is_empty(kept: Kept) -> None:
    kept.start("import sys; print(repr(sys.stdin.read()))")
    kept.end()
    assert text_of(kept) == b"''\n"


def test_a_child_that_does_not_read_its_stdin_is_no_fault(kept: Kept) -> None:
    kept.run([sys.executable, "-I", "-S", "-c", "print('done')"], stdin=b"x" * 3_000_000)
    assert kept.end().code == 0


def test_both_streams_are_told_apart_line_by_line(kept: Kept) -> None:
    kept.start("import os\nfor n in range(200):\n    os.write(1, b'out %d\\n' % n); os.write(2, b'err %d\\n' % n)\n")
    kept.end()
    with Log(kept.log) as log:
        lines = log.lines(1, 1000)
    assert [line.text for line in lines if not line.stderr] == [f"out {n}" for n in range(200)]
    assert [line.text for line in lines if line.stderr] == [f"err {n}" for n in range(200)]


def test_an_unfinished_line_does_not_hold_the_other_stream_back_for_long(kept: Kept) -> None:
    kept.start(
        "import os, time\n"
        "os.write(1, b'Name: '); time.sleep(0.1); os.write(2, b'warning\\n'); time.sleep(0.6); os.write(1, b'Ada\\n')\n"
    )
    kept.end()
    with Log(kept.log) as log:
        assert [line.text for line in log.lines(1, 10)] == ["Name: ", "warning", "Ada"]
        pieces = log.pieces(0)
    assert b"".join(p.data for p in pieces if not p.stderr and not p.inserted) == b"Name: Ada\n"


def test_a_missing_program_is_told(kept: Kept) -> None:
    kept.run(["/does/not/exist"])
    report = kept.end()
    assert keeping.describe_error(report, ["/does/not/exist"])[0] == "program_missing"


def test_a_program_that_cannot_be_executed_is_told(kept: Kept, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o644)
    kept.run([str(program)])
    assert keeping.describe_error(kept.end(), [str(program)])[0] == "not_executable"


def test_a_missing_folder_is_told(kept: Kept, tmp_path: Path) -> None:
    kept.run([sys.executable, "-c", ""], cwd=tmp_path / "gone")
    assert kept.end().error is not None


def test_a_stop_ends_the_whole_tree_and_says_why(kept: Kept) -> None:
    kept.start(
        "import subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        "print('up', flush=True); time.sleep(600)\n"
    )
    wait_until(lambda: text_of(kept) == b"up\n")
    assert len(keeping.processes_of(kept.attempt_id)) >= 3
    keeping.ask_to_stop(kept.folder, "cancelled", 1)
    report = kept.end()
    assert report.stop == "cancelled"
    assert keeping.processes_of(kept.attempt_id) == []


def test_a_child_that_ignores_term_is_killed_after_the_grace(kept: Kept) -> None:
    kept.start(
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)\n"
    )
    wait_until(lambda: text_of(kept) == b"up\n")
    started = time.monotonic()
    keeping.ask_to_stop(kept.folder, "cancelled", 0.5)
    report = kept.end()
    assert (report.signal, report.stop) == (signal.SIGKILL, "cancelled")
    assert time.monotonic() - started < 5


def test_last_words_within_the_grace_are_kept(kept: Kept) -> None:
    kept.start(
        "import signal, sys, time\n"
        "def bye(*_): print('bye', flush=True); sys.exit(7)\n"
        "signal.signal(signal.SIGTERM, bye); print('up', flush=True); time.sleep(600)\n"
    )
    wait_until(lambda: text_of(kept) == b"up\n")
    keeping.ask_to_stop(kept.folder, "cancelled", 5)
    report = kept.end()
    assert (report.code, text_of(kept)) == (7, b"up\nbye\n")


def test_a_stopped_process_can_be_ended(kept: Kept) -> None:
    kept.start("import os, signal, time; print('up', flush=True); time.sleep(600)")
    wait_until(lambda: text_of(kept) == b"up\n")
    leader = keeping.leader_of(kept.folder)
    assert leader is not None
    os.kill(leader, signal.SIGSTOP)
    keeping.ask_to_stop(kept.folder, "cancelled", 5)
    assert kept.end(5).signal == signal.SIGTERM


def test_a_daemon_that_left_the_group_does_not_outlive_the_run(kept: Kept) -> None:
    kept.start(
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        time.sleep(600)\n"
        "    os._exit(0)\n"
        "os.wait(); print('done')\n"
    )
    report = kept.end(10)
    assert (report.code, report.left_behind) == (0, 1)
    assert keeping.processes_of(kept.attempt_id) == []


def test_processes_born_during_the_sweep_are_ended_too(kept: Kept) -> None:
    kept.start(
        "import os, signal, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid(); signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "    for _ in range(400):\n"
        "        if os.fork() == 0:\n"
        "            time.sleep(600)\n"
        "        time.sleep(0.005)\n"
        "    os._exit(0)\n"
        "time.sleep(0.2)\n"
    )
    kept.end(20)
    assert keeping.processes_of(kept.attempt_id) == []


def test_a_run_that_takes_too_long_is_stopped(kept: Kept) -> None:
    kept.start("import time\nwhile True: print('tick', flush=True); time.sleep(0.05)", wall_s=0.5)
    assert kept.end().stop == "wall_time"


def test_a_silent_run_is_stopped(kept: Kept) -> None:
    kept.start("import time; print('up', flush=True); time.sleep(600)", silence_s=0.4)
    assert kept.end().stop == "silence"


def test_stderr_alone_counts_as_a_sign_of_life(kept: Kept) -> None:
    kept.start(
        "import sys, time\nfor _ in range(12): print('x', file=sys.stderr, flush=True); time.sleep(0.1)", silence_s=0.8
    )
    assert kept.end().stop is None


def test_too_much_output_ends_the_run_and_keeps_what_fits(kept: Kept) -> None:
    kept.start("import os\nwhile True: os.write(1, b'y' * 99 + b'\\n')", max_bytes=1_000_000)
    report = kept.end()
    assert (report.stop, report.bytes) == ("output_limit", 1_000_000)
    assert len(text_of(kept)) == 1_000_000
    assert report.discarded > 0


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_secret_cut_in_two_is_masked(kept: Kept, cut: int) -> None:
    secret = "s3cr3t-value"
    kept.start(
        "import os, time\n"
        f"os.write(1, b'a {secret[:cut]}'); time.sleep(0.02); os.write(1, b'{secret[cut:]} b\\n')\n"
        f"os.write(2, b'{secret}')\n",
        secrets=(secret,),
    )
    kept.end()
    kept_text = text_of(kept)
    assert secret.encode() not in kept_text
    assert b"a [secret] b" in kept_text


def test_the_start_of_a_secret_that_goes_on_otherwise_is_kept(kept: Kept) -> None:
    kept.start("import os; os.write(1, b's3cr3t'); os.write(1, b'-other\\n')", secrets=("s3cr3t-value",))
    kept.end()
    assert text_of(kept) == b"s3cr3t-other\n"


def test_bytes_of_any_kind_are_kept_as_they_are(kept: Kept) -> None:
    data = bytes(range(256)) * 10
    kept.start(f"import os; os.write(1, {data!r})")
    kept.end()
    assert text_of(kept) == data


def test_a_second_attempt_goes_on_in_the_same_log(kept: Kept) -> None:
    kept.start("print('first', end='')")
    kept.end()
    kept.start("print('second')", number=2)
    kept.end()
    with Log(kept.log) as log:
        assert [line.text for line in log.lines(1, 10)] == ["first", "second"]
        assert {piece.attempt for piece in log.pieces(0)} == {1, 2}


def test_a_million_lines_arrive_once_and_in_order(kept: Kept) -> None:
    kept.start(
        "import sys\n"
        "for start in range(0, 1_000_000, 1000):\n"
        "    sys.stdout.write(''.join(f'line {n}\\n' for n in range(start + 1, start + 1001)))\n"
    )
    assert kept.end(60).lines == 1_000_000
    with Log(kept.log) as log:
        assert log.total() == 1_000_000
        for first in (1, 499_990, 999_991):
            assert [line.text for line in log.lines(first, 10)] == [f"line {n}" for n in range(first, first + 10)]
            assert log.lines(first, 1)[0].n == first
        assert log.lines(1_000_001, 1) == []
        assert log.search("line 777777", 10).lines == [777_777]


def test_a_line_of_100_megabytes_is_kept_whole_and_shown_cut(kept: Kept) -> None:
    kept.start(
        "import os\nprint('before', flush=True)\n"
        "for _ in range(100): os.write(1, b'z' * 1_000_000)\n"
        "print(); print('after')"
    )
    kept.end(60)
    with Log(kept.log) as log:
        lines = log.lines(1, 10)
    assert [line.text for line in lines[::2]] == ["before", "after"]
    assert (lines[1].size, lines[1].cut, len(lines[1].text)) == (100_000_000, True, 64 * 1024)


def test_stderr_flooded_with_stdout_silent_does_not_block(kept: Kept) -> None:
    kept.start("import os\nfor _ in range(2000): os.write(2, b'e' * 9999 + b'\\n')\nos.write(1, b'done')")
    kept.end(30)
    # Two pipes have no order between them: what counts is that both are whole.
    lines = text_of(kept).split(b"\n")
    assert b"done" in lines
    assert lines.count(b"e" * 9999) == 2000


def test_the_keeper_killed_leaves_evidence_of_its_loss(kept: Kept) -> None:
    kept.start("import time; print('up', flush=True); time.sleep(600)")
    wait_until(lambda: text_of(kept) == b"up\n")
    assert kept.child is not None
    os.kill(kept.child.pid, signal.SIGKILL)
    wait_until(lambda: not keeping.is_alive(kept.folder))
    assert keeping.read_exit(kept.folder) is None
    assert keeping.end_strays(kept.attempt_id) >= 1
    assert keeping.processes_of(kept.attempt_id) == []


def test_a_stop_ordered_before_the_keeper_started_is_obeyed(kept: Kept) -> None:
    kept.folder.mkdir(parents=True)
    keeping.ask_to_stop(kept.folder, "cancelled", 0.2)
    kept.start("import time; time.sleep(600)")
    assert kept.end().stop == "cancelled"


def test_secrets_and_prompt_are_in_no_argument_and_no_file(kept: Kept) -> None:
    kept.run(
        [sys.executable, "-I", "-S", "-c", "import time; print('up', flush=True); time.sleep(600)"],
        stdin=b"the-prompt-itself",
        secrets=("the-secret-itself",),
    )
    wait_until(lambda: text_of(kept) == b"up\n")
    assert kept.child is not None
    words = " ".join(psutil.Process(kept.child.pid).cmdline())
    kept_files = b"".join(path.read_bytes() for path in kept.log.rglob("*") if path.is_file())
    for text in ("the-prompt-itself", "the-secret-itself"):
        assert text not in words
        assert text.encode() not in kept_files


def test_a_start_that_a_crash_cut_off_is_told_from_one_that_came_to_something(kept: Kept, tmp_path: Path) -> None:
    folder = tmp_path / "cut-off"
    folder.mkdir()
    # A keeper whose server died before it had given its whole order.
    booting = subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(keeping.__file__).with_name("keeper.py"))],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={keeping.MARKER: kept.attempt_id},
        cwd=folder,
        start_new_session=True,
    )
    assert keeping.has_started(folder, kept.attempt_id) is None
    booting.communicate(b'{"attempt": 1, "log')
    assert keeping.has_started(folder, kept.attempt_id) is False
    kept.start("print('one')")
    kept.end()
    assert keeping.has_started(kept.folder, kept.attempt_id) is True


def test_a_keeper_whose_server_died_before_it_was_heard_goes_on(kept: Kept, tmp_path: Path) -> None:
    folder = tmp_path / "unheard"
    folder.mkdir()
    order = {
        "attempt": 1,
        "log": str(folder),
        "folder": str(folder),
        "cwd": str(folder),
        "env": {},
        "stdin": None,
        "argv": [sys.executable, "-I", "-S", "-c", "print('one')"],
        "offset": 0,
        "line": 0,
        "in_line": False,
    }
    heard, unheard = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(keeping.__file__).with_name("keeper.py"))],
        stdin=subprocess.PIPE,
        stdout=unheard,
        env={keeping.MARKER: kept.attempt_id},
    )
    os.close(heard)
    os.close(unheard)
    process.communicate(json.dumps(order).encode())
    report = keeping.read_exit(folder)
    assert report is not None and (report.code, report.lines) == (0, 1)
