"""What `agented costs scan` says is the truth by construction: at first, again, and after everything that files do."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from scripts.install_clis import DEFAULT_FOLDER, cost_oracle

from agented.costs.scan import scan
from tests.fakes.sessions import Tree, stamp, told
from tests.rooms.costs.conftest import BACKENDS, Rows, true_rows

FIXTURE = Path(__file__).parents[2] / "fakes" / "cost-fixture"
Count = Callable[[], Rows]


def test_everything_is_counted_once(tree: Tree, count: Count) -> None:
    assert len(tree.truth) > 30
    assert count() == true_rows(tree)


def test_a_second_reading_changes_nothing(tree: Tree, count: Count) -> None:
    assert count() == count() == true_rows(tree)


def test_several_processes_read_the_same(tree: Tree, tmp_path: Path) -> None:
    assert told(scan(tree.home, tmp_path / "known", BACKENDS, zone="UTC", fork_from=0)) == true_rows(tree)


def test_what_is_appended_is_added(tree: Tree, count: Count) -> None:
    count()
    path = tree.claude(3, extras=False)
    rollout = tree.codex(2, extras=False)
    assert count() == true_rows(tree)
    for _ in range(2):
        with tree.file(path, "a") as out:
            tree.claude_answer(out, path.stem)
        with tree.file(rollout, "a") as out:
            tree.codex_answer(out)
        assert count() == true_rows(tree)


def test_a_torn_last_line_waits_until_it_is_whole(tmp_path: Path, count: Count) -> None:
    tree = Tree(tmp_path / "home")
    path = tree.claude(2, extras=False)
    before = count()
    kept = path.read_bytes()
    with tree.file(path, "a") as out:
        tree.claude_answer(out, path.stem)
    grown = path.read_bytes()
    for missing in (300, 40, 2):
        path.write_bytes(grown[:-missing])
        seen = count()
        # The lines before tell less than the last one does; of that nothing is taken until it is whole.
        assert seen != true_rows(tree)
    path.write_bytes(grown[:-1])
    assert count() == true_rows(tree), "a whole line without its end counts"
    path.write_bytes(grown)
    assert count() == true_rows(tree)
    assert grown.startswith(kept)
    assert before != true_rows(tree)


def test_an_answer_that_grows_between_two_readings_is_one(tmp_path: Path, count: Count) -> None:
    tree = Tree(tmp_path / "home")
    path = tree.claude(1, extras=False)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2]))
    assert sum(row[0] for row in count().values()) == 1
    path.write_text("".join(lines))
    assert count() == true_rows(tree)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_what_a_cut_file_told_stays(tree: Tree, count: Count, share: float) -> None:
    count()
    for path in _files(tree.home, ".jsonl"):
        os.truncate(path, int(path.stat().st_size * share))
    assert count() == true_rows(tree)


def test_what_a_replaced_file_told_stays_and_the_new_is_added(tree: Tree, count: Count) -> None:
    first = tree.claude(3, extras=False)
    count()
    other = tree.claude(4, extras=False)
    other.replace(first)
    assert count() == true_rows(tree)
    again = tree.claude(9, extras=False)
    first.write_bytes(again.read_bytes())
    again.unlink()
    assert count() == true_rows(tree)


def test_what_a_deleted_file_told_stays(tree: Tree, count: Count) -> None:
    count()
    shutil.rmtree(tree.home)
    assert count() == true_rows(tree)
    tree.claude(3)
    assert count() == true_rows(tree)


def test_a_copy_in_another_home_counts_nothing(tree: Tree, count: Count) -> None:
    count()
    shutil.copytree(tree.home / ".claude", tree.home / ".config" / "claude", dirs_exist_ok=True)
    shutil.copytree(tree.home / ".codex" / "sessions", tree.home / ".codex" / "archived_sessions")
    assert count() == true_rows(tree)


def test_a_copy_that_goes_on_counts_what_is_new(tmp_path: Path, count: Count) -> None:
    tree = Tree(tmp_path / "home")
    path = tree.claude(4, extras=False)
    count()
    copy = tree.home / ".config" / "claude" / path.relative_to(tree.home / ".claude")
    copy.parent.mkdir(parents=True)
    shutil.copy(path, copy)
    with tree.file(copy, "a") as out:
        tree.claude_answer(out, path.stem)
    assert count() == true_rows(tree)


def test_the_last_value_of_a_message_holds_even_when_it_is_smaller(tmp_path: Path, count: Count) -> None:
    path = tmp_path / "home/.gemini/tmp/x/chats/session-1.jsonl"
    path.parent.mkdir(parents=True)

    def line(output: int) -> str:
        tokens = {"input": 10, "output": output, "cached": 0, "thoughts": 0, "tool": 0, "total": 10 + output}
        told = {"id": "a", "type": "gemini", "model": "gemini-2.5-pro", "tokens": tokens}
        return json.dumps({**told, "timestamp": "2026-11-20T10:00:00.000Z"}) + "\n"

    path.write_text(line(900))
    assert [row[2] for row in count().values()] == [900]
    with path.open("a") as out:
        out.write(line(7))
    assert [row[:3] for row in count().values()] == [(1, 10, 7)]


def test_a_database_is_read_while_its_program_writes(tmp_path: Path, count: Count) -> None:
    tree = Tree(tmp_path / "home")
    path = tree.opencode(3)
    with closing(sqlite3.connect(path, isolation_level=None)) as held:
        held.execute("PRAGMA journal_mode=WAL")
        held.execute("PRAGMA wal_autocheckpoint=0")
        assert count() == true_rows(tree)
        size = path.stat().st_size
        tree.opencode(2)
        held.execute("BEGIN IMMEDIATE")
        assert count() == true_rows(tree)
        assert path.stat().st_size == size, "the new rows stand in the log alone"


def test_a_changed_row_of_a_database_replaces_what_it_told(tmp_path: Path, count: Count) -> None:
    tree = Tree(tmp_path / "home")
    path = tree.opencode(1)
    count()
    with closing(sqlite3.connect(path, isolation_level=None)) as kept:
        (data,) = kept.execute("SELECT data FROM message").fetchone()
        value = {**json.loads(data), "cost": 1.5}
        value["tokens"]["output"] = 3
        kept.execute("UPDATE message SET data = ?, time_updated = time_updated + 60000", (json.dumps(value),))
    [row] = count().values()
    assert (row[0], row[2], row[-1]) == (1, 3, Decimal("1.5"))


def test_files_moved_into_the_database_count_once(tmp_path: Path, count: Count) -> None:
    tree = Tree(tmp_path / "home")
    tree.opencode_files(3)
    before = count()
    folder = tree.home / ".local/share/opencode"
    with closing(sqlite3.connect(folder / "opencode.db", isolation_level=None)) as kept:
        kept.execute("CREATE TABLE message (id TEXT, session_id TEXT, time_created INT, time_updated INT, data TEXT)")
        for path in _files(folder, ".json"):
            value = json.loads(path.read_text())
            row = (value["id"], value["sessionID"], 1, value["time"]["completed"], path.read_text())
            kept.execute("INSERT INTO message VALUES (?, ?, ?, ?, ?)", row)
    assert count() == before == true_rows(tree)


def test_garbage_is_passed_over(tree: Tree, count: Count) -> None:
    folder = tree.home / ".claude" / "projects" / "-x"
    folder.mkdir(parents=True)
    usage = '"usage":{"input_tokens":1,"output_tokens":1}'
    lines = [
        b"\xff\xfe\x00" * 999,
        b'{"usage"' + b"[" * 5000,
        f'{{"type":"assistant","message":{{{usage}}}}}'.encode(),
        f'{{"timestamp":"then","message":{{{usage}}}}}'.encode(),
        b'{"timestamp":"2026-11-20T10:00:00.000Z","message":{"usage":{"input_tokens":-5,"output_tokens":3}}}',
        b'{"timestamp":"2026-11-20T10:00:00.000Z","message":{"usage":{"input_tokens":1e99}}}',
        b'{"timestamp":"2026-11-20T10:00:00.000Z","message":{"usage":{"input_tokens":99999999999999999999}}}',
        b'{"timestamp":"2026-11-20T10:00:00.000Z","message":"usage","usage":{}}',
        b'"usage"',
        b"",
    ]
    (folder / "a.jsonl").write_bytes(b"\n".join(lines))
    (folder / "b.jsonl").write_bytes(b'"usage"' * 100_000)
    (folder / "c.jsonl").symlink_to("/dev/zero")
    (folder / "loop").symlink_to(folder)
    for name in ("opencode.db", "opencode-other.db"):
        (tree.home / ".local/share/opencode" / name).write_bytes(b"SQLite format 3\0 and then not")
    (tree.home / ".gemini/tmp/sample/chats/session-0.json").write_bytes(b'{"messages":[{"tokens":[]},7,null]}')
    (tree.home / ".codex/sessions/broken.jsonl").write_bytes(
        b'{"type":"event_msg","payload":{"type":"token_count","info":{"total_token_usage":[1]}}}\n'
        b'{"type":"session_meta","payload":[]}\n{"type":"turn_context","payload":{"model":{}}}\n'
    )
    wanted = {key: row for key, row in true_rows(tree).items() if key[0] != "opencode"}
    assert {key: row for key, row in count().items() if key[0] != "opencode"} == wanted


def test_a_line_longer_than_any_buffer_is_read_past(tmp_path: Path, count: Count) -> None:
    tree = Tree(tmp_path / "home")
    path = tree.claude(1, extras=False)
    with path.open("ab") as out:
        out.write(b'{"type":"user","content":"' + b"x" * 9_000_000 + b'"}\n')
    with tree.file(path, "a") as more:
        tree.claude_answer(more, path.stem)
    assert count() == true_rows(tree)


def test_two_scans_at_once_wait_for_each_other(tree: Tree, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "agented", "costs", "scan", "--home", str(tree.home), "--json"]
    env = {"PATH": os.defpath, "TZ": "UTC", "HOME": str(tmp_path)}
    scans = [
        subprocess.Popen([*command, "--data", str(tmp_path / "known")], env=env, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [scan.communicate(timeout=60)[0] for scan in scans]
    assert [told(json.loads(one)) for one in said] == [true_rows(tree)] * 3


def test_a_folder_that_keeps_nothing_is_told_in_words(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    words = ["costs", "scan", "--home", str(tree.home), "--data", str(tmp_path / "file" / "known"), "--json"]
    env = {"PATH": os.defpath, "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-m", "agented", *words], env=env, capture_output=True, text=True)
    assert done.returncode != 0
    assert "cannot be kept" in done.stderr
    assert "Traceback" not in done.stderr


def test_helpers_that_begin_with_no_replay_lose_nothing(tmp_path: Path, count: Count) -> None:
    tree = Tree(tmp_path / "home")
    path = tree.codex(1, extras=False)
    text = path.read_text().replace(
        '"source":"exec"', '"source":{"subagent":{"thread_spawn":{"parent_thread_id":"p"}}}'
    )
    path.write_text(text)
    assert count() == true_rows(tree)
    with tree.file(path, "a") as out:
        tree.codex_answer(out)
    assert count() == true_rows(tree)


def test_answers_without_a_name_count_each_once(tmp_path: Path, count: Count) -> None:
    path = tmp_path / "home/.claude/projects/-x/s.jsonl"
    path.parent.mkdir(parents=True)
    at = Tree(tmp_path).tick()
    lines = []
    for _ in range(3):
        at += timedelta(seconds=5)
        message = {"model": "claude-haiku-4-5", "usage": {"input_tokens": 1000, "output_tokens": 10}}
        lines.append(json.dumps({"type": "assistant", "timestamp": stamp(at), "message": message}) + "\n")
    path.write_text("".join(lines[:2]))
    count()
    path.write_text("".join(lines))
    assert [row[:3] for row in count().values()] == [(3, 3000, 30)]


def test_the_known_numbers_of_the_fixture(tmp_path: Path) -> None:
    rows = told(scan(FIXTURE, tmp_path, BACKENDS, zone="UTC"))
    day = "2026-11-20"
    assert rows == {
        ("claude", "<synthetic>", day): (1, 1000, 100, 30_000, 2000, 0, 0, Decimal(0)),
        ("claude", "claude-opus-4-5", day): (2, 2000, 600, 60_000, 2500, 1500, 0, Decimal("0.085625")),
        ("claude", "claude-opus-5", day): (1, 1000, 100, 30_000, 2000, 0, 0, Decimal("0.07")),
        # 0.918 by an older table, which asked more beyond 200,000 tokens.
        ("claude", "claude-sonnet-4-5", day): (1, 250_000, 100, 30_000, 2000, 0, 0, Decimal("0.768")),
        ("codex", "gpt-5.3-codex", day): (3, 7500, 950, 18_500, 0, 0, 200, Decimal("0.0296625")),
        ("gemini", "gemini-2.5-pro", day): (1, 6050, 200, 4000, 0, 0, 300, Decimal("0.0130625")),
        ("opencode", "claude-sonnet-4-5", day): (2, 2000, 400, 6000, 1000, 0, 200, Decimal("0.133675")),
    }


def test_days_are_those_of_the_zone(tmp_path: Path) -> None:
    def days(zone: str) -> set[str]:
        return {row["date"] for row in scan(FIXTURE, tmp_path / zone, BACKENDS, zone=zone)["totals"]}

    assert days("Pacific/Kiritimati") == {"2026-11-21"}
    assert days("Pacific/Pago_Pago") == {"2026-11-19", "2026-11-20"}


def test_own_prices_win_and_price_what_had_none(tree: Tree, count: Count, tmp_path: Path) -> None:
    house = {key for key in count() if key[1] == "house-model"}
    assert house
    own = tmp_path / "prices.json"
    asked = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, "cache_read_input_token_cost": 0}
    own.write_text(json.dumps({"house-model": asked, "claude-haiku-4-5": asked, "broken": [], "other": {"x": "y"}}))
    rows = told(scan(tree.home, tmp_path / "known", BACKENDS, zone="UTC", prices_file=own))
    true = true_rows(tree)
    assert {key: row[:-1] for key, row in rows.items()} == {key: row[:-1] for key, row in true.items()}
    changed = {key[1] for key, row in rows.items() if row != true[key]}
    assert changed == {"house-model", "claude-haiku-4-5"}
    assert told(scan(tree.home, tmp_path / "anew", BACKENDS, zone="UTC", prices_file=own)) == rows
    assert count() != rows, "without the file, ours hold again"


def test_it_agrees_with_the_tool_that_people_know(tree: Tree, count: Count) -> None:
    """To the token and the cent, for each CLI, model and day, where both have one price for a model."""
    program = cost_oracle(DEFAULT_FOLDER)
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("it is not installed: python scripts/install_clis.py")
        pytest.skip("it is not installed: python scripts/install_clis.py")
    ours = {
        key: ((row[1], row[2], row[3], row[4] + row[5]), round(float(row[-1] or 0), 6)) for key, row in count().items()
    }
    theirs = {source: _asked(program, source, tree.home) for source in ("claude", "codex", "gemini", "opencode")}
    flat = {(source, *key): value for source, rows in theirs.items() for key, value in rows.items()}
    assert {key: value[0] for key, value in flat.items()} == {key: value[0] for key, value in ours.items()}
    for key, (_, cost) in flat.items():
        assert abs(cost - ours[key][1]) < 0.005, key


def _asked(program: Path, source: str, home: Path) -> dict[tuple[str, str], tuple[tuple[int, ...], float]]:
    command = [str(program), source, "daily", "--offline", "--json", "--breakdown"]
    env = {"HOME": str(home), "PATH": os.defpath, "TZ": "UTC"}
    answer = json.loads(subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout)
    found: dict[tuple[str, str], tuple[tuple[int, ...], float]] = {}
    for day in answer["daily"]:
        if source == "codex":
            parts = [(name, {**value, "cost": day["costUSD"]}) for name, value in day["models"].items()]
        else:
            parts = [(value["modelName"], value) for value in day["modelBreakdowns"]]
        for name, value in parts:
            key = (name.removesuffix("-fast"), day["date"])
            counts = tuple(value[f"{kind}Tokens"] for kind in ("input", "output", "cacheRead", "cacheCreation"))
            before, cost = found.get(key, ((0, 0, 0, 0), 0.0))
            found[key] = (tuple(map(sum, zip(before, counts, strict=True))), cost + value["cost"])
    return found


def _files(folder: Path, suffix: str) -> list[Path]:
    return sorted(path for path in folder.rglob(f"*{suffix}") if path.is_file())
