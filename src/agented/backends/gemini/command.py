"""How Gemini CLI is started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from agented.backends.contract import Command, Permission, Task

_HERE = Path(__file__).parent
_READ = _HERE / "read.toml"
# As an administrator's policy it stands above the person's own rules; where the machine has an administrator's policies
# that flag is ignored, so the same rules come as the person's too. No server of the project is started.
_PERMISSIONS: Mapping[Permission, Sequence[str]] = {
    Permission.READ: (
        *("--approval-mode", "default", f"--policy={_READ}", f"--admin-policy={_READ}"),
        "--allowed-mcp-server-names=agented-allows-none",
    ),
    Permission.EDIT: ("--approval-mode", "auto_edit", f"--policy={_HERE / 'edit.toml'}"),
    Permission.FULL: ("--approval-mode", "yolo"),
}
_ENV: Mapping[str, str] = {
    # Otherwise it is a parent that hides the real process and ignores signals.
    "GEMINI_CLI_NO_RELAUNCH": "true",
    # Without it the CLI refuses to work in a folder that nobody has trusted by hand.
    "GEMINI_CLI_TRUST_WORKSPACE": "true",
    # What the person's own settings leave open: no statistics, no update, few retries.
    "GEMINI_CLI_SYSTEM_DEFAULTS_PATH": str(_HERE / "defaults.json"),
    # It complains on stderr about every lesser terminal.
    "TERM": "xterm-256color",
    "COLORTERM": "truecolor",
}

LOGIN_ENV: Mapping[str, str] = {
    "GEMINI_CLI_NO_RELAUNCH": "true",
    "GEMINI_CLI_TRUST_WORKSPACE": "true",
    # It prints the address and asks for the code that the provider shows.
    "NO_BROWSER": "true",
}


def build_command(task: Task) -> Command:
    argv = [*task.program, "--output-format", "stream-json", *_PERMISSIONS[task.permission]]
    if task.model is not None:
        argv.append(f"--model={task.model}")
    if task.resume is not None:
        argv.append(f"--resume={task.resume}")
    env = dict(_ENV) if task.home is None else {**_ENV, **home_env(task.home)}
    return Command(argv=argv, env=env, stdin=task.prompt.encode("utf-8", "replace"))


def home_env(home: Path) -> Mapping[str, str]:
    """The folder that holds `.gemini`."""
    return {"GEMINI_CLI_HOME": str(home)}


def default_home(person: Path) -> Path:
    return person
