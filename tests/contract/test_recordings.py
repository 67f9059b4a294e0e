"""What each recorded run of the real CLIs means: outcome, reason, tokens and tool calls. Read, not only printed:
the table was compared with what was provoked in each recording."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agented.backends.contract import Exit, Line
from agented.backends.events import Event, SessionStarted, TokensUsed, ToolCalled
from agented.backends.registry import Registry

CAPTURES = Path(__file__).parent.parent / "captures"
BACKENDS = Registry().load()

# recording, outcome, reason, tokens in, tokens out, tool calls
EXPECTED: list[tuple[str, str, str | None, int, int, int]] = [
    ("claude/auth", "logged_out", "bad_credentials", 0, 0, 0),
    ("claude/badrequest", "failed", "bad_request", 0, 0, 0),
    ("claude/budget", "failed", "budget_exhausted", 1200, 50, 0),
    ("claude/connrefused", "failed", "unreachable", 0, 0, 0),
    ("claude/disconnect", "succeeded", None, 14400, 61, 0),
    ("claude/issandbox", "succeeded", None, 2400, 100, 0),
    ("claude/json_tool", "succeeded", None, 2400, 100, 0),
    ("claude/max_turns", "failed", "max_turns", 1200, 50, 0),
    ("claude/oauth_auth", "logged_out", "bad_credentials", 0, 0, 0),
    ("claude/oauth_plain", "succeeded", None, 1200, 50, 0),
    ("claude/oauth_ratelimit", "limited", "rate_limited", 0, 0, 0),
    ("claude/oauth_usagelimit", "limited", "usage_limit", 0, 0, 0),
    ("claude/overloaded", "failed", "overloaded", 0, 0, 0),
    ("claude/partial_messages", "succeeded", None, 1200, 50, 0),
    ("claude/permission_denied", "succeeded", None, 2400, 100, 0),
    ("claude/plain", "succeeded", None, 1200, 50, 0),
    ("claude/quota", "limited", "no_credit", 0, 0, 0),
    ("claude/ratelimit", "limited", "rate_limited", 0, 0, 0),
    ("claude/ratelimit_once", "succeeded", None, 1200, 50, 0),
    ("claude/resume", "succeeded", None, 1200, 50, 0),
    ("claude/servererror", "failed", "provider_error", 0, 0, 0),
    ("claude/sigint_stream", "failed", "no_final_event", 0, 0, 0),
    ("claude/sigint_tool", "failed", "interrupted", 1200, 50, 1),
    ("claude/sigkill_stream", "failed", "killed", 0, 0, 0),
    ("claude/sigkill_tool", "failed", "killed", 0, 0, 1),
    ("claude/sigkill_tool_group", "failed", "killed", 0, 0, 1),
    ("claude/sigterm_stream", "failed", "killed", 0, 0, 0),
    ("claude/sigterm_tool", "failed", "killed", 0, 0, 1),
    ("claude/sigterm_tool_group", "failed", "killed", 0, 0, 1),
    ("claude/tool", "succeeded", None, 2400, 100, 1),
    ("claude/tree_sigterm_tool", "failed", "killed", 0, 0, 1),
    ("claude/usagelimit", "limited", "rate_limited", 0, 0, 0),
    ("codex/auth", "logged_out", "bad_credentials", 0, 0, 0),
    ("codex/badrequest", "failed", "bad_request", 0, 0, 0),
    ("codex/chatgpt_auth", "failed", "killed", 0, 0, 0),
    ("codex/chatgpt_plain", "succeeded", None, 1200, 60, 0),
    ("codex/chatgpt_usagelimit", "limited", "usage_limit", 0, 0, 0),
    ("codex/connrefused", "failed", "unreachable", 0, 0, 0),
    ("codex/disconnect", "failed", "disconnected", 0, 0, 0),
    ("codex/native_sigkill_tool", "failed", "killed", 0, 0, 1),
    ("codex/native_sigterm_tool", "failed", "killed", 0, 0, 1),
    ("codex/output_last_message", "failed", "no_final_event", 0, 0, 0),
    ("codex/overloaded", "failed", "overloaded", 0, 0, 0),
    ("codex/plain", "succeeded", None, 1200, 60, 0),
    ("codex/quota", "limited", "no_credit", 0, 0, 0),
    ("codex/ratelimit", "limited", "rate_limited", 0, 0, 0),
    ("codex/ratelimit_once", "succeeded", None, 1200, 60, 0),
    ("codex/resume", "succeeded", None, 2400, 120, 0),
    ("codex/sandbox_readonly_tool", "succeeded", None, 2400, 120, 0),
    ("codex/sandbox_workspace_tool", "succeeded", None, 2400, 120, 1),
    ("codex/sandboxed_sigterm_tool", "failed", "killed", 0, 0, 1),
    ("codex/servererror", "failed", "provider_error", 0, 0, 0),
    ("codex/sigint_stream", "failed", "no_final_event", 0, 0, 0),
    ("codex/sigint_tool", "failed", "no_final_event", 0, 0, 1),
    ("codex/sigkill_stream", "failed", "killed", 0, 0, 0),
    ("codex/sigkill_tool", "failed", "killed", 0, 0, 1),
    ("codex/sigkill_tool_group", "failed", "killed", 0, 0, 1),
    ("codex/sigterm_stream", "failed", "killed", 0, 0, 0),
    ("codex/sigterm_tool", "failed", "killed", 0, 0, 1),
    ("codex/sigterm_tool_group", "failed", "killed", 0, 0, 1),
    ("codex/tool", "succeeded", None, 2400, 120, 1),
    ("codex/tree_sigterm_tool", "failed", "killed", 0, 0, 1),
    ("codex/usagelimit", "limited", "usage_limit", 0, 0, 0),
    ("gemini/auth", "logged_out", "bad_credentials", 0, 0, 0),
    ("gemini/badrequest", "failed", "bad_request", 0, 0, 0),
    ("gemini/connrefused", "failed", "unreachable", 0, 0, 0),
    ("gemini/disconnect", "failed", "disconnected", 0, 0, 0),
    ("gemini/gca_plain", "succeeded", None, 1044, 60, 0),
    ("gemini/gca_usagelimit", "limited", "usage_limit", 0, 0, 0),
    ("gemini/json_quota", "limited", "usage_limit", 0, 0, 0),
    ("gemini/json_tool", "succeeded", None, 2088, 120, 0),
    ("gemini/norelaunch_sigint_tool", "failed", "no_final_event", 0, 0, 1),
    ("gemini/norelaunch_sigterm_tool", "failed", "no_final_event", 0, 0, 1),
    ("gemini/overloaded", "failed", "overloaded", 0, 0, 0),
    ("gemini/plain", "succeeded", None, 1044, 60, 0),
    ("gemini/quota", "limited", "usage_limit", 0, 0, 0),
    ("gemini/ratelimit", "limited", "rate_limited", 0, 0, 0),
    ("gemini/ratelimit_once", "succeeded", None, 1044, 60, 0),
    ("gemini/resume", "succeeded", None, 1044, 60, 0),
    ("gemini/servererror", "failed", "provider_error", 0, 0, 0),
    ("gemini/sigint_stream", "failed", "killed", 0, 0, 0),
    ("gemini/sigint_tool", "failed", "killed", 0, 0, 1),
    ("gemini/sigkill_stream", "failed", "killed", 0, 0, 0),
    ("gemini/sigkill_tool", "failed", "killed", 0, 0, 1),
    ("gemini/sigkill_tool_group", "failed", "killed", 0, 0, 1),
    ("gemini/sigterm_stream", "failed", "killed", 0, 0, 0),
    ("gemini/sigterm_stream_group", "failed", "no_final_event", 0, 0, 0),
    ("gemini/sigterm_tool", "failed", "killed", 0, 0, 1),
    ("gemini/sigterm_tool_group", "failed", "no_final_event", 0, 0, 1),
    ("gemini/tool", "succeeded", None, 2088, 120, 1),
    ("gemini/tree_sigterm_tool", "failed", "no_final_event", 0, 0, 1),
    ("gemini/untrusted", "failed", "bad_config", 0, 0, 0),
    ("gemini/usagelimit", "limited", "usage_limit", 0, 0, 0),
    ("opencode/anthropic_tool", "succeeded", None, 2400, 100, 1),
    ("opencode/anthropic_usagelimit", "failed", "killed", 0, 0, 0),
    ("opencode/auth", "logged_out", "bad_credentials", 0, 0, 0),
    ("opencode/badmodel", "failed", "cli_error", 0, 0, 0),
    ("opencode/badrequest", "failed", "bad_request", 0, 0, 0),
    ("opencode/connrefused", "failed", "killed", 0, 0, 0),
    ("opencode/default_format", "failed", "no_final_event", 0, 0, 0),
    ("opencode/disconnect", "failed", "disconnected", 0, 0, 0),
    ("opencode/overloaded", "failed", "overloaded", 0, 0, 0),
    ("opencode/plain", "succeeded", None, 1200, 40, 0),
    ("opencode/quota", "limited", "no_credit", 0, 0, 0),
    ("opencode/ratelimit", "limited", "rate_limited", 0, 0, 0),
    ("opencode/ratelimit_once", "succeeded", None, 1200, 40, 0),
    ("opencode/resume", "succeeded", None, 1200, 40, 0),
    ("opencode/servererror", "failed", "provider_error", 0, 0, 0),
    ("opencode/sigint_stream", "failed", "killed", 0, 0, 0),
    ("opencode/sigint_tool", "failed", "killed", 0, 0, 0),
    ("opencode/sigkill_stream", "failed", "killed", 0, 0, 0),
    ("opencode/sigkill_tool", "failed", "killed", 0, 0, 0),
    ("opencode/sigkill_tool_group", "failed", "killed", 0, 0, 0),
    ("opencode/sigterm_stream", "failed", "killed", 0, 0, 0),
    ("opencode/sigterm_tool", "failed", "killed", 0, 0, 0),
    ("opencode/sigterm_tool_group", "failed", "killed", 0, 0, 0),
    ("opencode/stdin_prompt", "succeeded", None, 1200, 40, 0),
    ("opencode/tool", "succeeded", None, 2400, 80, 1),
    ("opencode/tree_sigterm_tool", "failed", "killed", 0, 0, 0),
    ("opencode/usagelimit", "limited", "usage_limit", 0, 0, 0),
]


@pytest.mark.parametrize(
    ("name", "outcome", "reason", "sent", "received", "calls"), EXPECTED, ids=[row[0] for row in EXPECTED]
)
def test_a_recorded_run_means_what_happened(
    name: str, outcome: str, reason: str | None, sent: int, received: int, calls: int
) -> None:
    folder = CAPTURES / name
    output = BACKENDS[name.partition("/")[0]].new_output()
    events: list[Event] = []
    for file, stderr in (("stdout", False), ("stderr", True)):
        for line in (folder / file).read_bytes().split(b"\n"):
            events += output.feed(Line(line.decode("utf-8", "replace").rstrip("\r"), stderr))
    code = json.loads((folder / "exit.json").read_text())["exit_code"]
    verdict = output.verdict(Exit(code) if code >= 0 else Exit(None, -code))
    used = [event for event in events if isinstance(event, TokensUsed)]
    assert (str(verdict.outcome), verdict.reason and str(verdict.reason)) == (outcome, reason)
    assert (sum(one.input for one in used), sum(one.output for one in used)) == (sent, received)
    assert sum(isinstance(event, ToolCalled) for event in events) == calls
    if outcome == "succeeded":
        assert any(isinstance(event, SessionStarted) for event in events)


def test_every_recording_is_in_the_table() -> None:
    recorded = {
        f"{path.parent.parent.name}/{path.parent.name}"
        for path in CAPTURES.glob("*/*/exit.json")
        if (path.parent / "stdout").exists() and path.parent.parent.name != "rehearsal"
    }
    assert recorded == {row[0] for row in EXPECTED}
