"""How Codex is started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from agented.backends.contract import Command, Permission, Task

_PERMISSIONS: Mapping[Permission, Sequence[str]] = {
    Permission.READ: ("--sandbox", "read-only"),
    Permission.EDIT: ("--sandbox", "workspace-write"),
    Permission.FULL: ("--dangerously-bypass-approvals-and-sandbox",),
}
# No call but those of the task itself. How often a request is repeated can only be set for a provider of the person's
# own, in their config.
_SETTINGS = (
    *("-c", "check_for_update_on_startup=false"),
    *("-c", "analytics.enabled=false"),
)
_ENV: Mapping[str, str] = {
    # It says when a limit ends as a time of day without zone or date: in this zone, and on the day that its log tells.
    "TZ": "UTC",
    "RUST_LOG": "error,codex_exec=info",
}


def build_command(task: Task) -> Command:
    # Sandbox and folder stand before `resume`, which does not take them.
    argv = [*task.program, "exec", "--json", "--skip-git-repo-check", *_PERMISSIONS[task.permission], *_SETTINGS]
    argv.append(f"--cd={task.workdir}")
    if task.model is not None:
        argv.append(f"--model={task.model}")
    if task.resume is not None:
        argv += ["resume", "--", task.resume, "-"]
    else:
        argv += ["--", "-"]
    return Command(argv=argv, env=_env(task), stdin=task.prompt.encode("utf-8", "replace"))


def _env(task: Task) -> Mapping[str, str]:
    return dict(_ENV) if task.home is None else {**_ENV, **home_env(task.home)}


def home_env(home: Path) -> Mapping[str, str]:
    return {"CODEX_HOME": str(home)}


def default_home(person: Path) -> Path:
    return person / ".codex"
