"""Writes src/agented/costs/prices.json: what providers ask for a token, out of the table that LiteLLM's makers keep.

Only the data file of their package is read; none of their code runs. `--wheel FILE` takes a wheel that is at hand.
Prices are whole millionths of a millionth of a dollar, so that nothing is lost by reading them.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agented.costs.prices import SHIPPED, read_entry

_TABLE = "litellm/model_prices_and_context_window_backup.json"
_NOTICE = "Made from LiteLLM's table of models and prices. Copyright (c) 2023 Berri AI. MIT License."
_MODES = ("chat", "responses", "completion")
_PROVIDERS = re.compile(
    r"anthropic|openai|gemini|vertex_ai-(language-models|anthropic_models)|bedrock(_converse)?|azure(_ai)?|openrouter"
    r"|deepseek|groq|mistral|xai|moonshot|zai|dashscope|cerebras|github_copilot|opencode_go|minimax|deepinfra"
    r"|together_ai|vercel_ai_gateway|chatgpt"
)
# What a faster answer costs, where the table does not say so: as published by the provider.
_FAST = {"claude-opus-4-6": 6000, "claude-opus-4-7": 6000}
_LARGEST = 300_000


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--wheel", type=Path)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wheel = given.wheel or _fetch(Path(folder))
        version = wheel.name.split("-")[1]
        with zipfile.ZipFile(wheel) as packed:
            table = json.loads(packed.read(_TABLE))
            date = max(datetime(*one.date_time, tzinfo=UTC) for one in packed.infolist()).date()
    models = sorted(_models(table))
    lines = ",\n".join(f"{json.dumps(name)}:{json.dumps(kept, separators=(',', ':'))}" for name, kept in models)
    about = {"notice": _NOTICE, "version": f"litellm-{version}", "date": max(date, _today(date)).isoformat()}
    text = json.dumps(about)[:-1] + ', "models": {\n' + lines + "\n}}\n"
    if len(text) > _LARGEST:
        raise SystemExit(f"{len(text)} bytes: too many models were taken")
    SHIPPED.write_text(text)
    sys.stdout.write(f"{len(models)} models, {len(text)} bytes, {about['version']} of {about['date']}\n")


def _today(date: Any) -> Any:
    """Packages carry the year 1980 where their maker leaves times out."""
    return datetime.now(UTC).date() if date.year < 2000 else date


def _fetch(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "litellm", "-d", str(folder)]
    subprocess.run(command, check=True)
    return next(folder.glob("litellm-*.whl"))


def _models(table: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, int]]]:
    for name, entry in table.items():
        if entry.get("mode") not in _MODES or not _PROVIDERS.fullmatch(entry.get("litellm_provider", "")):
            continue
        if name.startswith("ft:") or re.match(r"(bedrock|azure)/[a-z-]+[0-9]?/|(azure/)(us|eu|global)", name):
            continue
        price = read_entry(entry)
        if price is None or not (price.input or price.output):
            continue
        kept = price.to_dict()
        for model, times in _FAST.items():
            if model in name:
                kept.setdefault("fast", times)
        yield name, kept


if __name__ == "__main__":
    main()
