"""A whole server as a child process, used from outside like a user does."""

from __future__ import annotations

import atexit
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from agented.kit.errors import AgentedError
from agented.kit.http import JsonClient

_PROVIDERS = ("anthropic", "chatgpt", "codeassist", "google_token")
ENDED = ("succeeded", "failed", "cancelled", "timed_out", "superseded")


def wait_for(holds: Callable[[], Any], timeout_s: float = 30.0, what: str = "the condition") -> Any:
    """Waits for a condition and gives its value; fails the test when it does not come."""
    until = time.monotonic() + timeout_s
    while True:
        value = holds()
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError(f"{what} did not come within {timeout_s:g} s")
        time.sleep(0.02)


@functools.cache
def template() -> tuple[Path, str]:
    """A data folder on which a server was started and ended once, and a token of an admin; one for each process."""
    folder = Path(tempfile.mkdtemp(prefix="agented-template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    server = Served(folder)
    server.is_first = True
    try:
        server.start()
        server.terminate()
    finally:
        server.close()
    return server.data, server.token


class Served:
    """`agented serve` on a data folder of its own, with a built environment and a throw-away home."""

    def __init__(self, folder: Path, *, path: str = os.defpath, **settings: str) -> None:
        self.data = folder / "data"
        self.is_first = False
        """Starts with no data folder at all."""
        self.home = folder / "home"
        self.home.mkdir(parents=True, exist_ok=True)
        self.env = {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), path, "/usr/local/bin"]),
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            # No provider is asked for limits but one that a test names.
            "AGENTED_ENDPOINTS": json.dumps(dict.fromkeys(_PROVIDERS, "http://127.0.0.1:9")),
            **{f"AGENTED_{name.upper()}": value for name, value in settings.items()},
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""
        self.link = ""
        self._token = ""
        self._log = folder / "server.log"

    def start(self) -> Served:
        if not self.data.exists() and "AGENTED_DATABASE_URL" not in self.env and not self.is_first:
            # As a first start leaves it: most tests are not about that.
            folder, self._token = template()
            shutil.copytree(folder, self.data)
        (self.data / "server.json").unlink(missing_ok=True)
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "agented", "serve", "--data", str(self.data), "--port", "0"],
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.url = wait_for(self._address, what="the server")
        if not self._token:
            self._token = self.run("token", "--role", "admin").strip()
        return self

    def _address(self) -> str | None:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with {self.process.returncode}: {self.log()}")
        with suppress(FileNotFoundError, ValueError):
            return str(json.loads((self.data / "server.json").read_text())["url"])
        return None

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def sign_in_link(self) -> str:
        """The link that the last start printed."""
        found: list[str] = wait_for(
            lambda: re.findall(r"http://\S+/sign-in\?token=\S+", self.log()), what="the printed link"
        )
        return found[-1]

    @property
    def token(self) -> str:
        return self._token

    def kill(self) -> None:
        """kill -9 of the server alone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def terminate(self, timeout_s: float = 10) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def close(self) -> None:
        """Ends the server and every keeper and CLI of its data folder."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for _ in range(200):
            living = self.processes()
            if not living:
                return
            for process in living:
                with suppress(psutil.Error):
                    process.kill()
            time.sleep(0.02)

    def processes(self) -> list[psutil.Process]:
        """Living processes of attempts that work on this data folder."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.status() == psutil.STATUS_ZOMBIE or "AGENTED_ATTEMPT" not in process.environ():
                    continue
                if process.environ().get("HOME") == str(self.home) or process.cwd().startswith(str(self.data)):
                    found.append(process)
        return found

    def run(self, *words: str, check: bool = True, stdin: str = "", env: Mapping[str, str] | None = None) -> str:
        """The command line on this data folder; gives its stdout."""
        done = self.call(*words, stdin=stdin, env=env)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def call(
        self, *words: str, stdin: str = "", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "agented", *words, "--data", str(self.data)]
        return subprocess.run(
            command, env=dict(env or self.env), capture_output=True, text=True, input=stdin, timeout=120
        )

    def client(self) -> JsonClient:
        return JsonClient(self.url, self._token)

    def get(self, path: str, **params: Any) -> Any:
        with self.client() as client:
            return client.get(path, **params)

    def post(self, path: str, body: Any = None) -> Any:
        with self.client() as client:
            return client.post(path, body)

    def metrics(self) -> str:
        asked = urllib.request.Request(f"{self.url}/metrics", headers={"Authorization": f"Bearer {self._token}"})
        with urllib.request.urlopen(asked, timeout=10) as reply:
            return str(reply.read().decode())

    def submit(self, project: str | Path, prompt: str, backend: str = "rehearsal", **more: Any) -> str:
        body = {"project": str(project), "backend": backend, "prompt": prompt, **more}
        return str(self.post("/api/executions", body)["id"])

    def execution(self, execution_id: str) -> dict[str, Any]:
        return dict(self.get(f"/api/executions/{execution_id}"))

    def ended(self, execution_id: str, timeout_s: float = 60) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            with suppress(AgentedError):
                execution = self.execution(execution_id)
                return execution if execution["state"] in ENDED else None
            return None

        return dict(wait_for(look, timeout_s, f"the end of {execution_id}"))

    def lines(self, execution_id: str) -> list[str]:
        """The log as it stands now."""
        texts: list[str] = []
        total = None
        while total is None or len(texts) < total:
            page = self.get(f"/api/executions/{execution_id}/log", **{"from": len(texts) + 1, "limit": 2000})
            texts += [line["text"] for line in page["lines"]]
            total = page["total"] if total is None else total
        return texts

    def events(self, execution_id: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        while True:
            page = self.get(f"/api/executions/{execution_id}/events", after=len(items), limit=1000)
            if not page["items"]:
                return items
            items += page["items"]

    def told(self, path: str, most: int, cursor: str = "") -> list[tuple[str, str, Any]]:
        """The first events of a stream, opened where `cursor` stood: their ids, names and data."""
        headers = {"Authorization": f"Bearer {self.token}", **({"Last-Event-ID": cursor} if cursor else {})}
        found: list[tuple[str, str, Any]] = []
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}{path}", headers=headers), timeout=10) as reply:
            fields: dict[str, str] = {}
            while len(found) < most:
                name, _, value = reply.readline().decode().rstrip("\n").partition(": ")
                if name:
                    fields[name] = value
                elif "data" in fields:
                    found.append((fields["id"], fields["event"], json.loads(fields["data"])))
                    fields = {}
                else:
                    fields = {}
        return found


def make_repository(folder: Path, env: Mapping[str, str]) -> Path:
    """A small repository whose default branch is neither main nor master."""
    folder.mkdir(parents=True)

    def git(*words: str) -> None:
        subprocess.run(["git", *words], cwd=folder, env=dict(env), check=True, capture_output=True)

    git("init", "-q", "-b", "trunk")
    (folder / "README.md").write_text("# Sample\n")
    git("add", ".")
    git("-c", "user.name=T", "-c", "user.email=t@example.test", "commit", "-qm", "first")
    return folder
