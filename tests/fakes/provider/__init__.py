"""A model provider on loopback that plays scenarios in the APIs the real CLIs speak."""

from __future__ import annotations

from tests.fakes.provider.scenarios import (
    ANSWER,
    ANSWER_AFTER_TOOL,
    ANTHROPIC_TOKENS,
    CHAT_TOKENS,
    GEMINI_TOKENS,
    RESETS_IN_S,
    RESPONSES_TOKENS,
    RETRY_AFTER_S,
    SLOW_TOOL_COMMAND,
    SLOW_TOOL_FILE,
    TOOL_COMMAND,
    TOOL_FILE,
    Scenario,
)
from tests.fakes.provider.server import Provider, SeenRequest, scenario_url

__all__ = [
    "ANSWER",
    "ANSWER_AFTER_TOOL",
    "ANTHROPIC_TOKENS",
    "CHAT_TOKENS",
    "GEMINI_TOKENS",
    "RESETS_IN_S",
    "RESPONSES_TOKENS",
    "RETRY_AFTER_S",
    "SLOW_TOOL_COMMAND",
    "SLOW_TOOL_FILE",
    "TOOL_COMMAND",
    "TOOL_FILE",
    "Provider",
    "Scenario",
    "SeenRequest",
    "scenario_url",
]
