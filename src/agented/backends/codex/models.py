"""Which models Codex offers: it prints its catalogue as JSON."""

from __future__ import annotations

from collections.abc import Sequence

from agented.backends.codex.command import home_env
from agented.backends.contract import Command, Model, Models, Task
from agented.kit import loose


def build_list_command(task: Task) -> Command:
    env = {} if task.home is None else home_env(task.home)
    return Command(argv=[*task.program, "debug", "models"], env=env)


def parse_models(printed: str) -> Sequence[Model]:
    catalogue = [loose.mapping(entry) for entry in loose.items(loose.mapping(loose.read_json(printed)).get("models"))]
    shown = [entry for entry in catalogue if entry.get("visibility") == "list" and loose.string(entry.get("slug"))]
    shown.sort(key=lambda entry: loose.count(entry.get("priority")))
    return [Model(loose.string(entry["slug"]), loose.string(entry.get("display_name"))) for entry in shown]


MODELS = Models(command=build_list_command, parse=parse_models)
