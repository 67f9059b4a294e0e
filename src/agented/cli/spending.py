"""Commands that tell what was spent."""

from __future__ import annotations

import gc
import json
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agented.settings import Settings

_COUNTS = ("messages", "input", "output", "cache_read", "cache_write", "cache_write_1h", "reasoning")


def scan_home(home: Path, folder: Path, prices: Path | None, *, as_json: bool) -> None:
    from agented.backends.registry import Registry
    from agented.costs.scan import scan
    from agented.kit.errors import Unavailable

    # Nothing here makes circles that live on; looking for them among a hundred thousand rows takes long.
    gc.disable()
    try:
        answer = scan(home, folder, Registry().all(), prices_file=prices)
    except (OSError, sqlite3.Error) as error:
        raise Unavailable(
            f"What is known cannot be kept in {folder}: {error}",
            code="data_folder_not_writable",
            hint="Choose another folder with --data, make it writable for this user, or free disk space.",
        ) from error
    if as_json:
        sys.stdout.write(json.dumps(answer) + "\n")
    else:
        _print_table(answer["totals"], ("source", "model", "date"))


def show(settings: Settings, *, group: str, since: str | None, until: str | None, as_json: bool) -> None:
    from agented.cli.reaching import reach

    with reach(settings) as client:
        answer = client.get("/api/costs", group=group, since=since, until=until)
    if as_json:
        sys.stdout.write(json.dumps(answer) + "\n")
        return
    _print_table([*answer["items"], answer["totals"]], [word.strip() for word in group.split(",") if word.strip()])


def _print_table(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    """The last row may be of all: it has no names."""
    if not rows:
        sys.stderr.write("Nothing was counted yet.\n")
        return
    lines = [[*names, *_COUNTS, "cost_usd"]]
    for row in rows:
        cost = row["cost_usd"]
        told = "unpriced" if cost is None else f"{float(cost):,.4f}"
        lines.append([*(str(row.get(name) or "") for name in names), *(f"{row[name]:,}" for name in _COUNTS), told])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        cells = [
            cell.ljust(width) if column < len(names) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
