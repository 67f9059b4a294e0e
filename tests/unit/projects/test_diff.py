from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agented.projects.diff import read_list, read_patch
from agented.projects.model import FileStatus

OLD, NEW, NONE = "a" * 40, "b" * 40, "0" * 40


def test_an_empty_difference_is_empty() -> None:
    assert read_list(b"") == []
    assert read_patch(b"") == {}


def test_raw_records_and_counts_are_joined_in_their_order() -> None:
    output = (
        f":100644 100755 {OLD} {NEW} M\0one\n\ttwo\0"
        f":100644 100644 {OLD} {OLD} R100\0from\0to\0"
        f":000000 100644 {NONE} {NEW} A\0:odd\0"
        "3\t4\tone\n\ttwo\0"
        "0\t0\t\0from\0to\0"
        "-\t-\t:odd\0"
    ).encode()
    modified, renamed, binary = read_list(output)
    assert (modified.path, modified.additions, modified.deletions) == (b"one\n\ttwo", 3, 4)
    assert (modified.old_mode, modified.new_mode) == ("100644", "100755")
    assert (renamed.status, renamed.old_path, renamed.path) == (FileStatus.RENAMED, b"from", b"to")
    assert (binary.path, binary.additions) == (b":odd", None)


def patch(body: str, old: str = OLD, new: str = NEW) -> bytes:
    head = f"diff --git a/x b/x\nindex {old}..{new} 100644\n--- a/x\n+++ b/x\n"
    return (head + body).encode("utf-8", "surrogateescape")


def test_lines_that_look_like_headers_are_content() -> None:
    body = "@@ -1,2 +1,3 @@ def f():\n-diff --git a/y b/y\n+index 0..1\n+--- a\n+@@ -1 +1 @@\n \n"
    (hunk,) = read_patch(patch(body))[(OLD, NEW)].hunks
    assert hunk.heading == "def f():"
    assert [line.kind + line.text for line in hunk.lines] == [
        "-diff --git a/y b/y",
        "+index 0..1",
        "+--- a",
        "+@@ -1 +1 @@",
        " ",
    ]


def test_two_files_and_a_binary_between() -> None:
    third = "c" * 40
    output = (
        patch("@@ -1 +1 @@\n-a\n+b\n\\ No newline at end of file\n")
        + patch("Binary files a/x and b/x differ\n", NEW, third)
        + patch("@@ -0,0 +1,2 @@\n+a\n+b\n", NONE, NEW)
    )
    found = read_patch(output)
    assert [line.no_newline for line in found[(OLD, NEW)].hunks[0].lines] == [False, True]
    assert found[(NEW, third)].hunks == ()
    assert (found[(NONE, NEW)].hunks[0].old_start, found[(NONE, NEW)].hunks[0].new_lines) == (0, 2)


def test_a_patch_that_is_cut_off_gives_what_it_has() -> None:
    (hunk,) = read_patch(patch("@@ -1,9 +1,9 @@\n a\n-b"))[(OLD, NEW)].hunks
    assert [line.text for line in hunk.lines] == ["a", "b"]


@pytest.mark.parametrize("text", ["x\r", "\x0c", "tab\t", "größe", "\udcff"])
def test_content_is_kept_but_for_bytes_that_are_no_text(text: str) -> None:
    (hunk,) = read_patch(patch(f"@@ -0,0 +1 @@\n+{text}\n"))[(OLD, NEW)].hunks
    assert hunk.lines[0].text == text.replace("\udcff", "\ufffd")


_LINE = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=20)


@given(st.lists(st.tuples(st.sampled_from(" +-"), _LINE), min_size=1, max_size=30))
def test_every_hunk_is_read_back_as_it_was_written(lines: list[tuple[str, str]]) -> None:
    old = sum(kind != "+" for kind, _ in lines)
    new = sum(kind != "-" for kind, _ in lines)
    body = f"@@ -1,{old} +1,{new} @@\n" + "".join(f"{kind}{text}\n" for kind, text in lines)
    (hunk,) = read_patch(patch(body) + patch("@@ -1 +1 @@\n-x\n+y\n", NEW, OLD))[(OLD, NEW)].hunks
    assert [(line.kind, line.text) for line in hunk.lines] == lines


@given(st.binary(max_size=300))
@example(b"\\ No newline")
@example(b"@@ -1,0 +1,0 @@\n\\")
def test_rubbish_is_never_an_error_of_the_patch_reader(rubbish: bytes) -> None:
    read_patch(rubbish)
    read_patch(patch("@@ -1,2 +1,2 @@\n") + rubbish)
