from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from agented.kit.errors import Conflict, NotFound
from agented.projects import changes as bounds
from agented.projects.model import ChangedFile, Changes, FileStatus, Workspace
from agented.projects.wire import changes_to_dict
from tests.rooms.projects.conftest import House


def by_path(changes: Changes) -> dict[str, ChangedFile]:
    return {file.path: file for file in changes.files}


def git_state(house: House, workspace: Workspace) -> tuple[str, bytes, int]:
    """What collecting must not touch: the status a person sees, the index, the number of objects."""
    index = (house.repo.path / ".git" / "worktrees" / workspace.path.name / "index").read_bytes()
    objects = sum(len(files) for _, _, files in os.walk(house.repo.path / ".git" / "objects"))
    status = house.repo.git("--no-optional-locks", "status", "--porcelain", cwd=workspace.path)
    return status, index, objects


def test_an_untouched_workspace_has_no_changes(house: House) -> None:
    workspace = house.open()
    changes = house.workspaces.collect(workspace)
    assert (changes.base, changes.head, changes.files) == (workspace.base, None, ())
    assert house.workspaces.patch(workspace) == b""


def test_committed_uncommitted_and_new_files_are_changes_and_ignored_ones_are_not(house: House) -> None:
    workspace = house.open()
    house.repo.write("committed.txt", "a\nb\n", folder=workspace.path)
    house.repo.commit("one", folder=workspace.path)
    house.repo.write("README.md", "coffee\n", folder=workspace.path)
    house.repo.write("staged.txt", "s\n", folder=workspace.path)
    house.repo.git("add", "staged.txt", cwd=workspace.path)
    house.repo.write("new/deep.txt", "n\n", folder=workspace.path)
    house.repo.write("build/ignored.o", "o\n", folder=workspace.path)
    (workspace.path / "src/tea.py").unlink()
    before = git_state(house, workspace)
    changes = house.workspaces.collect(workspace)
    assert git_state(house, workspace) == before
    found = by_path(changes)
    assert {path: file.status.value for path, file in found.items()} == {
        "README.md": "modified",
        "committed.txt": "added",
        "new/deep.txt": "added",
        "src/tea.py": "deleted",
        "staged.txt": "added",
    }
    assert (changes.stats.files, changes.stats.additions, changes.stats.deletions) == (5, 5, 31)
    assert [(line.kind, line.text) for line in found["README.md"].hunks[0].lines] == [("-", "tea"), ("+", "coffee")]


def test_hunks_carry_positions_heading_and_context(house: House) -> None:
    workspace = house.open()
    lines = [f"line {n}\n" for n in range(1, 31)]
    lines[1] = "changed\n"
    lines.insert(20, "inserted\n")
    house.repo.write("src/tea.py", "".join(lines), folder=workspace.path)
    first, second = by_path(house.workspaces.collect(workspace))["src/tea.py"].hunks
    assert (first.old_start, first.old_lines, first.new_start, first.new_lines) == (1, 5, 1, 5)
    assert (second.old_start, second.old_lines, second.new_start, second.new_lines) == (18, 6, 18, 7)
    assert second.heading == "line 17"
    assert [line.kind for line in second.lines] == [" ", " ", " ", "+", " ", " ", " "]


def test_renames_modes_links_and_types_are_told_apart(house: House) -> None:
    house.repo.write("run.sh", "#!/bin/sh\n")
    house.repo.write("was-a-file", "plain\n")
    house.repo.commit("more")
    workspace = house.open()
    (workspace.path / "src/tea.py").rename(workspace.path / "src/leaf.py")
    (workspace.path / "run.sh").chmod(0o755)
    (workspace.path / "link").symlink_to("README.md")
    (workspace.path / "was-a-file").unlink()
    (workspace.path / "was-a-file").symlink_to("/nowhere")
    found = by_path(house.workspaces.collect(workspace))
    assert found["src/leaf.py"].status is FileStatus.RENAMED
    assert found["src/leaf.py"].old_path == "src/tea.py"
    assert found["src/leaf.py"].hunks == ()
    assert not found["src/leaf.py"].truncated
    assert (found["run.sh"].old_mode, found["run.sh"].new_mode) == ("100644", "100755")
    assert found["link"].new_mode == "120000"
    assert found["was-a-file"].status is FileStatus.TYPE_CHANGED
    assert [line.text for hunk in found["was-a-file"].hunks for line in hunk.lines] == ["plain", "/nowhere"]


@pytest.mark.parametrize(
    "name",
    ["with space", "größe 🍵", "line\nfeed", 'quo"te', "tab\tname", "-dash", ":(glob)*", "a => b", "back\\slash", "*"],
)
def test_every_file_name_is_shown_as_it_is(house: House, name: str) -> None:
    workspace = house.open()
    house.repo.write(name, "one\n", folder=workspace.path)
    file = by_path(house.workspaces.collect(workspace))[name]
    assert [line.text for line in file.hunks[0].lines] == ["one"]


def test_names_and_contents_that_are_not_utf8_are_shown_with_marks(house: House) -> None:
    workspace = house.open()
    path = os.fsencode(workspace.path) + b"/\xff.txt"
    Path(os.fsdecode(path)).write_bytes(b"caf\xe9\n")
    (file,) = house.workspaces.collect(workspace).files
    assert file.path == "\ufffd.txt"
    assert file.hunks[0].lines[0].text == "caf\ufffd"


def test_line_ends_are_kept_and_a_missing_one_is_told(house: House) -> None:
    house.repo.write("dos.txt", "a\r\nb\r\n")
    house.repo.write("end.txt", "a\nb")
    house.repo.commit("ends")
    workspace = house.open()
    house.repo.write("dos.txt", "a\r\nc\r\n", folder=workspace.path)
    house.repo.write("end.txt", "a\nc", folder=workspace.path)
    house.repo.write(
        "odd.txt", "\x0b\x0c\u2028\x85\n\\ No newline at end of file\n@@ -1 +1 @@\n", folder=workspace.path
    )
    found = by_path(house.workspaces.collect(workspace))
    assert [line.text for line in found["dos.txt"].hunks[0].lines] == ["a\r", "b\r", "c\r"]
    last = found["end.txt"].hunks[0].lines
    assert [(line.kind, line.text, line.no_newline) for line in last] == [
        (" ", "a", False),
        ("-", "b", True),
        ("+", "c", True),
    ]
    assert [line.text for line in found["odd.txt"].hunks[0].lines] == [
        "\x0b\x0c\u2028\x85",
        "\\ No newline at end of file",
        "@@ -1 +1 @@",
    ]


def test_binary_files_are_named_without_hunks(house: House) -> None:
    workspace = house.open()
    house.repo.write("tea.png", bytes(range(256)) * 10, folder=workspace.path)
    (file,) = house.workspaces.collect(workspace).files
    assert (file.binary, file.hunks, file.additions, file.truncated) == (True, (), 0, False)


def test_huge_files_keep_their_counts_and_lose_their_hunks_and_the_others_keep_theirs(house: House) -> None:
    house.repo.write("large.txt", "".join(f"{n}\n" for n in range(400_000)))
    house.repo.commit("large")
    workspace = house.open()
    house.repo.write("many-lines.txt", "x\n" * (bounds.MOST_FILE_LINES + 1), folder=workspace.path)
    house.repo.write("wide.txt", "y" * (bounds.MOST_FILE_BYTES + 1) + "\n", folder=workspace.path)
    house.repo.write("immense.txt", "z" * (bounds.MOST_BLOB_BYTES + 1) + "\n", folder=workspace.path)
    house.repo.write("large.txt", "".join(f"{n}\n" for n in range(400_001)), folder=workspace.path)
    house.repo.write("small.txt", "s\n", folder=workspace.path)
    house.repo.write(":!small.txt", "g\n", folder=workspace.path)
    (workspace.path / "src/tea.py").rename(workspace.path / "src/leaf.py")
    house.repo.write("src/leaf.py", (workspace.path / "src/leaf.py").read_text() + "more\n", folder=workspace.path)
    changes = house.workspaces.collect(workspace)
    found = by_path(changes)
    assert {path for path, file in found.items() if file.truncated} == {"many-lines.txt", "wide.txt", "immense.txt"}
    assert all(not file.hunks for file in found.values() if file.truncated)
    assert found["many-lines.txt"].additions == bounds.MOST_FILE_LINES + 1
    assert changes.stats.additions == bounds.MOST_FILE_LINES + 1 + 6
    assert [line.text for line in found["small.txt"].hunks[0].lines] == ["s"]
    assert [line.text for line in found[":!small.txt"].hunks[0].lines] == ["g"]
    assert found["large.txt"].hunks[0].lines[-1].text == "400000"
    assert found["src/leaf.py"].hunks[0].lines[-1].text == "more"


def test_many_files_fill_an_answer_only_to_its_bound(house: House) -> None:
    workspace = house.open()
    for number in range(12):
        house.repo.write(f"f{number:02}.txt", f"{number}" * 1_000_000 + "\n", folder=workspace.path)
    changes = house.workspaces.collect(workspace)
    shown = sum(len(line.text) for file in changes.files for hunk in file.hunks for line in hunk.lines)
    assert 0 < shown <= bounds.MOST_BYTES
    assert (changes.stats.files, changes.stats.additions) == (12, 12)


def test_the_patch_applies_and_gives_the_same_tree(house: House, tmp_path: Path) -> None:
    workspace = house.open()
    house.repo.write("größe\nn", "x\r\ny", folder=workspace.path)
    house.repo.write("tea.png", bytes(range(256)) * 10, folder=workspace.path)
    (workspace.path / "src/tea.py").rename(workspace.path / "src/leaf.py")
    (workspace.path / "README.md").chmod(0o755)
    patch = house.workspaces.patch(workspace)
    house.repo.git("worktree", "add", "-q", "--detach", str(tmp_path / "other"), workspace.base)
    house.repo.git("apply", "--index", cwd=tmp_path / "other", stdin=patch)
    applied = house.repo.git("write-tree", cwd=tmp_path / "other")
    closed = house.workspaces.close(workspace)
    assert house.repo.git("rev-parse", f"{closed.head}^{{tree}}") == applied
    assert house.workspaces.patch(closed) == patch


def test_what_a_run_does_to_its_git_hides_nothing(house: House) -> None:
    workspace = house.open()
    house.repo.write("README.md", "hidden\n", folder=workspace.path)
    house.repo.git("checkout", "-q", "-b", "elsewhere", cwd=workspace.path)
    house.repo.commit("on a branch of its own", folder=workspace.path)
    house.repo.write("src/tea.py", "gone\n", folder=workspace.path)
    (workspace.path / ".git").unlink()
    house.repo.git("init", "-q", cwd=workspace.path)
    house.repo.git("commit", "-q", "--allow-empty", "-m", "another history", cwd=workspace.path)
    assert set(by_path(house.workspaces.collect(workspace))) == {"README.md", "src/tea.py"}


def test_a_replaced_object_does_not_hide_a_change(house: House) -> None:
    workspace = house.open()
    house.repo.write("README.md", "evil\n", folder=workspace.path)
    evil = house.repo.commit("evil", folder=workspace.path)
    house.repo.git("replace", evil, workspace.base)
    closed = house.workspaces.close(workspace)
    assert closed.head == evil
    assert set(by_path(house.workspaces.collect(closed))) == {"README.md"}


def test_an_index_that_a_run_has_broken_or_locked_does_not_matter(house: House) -> None:
    workspace = house.open()
    git_dir = house.repo.path / ".git" / "worktrees" / workspace.path.name
    (git_dir / "index").write_bytes(b"rubbish")
    (git_dir / "index.lock").touch()
    house.repo.write("new", "new\n", folder=workspace.path)
    assert set(by_path(house.workspaces.collect(workspace))) == {"new"}
    (git_dir / "index").unlink()
    assert set(by_path(house.workspaces.collect(workspace))) == {"new"}


def test_a_merge_that_stopped_in_conflicts_is_collected(house: House) -> None:
    workspace = house.open()
    house.repo.git("checkout", "-q", "-b", "side", cwd=workspace.path)
    house.repo.write("README.md", "side\n", folder=workspace.path)
    house.repo.commit("side", folder=workspace.path)
    house.repo.git("checkout", "-q", workspace.branch, cwd=workspace.path)
    house.repo.write("README.md", "ours\n", folder=workspace.path)
    house.repo.commit("ours", folder=workspace.path)
    with pytest.raises(AssertionError):
        house.repo.git("merge", "side", cwd=workspace.path)
    (file,) = house.workspaces.collect(workspace).files
    assert any(line.text.startswith("<<<<<<<") for line in file.hunks[0].lines)
    assert house.workspaces.close(workspace).snapshot_ref is not None


def test_a_nested_repository_is_one_entry_and_its_own_configuration_runs_nothing(house: House, tmp_path: Path) -> None:
    workspace = house.open()
    nested = workspace.path / "vendor" / "lib"
    nested.mkdir(parents=True)
    house.repo.git("init", "-q", cwd=nested)
    house.repo.write("x", "x", folder=nested)
    house.repo.commit("inside", folder=nested)
    house.repo.git("config", "core.fsmonitor", f"touch {tmp_path}/canary", cwd=nested)
    house.repo.write("x", "dirty", folder=nested)
    unborn = workspace.path / "unborn"
    unborn.mkdir()
    house.repo.git("init", "-q", cwd=unborn)
    house.repo.write("seen", "seen\n", folder=workspace.path)
    found = by_path(house.workspaces.collect(workspace))
    assert set(found) == {"vendor/lib", "seen"}
    assert found["vendor/lib"].new_mode == "160000"
    assert not (tmp_path / "canary").exists()


def test_changes_of_an_open_workspace_whose_folder_is_gone_are_those_of_its_branch(house: House) -> None:
    workspace = house.open()
    house.repo.write("kept", "kept\n", folder=workspace.path)
    house.repo.commit("kept", folder=workspace.path)
    workspace.path.rename(house.data / "away")
    assert set(by_path(house.workspaces.collect(workspace))) == {"kept"}


def test_changes_whose_commits_were_deleted_say_so(house: House) -> None:
    workspace = house.open()
    house.repo.write("new", "new\n", folder=workspace.path)
    closed = house.workspaces.close(workspace)
    assert closed.snapshot_ref is not None
    house.repo.git("update-ref", "-d", closed.snapshot_ref)
    house.repo.git("gc", "-q", "--prune=now")
    with pytest.raises(NotFound, match="not in the repository any more"):
        house.workspaces.collect(closed)


def test_a_patch_that_is_too_large_points_to_the_repository(house: House) -> None:
    workspace = house.open()
    with (workspace.path / "hole").open("wb") as file:
        file.truncate(bounds.MOST_PATCH_BYTES + 1)
    with pytest.raises(Conflict, match="larger than 256 MiB"):
        house.workspaces.patch(workspace)
    assert house.workspaces.collect(workspace).files[0].binary


def test_changes_of_an_execution_without_a_workspace_are_not_found(house: House) -> None:
    stranger = replace(house.open(), execution_id="exe_0")
    with pytest.raises(NotFound):
        house.workspaces.collect(stranger)


def test_changes_have_the_shape_of_the_api(house: House) -> None:
    workspace = house.open()
    house.repo.write("README.md", "no end", folder=workspace.path)
    shown = changes_to_dict(house.workspaces.collect(workspace))
    assert shown == {
        "base": workspace.base,
        "head": None,
        "stats": {"files": 1, "additions": 1, "deletions": 1},
        "files": [
            {
                "path": "README.md",
                "old_path": None,
                "status": "modified",
                "old_mode": "100644",
                "new_mode": "100644",
                "binary": False,
                "additions": 1,
                "deletions": 1,
                "hunks": [
                    {
                        "old_start": 1,
                        "old_lines": 1,
                        "new_start": 1,
                        "new_lines": 1,
                        "heading": "",
                        "lines": [
                            {"kind": "-", "text": "tea"},
                            {"kind": "+", "text": "no end", "no_newline": True},
                        ],
                    }
                ],
                "truncated": False,
            }
        ],
    }
