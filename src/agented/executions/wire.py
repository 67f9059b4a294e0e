"""Executions in the words of HTTP: the same shapes in replies and in the event stream."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from agented.executions.model import REASONS, Attempt, Execution
from agented.executions.output import ShownLine


def instant(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def execution_out(execution: Execution, project_name: str) -> dict[str, Any]:
    """A row of a list: neither prompt nor log text."""
    request, tokens = execution.request, execution.tokens
    changes = None
    if execution.changed_files is not None:
        changes = {
            "files": execution.changed_files,
            "additions": execution.additions or 0,
            "deletions": execution.deletions or 0,
        }
    return {
        "id": execution.id,
        "state": str(execution.state),
        "reason": execution.reason,
        "detail": execution.detail,
        "cause": cause_out(execution.reason),
        "title": execution.title,
        "backend": request.backend,
        "project": {"id": request.project_id, "name": project_name},
        "permission": str(request.permission),
        "model": request.model,
        "ref": request.ref,
        "branch": execution.branch,
        "account": execution.account_name or request.account,
        "origin": request.origin,
        "priority": request.priority,
        "trust": str(request.trust),
        "subject": request.subject,
        "resume_at": instant(execution.resume_at),
        "choice": execution.choice,
        "account_key": execution.account_key,
        "on_limit": str(request.on_limit),
        "session_id": execution.session_id,
        "exit_code": execution.exit_code,
        "tokens": {
            "input": tokens.input,
            "output": tokens.output,
            "cache_read": tokens.cache_read,
            "cache_write": tokens.cache_write,
            "cost_usd": None if tokens.cost_usd is None else str(tokens.cost_usd),
        },
        "created_at": instant(execution.created_at),
        "started_at": instant(execution.started_at),
        "ended_at": instant(execution.ended_at),
        "last_output_at": instant(execution.last_output_at),
        "attempt_count": execution.attempt_count,
        "lines": execution.lines,
        "bytes": execution.bytes,
        "changes": changes,
        "rev": execution.rev,
    }


def cause_out(reason: str | None) -> dict[str, str] | None:
    rule = REASONS.get(reason or "")
    return None if rule is None else {"title": rule.title, "action": rule.action, "fix": str(rule.fix)}


def attempt_out(attempt: Attempt) -> dict[str, Any]:
    return {
        "id": attempt.id,
        "number": attempt.number,
        "state": str(attempt.state),
        "verdict": None if attempt.verdict is None else str(attempt.verdict),
        "reason": attempt.reason,
        "detail": attempt.detail,
        "account": attempt.account_name,
        "backend": attempt.backend,
        "choice": attempt.choice,
        "pid": attempt.pid,
        "exit_code": attempt.exit_code,
        "signal": attempt.signal,
        "started_at": instant(attempt.started_at),
        "ended_at": instant(attempt.ended_at),
        "session_id": attempt.session_id,
        "resumed": attempt.resumed,
        "cli_version": attempt.cli_version,
        "command": list(attempt.command),
    }


def line_out(line: ShownLine) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "n": line.n,
        "t": instant(line.at),
        "stream": "stderr" if line.stderr else "stdout",
        "text": line.text,
    }
    if line.cut:
        shown |= {"truncated": True, "bytes": line.size}
    return shown


def columns_out(lines: Sequence[ShownLine]) -> dict[str, Any]:
    """Neighbouring lines in columns: their texts; how many in a row share a time; which are on stderr; which were cut,
    and how many bytes these have."""
    times: list[list[Any]] = []
    last: datetime | None = None
    for line in lines:
        if line.at == last:
            times[-1][0] += 1
        else:
            last = line.at
            times.append([1, instant(last)])
    return {
        "from": lines[0].n,
        "texts": [line.text for line in lines],
        "times": times,
        "stderr": [line.n for line in lines if line.stderr],
        "cut": [[line.n, line.size] for line in lines if line.cut],
    }
