"""Makes the reference pages that follow from code: settings and reasons. `--check` only compares."""

from __future__ import annotations

import sys
from pathlib import Path

from agented.executions.model import MAX_ATTEMPTS, MOVES, REASONS, TERMINAL, Retry
from agented.settings import Settings

DOCS = Path(__file__).parent.parent / "docs" / "reference"


def settings_page() -> str:
    lines = [
        "# Settings",
        "",
        "Flags win over environment variables, these over the config file (`agented.toml` in the user's configuration",
        "folder, or the file that `AGENTED_CONFIG` names), that over the defaults.",
        "",
        "| setting | environment | default | meaning |",
        "|---|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        if field.exclude:
            continue
        alias = field.validation_alias
        choices = [str(choice) for choice in getattr(alias, "choices", [])][:-1]
        variables = ", ".join(f"`{choice}`" for choice in choices) or f"`AGENTED_{name.upper()}`"
        default = "per user" if field.default_factory else str(field.default)
        default = "" if default in ("None", "") else f"`{default}`" if not field.default_factory else default
        lines.append(f"| `{name}` | {variables} | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


def reasons_page() -> str:
    lines = ["# States and reasons", "", "| from | to |", "|---|---|"]
    lines += [f"| {state} | {', '.join(sorted(targets))} |" for state, targets in MOVES.items()]
    lines += ["", f"Terminal, written once: {', '.join(sorted(TERMINAL))}.", ""]
    lines += ["| reason | meaning | what to do | by itself |", "|---|---|---|---|"]
    for code, rule in REASONS.items():
        retry = "" if rule.retry is Retry.NEVER else f"one more attempt, {MAX_ATTEMPTS} at most"
        lines.append(f"| `{code}` | {rule.title} | {rule.action} | {retry} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    wrong = 0
    for name, text in (("settings.md", settings_page()), ("reasons.md", reasons_page())):
        path = DOCS / name
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            print(f"{path} is not what the code says: run scripts/reference.py")
            wrong = 1
    return wrong


if __name__ == "__main__":
    sys.exit(main())
