"""Claude Code by Anthropic."""

from __future__ import annotations

from agented.backends.claude.command import build_command, default_home, home_env
from agented.backends.claude.credentials import ClaudeCredentials
from agented.backends.claude.limits import ClaudeLimits
from agented.backends.claude.output import new_output
from agented.backends.claude.sessions import ClaudeSessions
from agented.backends.claude.transcripts import ClaudeTranscripts, kept_for
from agented.backends.contract import Backend, LoginWay, Model, Models, VersionRange

BACKEND = Backend(
    name="claude",
    title="Claude Code",
    program="claude",
    tested=VersionRange("2.1.300", "2.2"),
    build_command=build_command,
    new_output=new_output,
    config_names=(".claude", ".mcp.json", "CLAUDE.md", "CLAUDE.local.md", ".claude-plugin"),
    home_env=home_env,
    default_home=default_home,
    install_hint="npm install -g @anthropic-ai/claude-code@latest",
    sign_in_hint="claude auth login",
    can_resume=True,
    limits=ClaudeLimits(),
    credentials=ClaudeCredentials(),
    sessions=ClaudeSessions(),
    transcripts=ClaudeTranscripts(),
    kept_for=kept_for,
    # The CLI has no command that lists models; it takes these names for the newest of each kind, and any full id.
    models=Models(known=(Model("opus", "Opus"), Model("sonnet", "Sonnet"), Model("haiku", "Haiku"))),
    login_command=("auth", "login"),
    login_ways=(
        LoginWay("With a subscription", ("auth", "login", "--claudeai"), "Pro, Max, Team or Enterprise."),
        LoginWay("With the Console", ("auth", "login", "--console"), "Billed by use of the API."),
        LoginWay("With single sign-on", ("auth", "login", "--sso"), "Where an organisation asks for it."),
    ),
    login_env={"DISABLE_AUTOUPDATER": "1"},
)
