"""The kept output: whatever is printed in whatever portions, what is read is what was printed."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agented.executions.journal import Journal
from agented.executions.keeper import SEGMENT, STDERR, STDOUT, Log, Mask
from agented.executions.output import Kept, ShownLine

WRITES = st.lists(
    st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(max_size=20) | st.sampled_from([b"\n", b"a\nb\n", b"\r\n"])),
    max_size=30,
)


def write(folder: Path, writes: list[tuple[int, bytes]]) -> None:
    log = Log(str(folder), 1, 0, 0, in_line=False)
    for stream, data in writes:
        if data:
            log.append(stream, data)
    log.close()


@settings(deadline=None, max_examples=150)
@given(WRITES)
def test_each_stream_is_kept_byte_for_byte(writes: list[tuple[int, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), writes)
        with Kept(Path(name)) as kept:
            pieces = kept.pieces(0)
            for stream in (STDOUT, STDERR):
                printed = b"".join(data for where, data in writes if where == stream)
                stored = b"".join(p.data for p in pieces if p.stderr == (stream == STDERR) and not p.inserted)
                assert stored == printed


@settings(deadline=None, max_examples=150)
@given(WRITES, st.integers(1, 7))
def test_pages_of_any_size_give_every_line_once(writes: list[tuple[int, bytes]], size: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), writes)
        with Kept(Path(name)) as kept:
            raw = b"".join(kept.raw(0, kept.size()))
            expected = raw.split(b"\n")
            if expected[-1] == b"":
                expected.pop()
            assert kept.total() == len(expected)
            lines: list[ShownLine] = []
            while page := kept.lines(len(lines) + 1, size):
                lines += page
            assert [line.n for line in lines] == list(range(1, len(expected) + 1))
            assert [line.text for line in lines] == [
                line.removesuffix(b"\r").decode("utf-8", "replace") for line in expected
            ]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.text("ab\n", max_size=12), max_size=20), st.text("ab", min_size=1, max_size=3), st.booleans())
def test_a_search_finds_what_a_plain_look_finds(parts: list[str], needle: str, ignore_case: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), [(STDOUT, part.encode()) for part in parts])
        with Kept(Path(name)) as kept:
            expected = [line.n for line in kept.lines(1, 1000) if needle in line.text]
            found = kept.search(needle.upper() if ignore_case else needle, 1000, ignore_case=ignore_case)
        assert (found.lines, found.total) == (expected, len(expected))


@settings(deadline=None, max_examples=150)
@given(WRITES | st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.sampled_from([b"Error: no", b"errors\n"]))))
def test_errors_are_the_lines_on_stderr_and_those_that_speak_of_one(writes: list[tuple[int, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), writes)
        with Kept(Path(name)) as kept:
            expected = [line.n for line in kept.lines(1, 1000) if line.stderr or "Error:" in line.text]
            assert kept.errors(1000).lines == expected
            assert kept.errors(1).lines == expected[:1]
            assert kept.errors(1).capped == (len(expected) > 1)


def test_lines_and_searches_cross_the_borders_of_segments(tmp_path: Path) -> None:
    filler = b"x" * (SEGMENT // 1000 - 1) + b"\n"
    log = Log(str(tmp_path), 1, 0, 0, in_line=False)
    for n in range(2500):
        log.append(STDOUT, b"line %d|" % (n + 1) + filler)
    log.close()
    assert len(list(tmp_path.glob("out.*"))) == 3
    with Kept(tmp_path) as kept:
        assert kept.total() == 2500
        for n in (1, 999, 1000, 1001, 1998, 1999, 2000, 2500):
            assert kept.lines(n, 1)[0].text.startswith(f"line {n}|xx")
            assert kept.search(f"line {n}|", 9).lines == [n]
        assert kept.search("|xxx", 5).total == 2500


def test_a_page_of_a_log_that_grows_shows_whole_lines_only_when_asked(tmp_path: Path) -> None:
    write(tmp_path, [(STDOUT, b"one\ntwo")])
    with Kept(tmp_path) as kept:
        assert [line.text for line in kept.lines(1, 9, whole_only=True)] == ["one"]
        assert [line.text for line in kept.lines(1, 9)] == ["one", "two"]
        assert kept.lines(3, 9) == []


def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    with Kept(tmp_path / "nowhere") as kept:
        assert (kept.size(), kept.total(), kept.lines(1, 9), kept.pieces(0)) == (0, 0, [], [])
        assert kept.search("x", 9).total == 0


@given(
    st.binary(max_size=60),
    st.lists(st.integers(0, 60), max_size=6),
    st.lists(st.binary(min_size=8, max_size=12).filter(lambda text: text != b"[secret]"), min_size=1, max_size=3),
)
def test_no_cut_lets_a_secret_through(noise: bytes, cuts: list[int], secrets: list[bytes]) -> None:
    text = noise[: len(noise) // 2] + secrets[0] + noise[len(noise) // 2 :]
    mask = Mask(secrets)
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    shown = b"".join(mask.feed(text[a:b]) for a, b in pairwise(places)) + mask.end()
    whole = Mask(secrets)
    assert shown == whole.feed(text) + whole.end()
    assert secrets[0] not in shown


def test_events_are_numbered_and_read_by_number(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        assert journal.open_to_write() == 0
        assert journal.append([{"type": "said", "text": f"t{n}"} for n in range(10)]) == 10
    with Journal(tmp_path) as journal:
        assert [event["seq"] for event in journal.read(3, 4)] == [4, 5, 6, 7]
        assert journal.read(3, 4)[0]["text"] == "t3"
        assert journal.read(10, 4) == []


@pytest.mark.parametrize("torn", [1, 5, 12])
def test_a_torn_end_of_the_journal_is_dropped(tmp_path: Path, torn: int) -> None:
    with Journal(tmp_path) as journal:
        journal.open_to_write()
        journal.append([{"n": 1}, {"n": 2}])
    with (tmp_path / "events").open("ab") as file:
        file.write(b'{"n": 3, "lost'[:torn])
    with (tmp_path / "events.index").open("ab") as file:
        file.write(b"\0" * (torn % 8))
    with Journal(tmp_path) as journal:
        assert journal.open_to_write() == 2
        journal.append([{"n": 3}])
        assert [event["n"] for event in journal.read(0, 9)] == [1, 2, 3]
