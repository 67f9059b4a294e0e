"""Events of GitHub start bots; their results are on GitHub. With the real gh and git, against a GitHub on loopback."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import yaml

from tests.e2e.served import Served, make_repository, wait_for
from tests.fakes.github import GitHubDouble, Repository

SECRET = "what GitHub signs with"
REVIEW = {
    "verdict": "request_changes",
    "summary": "The name is wrong.",
    "findings": [
        {"path": "README.md", "line": 2, "severity": "high", "title": "Wrong name", "body": "Call it by its name."},
        {"path": "other.py", "line": 9, "severity": "low", "title": "Elsewhere", "body": "Not in this change."},
    ],
}


class Hub:
    """A GitHub, a server that reaches it, and one repository with a pull request's branch."""

    def __init__(self, github: GitHubDouble, served: Served, source: Path, name: str) -> None:
        self.github = github
        self.served = served
        self.source = source
        self.name = name
        self.repository: Repository = github.add(name, source, served.env)
        self.base = self.git("rev-parse", "HEAD")

    def git(self, *words: str) -> str:
        identity = ["-c", "user.name=T", "-c", "user.email=t@example.test"]
        done = subprocess.run(
            ["git", *identity, *words], cwd=self.source, env=self.served.env, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def commit(self, text: str, path: str = "README.md") -> str:
        """A commit on a branch of its own, known to GitHub."""
        file = self.source / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        self.git("add", ".")
        self.git("commit", "-qm", text.splitlines()[-1])
        self.git("push", "-q", str(self.repository.path), "HEAD:refs/heads/feature", "--force")
        return self.git("rev-parse", "HEAD")

    def bot(self, **more: Any) -> str:
        document = {
            "kind": "Bot",
            "name": "review",
            "prompt": "say looking at {{pr.number}}\n```json\n" + json.dumps(REVIEW) + "\n```",
            "chain": [{"backend": "rehearsal"}],
            "permission": "read",
            "result": "review",
            "status_check": True,
            "triggers": [{"github": {"name": "pulls"}}],
            **more,
        }
        self.served.run("bots", "apply", "-", stdin=yaml.safe_dump({k: v for k, v in document.items() if v is not None}))
        return str(document["name"])

    def send(self, event: str, payload: Any, **headers: str) -> tuple[int, Any]:
        body = json.dumps(payload).encode()
        told = {
            "Content-Type": "application/json",
            "X-GitHub-Event": event,
            "X-GitHub-Delivery": str(uuid4()),
            "X-Hub-Signature-256": "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest(),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        parts = urlsplit(self.served.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        try:
            connection.request("POST", "/api/webhooks/github/", body, told)
            reply = connection.getresponse()
            text = reply.read()
            return reply.status, json.loads(text) if text.startswith(b"{") else text.decode()
        finally:
            connection.close()

    def deliver(self, event: str, payload: Any) -> dict[str, Any]:
        """Sends it and gives what became of it."""
        status, told = self.send(event, payload)
        assert status == 202, told

        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = self.served.get(f"/api/deliveries/{told['id']}")
            return found if found["state"] != "stored" else None

        return dict(wait_for(look, what="the handling of the delivery"))

    def run_of(self, delivery: dict[str, Any]) -> str:
        assert delivery["matches"][0]["met"], delivery["matches"]
        [run] = delivery["executions"]
        return str(run)


@contextmanager
def hub_in(folder: Path, *, enterprise: bool = False, **settings: str) -> Iterator[Hub]:
    with GitHubDouble(folder / "github", enterprise=enterprise) as github:
        served = Served(folder, **settings)
        served.env |= {**github.env, "GITHUB_WEBHOOK_SECRET": SECRET}
        if enterprise:
            # Where a person says which certificates git trusts.
            (served.home / ".gitconfig").write_text(f"[http]\n\tsslCAInfo = {github.certificate}\n")
            served.env["GIT_CONFIG_GLOBAL"] = str(served.home / ".gitconfig")
        try:
            served.start()
            source = make_repository(folder / "source", served.env)
            yield Hub(github, served, source, "acme/widgets")
        finally:
            served.close()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with hub_in(tmp_path, repository_pace_s="0") as made:
        yield made


@pytest.mark.parametrize("enterprise", [False, True], ids=["github", "enterprise"])
def test_a_pull_request_is_reviewed_where_people_look(tmp_path: Path, enterprise: bool) -> None:
    with hub_in(tmp_path, enterprise=enterprise, repository_pace_s="0") as hub:
        hub.bot()
        head = hub.commit("# Sample\nwidgets\n")
        event = hub.github.pull_event(hub.name, 7, head, hub.base)
        run = hub.run_of(hub.deliver("pull_request", event))
        ended = hub.served.ended(run)
        assert (ended["state"], ended["subject"]) == ("succeeded", f"{hub.github.host}/acme/widgets#7"), ended["detail"]
        [comment] = hub.repository.comments
        assert "Changes are needed" in comment["body"]
        assert "Elsewhere" in comment["body"]
        assert "Wrong name" not in comment["body"]
        [review] = hub.repository.reviews
        assert (review["event"], review["commit_id"]) == ("COMMENT", head)
        assert [(one["path"], one["line"]) for one in review["comments"]] == [("README.md", 2)]
        result = hub.served.get(f"/api/results/{run}")
        assert (result["state"], result["evidence"][0]["url"]) == ("delivered", comment["html_url"])
        wait_for(lambda: [one["state"] for one in hub.repository.statuses][-1:] == ["success"], what="the status")
        # A newer head: the same comment is brought up to date, a second review stands on its lines.
        newer = hub.commit("# Sample\nwidgets and more\n")
        second = hub.run_of(
            hub.deliver("pull_request", hub.github.pull_event(hub.name, 7, newer, hub.base, action="synchronize"))
        )
        assert hub.served.ended(second)["state"] == "succeeded"
        assert len(hub.repository.comments) == 1
        assert second in hub.repository.comments[0]["body"]
        assert len(hub.repository.reviews) == 2
