"""What GitHub's webhooks tell, as facts. Pure; every field is from outside and may be missing.

Source: docs.github.com, webhook events and payloads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from agented.kit.errors import Invalid
from agented.kit.loose import mapping
from agented.projects.github import Remote, check_remote

MARK = "<!-- agented"
"""What every text of ours on GitHub holds, so that it is known when it comes back."""
OWN_BRANCHES = "agented/"
_INSIDERS = frozenset({"OWNER", "MEMBER", "COLLABORATOR"})
_NOBODY = "0" * 40


@dataclass(frozen=True, slots=True, kw_only=True)
class GitHubEvent:
    """kind: the event's name; action: what happened, may be empty. facts: what templates may name.

    author: who wrote what is worked on; insider: whether that person may write to the repository.
    head: the commit it is about. number: of the pull request or issue. own: Agented itself caused it.
    """

    kind: str
    action: str
    remote: Remote
    clone_url: str
    facts: Mapping[str, Any]
    sender: str
    author: str
    insider: bool
    sender_is_bot: bool = False
    own: bool = False
    number: int | None = None
    head: str | None = None
    base: str | None = None
    branch: str | None = None
    draft: bool = False
    fork: bool = False
    labels: Sequence[str] = field(default_factory=tuple)
    paths: Sequence[str] = field(default_factory=tuple)
    command: str | None = None

    @property
    def subject(self) -> str:
        """What is worked on: newer events of the same subject take the place of older ones."""
        if self.number is not None:
            return f"{self.remote}#{self.number}"
        return f"{self.remote}@{self.branch or self.head or self.kind}"


@dataclass(frozen=True, slots=True)
class Ignored:
    reason: str


def read_event(kind: str, payload: Any) -> GitHubEvent | Ignored:
    """What an event is about; Ignored when nothing of it can start a bot."""
    told = mapping(payload)
    repository = mapping(told.get("repository"))
    reader = _READERS.get(kind)
    if reader is None:
        return Ignored(f"Events of the kind {kind[:60]!r} start nothing.")
    try:
        remote = check_remote(_host_of(repository), str(repository.get("full_name") or ""))
    except Invalid:
        return Ignored("It names no repository.")
    sender = mapping(told.get("sender"))
    common: dict[str, Any] = {
        "kind": kind,
        "action": str(told.get("action") or ""),
        "remote": remote,
        "clone_url": str(repository.get("clone_url") or ""),
        "sender": str(sender.get("login") or ""),
        "sender_is_bot": sender.get("type") == "Bot",
    }
    facts = {
        "event": {"name": kind, "action": common["action"], "sender": common["sender"]},
        "repo": {
            "name": remote.path,
            "host": remote.host,
            "url": str(repository.get("html_url") or ""),
            "default_branch": str(repository.get("default_branch") or ""),
            "private": repository.get("private") is True,
        },
    }
    return reader(told, common, facts)


def _host_of(repository: Mapping[str, Any]) -> str:
    try:
        return urlsplit(str(repository.get("html_url") or "")).netloc.rpartition("@")[2] or "github.com"
    except ValueError:
        return ""


def _pull_request(told: Mapping[str, Any], common: dict[str, Any], facts: dict[str, Any]) -> GitHubEvent | Ignored:
    pull = mapping(told.get("pull_request"))
    number = pull.get("number", told.get("number"))
    if not _is_number(number):
        return Ignored("It names no pull request.")
    about = _pull_facts(pull, int(number))
    head, base = mapping(pull.get("head")), mapping(pull.get("base"))
    fork = _is_fork(head, common["remote"])
    author = str(mapping(pull.get("user")).get("login") or "")
    return GitHubEvent(
        **common,
        facts={**facts, "pr": about, "label": str(mapping(told.get("label")).get("name") or "")},
        author=author,
        insider=not fork,
        own=about["head"]["ref"].startswith(OWN_BRANCHES) and not fork,
        number=int(number),
        head=_sha(head.get("sha")),
        base=_sha(base.get("sha")),
        branch=about["base"]["ref"],
        draft=pull.get("draft") is True,
        fork=fork,
        labels=tuple(about["labels"]),
    )


def _pull_facts(pull: Mapping[str, Any], number: int) -> dict[str, Any]:
    head, base = mapping(pull.get("head")), mapping(pull.get("base"))
    labels = pull.get("labels")
    return {
        "number": number,
        "title": str(pull.get("title") or ""),
        "body": str(pull.get("body") or ""),
        "url": str(pull.get("html_url") or ""),
        "author": str(mapping(pull.get("user")).get("login") or ""),
        "draft": pull.get("draft") is True,
        "merged": pull.get("merged") is True,
        "state": str(pull.get("state") or ""),
        "head": {"ref": str(head.get("ref") or ""), "sha": _sha(head.get("sha")) or ""},
        "base": {"ref": str(base.get("ref") or ""), "sha": _sha(base.get("sha")) or ""},
        "labels": [str(mapping(one).get("name") or "") for one in labels] if isinstance(labels, list) else [],
        "additions": pull.get("additions") if _is_number(pull.get("additions")) else 0,
        "deletions": pull.get("deletions") if _is_number(pull.get("deletions")) else 0,
        "changed_files": pull.get("changed_files") if _is_number(pull.get("changed_files")) else 0,
    }


def _is_fork(head: Mapping[str, Any], remote: Remote) -> bool:
    """A repository that is gone counts as a stranger's."""
    return str(mapping(head.get("repo")).get("full_name") or "").lower() != remote.path.lower()


def _comment(told: Mapping[str, Any], common: dict[str, Any], facts: dict[str, Any]) -> GitHubEvent | Ignored:
    comment, issue = mapping(told.get("comment")), mapping(told.get("issue"))
    pull = mapping(told.get("pull_request")) if "pull_request" in told else mapping(issue.get("pull_request"))
    number = mapping(told.get("pull_request")).get("number", issue.get("number"))
    if not _is_number(number):
        return Ignored("It names neither an issue nor a pull request.")
    body = str(comment.get("body") or "")
    author = str(mapping(comment.get("user")).get("login") or "")
    words = body.strip().split("\n", 1)[0].split(None, 1)
    command = words[0] if words and words[0].startswith("/") else None
    about = {
        "body": body,
        "author": author,
        "url": str(comment.get("html_url") or ""),
        "command": command or "",
        "arguments": words[1] if command and len(words) > 1 else "",
        "path": str(comment.get("path") or ""),
        "line": comment.get("line") if _is_number(comment.get("line")) else 0,
    }
    more: dict[str, Any] = {"issue": _issue_facts(issue, int(number))}
    head = base = None
    if "pull_request" in told:
        more["pr"] = _pull_facts(pull, int(number))
        head, base = more["pr"]["head"]["sha"] or None, more["pr"]["base"]["sha"] or None
    elif pull:
        more["pr"] = {**more["issue"], "head": {"ref": "", "sha": ""}, "base": {"ref": "", "sha": ""}}
    return GitHubEvent(
        **common,
        facts={**facts, **more, "comment": about},
        author=author,
        insider=comment.get("author_association") in _INSIDERS,
        own=MARK in body,
        number=int(number),
        head=head,
        base=base,
        # Whose code it is, is not known from a comment alone: it is looked at as an outsider's.
        fork=bool(pull) and ("pull_request" not in told or _is_fork(mapping(pull.get("head")), common["remote"])),
        labels=tuple(more["issue"]["labels"]),
        command=command,
    )


def _issue_facts(issue: Mapping[str, Any], number: int) -> dict[str, Any]:
    labels = issue.get("labels")
    return {
        "number": number,
        "title": str(issue.get("title") or ""),
        "body": str(issue.get("body") or ""),
        "url": str(issue.get("html_url") or ""),
        "author": str(mapping(issue.get("user")).get("login") or ""),
        "state": str(issue.get("state") or ""),
        "labels": [str(mapping(one).get("name") or "") for one in labels] if isinstance(labels, list) else [],
    }


def _issues(told: Mapping[str, Any], common: dict[str, Any], facts: dict[str, Any]) -> GitHubEvent | Ignored:
    issue = mapping(told.get("issue"))
    if not _is_number(issue.get("number")):
        return Ignored("It names no issue.")
    about = _issue_facts(issue, int(issue["number"]))
    return GitHubEvent(
        **common,
        facts={**facts, "issue": about, "label": str(mapping(told.get("label")).get("name") or "")},
        author=about["author"],
        insider=issue.get("author_association") in _INSIDERS,
        own=MARK in about["body"],
        number=about["number"],
        labels=tuple(about["labels"]),
    )


def _push(told: Mapping[str, Any], common: dict[str, Any], facts: dict[str, Any]) -> GitHubEvent | Ignored:
    ref, after = str(told.get("ref") or ""), _sha(told.get("after"))
    if not ref.startswith("refs/heads/"):
        return Ignored("It pushes no branch.")
    if told.get("deleted") is True or after is None or after == _NOBODY:
        return Ignored("It deletes a branch.")
    branch = ref.removeprefix("refs/heads/")
    commits = [mapping(one) for one in told["commits"]] if isinstance(told.get("commits"), list) else []
    paths = {
        str(path)
        for commit in commits
        for kind in ("added", "modified", "removed")
        if isinstance(commit.get(kind), list)
        for path in commit[kind]
    }
    about = {
        "branch": branch,
        "before": _sha(told.get("before")) or "",
        "after": after,
        "compare": str(told.get("compare") or ""),
        "commits": [str(commit.get("message") or "").split("\n", 1)[0] for commit in commits],
        "paths": sorted(paths),
    }
    return GitHubEvent(
        **common,
        facts={**facts, "push": about},
        author=common["sender"],
        insider=True,
        own=branch.startswith(OWN_BRANCHES),
        head=after,
        branch=branch,
        paths=tuple(sorted(paths)),
    )


def _check_suite(told: Mapping[str, Any], common: dict[str, Any], facts: dict[str, Any]) -> GitHubEvent | Ignored:
    suite = mapping(told.get("check_suite"))
    conclusion = str(suite.get("conclusion") or "")
    if common["action"] != "completed" or conclusion not in ("failure", "timed_out", "startup_failure"):
        return Ignored("No checks failed.")
    pulls = suite.get("pull_requests")
    first = mapping(pulls[0]) if isinstance(pulls, list) and pulls else {}
    number = first.get("number") if _is_number(first.get("number")) else None
    branch = str(suite.get("head_branch") or "")
    about = {"conclusion": conclusion, "branch": branch, "sha": _sha(suite.get("head_sha")) or "", "pr": number or 0}
    return GitHubEvent(
        **common,
        facts={**facts, "check": about},
        author=common["sender"],
        # Only pull requests from the repository itself are named: a fork's commit has none.
        insider=number is not None,
        own=branch.startswith(OWN_BRANCHES),
        number=None if number is None else int(number),
        head=_sha(suite.get("head_sha")),
        branch=branch or None,
    )


def _sha(value: Any) -> str | None:
    good = isinstance(value, str) and len(value) in (40, 64) and set(value) <= set("0123456789abcdef")
    return value if good else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40


_READERS = {
    "pull_request": _pull_request,
    "issue_comment": _comment,
    "pull_request_review_comment": _comment,
    "issues": _issues,
    "push": _push,
    "check_suite": _check_suite,
}
KINDS = tuple(_READERS)
