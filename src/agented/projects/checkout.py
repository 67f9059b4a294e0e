"""A checkout that a person works in too: whether it may be taken forward, and taking it there.

Only ever a fast-forward by git itself, of the branch that is checked out, over files that are as committed.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from agented.kit.errors import AgentedError, Conflict, NotFound
from agented.projects.git import Git, Place, find_repository, follow_link
from agented.projects.model import SyncCause

_OPERATIONS = {
    "MERGE_HEAD": "A merge",
    "rebase-merge": "A rebase",
    "rebase-apply": "A rebase",
    "CHERRY_PICK_HEAD": "A cherry-pick",
    "REVERT_HEAD": "A revert",
    "sequencer": "A sequence of picks",
    "BISECT_LOG": "A bisection",
}
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a checkout stays as it is, for programs and for people, and what to do about it."""

    cause: SyncCause
    detail: str
    hint: str


def place_of(path: Path) -> Place:
    """The checkout at a project's path; without a work tree for a bare repository. Raises NotFound for neither."""
    repository, link = find_repository(path), path / ".git"
    if repository == path:
        return Place(repository=repository)
    try:
        git_dir = follow_link(link) if link.is_file() else None
    except (OSError, ValueError) as error:
        raise NotFound(f"{link} cannot be read: {error}.", code="repository_missing") from error
    return Place(repository=repository, git_dir=git_dir, work_tree=path)


def find_obstacle(git: Git, place: Place, branch: str, old: str, new: str) -> Obstacle | None:
    """What stands in the way of a fast-forward of the branch from one commit to another. Writes nothing."""
    if place.work_tree is None:
        return Obstacle(
            SyncCause.NO_WORK_TREE,
            "It is a bare repository: there is no checkout to take forward.",
            f"Nothing to do when runs start from origin/{branch}.",
        )
    return (
        _find_operation(place, branch)
        or _find_other_branch(git, place, branch)
        or _find_filters(git, place)
        or _find_changes(git, place)
        or _find_overwritten(git, place, old, new)
    )


def _find_operation(place: Place, branch: str) -> Obstacle | None:
    own = place.git_dir or place.repository
    for name, title in _OPERATIONS.items():
        if (own / name).exists():
            return Obstacle(
                SyncCause.OPERATION_IN_PROGRESS, f"{title} is not finished there.", "Finish or abort it there."
            )
    lock = next(_locks(place, branch), None)
    if lock is None:
        return None
    return Obstacle(
        SyncCause.OPERATION_IN_PROGRESS,
        f"Another git is at work there, or one was killed and left {lock.name}.",
        f"When no git is at work there: rm {lock}",
    )


def _locks(place: Place, branch: str) -> Iterator[Path]:
    """Each of them is held by a git that writes, for as long as it does."""
    for folder in {place.git_dir or place.repository, place.repository}:
        yield from sorted(folder.glob("*.lock"))
    held = place.repository / "refs" / "heads" / f"{branch}.lock"
    if held.exists():
        yield held


def _find_other_branch(git: Git, place: Place, branch: str) -> Obstacle | None:
    head = git.head_branch(place)
    if head == f"refs/heads/{branch}":
        return None
    where = "no branch" if head is None else head.removeprefix("refs/heads/")
    return Obstacle(
        SyncCause.OTHER_BRANCH,
        f"The checkout is on {where}, not on {branch}.",
        f"Nothing to do when runs start from origin/{branch}; else there: git switch {branch}",
    )


def _find_filters(git: Git, place: Place) -> Obstacle | None:
    """With its filters off, git would write other files than the person's own git does."""
    if not git.has_filters(place):
        return None
    return Obstacle(
        SyncCause.LOCAL_FILTERS,
        "The configuration of the repository names filters, programs that are not run here.",
        "Pull there by hand; or put the filters into your global configuration (Git LFS: `git lfs install`).",
    )


def _find_changes(git: Git, place: Place) -> Obstacle | None:
    changed = git.changed(place)
    if not changed:
        return None
    return Obstacle(SyncCause.DIRTY, f"Not committed there: {_listed(changed)}.", "Commit or stash the changes there.")


def _listed(paths: list[str]) -> str:
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return ", ".join(paths[:_NAMED]) + more


def _find_overwritten(git: Git, place: Place, old: str, new: str) -> Obstacle | None:
    """Files that git does not know or was told not to look at, where the new commit has other ones. Ignored files
    count: git would write over them.
    """
    assert place.work_tree is not None
    steps = git.between(place.repository, old, new)
    gone = {path for act, path in steps if act == "D"}
    unwatched = git.unwatched(place)
    added = [path for act, path in steps if act == "A" and _is_taken(place.work_tree, path, gone)]
    hidden = [path for act, path in steps if path in unwatched and os.path.lexists(place.work_tree / path)]
    in_the_way = [*added, *hidden]
    if not in_the_way:
        return None
    detail = f"In the way of what comes: {_listed(in_the_way)}."
    return Obstacle(SyncCause.DIRTY, detail, "Move these files away, or commit them.")


def _is_taken(top: Path, path: str, gone: Collection[str]) -> bool:
    """Whether something is where a new file goes, other than what goes away in the same step."""
    target = top / path
    for parent in target.relative_to(top).parents[:-1]:
        stands = top / parent
        if os.path.lexists(stands) and (stands.is_symlink() or not stands.is_dir()):
            return str(parent) not in gone
    if target.is_symlink() or not target.is_dir():
        return os.path.lexists(target)
    inside = (Path(folder, name) for folder, _, names in os.walk(target) for name in names)
    return any(str(file.relative_to(top)) not in gone for file in inside)


def take_forward(git: Git, place: Place, branch: str, old: str, new: str) -> Obstacle | None:
    """Brings a checkout without obstacles to the commit; what git itself met on the way, and then nothing changed."""
    try:
        git.fast_forward(place, new)
    except Conflict as error:
        return Obstacle(SyncCause.DIRTY, error.message, "Move these files away, or commit them.")
    except AgentedError as error:
        # Somebody has begun something there since we looked: that is no failure.
        now = find_obstacle(git, place, branch, old, new)
        if now is None:
            raise error
        return now
    return None
