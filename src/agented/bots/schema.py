"""The JSON schema (2020-12) of documents of kind Bot. What it lets pass may still be refused with a better reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agented.backends.contract import Permission
from agented.bots.declared import Kind
from agented.bots.matching import OPERATORS
from agented.bots.signatures import Style
from agented.bots.triggers import CatchUp, Running
from agented.executions.model import OnLimit
from agented.projects.events import KINDS

_NAME = {"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,79}$"}
_TEXTS = {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "maxItems": 50}]}
_FLAG = {"type": "boolean"}
_MAYBE = {"type": ["string", "null"]}


def _object(properties: Mapping[str, Any], *required: str, description: str = "") -> dict[str, Any]:
    made: dict[str, Any] = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    if required:
        made["required"] = list(required)
    return {**made, "description": description} if description else made


def _trigger(kind: str, properties: Mapping[str, Any], *required: str, description: str) -> dict[str, Any]:
    inner = _object({"name": _NAME, **properties}, *required, description=description)
    return _object({kind: inner if required else {"oneOf": [inner, {"type": "null"}]}}, kind)


_CONDITION = {
    "oneOf": [
        _object({"path": {"type": "string"}, "op": {"enum": list(OPERATORS)}, "value": {}}, "path"),
        _object({"all": {"type": "array", "items": {"$ref": "#/$defs/condition"}, "minItems": 1}}, "all"),
        _object({"any": {"type": "array", "items": {"$ref": "#/$defs/condition"}, "minItems": 1}}, "any"),
        _object({"not": {"$ref": "#/$defs/condition"}}, "not"),
    ]
}

_WEBHOOK = _trigger(
    "webhook",
    {
        "verify": _object(
            {
                "style": {"enum": list(Style)},
                "secret": {"type": "string", "description": "The name of a secret."},
                "tolerance_s": {"type": "integer", "minimum": 1, "maximum": 86_400},
            },
            "style",
        ),
        "match": {"oneOf": [{"$ref": "#/$defs/condition"}, {"type": "null"}]},
    },
    "verify",
    description="A delivery to an address of its own, or to /api/webhooks/.",
)

_GITHUB = _trigger(
    "github",
    {
        "events": {"oneOf": [{"enum": list(KINDS)}, {"type": "array", "items": {"enum": list(KINDS)}}]},
        "actions": _TEXTS,
        "repositories": _TEXTS,
        "branches": _TEXTS,
        "paths": _TEXTS,
        "labels": _TEXTS,
        "authors": _TEXTS,
        "drafts": _FLAG,
        "bots": _FLAG,
        "command": {"type": "string", "pattern": "^/\\S+$"},
        "allow": {"enum": ["insiders", "anyone"]},
        "running": {"enum": list(Running)},
        "secret": {"type": "string"},
    },
    description="An event of GitHub. Filters are globs; one that begins with ! takes away.",
)

_SCHEDULE = _trigger(
    "schedule",
    {
        "cron": {"type": "string", "description": "Five fields, or @hourly, @daily, @weekly, @monthly, @yearly."},
        "timezone": {"type": "string", "description": "Of the IANA database; UTC by default."},
        "catch_up": {"enum": list(CatchUp)},
        "jitter_s": {"type": "integer", "minimum": 0, "maximum": 3600},
        "overlap": _FLAG,
    },
    "cron",
    description="A time.",
)

_AFTER = _trigger(
    "after",
    {"bot": _NAME, "states": _TEXTS},
    "bot",
    description="The end of another bot's run.",
)

_RESULT = {
    "oneOf": [
        {"enum": list(Kind)},
        _object(
            {
                "kind": {"enum": list(Kind)},
                "optional": _FLAG,
                "schema": {"type": "object"},
                "title": {"type": "string"},
                "base": {"type": "string"},
                "draft": _FLAG,
                "verdict": _FLAG,
                "folder": {"type": "string"},
            },
            "kind",
        ),
    ]
}

SCHEMA: Mapping[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Bot",
    "$defs": {"condition": _CONDITION, "result": _RESULT},
    **_object(
        {
            "kind": {"const": "Bot"},
            "name": _NAME,
            "enabled": _FLAG,
            "description": {"type": "string", "maxLength": 2000},
            "prompt": {
                "type": "string",
                "maxLength": 200_000,
                "description": "A template: {{pr.title}} …",
            },
            "chain": {
                "type": "array",
                "minItems": 1,
                "maxItems": 10,
                "items": _object(
                    {
                        "backend": {"type": "string"},
                        "account": {"type": ["string", "null"]},
                        "model": {"type": ["string", "null"]},
                    },
                    "backend",
                ),
                "description": "What is tried one after the other.",
            },
            "projects": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 50},
            "permission": {"enum": list(Permission)},
            "ref": {"type": ["string", "null"]},
            "priority": {"type": "integer", "minimum": 0, "maximum": 9},
            "limits": _object(
                {
                    "wall_s": {"type": "number", "exclusiveMinimum": 0},
                    "silence_s": {"type": "number", "exclusiveMinimum": 0},
                    "cost_usd": {"type": ["number", "string"], "description": "What a run may spend at most."},
                }
            ),
            "on_limit": {
                "enum": list(OnLimit),
                "description": "At an account's limit: wait and go on by itself, or fail.",
            },
            "concurrency": _object(
                {"bot": {"type": "integer", "minimum": 0}, "object": {"type": "integer", "minimum": 0}},
                description="How many run at once: of the bot, and of the bot on one pull request. 0 is no limit.",
            ),
            "snippets": {"type": "object", "additionalProperties": {"type": "string"}},
            "triggers": {"type": "array", "maxItems": 50, "items": {"oneOf": [_WEBHOOK, _GITHUB, _SCHEDULE, _AFTER]}},
            "result": {
                "oneOf": [
                    {"$ref": "#/$defs/result"},
                    {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/result"}},
                ]
            },
            "status_check": _FLAG,
            "on_failure": _object(
                {"comment": _FLAG, "pause_after": {"type": "integer", "minimum": 0, "maximum": 1000}}
            ),
        },
        "kind",
        "name",
        "prompt",
        "chain",
    ),
}
