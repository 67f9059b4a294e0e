"""What a CLI said at its end, and what of it has a shape: a block of JSON, a review, findings. Pure."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agented.kit.loose import mapping

_FENCE = re.compile(r"^```[ \t]*([A-Za-z0-9_-]*)[ \t]*\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
SEVERITIES = ("critical", "high", "medium", "low", "info")
VERDICTS = ("approve", "request_changes", "comment")
_MOST_FINDINGS = 500


def final_words(events: Iterable[Mapping[str, Any]]) -> str:
    """The CLI's own summary, or else all that it said since its last tool returned."""
    said: list[str] = []
    summary = ""
    for event in events:
        kind = event.get("type")
        if kind == "said" and not event.get("thinking"):
            text = str(event.get("text") or "")
            if event.get("delta") and said:
                said[-1] += text
            else:
                said.append(text)
        elif kind in ("tool_called", "session_started"):
            said.clear()
        elif kind == "concluded":
            summary = str(event.get("summary") or "")
    return (summary or "\n".join(said)).strip()


def json_block(text: str) -> Any:
    """The last value of JSON in a text: in a fence, or the whole. None when there is none."""
    for language, body in reversed(_FENCE.findall(text)):
        if language.lower() in ("json", ""):
            value = _parsed(body)
            if value is not None:
                return value
    return _parsed(text)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def without_json(text: str) -> str:
    return _FENCE.sub(lambda match: "" if _parsed(match[2]) is not None else match[0], text).strip()


@dataclass(frozen=True, slots=True)
class Finding:
    """line: 0 when it names none."""

    title: str
    body: str
    severity: str
    path: str
    line: int


@dataclass(frozen=True, slots=True)
class Review:
    summary: str
    verdict: str
    findings: Sequence[Finding]


def read_review(text: str) -> Review:
    """A review of `{"verdict", "summary", "findings": [{path, line, severity, title, body}]}`, or of words alone."""
    told = mapping(json_block(text))
    summary = _string(told.get("summary")) or without_json(text)
    verdict = _string(told.get("verdict"))
    return Review(summary, verdict if verdict in VERDICTS else "comment", read_findings(told))


def read_findings(told: Mapping[str, Any]) -> list[Finding]:
    rows = told.get("findings")
    found = []
    for one in rows[:_MOST_FINDINGS] if isinstance(rows, list) else []:
        row = mapping(one)
        title, body = _string(row.get("title")), _string(row.get("body"))
        if not title and not body:
            continue
        severity = _string(row.get("severity")).lower()
        line = row.get("line")
        found.append(
            Finding(
                title or body.split("\n", 1)[0][:120],
                body,
                severity if severity in SEVERITIES else "info",
                _string(row.get("path")),
                line if isinstance(line, int) and not isinstance(line, bool) and line > 0 else 0,
            )
        )
    return found


def count_severities(findings: Iterable[Finding]) -> dict[str, int]:
    counted = Counter(one.severity for one in findings)
    return {severity: counted[severity] for severity in SEVERITIES if counted[severity]}


def _string(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""
