from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from agented.backends.contract import (
    Backend,
    Command,
    Exit,
    Line,
    Login,
    Model,
    Models,
    Outcome,
    Secrets,
    Task,
    Verdict,
    VersionRange,
)
from agented.backends.events import Event, TokensUsed
from agented.kit.clock import SetClock
from agented.kit.errors import NotFound
from agented.kit.vault import Vault


class _Silent:
    def feed(self, line: Line) -> Iterable[Event]:
        return ()

    def verdict(self, exit: Exit) -> Verdict:
        return Verdict(Outcome.SUCCEEDED)


def _new_output(before: TokensUsed | None = None) -> _Silent:
    return _Silent()


def _build(task: Task) -> Command:
    return Command([*task.program, task.prompt])


class TokenFile:
    """Reads the file `token` of a CLI home; a key in the environment wins."""

    def read(self, home: Path, secrets: Secrets, env: Mapping[str, str]) -> Login | None:
        if "TRAINED_KEY" in env:
            return Login("api_key", token=env["TRAINED_KEY"])
        try:
            token = (home / "token").read_text()
        except OSError:
            return None
        return Login("subscription", email="a@example.test", token=token, secrets=("refresh-secret-1",))


class NoKeychain:
    def read(self, service: str, account: str | None = None) -> str | None:
        return None


BACKEND = Backend(
    name="trained",
    title="Trained",
    program="trained",
    tested=VersionRange("1.0", "2"),
    build_command=_build,
    new_output=_new_output,
    home_env=lambda home: {"TRAINED_HOME": str(home)},
    default_home=lambda person: person / ".trained",
    install_hint="install trained",
    sign_in_hint="trained login",
    credentials=TokenFile(),
    models=Models((Model("small"), Model("big", "Big one"))),
)


def other_backend() -> Backend:
    return dataclasses.replace(BACKEND, name="other", credentials=None, models=None)


def backend_named(name: str) -> Backend:
    if name != BACKEND.name:
        raise NotFound(f"There is no backend {name}.")
    return BACKEND


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def vault() -> Vault:
    return Vault(b"k" * 32)
