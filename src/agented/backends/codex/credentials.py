"""Where Codex keeps its login: the environment, `auth.json`, or a provider of the person's own in `config.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agented.backends.contract import Login, Secrets
from agented.kit import loose

_CLAIMS = "https://api.openai.com/auth"
_PROFILE = "https://api.openai.com/profile"


class CodexCredentials:
    def read(self, home: Path, secrets: Secrets, env: Mapping[str, str]) -> Login | None:
        auth = loose.read_file(home / "auth.json")
        tokens = loose.mapping(auth.get("tokens"))
        values = [
            auth.get("OPENAI_API_KEY"),
            *(tokens.get(name) for name in ("access_token", "refresh_token", "id_token")),
        ]
        known = [env[name] for name in ("CODEX_API_KEY", "CODEX_ACCESS_TOKEN") if env.get(name)]
        known += [secret for value in values if (secret := loose.string(value))]
        return _of_environment(env, known) or _of_file(auth, known) or _of_provider(home, env, known)


def _of_environment(env: Mapping[str, str], known: Sequence[str]) -> Login | None:
    if key := env.get("CODEX_API_KEY"):
        return Login("api_key", token=key, secrets=known)
    if token := env.get("CODEX_ACCESS_TOKEN"):
        return Login("subscription", token=token, secrets=known)
    return None


def _of_file(auth: Mapping[str, Any], known: Sequence[str]) -> Login | None:
    tokens = loose.mapping(auth.get("tokens"))
    access, key = loose.string(tokens.get("access_token")), loose.string(auth.get("OPENAI_API_KEY"))
    if key and (auth.get("auth_mode") == "apikey" or not access):
        return Login("api_key", token=key, secrets=known)
    if not access:
        return None
    person = loose.claims(loose.string(tokens.get("id_token")))
    plan = loose.string(loose.mapping(person.get(_CLAIMS)).get("chatgpt_plan_type"))
    email = loose.string(person.get("email")) or loose.string(loose.mapping(person.get(_PROFILE)).get("email"))
    expires_at = loose.moment(loose.claims(access).get("exp"))
    return Login("subscription", email or None, plan or None, access, expires_at, known)


def _of_provider(home: Path, env: Mapping[str, str], known: Sequence[str]) -> Login | None:
    """A provider of the person's own names the variable that holds its key."""
    config = _config(home)
    name = loose.string(config.get("model_provider"))
    provider = loose.mapping(loose.mapping(config.get("model_providers")).get(name))
    token = env.get(loose.string(provider.get("env_key"))) or loose.string(provider.get("experimental_bearer_token"))
    return Login("api_key", token=token, secrets=[*known, token], provider=name) if token else None


def _config(home: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(loose.read_text(home / "config.toml"))
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}
