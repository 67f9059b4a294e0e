"""Codex by OpenAI."""

from __future__ import annotations

from agented.backends.codex.command import build_command, default_home, home_env
from agented.backends.codex.credentials import CodexCredentials
from agented.backends.codex.limits import CodexLimits
from agented.backends.codex.models import MODELS
from agented.backends.codex.output import new_output
from agented.backends.codex.sessions import CodexSessions
from agented.backends.codex.transcripts import CodexTranscripts
from agented.backends.contract import Backend, LoginWay, VersionRange

BACKEND = Backend(
    name="codex",
    title="Codex",
    program="codex",
    tested=VersionRange("0.160", "0.170"),
    build_command=build_command,
    new_output=new_output,
    config_names=(".codex", "AGENTS.md", "AGENTS.override.md", ".agents"),
    home_env=home_env,
    default_home=default_home,
    install_hint="npm install -g @openai/codex@latest",
    sign_in_hint="codex login",
    can_resume=True,
    limits=CodexLimits(),
    credentials=CodexCredentials(),
    sessions=CodexSessions(),
    transcripts=CodexTranscripts(),
    models=MODELS,
    # A code works from any machine; the other way is answered at an address of the machine that the CLI runs on.
    login_command=("login", "--device-auth"),
    login_ways=(
        LoginWay("With a code", ("login", "--device-auth"), "From a browser on any machine."),
        LoginWay(
            "With a browser on the server's machine", ("login",), "Its answer comes to port 1455 of the machine itself."
        ),
    ),
)
