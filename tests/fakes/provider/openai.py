"""OpenAI's Responses and Chat Completions."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator

from tests.fakes.provider.scenarios import (
    CHAT_WIRE,
    RESETS_IN_S,
    RESPONSES_WIRE,
    RETRY_AFTER_S,
    WEEK_RESETS_IN_S,
    Failure,
    Json,
    Pace,
    Scenario,
    Turn,
    next_turn,
)


def failure(scenario: Scenario, resets_in_s: int = RESETS_IN_S) -> Failure | None:
    match scenario:
        case Scenario.RATELIMIT:
            message = (
                "Rate limit reached for fake-model in organization org-fake on tokens per min (TPM): Limit 30000, "
                f"Used 30000, Requested 1500. Please try again in {RETRY_AFTER_S}s."
            )
            return _failure(429, "tokens", "rate_limit_exceeded", message, _short_limit_headers())
        case Scenario.USAGELIMIT:
            return Failure(429, {"error": _used_up(resets_in_s)}, allowance_headers(100, resets_in_s))
        case Scenario.QUOTA:
            message = "You exceeded your current quota, please check your plan and billing details."
            return _failure(429, "insufficient_quota", "insufficient_quota", message)
        case Scenario.AUTH:
            return _failure(401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided.")
        case Scenario.OVERLOADED:
            message = "Our servers are currently overloaded."
            return _failure(503, "server_error", "server_is_overloaded", message)
        case Scenario.SERVERERROR:
            return _failure(500, "server_error", None, "The server had an error while processing your request.")
        case Scenario.BADREQUEST:
            message = "The model `no-such-model` does not exist."
            return _failure(404, "invalid_request_error", "model_not_found", message)
    return None


def _failure(status: int, kind: str, code: str | None, message: str, headers: dict[str, str] | None = None) -> Failure:
    return Failure(status, {"error": {"message": message, "type": kind, "param": None, "code": code}}, headers or {})


def _short_limit_headers() -> dict[str, str]:
    headers = {"retry-after": str(RETRY_AFTER_S)}
    for what, limit in (("requests", "500"), ("tokens", "30000")):
        headers[f"x-ratelimit-limit-{what}"] = limit
        headers[f"x-ratelimit-remaining-{what}"] = "0"
        headers[f"x-ratelimit-reset-{what}"] = f"{RETRY_AFTER_S}s"
    return headers


def _used_up(resets_in_s: int) -> Json:
    """A plan's own limit; an API key out of credit gets `insufficient_quota` instead."""
    return {
        "type": "usage_limit_reached",
        "message": "The usage limit has been reached",
        "plan_type": "plus",
        "resets_at": int(time.time()) + resets_in_s,
        "resets_in_seconds": resets_in_s,
    }


def allowance_headers(used: float = 37, resets_in_s: int = RESETS_IN_S) -> dict[str, str]:
    now = int(time.time())
    return {
        "x-codex-primary-used-percent": str(used),
        "x-codex-primary-window-minutes": "300",
        "x-codex-primary-reset-at": str(now + resets_in_s),
        "x-codex-secondary-used-percent": "12",
        "x-codex-secondary-window-minutes": "10080",
        "x-codex-secondary-reset-at": str(now + WEEK_RESETS_IN_S),
    }


def responses_turn(scenario: Scenario, body: Json) -> Turn:
    offered = [tool.get("name") or tool.get("type") or "" for tool in body.get("tools") or []]
    items = body.get("input")
    after_tool = isinstance(items, list) and bool(items) and str(items[-1].get("type")).endswith("_output")
    return next_turn(scenario, offered, ("exec_command", "shell_command", "shell"), after_tool)


def responses_stream(body: Json, said: Turn) -> Iterator[str | Pace]:
    opening = {
        "id": _new_id("resp"),
        "object": "response",
        "created_at": int(time.time()),
        "model": body.get("model", "fake-model"),
        "status": "in_progress",
        "output": [],
    }
    number = 0
    for kind, values in [("response.created", {"response": opening}), *_responses_events(opening, said)]:
        if isinstance(values, Pace):
            yield values
            continue
        yield f"event: {kind}\ndata: {json.dumps({'type': kind, 'sequence_number': number, **values})}\n\n"
        number += 1


def _responses_events(opening: Json, said: Turn) -> Iterator[tuple[str, Json | Pace]]:
    item: Json
    if said.tool:
        item = _function_call(said)
        yield "response.output_item.added", {"output_index": 0, "item": {**item, "status": "in_progress"}}
    else:
        place = {"item_id": _new_id("msg"), "output_index": 0, "content_index": 0}
        item = {"id": place["item_id"], "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        part = {"type": "output_text", "text": "", "annotations": []}
        yield "response.output_item.added", {"output_index": 0, "item": item}
        yield "response.content_part.added", {**place, "part": part}
        text = ""
        for piece in said.pieces():
            if isinstance(piece, Pace):
                yield "", piece
            else:
                text += piece
                yield "response.output_text.delta", {**place, "delta": piece}
        part = {**part, "text": text}
        item = {**item, "status": "completed", "content": [part]}
        yield "response.output_text.done", {**place, "text": text}
        yield "response.content_part.done", {**place, "part": part}
    yield "response.output_item.done", {"output_index": 0, "item": item}
    ended = {**opening, "status": "completed", "output": [item], "usage": RESPONSES_WIRE}
    yield "response.completed", {"response": ended}


def _function_call(said: Turn) -> Json:
    arguments: Json = {"command": ["bash", "-lc", said.command]}
    if said.tool == "exec_command":
        arguments = {"cmd": said.command, "yield_time_ms": 10_000}
    elif said.tool == "shell_command":
        arguments = {"command": said.command}
    return {
        "id": _new_id("fc"),
        "type": "function_call",
        "status": "completed",
        "name": said.tool,
        "call_id": _new_id("call"),
        "arguments": json.dumps(arguments),
    }


def chat_turn(scenario: Scenario, body: Json) -> Turn:
    offered = [tool.get("function", {}).get("name", "") for tool in body.get("tools") or []]
    messages = body.get("messages") or []
    return next_turn(scenario, offered, ("bash", "shell"), bool(messages) and messages[-1].get("role") == "tool")


def chat_message(body: Json, said: Turn) -> Json:
    content: Json = {"role": "assistant", "content": said.text}
    if said.tool:
        content = {"role": "assistant", "content": None, "tool_calls": [_tool_call(said)]}
    choice = {"index": 0, "message": content, "finish_reason": "tool_calls" if said.tool else "stop"}
    return {**_chat_frame(body, "chat.completion"), "choices": [choice], "usage": CHAT_WIRE}


def chat_stream(body: Json, said: Turn) -> Iterator[str | Pace]:
    frame = _chat_frame(body, "chat.completion.chunk")

    def chunk(delta: Json, finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return f"data: {json.dumps({**frame, 'choices': [choice]})}\n\n"

    yield chunk({"role": "assistant", "content": ""})
    if said.tool:
        yield chunk({"tool_calls": [{"index": 0, **_tool_call(said)}]})
    else:
        for piece in said.pieces():
            yield piece if isinstance(piece, Pace) else chunk({"content": piece})
    yield chunk({}, "tool_calls" if said.tool else "stop")
    yield f"data: {json.dumps({**frame, 'choices': [], 'usage': CHAT_WIRE})}\n\n"
    yield "data: [DONE]\n\n"


def _chat_frame(body: Json, kind: str) -> Json:
    model = body.get("model", "fake-model")
    return {"id": _new_id("chatcmpl"), "object": kind, "created": int(time.time()), "model": model}


def _tool_call(said: Turn) -> Json:
    arguments = json.dumps({"command": said.command, "description": "Runs the rehearsed command"})
    return {"id": _new_id("call"), "type": "function", "function": {"name": said.tool, "arguments": arguments}}


def _new_id(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex[:24]}"
