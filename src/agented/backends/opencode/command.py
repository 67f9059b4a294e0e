"""How OpenCode is started."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from agented.backends.contract import Command, Permission, Task

# Each tool by its name: a wildcard alone would stand behind a rule for a tool that a config file adds.
_READ_RULES = {
    "*": "deny",
    "bash": "deny",
    "edit": "deny",
    "external_directory": "deny",
    "task": "deny",
    "webfetch": "deny",
    "websearch": "deny",
    "glob": "allow",
    "grep": "allow",
    "list": "allow",
    "read": "allow",
}
# What would ask is refused with a reason, so that the model goes on by another way instead of stopping.
_EDIT_RULES = {"edit": "allow", "bash": "allow", "external_directory": "deny", "doom_loop": "deny", "question": "deny"}
_FULL_RULES = {"*": "allow", "question": "deny"}
_RULES: Mapping[Permission, Mapping[str, str]] = {
    Permission.READ: _READ_RULES,
    Permission.EDIT: _EDIT_RULES,
    Permission.FULL: _FULL_RULES,
}
# Rules for an agent go before general ones, so a config file could loosen those of the usual agent. This one is ours.
_READER = "agented-read"
_ENV: Mapping[str, str] = {
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
    "OPENCODE_DISABLE_SHARE": "1",
}


def build_command(task: Task) -> Command:
    argv = [*task.program, "run", "--format", "json", "--print-logs", "--log-level", "ERROR", *_flags(task.permission)]
    argv.append(f"--dir={task.workdir}")
    if task.model is not None:
        argv.append(f"--model={task.model}")
    if task.resume is not None:
        argv.append(f"--session={task.resume}")
    env = {**_ENV, **_permission_env(task.permission)}
    if task.home is not None:
        env.update(home_env(task.home))
    return Command(argv=argv, env=env, stdin=task.prompt.encode("utf-8", "replace"))


def _flags(permission: Permission) -> Sequence[str]:
    if permission is Permission.READ:
        return ("--pure", f"--agent={_READER}")
    return ("--auto",) if permission is Permission.FULL else ()


def _permission_env(permission: Permission) -> Mapping[str, str]:
    rules = _RULES[permission]
    env = {"OPENCODE_PERMISSION": json.dumps(rules)}
    if permission is Permission.READ:
        env["OPENCODE_DISABLE_PROJECT_CONFIG"] = "1"
        # Nothing is fetched at the start. Where commands may run, theirs would be kept from the network too.
        env["npm_config_offline"] = "true"
        env["OPENCODE_CONFIG_CONTENT"] = json.dumps({"agent": {_READER: {"mode": "primary", "permission": rules}}})
    return env


def home_env(home: Path) -> Mapping[str, str]:
    return {
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_DATA_HOME": str(home / ".local" / "share"),
        "XDG_STATE_HOME": str(home / ".local" / "state"),
        "XDG_CACHE_HOME": str(home / ".cache"),
    }


def default_home(person: Path) -> Path:
    return person
