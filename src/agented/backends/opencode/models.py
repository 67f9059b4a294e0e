"""Which models OpenCode offers: it lists them as `provider/model`, one a line."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agented.backends.contract import Command, Model, Models, Task
from agented.backends.opencode.command import home_env

_MODEL = re.compile(r"[A-Za-z0-9][\w.@-]*/[\w.:@/+-]+")


def build_list_command(task: Task) -> Command:
    env = {"OPENCODE_DISABLE_AUTOUPDATE": "1", "npm_config_offline": "true"}
    if task.home is not None:
        env.update(home_env(task.home))
    return Command(argv=[*task.program, "models"], env=env)


def parse_models(printed: str) -> Sequence[Model]:
    return [Model(line) for line in map(str.strip, printed.splitlines()) if _MODEL.fullmatch(line)]


MODELS = Models(command=build_list_command, parse=parse_models)
