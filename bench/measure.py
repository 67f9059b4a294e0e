"""What all benchmarks share: repeated runs, medians, rows, and their table."""

from __future__ import annotations

import os
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. aim: in words, as issues state it. met: None where there is no aim."""

    name: str
    value: float
    unit: str
    peer: str = ""
    peer_value: float | None = None
    aim: str = ""
    met: bool | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        return self.value / self.peer_value if self.peer_value else None

    def as_dict(self) -> dict[str, object]:
        return {**asdict(self), "ratio": self.ratio}


def timed(work: Callable[[], object], times: int = 5) -> float:
    """Median seconds of several runs."""
    return statistics.median(once(work) for _ in range(times))


def once(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def quantile(values: list[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def base_env() -> dict[str, str]:
    return {"PATH": os.defpath + ":/usr/local/bin", "LANG": "C.UTF-8"}


def table(rows: list[Row]) -> str:
    head = ("what", "measured", "floor or peer", "ratio", "aim", "")
    lines = [head, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _cells(row: Row) -> tuple[str, str, str, str, str, str]:
    peer = f"{row.peer} {_number(row.peer_value)} {row.unit}" if row.peer_value is not None else row.peer
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}x"
    met = "" if row.met is None else ("met" if row.met else "MISSED")
    return row.name, f"{_number(row.value)} {row.unit}", peer, ratio, row.aim, f"{met} {row.note}".strip()


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
