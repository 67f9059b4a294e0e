"""`make bench`: prints a table and writes bench/results/latest.json.

Arguments name parts: keeper log server deliveries web costs.
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

from bench import costs, deliveries, keeper, log, server, web
from bench.measure import table

PARTS = {
    "keeper": keeper.rows,
    "log": log.rows,
    "server": server.rows,
    "deliveries": deliveries.rows,
    "web": web.rows,
    "costs": costs.rows,
}


def main() -> None:
    wanted = sys.argv[1:] or list(PARTS)
    rows = [row for name in wanted for row in PARTS[name]()]
    print(table(rows))
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    machine = {"system": platform.platform(), "python": platform.python_version()}
    report = {"machine": machine, "rows": [row.as_dict() for row in rows]}
    (results / "latest.json").write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
