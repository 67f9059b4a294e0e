"""What of each CLI is on this machine: where, which version, which models. Looked up once, and again when asked."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from agented.accounts.login import read_login
from agented.accounts.model import default_account
from agented.backends.contract import Backend, Login, Model, Secrets, Task
from agented.backends.detection import Detection, detect
from agented.kit.clock import Clock
from agented.kit.process import run

_MODELS_TIMEOUT_S = 30


class Lookout:
    """env: what programs are asked with; its PATH is where they are looked for."""

    def __init__(
        self,
        *,
        backends: Callable[[], Sequence[Backend]],
        env: Mapping[str, str],
        person_home: Path,
        secrets: Secrets,
        clock: Clock,
    ) -> None:
        self._backends = backends
        self._env = env
        self._person_home = person_home
        self._secrets = secrets
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[str, Detection] | None = None
        self._models: dict[str, Sequence[Model]] = {}

    def look(self, anew: bool = False) -> Mapping[str, Detection]:
        """By name of the backend. The first look starts each program once (some take seconds)."""
        with self._lock:
            if self._seen is None or anew:
                backends = self._backends()
                with ThreadPoolExecutor(max_workers=len(backends) or 1) as pool:
                    found = pool.map(lambda b: detect(b, path=self._env.get("PATH", ""), env=self._env), backends)
                    self._seen = {backend.name: seen for backend, seen in zip(backends, found, strict=True)}
                self._models.clear()
            return self._seen

    def version(self, name: str) -> str | None:
        """The version as last seen; None before the first look, which it does not wait for."""
        seen = (self._seen or {}).get(name)
        return None if seen is None else seen.version

    def read_login(self, backend: Backend) -> Login | None:
        """The person's own login."""
        account = default_account(backend.name, self._clock.now())
        return read_login(backend, account, self._person_home, self._secrets)

    def models(self, backend: Backend) -> Sequence[Model]:
        """What `--model` takes. Asks the CLI where its list is not fixed; remembers the answer."""
        offered = backend.models
        if offered is None:
            return ()
        if offered.command is None or offered.parse is None:
            return offered.known
        if backend.name not in self._models:
            path = shutil.which(backend.program, path=self._env.get("PATH", ""))
            if path is None:
                return offered.known
            command = offered.command(Task(program=(path,), prompt="", workdir=self._person_home))
            answer = run(
                command.argv,
                env={**self._env, **command.env},
                cwd=self._person_home,
                stdin=command.stdin or b"",
                timeout_s=_MODELS_TIMEOUT_S,
            )
            self._models[backend.name] = offered.parse(answer.check().text)
        return self._models[backend.name]
