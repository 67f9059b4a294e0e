"""The rehearsal's command: our own interpreter, our own program, the prompt on stdin."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from agented.backends.contract import Command, Task

# Isolated and without `site`: what is installed or exported around us must not change a rehearsal, and it starts fast.
PROGRAM = (sys.executable, "-I", "-S", str(Path(__file__).with_name("program.py")))


def build_command(task: Task) -> Command:
    argv = [*task.program, "--permission", task.permission.value]
    if task.model is not None:
        argv += ["--model", task.model]
    if task.resume is not None:
        argv += ["--resume", task.resume]
    env = {} if task.home is None else home_env(task.home)
    return Command(argv=argv, env=env, stdin=task.prompt.encode("utf-8", "replace"))


def home_env(home: Path) -> Mapping[str, str]:
    """The rehearsal keeps nothing in its home; the variable lets a script tell accounts apart (`when`, `env`)."""
    return {"REHEARSAL_HOME": str(home)}


def default_home(person: Path) -> Path:
    return person / ".rehearsal"
