"""Gemini CLI by Google."""

from __future__ import annotations

from agented.backends.contract import Backend, Model, Models, VersionRange
from agented.backends.gemini.command import LOGIN_ENV, build_command, default_home, home_env
from agented.backends.gemini.credentials import GeminiCredentials
from agented.backends.gemini.limits import GeminiLimits
from agented.backends.gemini.output import new_output
from agented.backends.gemini.sessions import GeminiSessions
from agented.backends.gemini.transcripts import GeminiTranscripts

BACKEND = Backend(
    name="gemini",
    title="Gemini CLI",
    program="gemini",
    tested=VersionRange("0.55", "0.70"),
    build_command=build_command,
    new_output=new_output,
    config_names=(".gemini", "GEMINI.md", ".geminiignore"),
    home_env=home_env,
    default_home=default_home,
    install_hint="npm install -g @google/gemini-cli@latest",
    sign_in_hint="start gemini once and sign in, or give the account a GEMINI_API_KEY",
    can_resume=True,
    limits=GeminiLimits(),
    credentials=GeminiCredentials(),
    sessions=GeminiSessions(),
    transcripts=GeminiTranscripts(),
    # The CLI has no command that lists models; it takes these names for the newest of each kind, and any full id.
    models=Models(
        known=(
            Model("auto", "Auto"),
            Model("pro", "Pro"),
            Model("flash", "Flash"),
            Model("flash-lite", "Flash Lite"),
        )
    ),
    # It has no command for it: its first screen asks how to sign in.
    login_command=(),
    login_env=LOGIN_ENV,
)
