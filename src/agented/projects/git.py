"""Git, as a program that is never asked interactively and runs nothing that a repository brings along.

Hooks, file-system monitors, filters and remote helpers of a repository are off, other people's `GIT_*` variables are
dropped, every word from outside stands behind `--` or comes through stdin, and the git folder is always named, so that
a `.git` that a run has put somewhere is not looked at. The person's own global configuration is trusted: credential
helpers, SSH settings and Git LFS live there.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from agented.kit.errors import AgentedError, CommandFailed, Conflict, Invalid, NotFound, Unavailable
from agented.kit.files import write_atomic
from agented.kit.process import Finished, run
from agented.projects.checks import check_ref, check_url, is_local, is_of_this_machine
from agented.projects.model import Origin, Ref, RefKind

_FLAGS = tuple(
    word
    for setting in (
        "core.hooksPath=/dev/null",
        "core.fsmonitor=false",
        "core.splitIndex=false",
        "core.safecrlf=false",
        "core.filesRefLockTimeout=2000",
        "core.packedRefsTimeout=5000",
        "safe.bareRepository=explicit",
        "protocol.ext.allow=never",
        "protocol.file.allow=user",
        "http.followRedirects=false",
        "http.lowSpeedLimit=1000",
        "http.lowSpeedTime=60",
        "credential.interactive=false",
        "submodule.recurse=false",
        "fetch.recurseSubmodules=false",
        "gc.auto=0",
        "maintenance.auto=false",
        "commit.gpgSign=false",
        "diff.suppressBlankEmpty=false",
        "advice.addEmbeddedRepo=false",
    )
    for word in ("-c", setting)
)
# What must be on the disk before a worktree goes.
_DURABLE = ("-c", "core.fsync=committed,reference", "-c", "core.fsyncMethod=batch")
_KEPT_VARIABLES = frozenset({"GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"})
# Keys of a repository's own configuration that make a fetch run a program of its choice.
_PROGRAM_KEYS = (
    r"^(core\.(sshcommand|gitproxy|askpass|alternaterefscommand)|credential\..*|remote\..*\.(uploadpack|vcs))$"
)
# A repository's own list of what it fetches counts where it brings branches to the remote branches of origin.
_BRANCHES = re.compile(r"\+?refs/heads/[^:\s]+:refs/remotes/origin/[^:\s]+\Z")
ALL_BRANCHES = "+refs/heads/*:refs/remotes/origin/*"
_HEX = re.compile(r"[0-9a-f]{4,64}\Z")
_BUSY = re.compile(r"'(.+\.lock)': File exists|could not lock config file (.+): File exists")
_BUSY_FOR_S = 15.0
_NO_ROOM = re.compile("No space left on device|Out of diskspace|Disk quota exceeded")
# Git reads every worktree's entry, also one that another git is making at this moment.
_UNFINISHED = re.compile(r"failed to read (.+/worktrees/[^/]+)/commondir")
_UNFINISHED_FOR_S = 2.0
_LONG_S = 900.0
_CLONE_S = 3600.0
_MOST_REFS = 2000

AUTHOR = "Agented"
AUTHOR_EMAIL = "agented@localhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a command of git works.

    repository: the common git folder. git_dir: that of a worktree, if it is not the repository's own.
    index: a temporary index in the place of the worktree's. objects: a temporary folder for new objects.
    """

    repository: Path
    git_dir: Path | None = None
    work_tree: Path | None = None
    index: Path | None = None
    objects: Path | None = None

    def env(self) -> dict[str, str]:
        env = {"GIT_DIR": str(self.git_dir or self.repository)}
        if self.work_tree is not None:
            env["GIT_WORK_TREE"] = str(self.work_tree)
        if self.index is not None:
            env["GIT_INDEX_FILE"] = str(self.index)
        if self.objects is not None:
            env["GIT_OBJECT_DIRECTORY"] = str(self.objects)
            env["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = _quoted(self.repository / "objects")
        return env


@dataclass(frozen=True, slots=True)
class TreeEntry:
    mode: str
    oid: str
    path: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What `cat-file --batch-check` says of a name."""

    oid: str
    kind: str
    size: int


class Git:
    """env: what the environment of every git is built from; variables that begin with GIT_ are not taken over.

    helper: the credential helper of an https address, or None.
    """

    def __init__(
        self, env: Mapping[str, str], program: str = "git", helper: Callable[[str], str | None] = lambda _: None
    ) -> None:
        self._program = program
        self._helper = helper
        self._env = {
            **{name: value for name, value in env.items() if not name.startswith("GIT_") or name in _KEPT_VARIABLES},
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "",
            "SSH_ASKPASS_REQUIRE": "never",
            "GIT_EDITOR": "false",
            "GIT_PAGER": "cat",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_LITERAL_PATHSPECS": "1",
            # A run could hide what it changed behind a replaced object.
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_ALLOW_PROTOCOL": "",
            # Its messages are read here, in English.
            "LC_ALL": "C",
            "LANGUAGE": "",
        }

    def try_run(
        self,
        args: Sequence[str],
        *,
        place: Place | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        timeout_s: float = 120,
    ) -> Finished:
        """Runs git to its end, whatever that is."""
        whole = dict(self._env)
        if place is not None:
            cwd = cwd or place.work_tree or place.repository
            # For all commands: also those that only look may refresh an index, and so filter files.
            whole |= {**place.env(), **self._no_drivers(place)}
        whole |= env or {}
        return run([self._program, *_FLAGS, *args], env=whole, cwd=cwd, stdin=stdin, timeout_s=timeout_s)

    def run(
        self,
        args: Sequence[str],
        *,
        place: Place | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        timeout_s: float = 120,
    ) -> bytes:
        """What git prints. Raises an AgentedError that says what to do when it fails."""
        done = self.try_run(args, place=place, cwd=cwd, env=env, stdin=stdin, timeout_s=timeout_s)
        if done.code != 0:
            raise _explain(args, done)
        return done.stdout

    # --- repositories

    def top_level(self, path: Path) -> Path:
        """The top of the work tree around the folder, or the bare repository that it is.

        Raises Invalid that names the field `path`.
        """
        bare = ["-c", "safe.bareRepository=all"] if (path / "HEAD").is_file() and (path / "objects").is_dir() else []
        asked = [*bare, "rev-parse", "--path-format=absolute"]
        if bare and self.run([*asked, "--is-bare-repository"], cwd=path).strip() == b"true":
            return path
        return Path(os.fsdecode(self.run([*asked, "--show-toplevel"], cwd=path).removesuffix(b"\n")))

    def default_branch(self, repository: Path) -> str:
        """The branch that origin calls its default, else the one checked out, else the only one.

        Raises Invalid when the repository has no commit or no such branch.
        """
        place = Place(repository=repository)
        listed = self.run(
            ["for-each-ref", "--format=%(refname)%00%(symref)", "refs/heads", "refs/remotes/origin"], place=place
        )
        known = {name: target for name, target in _rows(listed)}  # noqa: C416 — says what each row holds
        at_origin = known.get("refs/remotes/origin/HEAD", "")
        if at_origin in known:
            return at_origin.removeprefix("refs/remotes/origin/")
        head = self.try_run(["symbolic-ref", "--quiet", "HEAD"], place=place).text.strip()
        if head in known:
            return head.removeprefix("refs/heads/")
        branches = [name for name in known if name.startswith("refs/heads/")]
        if len(branches) == 1:
            return branches[0].removeprefix("refs/heads/")
        if not branches and self.look_up(place, ["HEAD^{commit}"]) == [None]:
            raise _empty()
        raise Invalid(
            "The repository does not say which branch is its default.",
            field="path",
            hint="Check out a branch there, or run `git remote set-head origin --auto`.",
        )

    def refs(self, repository: Path) -> list[Ref]:
        """Branches, tags and remote branches, the newest first, at most 2,000."""
        listed = self.run(
            [
                "for-each-ref",
                "--sort=-creatordate",
                f"--count={_MOST_REFS}",
                "--format=%(refname)%00%(objectname)%00%(*objectname)%00%(symref)",
                "refs/heads",
                "refs/tags",
                "refs/remotes",
            ],
            place=Place(repository=repository),
        )
        found = []
        for name, commit, peeled, symref in _rows(listed):
            kind, prefix = _KINDS[name.split("/")[1]]
            if not symref:
                found.append(Ref(name.removeprefix(prefix), kind, peeled or commit))
        return found

    def resolve(self, repository: Path, ref: str, *, remote_first: bool = False) -> str:
        """The commit of a branch, tag, remote branch or (short) commit id.

        Raises Invalid that names the field `ref`.
        """
        check_ref(ref)
        if ref == "HEAD" or ref.startswith("refs/"):
            names = [ref]
        else:
            names = [f"refs/heads/{ref}", f"refs/tags/{ref}", f"refs/remotes/{ref}"]
            names.insert(0 if remote_first else len(names), f"refs/remotes/origin/{ref}")
            if _HEX.match(ref):
                # A full id names itself even where somebody called a branch like it.
                names.insert(0 if len(ref) in (40, 64) else len(names), ref)
        found = self.look_up(Place(repository=repository), [f"{name}^{{commit}}" for name in names])
        for entry in found:
            if entry is not None:
                return entry.oid
        if not self.run(["for-each-ref", "--count=1"], place=Place(repository=repository)):
            raise _empty()
        raise Invalid(
            f"The project has no branch, tag or commit named {ref}.", field="ref", hint="Choose one of its refs."
        )

    def look_up(self, place: Place, names: Sequence[str]) -> list[Entry | None]:
        """What objects the names stand for, in their order; None for a name without an object."""
        if not names:
            return []
        said = self.run(["cat-file", "--batch-check"], place=place, stdin="".join(f"{n}\n" for n in names).encode())
        found: list[Entry | None] = []
        for line in said.decode("utf-8", "replace").removesuffix("\n").split("\n"):
            words = line.rsplit(" ", 2)
            known = len(words) == 3 and words[1] in _OBJECTS
            found.append(Entry(words[0], words[1], int(words[2])) if known else None)
        return found

    def clone(self, url: str, folder: Path) -> None:
        """Clones into a folder that is not there yet. The url is one that `check_url` has let pass."""
        args = [
            *self._sign_in(url),
            "clone",
            "--quiet",
            "--no-recurse-submodules",
            "--no-hardlinks",
            "--template=",
            "--origin=origin",
        ]
        self.run([*args, "--", url, str(folder)], cwd=folder.parent, env=_allow(url), timeout_s=_CLONE_S)

    def fetch(self, repository: Path, url: str, timeout_s: float, branches: Sequence[str] = (ALL_BRANCHES,)) -> None:
        """Brings the remote branches of origin, and the tags on them, up to date.

        Raises Conflict when the repository's own configuration names programs that a fetch would run, and FetchFailed
        when the other side does not give.
        """
        place = Place(repository=repository)
        self._check_config(repository)
        args = ["fetch", "--quiet", "--prune", "--no-recurse-submodules", "--no-write-fetch-head", "--", url, *branches]
        self.run([*self._sign_in(url), *args], place=place, env=_allow(url), timeout_s=timeout_s)

    def origin(self, repository: Path) -> Origin | None:
        """Where the repository's own configuration says that it comes from, not checked."""
        urls = self._local_values(repository, "remote.origin.url")
        if not urls:
            return None
        branches = tuple(
            spec for spec in self._local_values(repository, "remote.origin.fetch") if _BRANCHES.match(spec)
        )
        return Origin(urls[0], branches or (ALL_BRANCHES,))

    def remote_url(self, repository: Path) -> str | None:
        """The address of `origin`, if it is one that we would fetch from."""
        found = self.origin(repository)
        try:
            return None if found is None else check_url(found.url)
        except Invalid:
            return None

    def fetch_ref(self, repository: Path, url: str, ref: str, kept: str, timeout_s: float) -> None:
        """Brings one ref of the remote and keeps it under a name of ours."""
        self._check_config(repository)
        args = ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--"]
        place = Place(repository=repository)
        self.run([*self._sign_in(url), *args, url, f"+{ref}:{kept}"], place=place, env=_allow(url), timeout_s=timeout_s)

    def push(self, repository: Path, url: str, commit: str, branch: str, timeout_s: float = _LONG_S) -> None:
        """Makes the branch of the remote stand at the commit; a branch that moved meanwhile is not overwritten.

        Raises CommandFailed with git's words.
        """
        self._check_config(repository)
        args = ["push", "--quiet", "--no-verify", "--no-follow-tags", "--recurse-submodules=no", "--"]
        place = Place(repository=repository)
        refspec = f"{commit}:refs/heads/{check_ref(branch)}"
        self.run([*self._sign_in(url), *args, url, refspec], place=place, env=_allow(url), timeout_s=timeout_s)

    def branch_at(self, url: str, branch: str, timeout_s: float = 60) -> str | None:
        """The commit at which a branch of the remote stands; None when there is no such branch."""
        args = ["ls-remote", "--heads", "--", url, f"refs/heads/{check_ref(branch)}"]
        told = self.run([*self._sign_in(url), *args], env=_allow(url), timeout_s=timeout_s).decode("utf-8", "replace")
        return told.split("\t")[0] or None

    def delete_branch(self, repository: Path, url: str, branch: str) -> None:
        args = ["push", "--quiet", "--no-verify", "--", url, f":refs/heads/{check_ref(branch)}"]
        self.run([*self._sign_in(url), *args], place=Place(repository=repository), env=_allow(url), timeout_s=_LONG_S)

    def merge_base(self, repository: Path, one: str, other: str) -> str | None:
        done = self.try_run(["merge-base", "--end-of-options", one, other], place=Place(repository=repository))
        return done.text.strip() or None if done.code == 0 else None

    def tree(self, place: Place, commit: str) -> list[TreeEntry]:
        """Every file of a commit."""
        listed = self.run(["ls-tree", "-r", "-z", "--full-tree", commit], place=place)
        found = []
        for row in listed.split(b"\0"):
            head, tab, path = row.partition(b"\t")
            if tab:
                mode, _, oid = head.decode().split(" ")
                found.append(TreeEntry(mode, oid, os.fsdecode(path)))
        return found

    def tree_with(self, place: Place, commit: str, *, without: Sequence[str], entries: Sequence[TreeEntry]) -> str:
        """The tree of a commit without some paths and with other entries. The place names a temporary index."""
        self.run(["read-tree", commit], place=place)
        rows = [f"0 {'0' * 40}\t{path}" for path in without]
        rows += [f"{entry.mode} {entry.oid}\t{entry.path}" for entry in entries]
        stdin = b"".join(os.fsencode(row) + b"\0" for row in rows)
        self.run(["update-index", "-z", "--index-info"], place=place, stdin=stdin)
        return self.write_tree(place)

    def _check_config(self, repository: Path) -> None:
        """Raises Conflict when the repository's own configuration names programs that a fetch or push would run."""
        named = self._local_keys(Place(repository=repository), _PROGRAM_KEYS)
        if named:
            raise Conflict(
                f"The configuration of the repository names programs to run: {', '.join(named)}.",
                code="programs_in_config",
                hint=f"None of them is run. Take these keys out of {repository}/config; what is needed belongs into "
                "the global configuration of the user that runs Agented.",
            )

    def _sign_in(self, url: str) -> list[str]:
        """What `gh auth setup-git` would write into the person's configuration, for this one command."""
        helper = self._helper(url)
        if helper is None:
            return []
        parts = urlsplit(url)
        return ["-c", f"credential.{parts.scheme}://{parts.netloc}.helper={helper}"]

    def default_branch_at(self, url: str, timeout_s: float) -> str | None:
        """What the repository at the address calls its default branch now."""
        args = [*self._sign_in(url), "ls-remote", "--symref", "--", url, "HEAD"]
        first = self.run(args, env=_allow(url), timeout_s=timeout_s).decode("utf-8", "replace").partition("\t")[0]
        return first.removeprefix("ref: refs/heads/") if first.startswith("ref: refs/heads/") else None

    def create(self, folder: Path, branch: str) -> Place:
        """Makes an empty repository with a work tree."""
        self.run(["init", "--quiet", "--template=", f"--initial-branch={branch}", "--", str(folder)], cwd=folder.parent)
        return Place(repository=folder / ".git", work_tree=folder)

    # --- worktrees

    def worktree_add(self, repository: Path, path: Path, branch: str, commit: str) -> None:
        """A worktree on a new branch that starts at the commit; on the branch itself where it is there already."""
        place = Place(repository=repository)
        start = ["worktree", "add", "--quiet"]
        new = [*start, "--no-track", "-b", branch, "--", str(path), commit]
        done = self._patiently(new, place)
        if done.code != 0 and f"branch named '{branch}' already exists" in done.error_text:
            done = self._patiently([*start, "--force", "--force", "--", str(path), branch], place)
        if done.code != 0:
            raise _explain(new, done)

    def worktree_remove(self, repository: Path, path: Path) -> None:
        """Makes the repository forget a worktree whose folder is gone; one it does not know is fine."""
        args = ["worktree", "remove", "--force", "--force", "--", str(path)]
        done = self._patiently(args, Place(repository=repository))
        if done.code != 0 and "is not a working tree" not in done.error_text:
            raise _explain(args, done)

    def worktrees(self, repository: Path) -> list[Path]:
        """The folders of all worktrees that the repository knows of, also those that are gone."""
        listed = self.run(["worktree", "list", "--porcelain", "-z"], place=Place(repository=repository))
        marked = (word for word in listed.split(b"\0") if word.startswith(b"worktree "))
        return [Path(os.fsdecode(word.removeprefix(b"worktree "))) for word in marked]

    # --- a checkout of a person

    def head_branch(self, place: Place) -> str | None:
        """The full name of the branch that is checked out; None for a detached HEAD."""
        return self.try_run(["symbolic-ref", "--quiet", "HEAD"], place=place).text.strip() or None

    def apart(self, repository: Path, ours: str, theirs: str) -> tuple[int, int]:
        """How many commits only the one has, and how many only the other."""
        args = ["rev-list", "--left-right", "--count", f"{ours}...{theirs}", "--"]
        ahead, behind = self.run(args, place=Place(repository=repository)).split()
        return int(ahead), int(behind)

    def changed(self, place: Place) -> list[str]:
        """Known files that are not as committed, in the index or the work tree. Writes nothing."""
        # What a submodule has inside is asked of git in there, which would run what its configuration names.
        looks = ["--untracked-files=no", "--ignore-submodules=dirty", "--no-renames"]
        said = self.run(["status", "--porcelain=v1", "-z", *looks], place=place, timeout_s=_LONG_S)
        return [os.fsdecode(row[3:]) for row in said.split(b"\0") if row]

    def between(self, repository: Path, old: str, new: str) -> list[tuple[str, str]]:
        """What a checkout of the one does to the files of the other: A, M, D or T, and the path."""
        args = ["diff-tree", "-r", "-z", "--no-renames", "--name-status", "--no-ext-diff", old, new, "--"]
        words = [os.fsdecode(word) for word in self.run(args, place=Place(repository=repository)).split(b"\0")]
        return list(zip(words[:-1:2], words[1::2], strict=True))

    def unwatched(self, place: Place) -> set[str]:
        """Known files that git was told not to look at (assume-unchanged, skip-worktree): `changed` misses them."""
        rows = self.run(["ls-files", "-v", "-z"], place=place).split(b"\0")
        return {os.fsdecode(row[2:]) for row in rows if row[:1] == b"S" or row[:1].islower()}

    def has_filters(self, place: Place) -> bool:
        """Whether the repository's own configuration names programs that make what a checkout writes."""
        return _may_name_filters(place) and bool(self._local_keys(place, r"^filter\..*\."))

    def fast_forward(self, place: Place, commit: str) -> None:
        """Takes the branch that is checked out, its index and work tree on to a commit after it, or changes nothing.

        Raises Conflict (`in_the_way`) when that would lose what is in the work tree, ignored files too.
        """
        args = ["merge", "--ff-only", "--no-squash", "--no-autostash", "--no-overwrite-ignore", "--no-stat", "--quiet"]
        env = {"GIT_REFLOG_ACTION": "agented sync"}
        kept = _read(original := (place.git_dir or place.repository) / "ORIG_HEAD")
        try:
            done = self.try_run([*args, "--no-verify-signatures", commit], place=place, env=env, timeout_s=_LONG_S)
        finally:
            # A merge notes here where it began; the person's own note of a reset or rebase would be lost.
            if kept is None:
                original.unlink(missing_ok=True)
            elif kept != _read(original):
                write_atomic(original, kept)
        if done.code != 0 and "would be overwritten" in done.error_text:
            named = ", ".join(line.strip() for line in done.error_text.splitlines() if line.startswith("\t"))
            raise Conflict(f"In the way of what comes: {named}.", code="in_the_way")
        if done.code != 0:
            raise _explain(args, done)

    # --- what is in a worktree

    def stage(self, place: Place, base: str, *, durable: bool = False) -> bool:
        """Fills the place's temporary index with all that is in the work tree and not ignored.

        False when something could not be read or taken in; the rest is there then.
        """
        assert place.index is not None
        original = (place.git_dir or place.repository) / "index"
        if place.git_dir is None or not _copy(original, place.index):
            self.run(["read-tree", base], place=place)
        args = [
            *(_DURABLE if durable else ("-c", "core.looseCompression=0")),
            "add",
            "--all",
            "--ignore-errors",
            "--",
            ".",
        ]
        done = self.try_run(args, place=place, timeout_s=_LONG_S)
        if done.code == 128:
            # The run left an index that cannot be read: begin without it.
            place.index.unlink(missing_ok=True)
            self.run(["read-tree", base], place=place)
            done = self.try_run(args, place=place, timeout_s=_LONG_S)
        if done.code not in (0, 1):
            raise _explain(args, done)
        return done.code == 0

    def write_tree(self, place: Place) -> str:
        return self.run([*_DURABLE, "write-tree"], place=place).decode().strip()

    def nested(self, place: Place) -> list[Path]:
        """Repositories inside the work tree that have a git folder of their own."""
        assert place.work_tree is not None
        listed = self.run(["ls-files", "--stage", "-z"], place=place).split(b"\0")
        links = [row.partition(b"\t")[2] for row in listed if row.startswith(b"160000 ")]
        paths = (place.work_tree / os.fsdecode(link) for link in links)
        return [path for path in paths if (path / ".git").exists()]

    def put_file(self, place: Place, source: Path, name: str, instead_of: str | None) -> None:
        """Puts a file from elsewhere into the place's temporary index, for another entry that goes out."""
        assert place.index is not None
        written = self.run(
            [*_DURABLE, "hash-object", "-w", "--no-filters", "--", str(source)], place=place, timeout_s=_LONG_S
        )
        oid = written.decode().strip()
        rows = [] if instead_of is None else [b"0 " + b"0" * len(oid) + b"\t" + os.fsencode(instead_of)]
        rows.append(b"100644 " + oid.encode() + b"\t" + os.fsencode(name))
        self.run(["update-index", "-z", "--index-info"], place=place, stdin=b"".join(row + b"\0" for row in rows))

    def commit_tree(self, place: Place, tree: str, parents: Iterable[str], message: str, at: datetime) -> str:
        date = f"{int(at.timestamp())} +0000"
        env = {
            f"GIT_{who}_{what}": value
            for who in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", AUTHOR), ("EMAIL", AUTHOR_EMAIL), ("DATE", date))
        }
        args = [*_DURABLE, "commit-tree", tree, *(word for parent in parents for word in ("-p", parent))]
        return self.run(args, place=place, env=env, stdin=message.encode()).decode().strip()

    def restore(self, place: Place, commit: str) -> None:
        """Brings the work tree to what the commit holds, as changes that are not committed."""
        self.run(["read-tree", "--reset", "-u", commit], place=place, timeout_s=_LONG_S)
        self.run(["reset", "--quiet", "--mixed"], place=place, timeout_s=_LONG_S)

    def set_ref(self, repository: Path, name: str, commit: str) -> None:
        args = [*_DURABLE, "update-ref", "--", name, commit]
        done = self._patiently(args, Place(repository=repository))
        if done.code != 0:
            raise _explain(args, done)

    def delete_ref(self, repository: Path, name: str, only_at: str) -> None:
        """Deletes the ref if it still stands at that commit."""
        self._patiently(["update-ref", "-d", "--", name, only_at], Place(repository=repository))

    def _patiently(self, args: Sequence[str], place: Place) -> Finished:
        """Runs a command that takes git's own locks, again while another git holds them."""
        began = time.monotonic()
        pause_s = 0.02
        while True:
            done = self.try_run(args, place=place, timeout_s=_LONG_S)
            unfinished = _UNFINISHED.search(done.error_text)
            if done.code == 0 or not (unfinished or _BUSY.search(done.error_text)):
                return done
            waited_s = time.monotonic() - began
            if waited_s > _BUSY_FOR_S:
                return done
            if unfinished and waited_s > _UNFINISHED_FOR_S:
                _clear_stillborn(Path(unfinished[1]))
            time.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 — spreads waiters, keeps no secret
            pause_s = min(pause_s * 2, 0.5)

    def _no_drivers(self, place: Place) -> dict[str, str]:
        """Variables that switch off the filters of the repository's own configuration: they name programs to run."""
        if not _may_name_filters(place):
            return {}
        drivers = {key.rpartition(".")[0] for key in self._local_keys(place, r"^filter\..*\.")}
        values = {"clean": "", "smudge": "", "process": "", "required": "false"}
        pairs = [(f"{name}.{key}", value) for name in sorted(drivers) for key, value in values.items()]
        env = {"GIT_CONFIG_COUNT": str(len(pairs))}
        for number, (key, value) in enumerate(pairs):
            env |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        return env

    def _local_keys(self, place: Place, pattern: str) -> list[str]:
        """Keys of the repository's own configuration that match, that of its worktree and what they include too."""
        listed = self._config(place, ["--show-scope", "--name-only", "--get-regexp", pattern])
        return [key for scope, key in zip(listed[::2], listed[1::2], strict=True) if scope in ("local", "worktree")]

    def _local_values(self, repository: Path, key: str) -> list[str]:
        return self._config(Place(repository=repository), ["--local", "--includes", "--get-all", key])

    def _config(self, place: Place, words: Sequence[str]) -> list[str]:
        # Not through `try_run`, which asks for the configuration itself.
        env = {**self._env, **place.env()}
        listed = run([self._program, *_FLAGS, "config", "-z", *words], env=env, cwd=place.repository).stdout
        return [os.fsdecode(word) for word in listed.split(b"\0") if word]


def _clear_stillborn(entry: Path) -> None:
    """Takes away what a killed git has begun: without this, no git could make a worktree there ever again."""
    with suppress(OSError):
        begun = (entry / "locked").read_bytes().strip() == b"initializing"
        if begun and not (entry / "commondir").read_bytes():
            shutil.rmtree(entry)


_OBJECTS = frozenset({"commit", "tree", "blob", "tag"})
_KINDS = {
    "heads": (RefKind.BRANCH, "refs/heads/"),
    "tags": (RefKind.TAG, "refs/tags/"),
    "remotes": (RefKind.REMOTE, "refs/remotes/"),
}


def find_repository(path: Path) -> Path:
    """The common git folder of a work tree's top level or of a bare repository, without asking git.

    Raises NotFound when there is none (any more).
    """
    link = path / ".git"
    try:
        if link.is_dir():
            return link
        if link.is_file():
            return common_folder(follow_link(link))
    except (OSError, ValueError):
        pass
    if (path / "HEAD").is_file() and (path / "objects").is_dir():
        return path
    raise NotFound(
        f"There is no repository at {path} any more.",
        code="repository_missing",
        hint="Put it back, or remove the project and add it where it is now.",
    )


def follow_link(link: Path) -> Path:
    """The git folder that a `.git` file names. Raises OSError or ValueError when it names none."""
    text = os.fsdecode(link.read_bytes()[:5000])
    if not text.startswith("gitdir: "):
        raise ValueError("not a link to a git folder")
    return Path(os.path.normpath(link.parent / text.removeprefix("gitdir: ").rstrip("\r\n")))


def common_folder(git_dir: Path) -> Path:
    """The repository that a worktree's git folder belongs to; itself when it is the repository's own."""
    try:
        named = os.fsdecode((git_dir / "commondir").read_bytes()[:5000]).rstrip("\r\n")
    except FileNotFoundError:
        return git_dir
    return Path(os.path.normpath(git_dir / named))


def _may_name_filters(place: Place) -> bool:
    """A look at the files, so that the usual repository costs no process."""
    own = place.git_dir or place.repository
    for path in {place.repository / "config", place.repository / "config.worktree", own / "config.worktree"}:
        try:
            text = path.read_bytes().lower()
        except OSError:
            continue
        if b"filter" in text or b"include" in text:
            return True
    return False


def _rows(listed: bytes) -> list[list[str]]:
    """Lines of fields that NUL bytes part. Names of refs may hold any other line separator of Unicode."""
    return [line.split("\0") for line in listed.decode("utf-8", "replace").split("\n") if line]


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _copy(source: Path, target: Path) -> bool:
    """With its times: git tells by them which entries may have changed right after the index was written."""
    try:
        shutil.copy2(source, target)
    except OSError:
        return False
    return True


def _allow(url: str) -> dict[str, str]:
    if is_local(url):
        return {"GIT_ALLOW_PROTOCOL": "file"}
    return {"GIT_ALLOW_PROTOCOL": "https:ssh:http" if is_of_this_machine(url) else "https:ssh"}


def _quoted(path: Path) -> str:
    """A path for a list that is split at colons."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _empty() -> Invalid:
    return Invalid(
        "The repository has no commit yet.",
        code="empty_repository",
        field="path",
        hint="Make a first commit there, then try again.",
    )


class FetchFailed(CommandFailed):
    """cause: one word for why the other side did not give: auth, host_key, host, redirect, missing or other."""

    def __init__(self, message: str, *, cause: str, output: str, hint: str | None = None) -> None:
        super().__init__(message, output=output, code="clone_failed", hint=hint)
        self.cause = cause


_REASONS: Sequence[tuple[str, str, str, str]] = (
    ("auth",
     "Authentication failed|could not read (?:Username|Password)|Permission denied \\(|terminal prompts disabled",
     "Git could not sign in.", "Give the user that runs Agented an SSH key or a git credential helper for this host."),
    ("host_key", "Host key verification failed", "The host's SSH key is not known.",
     "Connect to it once by hand, as the user that runs Agented: `ssh git@HOST`."),
    ("host", "Failed to connect|Couldn't connect|Connection (?:refused|timed out|reset)|Operation timed out|"
     "Network is unreachable|No route to host|Operation too slow", "The host of the repository does not answer.",
     "Check the network, and that the host is up."),
    ("host", "Could not resolve host", "The host of the repository cannot be found.",
     "Check the address and the network."),
    ("redirect", "unable to update url base from redirection|redirect", "The address redirects, which is not followed.",
     "Use the address the host redirects to; it often ends with `.git`."),
    ("missing", "[Rr]epository .*not found|does not appear to be a git repository|does not exist",
     "There is no repository there.", "Check the address, and that the user that runs Agented may read it."),
)  # fmt: skip


def _explain(args: Sequence[str], done: Finished) -> AgentedError:
    said = done.error_text.strip()[-2000:]
    if "dubious ownership" in said:
        return Invalid(
            "The repository belongs to another user of this machine, so git does not trust it.",
            code="dubious_ownership",
            field="path",
            hint="As the user that runs Agented: git config --global --add safe.directory PATH, or chown it.",
        )
    if "not a git repository" in said or "must be run in a work tree" in said:
        return Invalid(
            "The folder is not inside a git work tree and is not a bare repository.",
            code="not_a_repository",
            field="path",
            hint="Run `git init` there and commit, or name another folder.",
        )
    if _NO_ROOM.search(said):
        return Unavailable("The disk is full.", code="disk_full", hint="Free space and try again.")
    if "promisor remote" in said or "lazy fetch" in said:
        return Unavailable(
            "The repository is a partial clone, and some of its files were never fetched.",
            code="partial_clone",
            hint="There: git config --unset-all remote.origin.partialclonefilter && git fetch --refetch",
        )
    if "'refs/heads/agented' exists" in said:
        return Conflict(
            "The repository has a branch `agented`, which stands in the way of branches `agented/…`.",
            code="branch_in_the_way",
            hint="Rename it: git branch -m agented agented-1",
        )
    busy = _BUSY.search(said)
    if busy:
        return Unavailable(
            "Another git holds a lock of the repository, or one was killed and left it.",
            code="repository_locked",
            hint=f"When no git is at work there: rm {busy[1] or f'{busy[2]}.lock'}",
        )
    verb = next(word for word in args if "=" not in word and not word.startswith("-"))
    if verb in ("clone", "fetch", "push", "ls-remote"):
        for cause, pattern, message, hint in _REASONS:
            if re.search(pattern, said):
                return FetchFailed(f"{message} Git says: {said}", cause=cause, output=said, hint=hint)
    return CommandFailed(f"git {verb} failed: {said or done.code}", output=said)
