"""Folders of ours: where clones lie, and how a folder is deleted that a run may have made hard to delete."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

REPOSITORIES = "repositories"
UNFINISHED = ".new-"
"""A clone has a name that begins so until it is whole."""


def erase(folder: Path) -> None:
    """Deletes a folder, also where somebody has taken away the right to. What stays, the next sweep meets again."""
    shutil.rmtree(folder, ignore_errors=True)
    if not folder.exists():
        return
    for parent, names, _ in os.walk(folder):
        for name in names:
            child = Path(parent, name)
            if not child.is_symlink():
                child.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
