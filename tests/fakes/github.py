"""A GitHub on loopback: the parts of REST, GraphQL and git over HTTP that gh and git use.

gh reaches `github.localhost` over plain HTTP through this server as its HTTP proxy (as git does), and an Enterprise
host (`localhost:PORT`) over TLS. Repositories are bare ones on the disk, served by `git http-backend`.
"""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes.certificates import certify

HOST = "github.localhost"
TOKEN = "gho_rehearsed-token-of-the-loopback-github"
LOGIN = "agented-tester"
Json = dict[str, Any]


@dataclass
class Repository:
    """path: the bare repository. pulls: as the REST API shows them."""

    path: Path
    default_branch: str = "trunk"
    pulls: list[Json] = field(default_factory=list)
    comments: list[Json] = field(default_factory=list)
    reviews: list[Json] = field(default_factory=list)
    statuses: list[Json] = field(default_factory=list)
    hooks: list[Json] = field(default_factory=list)
    hook_deliveries: list[Json] = field(default_factory=list)
    pushes: int = 0


@dataclass(frozen=True)
class Seen:
    method: str
    path: str
    authorization: str


class GitHubDouble:
    """enterprise: speaks TLS as an Enterprise host does. meddle: called before each answer; may block or give a status
    to answer with instead."""

    def __init__(self, folder: Path, *, enterprise: bool = False) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.enterprise = enterprise
        self.repositories: dict[str, Repository] = {}
        self.seen: list[Seen] = []
        self.meddle: Callable[[str, str], int | None] = lambda method, path: None
        self.lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.double = self  # type: ignore[attr-defined]
        self.port = self._server.server_address[1]
        self.certificate = folder / "ca.pem"
        if enterprise:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certify(self.certificate))
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def host(self) -> str:
        return f"localhost:{self.port}" if self.enterprise else HOST

    @property
    def env(self) -> dict[str, str]:
        """What the server needs to reach it."""
        if self.enterprise:
            return {"GH_ENTERPRISE_TOKEN": TOKEN, "SSL_CERT_FILE": str(self.certificate)}
        return {"GH_TOKEN": TOKEN, "http_proxy": f"http://127.0.0.1:{self.port}"}

    def url(self, name: str) -> str:
        return f"{'https' if self.enterprise else 'http'}://{self.host}/{name}"

    def __enter__(self) -> GitHubDouble:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(self, name: str, source: Path, env: dict[str, str]) -> Repository:
        """A repository that holds what `source` holds."""
        path = self.folder / f"{name}.git"
        path.parent.mkdir(parents=True, exist_ok=True)
        command = ["git", "clone", "--quiet", "--bare", str(source), str(path)]
        subprocess.run(command, env=env, check=True, capture_output=True)
        subprocess.run(["git", "-C", str(path), "config", "http.receivepack", "true"], env=env, check=True)
        self.repositories[name.lower()] = Repository(path)
        return self.repositories[name.lower()]

    def pull_event(
        self, name: str, number: int, head: str, base: str, *, action: str = "opened", fork: bool = False, **more: Any
    ) -> Json:
        """The payload of a pull_request event; the head is also made known as refs/pull/N/head."""
        repository = self.repositories[name.lower()]
        command = ["git", "-C", str(repository.path), "update-ref", f"refs/pull/{number}/head", head]
        subprocess.run(command, check=True, env={"PATH": os.defpath, "HOME": "/nonexistent"})
        pull = {
            "number": number,
            "html_url": f"{self.url(name)}/pull/{number}",
            "title": "A change",
            "body": "It changes.",
            "state": "open",
            "draft": False,
            "merged": False,
            "user": {"login": "dev"},
            "head": {"ref": "feature", "sha": head, "repo": {"full_name": "stranger/r" if fork else name}},
            "base": {"ref": repository.default_branch, "sha": base, "repo": {"full_name": name}},
            "labels": [],
            **more,
        }
        with self.lock:
            repository.pulls = [one for one in repository.pulls if one["number"] != number] + [pull]
        return {"action": action, "number": number, "pull_request": pull, **self.about(name)}

    def about(self, name: str) -> Json:
        return {
            "repository": {
                "id": 1,
                "full_name": name,
                "html_url": self.url(name),
                "clone_url": f"{self.url(name)}.git",
                "default_branch": self.repositories[name.lower()].default_branch,
                "private": False,
            },
            "sender": {"login": "dev", "type": "User"},
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Silent."""

    @property
    def double(self) -> GitHubDouble:
        return self.server.double  # type: ignore[attr-defined, no-any-return]

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        path = parts.path
        length = int(self.headers.get("Content-Length") or 0)
        chunked = self.headers.get("Transfer-Encoding") == "chunked"
        body = self._chunks() if chunked else self.rfile.read(length)
        self.double.seen.append(Seen(self.command, path, self.headers.get("Authorization", "")))
        instead = self.double.meddle(self.command, path)
        if instead is not None:
            self._json(instead, {"message": "meddled with"})
            return
        if ".git/" in path:
            self._git(path, parts.query, body)
        elif path.endswith("graphql"):
            self._json(200, _graphql(self.double, json.loads(body)))
        else:
            bare = re.sub(r"^/api/v3", "", path)
            with self.double.lock:
                status, value = _rest(self.double, self.command, bare, parse_qs(parts.query), _loaded(body))
            self._json(status, value)

    def __getattr__(self, name: str) -> Any:
        """Every method is answered by `_answer`: http.server looks for do_GET and its like."""
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def _chunks(self) -> bytes:
        whole = b""
        while size := int(self.rfile.readline().strip() or b"0", 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return whole

    def _json(self, status: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-OAuth-Scopes", "repo, workflow")
        self.end_headers()
        self.wfile.write(data)

    def _git(self, path: str, query: str, body: bytes) -> None:
        """`git http-backend`, the CGI program that git ships."""
        # gh hands out its login for https alone.
        asks = self.double.enterprise and "receive-pack" in path + query
        if asks and self.headers.get("Authorization") is None:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="GitHub"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        env = {
            "PATH": os.defpath,
            "HOME": "/nonexistent",
            "GIT_PROJECT_ROOT": str(self.double.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_USER": LOGIN,
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
        }
        if self.command == "POST" and path.endswith("git-receive-pack"):
            self.double.repositories[path.partition(".git/")[0].strip("/").lower()].pushes += 1
        done = subprocess.run(["git", "http-backend"], env=env, input=body, capture_output=True)
        head, _, rest = done.stdout.partition(b"\r\n\r\n")
        fields = [line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line]
        status = next((value for name, value in fields if name == "Status"), "200 OK")
        self.send_response(int(status.split(" ")[0]))
        for name, value in fields:
            if name not in ("Status", "Content-Length"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest)


def _loaded(body: bytes) -> Json:
    return dict(json.loads(body)) if body else {}


def _rest(double: GitHubDouble, method: str, path: str, query: dict[str, list[str]], body: Json) -> tuple[int, Any]:
    if path in ("/", ""):
        return 200, {}
    if path == "/user":
        return 200, {"login": LOGIN, "type": "User"}
    match = re.match(r"/repos/([^/]+/[^/]+)(/.*)?$", path)
    repository = double.repositories.get(match[1].lower()) if match else None
    if match is None or repository is None:
        return 404, {"message": "Not Found"}
    return _of_repository(double, repository, match[1], method, match[2] or "", query, body)


def _of_repository(
    double: GitHubDouble,
    repository: Repository,
    name: str,
    method: str,
    rest: str,
    query: dict[str, list[str]],
    body: Json,
) -> tuple[int, Any]:
    paged = int(query.get("page", ["1"])[0])
    if found := re.fullmatch(r"/issues/(\d+)/comments", rest):
        if method == "GET":
            return 200, [one for one in repository.comments if one["number"] == int(found[1])] if paged == 1 else []
        return 201, _add(double, name, repository.comments, int(found[1]), body, "issuecomment")
    if found := re.fullmatch(r"/issues/comments/(\d+)", rest):
        for one in repository.comments:
            if one["id"] == int(found[1]):
                one.update(body)
                return 200, one
        return 404, {"message": "Not Found"}
    if found := re.fullmatch(r"/pulls/(\d+)/reviews", rest):
        if method == "GET":
            return 200, [one for one in repository.reviews if one["number"] == int(found[1])] if paged == 1 else []
        return 200, _add(double, name, repository.reviews, int(found[1]), body, "pullrequestreview")
    if found := re.fullmatch(r"/pulls/(\d+)/files", rest):
        return 200, [{"filename": "README.md"}] if paged == 1 else []
    if found := re.fullmatch(r"/pulls/(\d+)", rest):
        pull = next((one for one in repository.pulls if one["number"] == int(found[1])), None)
        return (200, pull) if pull else (404, {"message": "Not Found"})
    if rest == "/pulls":
        head = query.get("head", [":"])[0].partition(":")[2]
        return 200, [one for one in repository.pulls if not head or one["head"]["ref"] == head]
    if found := re.fullmatch(r"/statuses/([0-9a-f]+)", rest):
        repository.statuses.append({"sha": found[1], **body})
        return 201, {}
    if rest == "/hooks":
        return 200, repository.hooks if paged == 1 else []
    if found := re.fullmatch(r"/hooks/(\d+)/deliveries", rest):
        return 200, [{key: one[key] for key in one if key != "request"} for one in repository.hook_deliveries]
    if found := re.fullmatch(r"/hooks/(\d+)/deliveries/(\d+)", rest):
        return 200, next(one for one in repository.hook_deliveries if one["id"] == int(found[2]))
    return 404, {"message": "Not Found"}


def _add(double: GitHubDouble, name: str, to: list[Json], number: int, body: Json, kind: str) -> Json:
    one = {
        "id": 1000 + len(to),
        "number": number,
        "html_url": f"{double.url(name)}/pull/{number}#{kind}-{1000 + len(to)}",
        "user": {"login": LOGIN},
        **body,
    }
    to.append(one)
    return one


def _graphql(double: GitHubDouble, asked: Json) -> Json:
    query, variables = str(asked["query"]), asked.get("variables") or {}
    if "createPullRequest" in query:
        return _create_pull(double, variables["input"])
    if "__type(" in query:
        # An Enterprise host is asked what its schema has; this one has nothing beyond the least.
        return {"data": {alias: {"fields": []} for alias in re.findall(r"(\w+): __type\(", query)}}
    if "UserCurrent" in query or ("viewer" in query and "repository(" not in query):
        return {"data": {"viewer": {"login": LOGIN}}}
    name = f"{variables.get('owner')}/{variables.get('name') or variables.get('repo')}"
    repository = double.repositories.get(name.lower())
    if repository is None:
        message = f"Could not resolve to a Repository with the name '{name}'."
        return {
            "data": {"repository": None},
            "errors": [{"type": "NOT_FOUND", "path": ["repository"], "message": message}],
        }
    if "PullRequestForBranch" in query:
        return {"data": {"repository": {"pullRequests": {"nodes": []}, "defaultBranchRef": {"name": "trunk"}}}}
    owner, _, short = name.partition("/")
    return {
        "data": {
            "repository": {
                "id": f"R_{name}",
                "name": short,
                "owner": {"login": owner, "id": "U_1"},
                "nameWithOwner": name,
                "url": double.url(name),
                "description": "",
                "isPrivate": False,
                "isFork": False,
                "hasIssuesEnabled": True,
                "hasWikiEnabled": True,
                "viewerPermission": "ADMIN",
                "defaultBranchRef": {"name": repository.default_branch},
                "parent": None,
                "mergeCommitAllowed": True,
                "rebaseMergeAllowed": True,
                "squashMergeAllowed": True,
            }
        }
    }


def _create_pull(double: GitHubDouble, given: Json) -> Json:
    name = str(given["repositoryId"]).removeprefix("R_")
    repository = double.repositories[name.lower()]
    with double.lock:
        number = 100 + len(repository.pulls)
        branch = str(given["headRefName"]).rpartition(":")[2]
        repository.pulls.append(
            {
                "number": number,
                "html_url": f"{double.url(name)}/pull/{number}",
                "state": "open",
                "title": given["title"],
                "body": given["body"],
                "draft": given.get("draft", False),
                "head": {"ref": branch, "sha": "", "repo": {"full_name": name}},
                "base": {"ref": given["baseRefName"]},
            }
        )
    pull = {"id": f"PR_{number}", "url": f"{double.url(name)}/pull/{number}"}
    return {"data": {"createPullRequest": {"pullRequest": pull}}}
