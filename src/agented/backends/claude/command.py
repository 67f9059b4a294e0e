"""How Claude Code is started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from agented.backends.contract import Command, Permission, Task

# Only looking, whatever settings say: tools that are not offered cannot be allowed by a settings file, and no server of
# the project's own .mcp.json is started.
_READ = ("--permission-mode", "dontAsk", "--tools", "Read,Glob,Grep", "--strict-mcp-config")
# Nobody is there to answer, and work done in another worktree than ours would be lost.
_EDIT = (
    *("--permission-mode", "acceptEdits", "--allowedTools", "Bash"),
    *("--disallowedTools", "AskUserQuestion,EnterWorktree"),
)
_FULL = ("--dangerously-skip-permissions", "--disallowedTools", "AskUserQuestion,EnterWorktree")
_PERMISSIONS: Mapping[Permission, Sequence[str]] = {
    Permission.READ: _READ,
    Permission.EDIT: _EDIT,
    Permission.FULL: _FULL,
}

_ENV: Mapping[str, str] = {
    # Ten retries, the default, turn a plain refusal into three minutes.
    "CLAUDE_CODE_MAX_RETRIES": "2",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
}


def build_command(task: Task) -> Command:
    argv = [*task.program, "-p", "--output-format", "stream-json", "--verbose", "--permission-prompts", "none"]
    argv += _PERMISSIONS[task.permission]
    if task.model is not None:
        argv.append(f"--model={task.model}")
    if task.resume is not None:
        argv.append(f"--resume={task.resume}")
    if task.max_cost_usd is not None:
        argv.append(f"--max-budget-usd={task.max_cost_usd:f}")
    if task.mcp_config is not None:
        argv += [f"--mcp-config={task.mcp_config}"]
        if "--strict-mcp-config" not in argv:
            argv.append("--strict-mcp-config")
    return Command(argv=argv, env=_env(task), stdin=task.prompt.encode("utf-8", "replace"))


def _env(task: Task) -> Mapping[str, str]:
    env = dict(_ENV)
    if task.home is not None:
        env.update(home_env(task.home))
    if task.as_root and task.permission is Permission.FULL:
        # It refuses to skip permissions as root, unless told that it is shut in.
        env["IS_SANDBOX"] = "1"
    return env


def home_env(home: Path) -> Mapping[str, str]:
    return {"CLAUDE_CONFIG_DIR": str(home)}


def default_home(person: Path) -> Path:
    return person / ".claude"
