"""The sample repository: small, readable in a minute, with one thing left to build."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from agented.projects.git import Git

BRANCH = "main"

_README = """\
# Tea timer

How long should this tea steep? A small program to try things on.

    python teatime.py green 2

## Left to do

- `parse_duration("3m30s")` is not written yet; `python -m unittest` says so.
- There is no oolong.
"""

_PROGRAM = '''\
"""How long tea steeps."""

import sys

SECONDS = {"black": 240, "green": 120, "white": 180, "rooibos": 360}


def steep_seconds(tea: str, cups: int = 1) -> int:
    """A bigger pot takes a little longer: ten seconds for each cup after the first."""
    if cups < 1:
        raise ValueError("a pot has at least one cup")
    return SECONDS[tea] + 10 * (cups - 1)


def main() -> None:
    tea, cups = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1
    print(f"{tea}: {steep_seconds(tea, cups)} seconds")


if __name__ == "__main__":
    main()
'''

_TESTS = """\
import unittest

import teatime


class TeaTime(unittest.TestCase):
    def test_one_cup_of_green_tea(self) -> None:
        self.assertEqual(teatime.steep_seconds("green"), 120)

    def test_each_more_cup_takes_ten_seconds_more(self) -> None:
        self.assertEqual(teatime.steep_seconds("black", 3), 260)

    def test_a_duration_is_read(self) -> None:
        self.assertEqual(teatime.parse_duration("3m30s"), 210)


if __name__ == "__main__":
    unittest.main()
"""

_COMMITS = (
    ("Add the tea timer", {"README.md": _README, "teatime.py": _PROGRAM, ".gitignore": "__pycache__/\n"}),
    ("Add tests, one of them for what is still to be written", {"test_teatime.py": _TESTS}),
)


def write_sample(git: Git, folder: Path, now: datetime) -> None:
    """Makes the repository in a folder that is not there yet."""
    place = git.create(folder, BRANCH)
    parents: list[str] = []
    for number, (message, files) in enumerate(_COMMITS):
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
        git.run(["add", "--all", "--", "."], place=place)
        at = now - timedelta(minutes=len(_COMMITS) - number)
        parents = [git.commit_tree(place, git.write_tree(place), parents, message + "\n", at)]
    git.set_ref(place.repository, f"refs/heads/{BRANCH}", parents[0])
