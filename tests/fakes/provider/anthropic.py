"""Anthropic's Messages."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator

from tests.fakes.provider.scenarios import (
    ANTHROPIC_WIRE,
    RESETS_IN_S,
    RETRY_AFTER_S,
    WEEK_RESETS_IN_S,
    Failure,
    Json,
    Pace,
    Scenario,
    Turn,
    next_turn,
)

_LIMIT = "anthropic-ratelimit-"


def failure(scenario: Scenario, resets_in_s: int = RESETS_IN_S) -> Failure | None:
    match scenario:
        case Scenario.RATELIMIT:
            message = "This request would exceed your organization's rate limit of 50 requests per minute."
            return _failure(429, "rate_limit_error", message, _short_limit_headers())
        case Scenario.USAGELIMIT:
            message = "This request would exceed your account's rate limit. Please try again later."
            headers = {"retry-after": str(resets_in_s), **_used_up_headers(resets_in_s)}
            return _failure(429, "rate_limit_error", message, headers)
        case Scenario.QUOTA:
            message = (
                "Your credit balance is too low to access the Anthropic API. "
                "Please go to Plans & Billing to upgrade or purchase credits."
            )
            return _failure(400, "invalid_request_error", message)
        case Scenario.AUTH:
            return _failure(401, "authentication_error", "invalid x-api-key")
        case Scenario.OVERLOADED:
            return _failure(529, "overloaded_error", "Overloaded")
        case Scenario.SERVERERROR:
            return _failure(500, "api_error", "Internal server error")
        case Scenario.BADREQUEST:
            return _failure(404, "not_found_error", "model: no-such-model")
    return None


def _failure(status: int, kind: str, message: str, headers: dict[str, str] | None = None) -> Failure:
    body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": _new_id("req")}
    return Failure(status, body, headers or {})


def _short_limit_headers() -> dict[str, str]:
    reset = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + RETRY_AFTER_S))
    headers = {"retry-after": str(RETRY_AFTER_S)}
    for what, limit in (("requests", "50"), ("tokens", "50000")):
        headers |= {f"{_LIMIT}{what}-limit": limit, f"{_LIMIT}{what}-remaining": "0", f"{_LIMIT}{what}-reset": reset}
    return headers


def _used_up_headers(resets_in_s: int) -> dict[str, str]:
    """A subscription whose five hours are used up and whose week is not."""
    return {
        **_windows("rejected", 1.0, 0.42, resets_in_s),
        f"{_LIMIT}unified-fallback-percentage": "0.5",
        f"{_LIMIT}unified-overage-status": "rejected",
        f"{_LIMIT}unified-overage-disabled-reason": "org_level_disabled",
    }


def allowance_headers() -> dict[str, str]:
    """What a subscription is told with every answer that succeeds."""
    return _windows("allowed", 0.37, 0.12)


def _windows(five_hours: str, used_5h: float, used_7d: float, resets_in_s: int = RESETS_IN_S) -> dict[str, str]:
    unified = f"{_LIMIT}unified-"
    reset, week_reset = str(int(time.time()) + resets_in_s), str(int(time.time()) + WEEK_RESETS_IN_S)
    return {
        f"{unified}status": five_hours,
        f"{unified}reset": reset,
        f"{unified}representative-claim": "five_hour",
        f"{unified}5h-status": five_hours,
        f"{unified}5h-reset": reset,
        f"{unified}5h-utilization": str(used_5h),
        f"{unified}7d-status": "allowed",
        f"{unified}7d-reset": week_reset,
        f"{unified}7d-utilization": str(used_7d),
    }


def turn(scenario: Scenario, body: Json) -> Turn:
    offered = [tool.get("name", "") for tool in body.get("tools") or []]
    return next_turn(scenario, offered, ("Bash", "bash"), _follows_a_tool(body))


def _follows_a_tool(body: Json) -> bool:
    for message in reversed(body.get("messages") or []):
        if message.get("role") == "user":
            content = message.get("content")
            return isinstance(content, list) and any(part.get("type") == "tool_result" for part in content)
    return False


def message(body: Json, said: Turn) -> Json:
    return {
        "id": _new_id("msg"),
        "type": "message",
        "role": "assistant",
        "model": body.get("model", "fake-model"),
        "content": [_block(said)],
        "stop_reason": "tool_use" if said.tool else "end_turn",
        "stop_sequence": None,
        "usage": ANTHROPIC_WIRE,
    }


def _block(said: Turn) -> Json:
    if not said.tool:
        return {"type": "text", "text": said.text}
    arguments = {"command": said.command, "description": "Runs the rehearsed command"}
    return {"type": "tool_use", "id": _new_id("toolu"), "name": said.tool, "input": arguments}


def stream(body: Json, said: Turn) -> Iterator[str | Pace]:
    whole = message(body, said)
    opening = {**whole, "content": [], "stop_reason": None, "usage": {**ANTHROPIC_WIRE, "output_tokens": 1}}
    yield _event("message_start", message=opening)
    if said.tool:
        block = whole["content"][0]
        yield _event("content_block_start", index=0, content_block={**block, "input": {}})
        delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        yield _event("content_block_delta", index=0, delta=delta)
    else:
        yield _event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        yield _event("ping")
        for piece in said.pieces():
            if isinstance(piece, Pace):
                yield piece
            else:
                yield _event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
    yield _event("content_block_stop", index=0)
    ending = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    yield _event("message_delta", delta=ending, usage={"output_tokens": ANTHROPIC_WIRE["output_tokens"]})
    yield _event("message_stop")


def _event(kind: str, **values: object) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **values})}\n\n"


def _new_id(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex[:24]}"
