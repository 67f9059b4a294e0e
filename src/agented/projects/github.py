"""GitHub, by its own program `gh`: views, comments, reviews, pull requests, statuses, what its hooks delivered.

Authentication is gh's own. Every call names its host; words from outside travel as JSON on stdin, never as arguments.
Source: the REST API's documentation, and what gh 2.102 was seen to do.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from agented.kit.errors import CommandFailed, Invalid, NotFound, ProgramMissing, Refused
from agented.kit.loose import items, mapping
from agented.kit.process import Finished, run
from agented.projects.checks import check_ref

_WORD = re.compile(r"[A-Za-z0-9_.-]{1,100}\Z")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?(?::[0-9]{1,5})?\Z")
_SCP = re.compile(r"(?:[^@/]+@)?([^:/]+):(.+)\Z")
_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")
_STATUS = re.compile(r"\(HTTP (\d{3})\)")
_CALL_S = 60.0
_MOST_PAGES = 20
_LONGEST_BODY = 65_000
"""GitHub takes 65,536 characters."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A repository at a host: HOST/OWNER/NAME. The host may carry a port."""

    host: str
    owner: str
    name: str

    @property
    def path(self) -> str:
        return f"{self.owner}/{self.name}"

    def __str__(self) -> str:
        return f"{self.host}/{self.path}".lower()


def check_remote(host: str, path: str) -> Remote:
    """Raises Invalid for what is no repository's name."""
    owner, slash, name = path.partition("/")
    if (
        not slash
        or not _HOST.match(host)
        or not all(_WORD.match(word) and word not in (".", "..") for word in (owner, name))
    ):
        raise Invalid(f"{host[:60]}/{path[:120]} is no repository.", field="repository")
    return Remote(host.lower(), owner, name)


def parse_remote(url: str | None) -> Remote | None:
    """The repository that an address of git names; None for a folder and for what has another shape."""
    if not url:
        return None
    if "://" in url:
        parts = urlsplit(url)
        host, path = parts.netloc.rpartition("@")[2], parts.path
        if parts.scheme == "ssh":
            host = host.partition(":")[0]
    elif match := _SCP.match(url):
        host, path = match[1], match[2]
    else:
        return None
    try:
        return check_remote(host, path.strip("/").removesuffix(".git"))
    except Invalid:
        return None


@dataclass(frozen=True, slots=True)
class Pull:
    number: int
    url: str
    state: str


@dataclass(frozen=True, slots=True)
class Comment:
    id: int
    url: str
    body: str


class GitHub:
    """env: what the environment of every gh is built from, its own variables (GH_TOKEN …) among them."""

    def __init__(self, env: Mapping[str, str], program: str = "gh") -> None:
        self._env = {
            **{name: value for name, value in env.items() if name not in ("GH_HOST", "GH_REPO", "GH_DEBUG")},
            "GH_PROMPT_DISABLED": "1",
            "GH_NO_UPDATE_NOTIFIER": "1",
            "NO_COLOR": "1",
            "LC_ALL": "C",
        }
        self._program = program

    def is_there(self) -> bool:
        return shutil.which(self._program, path=self._env.get("PATH")) is not None

    def helper(self, url: str) -> str | None:
        """The credential helper for git at an https address: gh answers with the login it has for the host, if any."""
        program = shutil.which(self._program, path=self._env.get("PATH"))
        if program is None or not url.startswith(("https://", "http://")):
            return None
        quoted = "'" + program.replace("'", "'\\''") + "'"
        return f"!{quoted} auth git-credential"

    def logins(self) -> dict[str, str]:
        """As whom gh speaks, by host. Its exit code does not tell."""
        done = self._run(["auth", "status", "--json", "hosts"])
        try:
            hosts = mapping(mapping(json.loads(done.stdout or b"{}")).get("hosts"))
        except ValueError:
            return {}
        return {
            str(host): str(mapping(account).get("login"))
            for host, accounts in hosts.items()
            for account in items(accounts)
            if mapping(account).get("active") and mapping(account).get("state") == "success"
        }

    def view(self, remote: Remote) -> Mapping[str, Any]:
        """Its address, default branch and what we may do there."""
        fields = "nameWithOwner,url,defaultBranchRef,isPrivate,viewerPermission,isFork"
        done = self._run(["repo", "view", str(remote), "--json", fields])
        return mapping(self._json(done, f"gh repo view {remote}"))

    # --- pull requests

    def pull_of_branch(self, remote: Remote, branch: str) -> Pull | None:
        """The newest pull request from a branch of the repository itself, open or not."""
        head = quote(f"{remote.owner}:{check_ref(branch)}", safe=":")
        found = self._api(remote, f"pulls?head={head}&state=all&per_page=30")
        for one in found if isinstance(found, list) else []:
            if mapping(mapping(one).get("head")).get("ref") == branch:
                return Pull(int(one["number"]), str(one["html_url"]), str(one["state"]))
        return None

    def create_pull(
        self, remote: Remote, *, branch: str, base: str, title: str, body: Path, draft: bool = False
    ) -> str:
        """Opens a pull request and gives its address. body: a file that holds its text."""
        done = self._run(
            [
                "pr",
                "create",
                f"--repo={remote}",
                f"--head={check_ref(branch)}",
                f"--base={check_ref(base)}",
                f"--title={title[:240]}",
                f"--body-file={body}",
                *(["--draft"] if draft else []),
            ]
        )
        if done.code != 0:
            raise _explain("gh pr create", done)
        return done.text.strip().splitlines()[-1]

    def pull(self, remote: Remote, number: int) -> Mapping[str, Any]:
        return mapping(self._api(remote, f"pulls/{int(number)}"))

    def files(self, remote: Remote, number: int) -> list[str]:
        """Paths that a pull request changes."""
        return [str(one.get("filename")) for one in self._pages(remote, f"pulls/{int(number)}/files?per_page=100")]

    # --- comments and reviews

    def comments(self, remote: Remote, number: int) -> list[Comment]:
        return [
            Comment(int(one["id"]), str(one.get("html_url")), str(one.get("body") or ""))
            for one in self._pages(remote, f"issues/{int(number)}/comments?per_page=100")
        ]

    def comment(self, remote: Remote, number: int, body: str) -> Comment:
        return _comment(self._api(remote, f"issues/{int(number)}/comments", "POST", {"body": body[:_LONGEST_BODY]}))

    def change_comment(self, remote: Remote, comment_id: int, body: str) -> Comment:
        """Raises NotFound when somebody deleted it."""
        return _comment(
            self._api(remote, f"issues/comments/{int(comment_id)}", "PATCH", {"body": body[:_LONGEST_BODY]})
        )

    def reviews(self, remote: Remote, number: int) -> list[Comment]:
        return [
            Comment(int(one["id"]), str(one.get("html_url")), str(one.get("body") or ""))
            for one in self._pages(remote, f"pulls/{int(number)}/reviews?per_page=100")
        ]

    def review(
        self,
        remote: Remote,
        number: int,
        *,
        commit: str,
        body: str,
        event: str,
        comments: Sequence[Mapping[str, Any]],
    ) -> Comment:
        """event: COMMENT, APPROVE or REQUEST_CHANGES. comments: {path, line, body}, on lines of the difference.

        Raises Invalid when GitHub does not take one of them.
        """
        whole = {"commit_id": commit, "event": event, "body": body[:_LONGEST_BODY], "comments": list(comments)}
        return _comment(self._api(remote, f"pulls/{int(number)}/reviews", "POST", whole))

    def set_status(self, remote: Remote, commit: str, *, state: str, context: str, description: str, link: str) -> None:
        """state: pending, success, failure or error."""
        if not _SHA.match(commit):
            raise Invalid("A status belongs to a whole commit id.", field="commit")
        told = {"state": state, "context": context[:200], "description": description[:139], "target_url": link}
        self._api(remote, f"statuses/{commit}", "POST", told)

    # --- hooks

    def hooks(self, remote: Remote) -> list[Mapping[str, Any]]:
        return self._pages(remote, "hooks?per_page=100")

    def hook_deliveries(self, remote: Remote, hook_id: int) -> list[Mapping[str, Any]]:
        """The newest hundred that the hook tried to deliver."""
        found = self._api(remote, f"hooks/{int(hook_id)}/deliveries?per_page=100")
        return [mapping(one) for one in found] if isinstance(found, list) else []

    def hook_delivery(self, remote: Remote, hook_id: int, delivery_id: int) -> Mapping[str, Any]:
        return mapping(self._api(remote, f"hooks/{int(hook_id)}/deliveries/{int(delivery_id)}"))

    # --- how it is asked

    def _pages(self, remote: Remote, path: str) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        for page in range(1, _MOST_PAGES + 1):
            told = self._api(remote, f"{path}&page={page}")
            rows = [mapping(one) for one in told] if isinstance(told, list) else []
            found += rows
            if len(rows) < 100:
                break
        return found

    def _api(self, remote: Remote, path: str, method: str = "GET", body: Any = None) -> Any:
        args = ["api", "--method", method, f"repos/{remote.path}/{path}"]
        stdin = b""
        if body is not None:
            args += ["--input", "-"]
            stdin = json.dumps(body).encode()
        # By its variable, because --hostname takes no port.
        return self._json(self._run(args, stdin, host=remote.host), f"gh api {method} {path.partition('?')[0]}")

    def _run(self, args: Sequence[str], stdin: bytes = b"", *, host: str | None = None) -> Finished:
        env = self._env if host is None else {**self._env, "GH_HOST": host}
        try:
            return run([self._program, *args], env=env, stdin=stdin, timeout_s=_CALL_S)
        except ProgramMissing as error:
            raise ProgramMissing(error.message, hint="Install the GitHub CLI: https://cli.github.com") from error

    def _json(self, done: Finished, what: str) -> Any:
        if done.code != 0:
            raise _explain(what, done)
        try:
            return json.loads(done.stdout or b"null")
        except ValueError:
            raise CommandFailed(f"{what} answered with what is no JSON.", output=done.text[:500]) from None


def _comment(told: Any) -> Comment:
    one = mapping(told)
    return Comment(int(one.get("id") or 0), str(one.get("html_url") or ""), str(one.get("body") or ""))


def _explain(what: str, done: Finished) -> NotFound | Refused | Invalid | CommandFailed:
    said = (done.error_text.strip() or done.text.strip())[-1500:]
    status = _STATUS.search(said)
    code = int(status[1]) if status else 0
    if code == 404:
        return NotFound(f"{what}: GitHub knows no such thing, or gh may not see it. {said}")
    if code == 422:
        return Invalid(f"{what}: GitHub does not take it. {said}", field="github")
    if code in (401, 403) or "gh auth login" in said:
        hint = "Sign in as the user that runs Agented: gh auth login"
        return Refused(f"{what}: gh may not do that. {said}", code="github_refused", hint=hint)
    return CommandFailed(f"{what} failed: {said or done.code}", output=said)
