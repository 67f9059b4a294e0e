"""Google's generateContent and streamGenerateContent."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

from tests.fakes.provider.scenarios import (
    GEMINI_WIRE,
    RESETS_IN_S,
    RETRY_AFTER_S,
    Failure,
    Json,
    Pace,
    Scenario,
    Turn,
    next_turn,
)

_QUOTA_EXCEEDED = "You exceeded your current quota, please check your plan and billing details."


def failure(scenario: Scenario, resets_in_s: int = RESETS_IN_S) -> Failure | None:
    match scenario:
        case Scenario.RATELIMIT:
            details = [_quota("GenerateRequestsPerMinutePerProjectPerModel", "5"), _retry_in(RETRY_AFTER_S)]
            message = f"{_QUOTA_EXCEEDED} Please retry in {RETRY_AFTER_S}s."
            return _failure(429, "RESOURCE_EXHAUSTED", message, details)
        case Scenario.USAGELIMIT:
            reason = _reason("QUOTA_EXHAUSTED", "cloudcode-pa.googleapis.com", {"uiMessage": "true"})
            after = _spelled(resets_in_s)
            message = f"You have exhausted your capacity on this model. Your quota will reset after {after}."
            return _failure(429, "RESOURCE_EXHAUSTED", message, [reason, _retry_in(resets_in_s)])
        case Scenario.QUOTA:
            details = [_quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "100")]
            return _failure(429, "RESOURCE_EXHAUSTED", _QUOTA_EXCEEDED, details)
        case Scenario.AUTH:
            reason = _reason("API_KEY_INVALID", "googleapis.com", {"service": "generativelanguage.googleapis.com"})
            message = "API key not valid. Please pass a valid API key."
            return _failure(401, "UNAUTHENTICATED", message, [reason])
        case Scenario.OVERLOADED:
            return _failure(503, "UNAVAILABLE", "The model is overloaded. Please try again later.")
        case Scenario.SERVERERROR:
            return _failure(500, "INTERNAL", "An internal error has occurred.")
        case Scenario.BADREQUEST:
            message = "models/no-such-model is not found for API version v1beta."
            return _failure(404, "NOT_FOUND", message)
    return None


def _spelled(seconds: int) -> str:
    return f"{seconds // 3600}h{seconds // 60 % 60}m{seconds % 60}s"


def _failure(code: int, status: str, message: str, details: list[Json] | None = None) -> Failure:
    error: Json = {"code": code, "message": message, "status": status}
    if details:
        error["details"] = details
    return Failure(code, {"error": error})


def _typed(kind: str, values: Json) -> Json:
    return {"@type": f"type.googleapis.com/google.rpc.{kind}", **values}


def _quota(quota_id: str, value: str) -> Json:
    violation = {
        "quotaMetric": "generativelanguage.googleapis.com/generate_content_requests",
        "quotaId": quota_id,
        "quotaDimensions": {"location": "global", "model": "gemini-2.5-pro"},
        "quotaValue": value,
    }
    return _typed("QuotaFailure", {"violations": [violation]})


def _retry_in(seconds: int) -> Json:
    return _typed("RetryInfo", {"retryDelay": f"{seconds}s"})


def _reason(reason: str, domain: str, metadata: dict[str, str]) -> Json:
    return _typed("ErrorInfo", {"reason": reason, "domain": domain, "metadata": metadata})


def turn(scenario: Scenario, body: Json) -> Turn:
    tools = body.get("tools") or []
    offered = [one.get("name", "") for tool in tools for one in tool.get("functionDeclarations") or []]
    contents = body.get("contents") or [{}]
    after_tool = any("functionResponse" in part for part in contents[-1].get("parts") or [])
    return next_turn(scenario, offered, ("run_shell_command",), after_tool)


def message(body: Json, said: Turn, model: str) -> Json:
    return _answer([_part(body, said)], model, finished=True)


def stream(said: Turn, model: str) -> Iterator[str | Pace]:
    if said.tool:
        yield _event(_answer([_tool_part(said)], model))
    else:
        for piece in said.pieces():
            yield piece if isinstance(piece, Pace) else _event(_answer([{"text": piece}], model))
    yield _event(_answer([{"text": ""}], model, finished=True))


def _answer(parts: list[Json], model: str, *, finished: bool = False) -> Json:
    candidate: Json = {"content": {"parts": parts, "role": "model"}, "index": 0}
    answer: Json = {"candidates": [candidate], "modelVersion": model, "responseId": uuid.uuid4().hex}
    if finished:
        candidate["finishReason"] = "STOP"
        answer["usageMetadata"] = GEMINI_WIRE
    return answer


def _part(body: Json, said: Turn) -> Json:
    if said.tool:
        return _tool_part(said)
    config = body.get("generationConfig") or {}
    if config.get("responseMimeType") == "application/json":
        schema = config.get("responseJsonSchema") or config.get("responseSchema") or {}
        return {"text": json.dumps(_example(schema))}
    return {"text": said.text}


def _tool_part(said: Turn) -> Json:
    arguments = {"command": said.command, "description": "Runs the rehearsed command"}
    return {"functionCall": {"id": uuid.uuid4().hex, "name": said.tool, "args": arguments}}


def _example(schema: Json) -> Any:
    """A value that fits: the CLI asks small questions of its own (which model, who speaks next) with a schema."""
    if schema.get("enum"):
        return schema["enum"][0]
    match str(schema.get("type", "object")).lower():
        case "object":
            return {name: _example(inner) for name, inner in (schema.get("properties") or {}).items()}
        case "array":
            return []
        case "boolean":
            return False
        case "integer" | "number":
            return 1
    return "rehearsed"


def _event(answer: Json) -> str:
    return f"data: {json.dumps(answer)}\r\n\r\n"
