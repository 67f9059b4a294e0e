"""The tools: ids, time, files, locks, the bell, text."""

from __future__ import annotations

import asyncio
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agented.kit.bus import Bus
from agented.kit.clock import from_micros, to_micros
from agented.kit.errors import CommandFailed, ProgramMissing
from agented.kit.files import FileLock, is_locked, write_atomic
from agented.kit.ids import is_id, new_id
from agented.kit.process import run
from agented.kit.text import printable


def test_ids_sort_by_their_making_and_name_their_noun() -> None:
    ids = [new_id("exe") for _ in range(1000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 1000
    assert all(is_id(text, "exe") for text in ids)


@pytest.mark.parametrize("text", ["", "exe_", "exe_../../etc/passwd", "prj_01K00000000000000000000000", "exe_x" * 9])
def test_what_is_no_id_is_refused(text: str) -> None:
    assert not is_id(text, "exe")


@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))
def test_times_come_back_from_microseconds_as_they_were(at: datetime) -> None:
    assert from_micros(to_micros(at)) == at


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        to_micros(datetime(2026, 1, 1))


def test_an_atomic_write_replaces_the_whole_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_lock_is_held_by_one_and_free_when_closed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_locked(path)
    first, second = FileLock(path), FileLock(path)
    assert first.acquire()
    assert not second.acquire()
    assert is_locked(path)
    first.close()
    assert not is_locked(path)
    second.close()


def test_a_ring_between_looking_and_waiting_is_not_missed() -> None:
    bus = Bus()
    seen = bus.count("t")
    bus.ring("t")
    assert bus.wait("t", seen, 0)
    assert not bus.wait("t", bus.count("t"), 0)


def test_a_ring_from_a_thread_wakes_a_coroutine() -> None:
    async def story() -> bool:
        bus = Bus()
        bus.attach(asyncio.get_running_loop())
        async with bus.listen(["t"]) as bell:
            threading.Thread(target=bus.ring, args=("t",)).start()
            heard = await bell.wait(5)
            return heard and not await bell.wait(0.01)

    assert asyncio.run(story())


def test_a_program_gets_only_the_environment_it_is_given() -> None:
    done = run([sys.executable, "-I", "-c", "import os; print(sorted(os.environ))"], env={"ONE": "1", "LC_CTYPE": "C"})
    assert done.text.strip() == "['LC_CTYPE', 'ONE']"


def test_a_program_that_is_missing_or_hangs_is_told() -> None:
    with pytest.raises(ProgramMissing):
        run(["/does/not/exist"], env={})
    with pytest.raises(CommandFailed, match="did not end"):
        run([sys.executable, "-c", "import time; time.sleep(60)"], env={}, timeout_s=0.2)


def test_a_folder_that_is_missing_is_not_taken_for_a_missing_program(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="folder"):
        run([sys.executable, "-V"], env={}, cwd=tmp_path / "gone")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext", "plain\ttext"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("a\x00b\rc", "a\ufffdb\ufffdc"),
        ("\u202egnp.exe", "\ufffdgnp.exe"),
    ],
)
def test_terminal_sequences_do_not_reach_a_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_descriptors_do_not_leak_into_children(tmp_path: Path) -> None:
    held = FileLock(tmp_path / "lock")
    assert held.acquire()
    code = "import os; print(len(os.listdir('/proc/self/fd')))"
    if Path("/proc/self/fd").is_dir():
        assert int(run([sys.executable, "-I", "-c", code], env={}).text) <= 4
    held.close()
