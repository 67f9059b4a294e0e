"""What is said in sessions: read from what the real CLIs wrote, kept when their files go, found by its words."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agented.backends.contract import Kept
from agented.backends.registry import Registry
from agented.kit.clock import SetClock
from agented.kit.errors import Invalid, NotFound
from agented.sessions.model import Found, Home
from agented.sessions.reading import read_new
from agented.transcripts.keeping import Transcripts, read_words
from agented.transcripts.model import Transcript, Wanted, Whose

CAPTURES = Path(__file__).parent.parent.parent / "captures"
BACKENDS = Registry().all()
NOW = datetime(2026, 11, 24, tzinfo=UTC)
COMMAND = "echo fake-tool-ran > made-by-tool.txt && cat made-by-tool.txt"


@dataclass
class Desk:
    folder: Path
    homes: list[Home] = field(default_factory=list)
    runs: dict[str, Whose] = field(default_factory=dict)
    clock: SetClock = field(default_factory=lambda: SetClock(NOW))

    @property
    def person(self) -> Path:
        return self.folder / "home"

    def opened(self, **changes: Any) -> Transcripts:
        own = [Home(one.name, f"{one.name}:default", None) for one in BACKENDS]
        return Transcripts(
            path=self.folder / "data" / "transcripts.db",
            clock=self.clock,
            backends=lambda: BACKENDS,
            person=self.person,
            homes=lambda: [*own, *self.homes],
            whose=lambda sessions: {key: self.runs[key[1]] for key in sessions if key[1] in self.runs},
            project_of={"/home/dev/run/repo": "prj_1"}.get,
            **changes,
        )

    def write(self, session: str, *lines: dict[str, Any], home: Path | None = None) -> Path:
        """Adds lines to a session of the CLI that keeps them simplest."""
        path = (home or self.person / ".claude") / "projects" / "-repo" / f"{session}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.writelines(json.dumps({"sessionId": session, **line}) + "\n" for line in lines)
        return path


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def asked(number: int, text: str) -> dict[str, Any]:
    at = f"2026-11-20T10:{number // 60:02}:{number % 60:02}.000Z"
    return {"type": "user", "uuid": f"u{number}", "timestamp": at, "message": {"role": "user", "content": text}}


def texts(kept: Transcripts, transcript: Transcript) -> list[tuple[str, str]]:
    return [(item.kind, item.text) for item in kept.items(transcript.id, 0, 5000, 1_000_000)]


def every(kept: Transcripts, **wanted: Any) -> list[Transcript]:
    return [one for one, _, _ in kept.page(Wanted(**wanted), None, 200, 3)]


def found(kept: Transcripts, words: str) -> list[str]:
    return [one.session for one, _, _ in kept.page(Wanted(words=read_words(words)), None, 200, 3)]


def lay_out(name: str, person: Path) -> None:
    recorded = CAPTURES / name / "sessions"
    if name == "claude":
        into = person / ".claude" / "projects" / "-repo"
        into.mkdir(parents=True)
        shutil.copy(recorded / "tool.jsonl", into)
    elif name == "codex":
        into = person / ".codex" / "sessions" / "2026" / "11" / "23"
        into.mkdir(parents=True)
        shutil.copy(recorded / "rollout-2026-11-23T06-26-41-tool.jsonl", into)
    elif name == "gemini":
        into = person / ".gemini" / "tmp" / "repo" / "chats"
        into.mkdir(parents=True)
        (into.parent / ".project_root").write_text("/home/dev/run/repo")
        source = next(recorded.glob("tool.session*"))
        shutil.copy(source, into / source.name.removeprefix("tool."))
    else:
        into = person / ".local" / "share" / "opencode"
        into.mkdir(parents=True)
        with closing(sqlite3.connect(into / "opencode.db")) as conn:
            conn.executescript((recorded / "tool.db.sql").read_text())


@pytest.mark.parametrize("name", ["claude", "codex", "gemini", "opencode"])
def test_what_a_real_cli_wrote_is_read_as_a_conversation(desk: Desk, name: str) -> None:
    lay_out(name, desk.person)
    kept = desk.opened()
    kept.collect()
    (one,) = every(kept)
    assert (one.source, one.account, one.project) == (name, f"{name}:default", "prj_1")
    items = kept.items(one.id, 0, 100, 1_000_000)
    assert [item.kind for item in items] == ["asked", "called", "returned", "said"]
    assert items[0].text.strip('"') == "Run the test command. scenario=tool"
    given = json.loads(items[1].text)
    assert COMMAND in (given.get("command"), given.get("cmd"))
    assert items[1].tool_kind == "shell"
    assert (items[2].ok, items[2].call) == (True, items[1].call)
    assert "fake-tool-ran" in items[2].text
    assert items[3].text == "The command ran; done."
    assert one.title in ("Run the test command. scenario=tool", "Hello from the fake provider.")
    assert found(kept, '"command ran" done') == [one.session]


def test_what_is_added_is_read_and_nothing_twice(desk: Desk) -> None:
    path = desk.write("s", asked(1, "first words"))
    kept = desk.opened()
    assert kept.collect() == 1
    assert kept.collect() == 0
    with path.open("a") as file:
        whole = json.dumps({"sessionId": "s", **asked(2, "second words")})
        file.write(whole[:40])
        file.flush()
        kept.collect()
        (one,) = every(kept)
        assert texts(kept, one) == [("asked", "first words")]
        file.write(whole[40:] + "\n")
    kept.collect()
    assert texts(kept, one) == [("asked", "first words"), ("asked", "second words")]
    again = desk.opened()
    assert again.collect() == 0, "how far it was read is kept as well"


def test_what_the_cli_deletes_cuts_or_replaces_stays(desk: Desk) -> None:
    path = desk.write("s", asked(1, "before all"), asked(2, "in between"))
    kept = desk.opened()
    kept.collect()
    path.write_text(json.dumps({"sessionId": "s", **asked(3, "after that")}) + "\n")
    kept.collect()
    (one,) = every(kept)
    everything = [("asked", "before all"), ("asked", "in between"), ("asked", "after that")]
    assert texts(kept, one) == everything
    path.unlink()
    kept.collect()
    assert texts(kept, one) == everything
    assert found(kept, "between") == ["s"]


def test_a_copy_in_another_home_is_the_same_transcript(desk: Desk, tmp_path: Path) -> None:
    path = desk.write("s", asked(1, "once only"))
    other = tmp_path / "other"
    shutil.copytree(desk.person / ".claude", other)
    desk.homes.append(Home("claude", "claude:acc", other))
    kept = desk.opened()
    kept.collect()
    (one,) = every(kept)
    assert texts(kept, one) == [("asked", "once only")]
    assert path.exists()


def test_what_is_written_anew_is_found_by_its_new_words_only(desk: Desk) -> None:
    chats = desk.person / ".gemini" / "tmp" / "repo" / "chats"
    chats.mkdir(parents=True)
    path = chats / "session-1.jsonl"
    message = {"id": "m", "timestamp": "2026-11-20T10:00:00.000Z", "type": "gemini", "content": "elephants"}
    path.write_text(json.dumps({"sessionId": "g"}) + "\n" + json.dumps(message) + "\n")
    kept = desk.opened()
    kept.collect()
    assert found(kept, "elephants") == ["g"]
    with path.open("a") as file:
        file.write(json.dumps({**message, "content": "giraffes"}) + "\n")
    kept.collect()
    assert (found(kept, "elephants"), found(kept, "giraffes")) == ([], ["g"])
    (one,) = every(kept)
    assert texts(kept, one) == [("said", "giraffes")]


def test_a_long_file_is_read_in_pieces(desk: Desk) -> None:
    path = desk.write("s", *(asked(number, f"word{number} " + "x" * 500) for number in range(1, 3000)))
    reader = next(one.transcripts for one in BACKENDS if one.name == "claude")
    assert reader is not None
    now = path.stat()
    seen = Found(str(path), "claude", "a", Kept.LINES, now.st_size, now.st_mtime_ns, now.st_ino)
    rows, mark = read_new(seen, None, reader, 100)
    assert 0 < len(rows) <= 2999 and mark.size == -1
    kept = desk.opened()
    kept.collect()
    (one,) = every(kept)
    assert one.items == 2999
    assert kept.collect() == 0


@pytest.mark.parametrize(
    ("search", "hits"),
    [
        ("zebra", ["a"]),
        ("ZEBR", ["a"]),
        ("cafe", ["b"]),
        ('"striped zebra"', ["a"]),
        ('"zebra striped"', []),
        ("zebra café", []),
        ('zebra" OR "café', []),
        ("zebra*", ["a"]),
        ("text:zebra", []),
        ("NEAR(zebra striped)", []),
        ("C++", ["b"]),
        ("it's", ["b"]),
    ],
)
def test_words_are_found_and_nothing_in_them_is_a_command(desk: Desk, search: str, hits: list[str]) -> None:
    desk.write("a", asked(1, "A striped zebra."))
    desk.write("b", asked(1, "In the café; it's C++."))
    kept = desk.opened()
    kept.collect()
    assert found(kept, search) == hits


def test_a_search_without_a_word_is_refused() -> None:
    assert read_words("  ") == []
    with pytest.raises(Invalid) as refused:
        read_words('-> "..."')
    assert refused.value.field == "q"


def test_a_hit_tells_where_it_is(desk: Desk) -> None:
    desk.write("a", asked(1, "nothing"), asked(2, f"{'long ' * 60}the needle here{' long' * 90}"))
    kept = desk.opened()
    kept.collect()
    ((_, count, (hit,)),) = kept.page(Wanted(words=["needle"]), None, 10, 3)
    ((first, last),) = hit.marks
    assert (count, hit.seq, hit.snippet[first:last]) == (1, 2, "needle")
    assert hit.snippet.startswith("…") and hit.snippet.endswith("…") and len(hit.snippet) < 300


def test_runs_are_told_from_people_and_pages_follow_each_other(desk: Desk) -> None:
    for number in range(5):
        desk.write(f"s{number}", asked(number, f"say {number}"))
    desk.runs["s3"] = Whose("exe_1", "prj_9", "claude:acc")
    kept = desk.opened()
    kept.collect()
    assert [one.session for one in every(kept, of_runs=True)] == ["s3"]
    (run,) = every(kept, account="claude:acc")
    assert (run.execution, run.project) == ("exe_1", "prj_9")
    assert [one.session for one in every(kept, of_runs=False)] == ["s4", "s2", "s1", "s0"]
    first = kept.page(Wanted(), None, 2, 0)
    last = first[-1][0]
    rest = kept.page(Wanted(), (last.last, last.id), 10, 0)
    assert [one.session for one, _, _ in first + rest] == ["s4", "s3", "s2", "s1", "s0"]


def test_what_is_removed_does_not_come_back(desk: Desk) -> None:
    path = desk.write("s", asked(1, "a secret word"))
    kept = desk.opened()
    kept.collect()
    (one,) = every(kept)
    kept.remove(one.id)
    assert (every(kept), found(kept, "secret")) == ([], [])
    with pytest.raises(NotFound):
        kept.get(one.id)
    desk.write("s", asked(2, "more of it"))
    kept.collect()
    assert every(kept) == []
    assert path.exists(), "the CLI's own file is not ours to remove"


def test_what_is_too_old_is_let_go(desk: Desk) -> None:
    desk.write("old", {**asked(1, "long ago"), "timestamp": "2026-01-01T00:00:00.000Z"})
    desk.write("new", asked(1, "lately"))
    kept = desk.opened(days=30)
    kept.collect()
    assert [one.session for one in every(kept)] == ["new"]


@pytest.mark.parametrize(("days", "risky"), [(None, True), (30, True), (33, False), (365, False), (1, True)])
def test_what_will_be_deleted_before_it_is_kept_is_told(desk: Desk, days: int | None, risky: bool) -> None:
    path = desk.write("s", asked(1, "words"))
    age_s = 29 * 86400
    os.utime(path, (NOW.timestamp() - age_s, NOW.timestamp() - age_s))
    if days is not None:
        (desk.person / ".claude" / "settings.json").write_text(json.dumps({"cleanupPeriodDays": days}))
    off = desk.opened(keep=False)
    assert off.collect() == 0
    assert [(risk.account, risk.sessions) for risk in off.risks()] == ([("claude:default", 1)] if risky else [])
    on = desk.opened()
    on.collect()
    assert on.risks() == [], "what is kept may be deleted"


_FEEDS: list[Callable[[], Any]] = [
    lambda one=one: one.transcripts.new_reader(Path("/x/chats/s.jsonl"))  # type: ignore[misc]
    for one in BACKENDS
    if one.transcripts is not None
]
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "message",
                    "content",
                    "text",
                    "payload",
                    "role",
                    "id",
                    "timestamp",
                    "toolCalls",
                    "args",
                    "$set",
                ]
            )
            | st.text(max_size=5),
            inner
            | st.sampled_from(["user", "assistant", "response_item", "message", "tool_use", "gemini", "function_call"]),
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(value=_JSON, cut=st.integers(0, 30))
@settings(max_examples=150, deadline=None)
def test_no_line_breaks_a_reader(value: Any, cut: int) -> None:
    line = json.dumps(value).encode()
    for feed in _FEEDS:
        reader = feed()
        for torn in (line, line[: len(line) - cut], b"\xff" + line):
            reader.feed(torn, 0)
        for row in reader.rows():
            assert isinstance(row.text, str)
            row.text.encode()
        reader.state()
