"""Session files that change are heard of, and only they are looked at."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agented.backends.registry import Registry
from agented.sessions.model import Found
from agented.sessions.reading import Finder
from agented.sessions.watching import Changes, Watching
from tests.e2e.served import wait_for
from tests.rooms.transcripts.test_keeping import Desk, asked, every, texts

BACKENDS = {one.name: one for one in Registry().all()}


@contextmanager
def watched(*folders: Path) -> Iterator[Callable[[], set[str] | None]]:
    """Gives what changed since it was asked last."""
    watching = Watching(folders=lambda: folders)
    changes = watching.add(lambda: None)
    thread = threading.Thread(target=watching.run)
    thread.start()
    try:
        yield changes.take
    finally:
        watching.stop()
        thread.join(10)
        assert not thread.is_alive()


def test_what_changes_is_told_by_its_path(tmp_path: Path) -> None:
    with watched(tmp_path, tmp_path / "missing") as take:
        heard: set[str] = set()

        def told() -> bool:
            (tmp_path / "file").write_text("x")
            heard.update(take() or ())
            return str(tmp_path / "file") in heard

        wait_for(told, 20, "the change")


def test_a_session_that_goes_on_is_read_without_being_asked_for(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    path = desk.write("s", asked(1, "before"))
    kept = desk.opened()
    watching = Watching(folders=lambda: [desk.person / ".claude" / "projects"])
    kept.changes = watching.add(kept.hear)
    threads = [threading.Thread(target=loop) for loop in (watching.run, kept.run)]
    try:
        for thread in threads:
            thread.start()
        (one,) = wait_for(lambda: every(kept), 20)
        number = 1

        def told() -> bool:
            nonlocal number
            number += 1
            desk.write("s", asked(number, "after"))
            return len(texts(kept, one)) > 1

        wait_for(told, 20, "what was added")
    finally:
        for part in (watching, kept):
            part.stop()
        for thread in threads:
            thread.join(10)
    assert path.exists()


def test_only_what_changed_is_looked_at(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    first, second = desk.write("a", asked(1, "one")), desk.write("b", asked(1, "two"))
    kept = desk.opened()
    kept.changes = Changes(lambda: None)
    assert kept.collect() == 2
    for number, path in enumerate((first, second)):
        desk.write(path.stem, asked(2 + number, "more"))
    kept.changes.put([str(first), str(tmp_path / "elsewhere.jsonl"), str(first.parent / "gone.jsonl")])
    assert kept.collect(whole=False) == 1
    assert kept.collect(whole=False) == 0
    assert kept.collect() == 1, "the other one is found by looking"
    kept.changes.lose()
    desk.write("b", asked(5, "and more"))
    assert kept.collect(whole=False) == 1, "what may have been missed is looked for"


@pytest.mark.parametrize(
    ("name", "path", "seen"),
    [
        ("claude", ".claude/projects/-x/s.jsonl", True),
        ("claude", ".claude/projects/-x/s/subagents/agent-1.jsonl", True),
        ("claude", ".claude/projects/-x/s.txt", False),
        ("claude", ".claude/history.jsonl", False),
        ("gemini", ".gemini/tmp/h/chats/session-1.jsonl", True),
        ("gemini", ".gemini/tmp/h/logs.json", False),
        ("opencode", ".local/share/opencode/opencode.db", True),
        ("opencode", ".local/share/opencode/inner/opencode.db", False),
    ],
)
def test_a_changed_file_is_one_that_looking_would_find(tmp_path: Path, name: str, path: str, seen: bool) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    reader = BACKENDS[name].sessions
    assert reader is not None
    finder = Finder(reader.own_places(tmp_path), name, "a")
    names: Callable[[list[Found]], list[Any]] = lambda found: [one.path for one in found]  # noqa: E731
    assert names(finder.look({})) == ([str(file)] if seen else [])
    assert names(finder.look_at([str(file)], {})) == ([str(file)] if seen else [])
    if name == "opencode" and seen:
        assert names(finder.look_at([f"{file}-wal"], {})) == [str(file)]
    if name == "claude" and seen:
        assert names(finder.look_at([str(file.parent)], {})) == [str(file)], "a folder that was put there whole"
