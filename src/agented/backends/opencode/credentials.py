"""Where OpenCode keeps its logins: one for each provider, in a file, in its config or in the environment."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agented.backends.contract import Login, Secrets
from agented.kit import loose

_VARIABLES = {
    "ANTHROPIC_API_KEY": "anthropic",
    "OPENAI_API_KEY": "openai",
    "GEMINI_API_KEY": "google",
    "GOOGLE_GENERATIVE_AI_API_KEY": "google",
    "OPENROUTER_API_KEY": "openrouter",
    "OPENCODE_API_KEY": "opencode",
    "DEEPSEEK_API_KEY": "deepseek",
    "GROQ_API_KEY": "groq",
    "MISTRAL_API_KEY": "mistral",
    "XAI_API_KEY": "xai",
}
_SECRETS = ("key", "token", "access", "refresh")
_REFERENCE = re.compile(r"\{env:([A-Za-z_][A-Za-z0-9_]*)\}")


class OpenCodeCredentials:
    def read(self, home: Path, secrets: Secrets, env: Mapping[str, str]) -> Login | None:
        """The login of the first provider that has one: the environment's go before the files'."""
        logins = [*_of_environment(env), *_of_config(home, env), *_of_file(_stored(home, env))]
        if not logins:
            return None
        first, known = logins[0], [secret for login in logins for secret in login.secrets]
        return Login(first.kind, None, None, first.token, first.expires_at, known, first.provider)


def _of_environment(env: Mapping[str, str]) -> Iterator[Login]:
    for name, provider in _VARIABLES.items():
        if token := env.get(name):
            yield Login("api_key", token=token, secrets=(token,), provider=provider)


def _of_config(home: Path, env: Mapping[str, str]) -> Iterator[Login]:
    """A provider of the person's own holds its key, or names the variable that does."""
    for provider, settings in loose.mapping(_config(home).get("provider")).items():
        written = loose.string(loose.mapping(loose.mapping(settings).get("options")).get("apiKey"))
        match = _REFERENCE.fullmatch(written)
        if token := env.get(match[1], "") if match else written:
            yield Login("api_key", token=token, secrets=(token,), provider=loose.string(provider))


def _of_file(stored: Mapping[str, Any]) -> Iterator[Login]:
    for provider, entry in stored.items():
        login = loose.mapping(entry)
        known: Sequence[str] = [secret for name in _SECRETS if (secret := loose.string(login.get(name)))]
        if not known:
            continue
        subscription = login.get("type") == "oauth"
        token = loose.string(login.get("access")) if subscription else known[0]
        milliseconds = loose.number(login.get("expires"))
        expires_at = loose.moment(milliseconds / 1000) if subscription and milliseconds else None
        kind = "subscription" if subscription else "api_key"
        yield Login(kind, None, None, token or None, expires_at, known, loose.string(provider))


def _stored(home: Path, env: Mapping[str, str]) -> Mapping[str, Any]:
    if given := loose.read_object(env.get("OPENCODE_AUTH_CONTENT", "")):
        return given
    return loose.read_file(home / ".local" / "share" / "opencode" / "auth.json")


def _config(home: Path) -> Mapping[str, Any]:
    folder = home / ".config" / "opencode"
    files = (folder / name for name in ("opencode.json", "opencode.jsonc", "config.json"))
    return next((found for file in files if (found := loose.read_file(file))), {})
