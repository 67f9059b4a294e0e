"""OpenCode."""

from __future__ import annotations

from agented.backends.contract import Backend, VersionRange
from agented.backends.opencode.command import build_command, default_home, home_env
from agented.backends.opencode.credentials import OpenCodeCredentials
from agented.backends.opencode.models import MODELS
from agented.backends.opencode.output import new_output
from agented.backends.opencode.sessions import OpenCodeSessions
from agented.backends.opencode.transcripts import OpenCodeTranscripts

BACKEND = Backend(
    name="opencode",
    title="OpenCode",
    program="opencode",
    tested=VersionRange("1.18", "1.19"),
    build_command=build_command,
    new_output=new_output,
    config_names=(".opencode", "opencode.json", "opencode.jsonc", "AGENTS.md"),
    home_env=home_env,
    default_home=default_home,
    install_hint="npm install -g opencode-ai@latest",
    sign_in_hint="opencode auth login",
    can_resume=True,
    credentials=OpenCodeCredentials(),
    sessions=OpenCodeSessions(),
    transcripts=OpenCodeTranscripts(),
    models=MODELS,
    login_command=("auth", "login"),
)
