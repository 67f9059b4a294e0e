"""Is a CLI installed, where, in which version, and is it one that our translator was checked with?"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agented.backends.contract import Backend
from agented.kit import process
from agented.kit.errors import Unavailable
from agented.kit.loose import one_line

TIMEOUT_S = 20.0
_VERSION = re.compile(r"(?<![\w.])v?(\d+\.\d+(?:\.\d+)*(?:-[\w.]+)?)")

Run = Callable[..., process.Finished]


@dataclass(frozen=True, slots=True)
class Detection:
    """found: it can be started. tested: its version is one that our translator was checked with."""

    found: bool
    path: str | None = None
    version: str | None = None
    tested: bool = False
    warning: str | None = None


def detect(backend: Backend, *, path: str, env: Mapping[str, str], run: Run = process.run) -> Detection:
    """Looks for the backend's program on `path` (as PATH is written) and asks it for its version.

    env: the whole environment that the program is asked in.
    """
    if backend.builtin is not None:
        return _ask(backend, backend.builtin, env, run)
    program = shutil.which(backend.program, path=path)
    if program is None:
        return _missing(backend, path)
    return _ask(backend, (str(Path(program).absolute()),), env, run)


def parse_version(printed: str) -> str | None:
    match = _VERSION.search(printed)
    return match[1] if match else None


def _missing(backend: Backend, path: str) -> Detection:
    for folder in filter(None, path.split(os.pathsep)):
        file = Path(folder) / backend.program
        if file.is_file():
            return Detection(False, str(file), warning=f"{file} is not executable: chmod +x {file}")
    return Detection(
        False, warning=f"{backend.title} is not installed: no {backend.program} on PATH. {backend.install_hint}"
    )


def _ask(backend: Backend, program: Sequence[str], env: Mapping[str, str], run: Run) -> Detection:
    where = program[-1]
    try:
        answer = run([*program, *backend.version_args], env=env, timeout_s=TIMEOUT_S)
    except Unavailable as error:
        return Detection(False, where, warning=f"{backend.title} cannot be started: {error.message}")
    if answer.code != 0:
        words = one_line(answer.error_text or answer.text)
        return Detection(False, where, warning=f"{backend.title} cannot be started (exit code {answer.code}): {words}")
    version = parse_version(answer.text) or parse_version(answer.error_text)
    if version is None:
        words = one_line(answer.text, 80)
        return Detection(True, where, warning=f"{backend.title} does not tell its version: {words!r}")
    if backend.tested.holds(version):
        return Detection(True, where, version, tested=True)
    asked = f"from {backend.tested.since} on, below {backend.tested.below}"
    return Detection(
        True, where, version, warning=f"{backend.title} {version} was not tested with Agented; tested is {asked}."
    )
