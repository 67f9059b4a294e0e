"""What each real CLI needs to work against the loopback provider: files in its home, and variables.

A home is what the backend's `home_env` points the CLI at: Claude's config folder, Codex's home, the folder that holds
Gemini's `.gemini`, and for OpenCode a folder with the XDG folders beneath. The variables that name the home itself are
not given here: they are the backend's own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fakes.provider import Scenario, scenario_url

KEY = "sk-rehearsed-key-of-the-loopback-provider"
OAUTH_TOKEN = "sk-ant-oat01-rehearsed-token-of-the-loopback-provider"

# Only a subscription is told when its allowance comes back.
_NEEDS_SUBSCRIPTION = (Scenario.USAGELIMIT, Scenario.WALL)


@dataclass(frozen=True, slots=True)
class AccountSetup:
    """`env` is the account's extra environment; every credential in it and in `home` is a dummy."""

    home: Path
    env: Mapping[str, str]


def account_for(cli: str, provider_url: str, scenario: Scenario | str, home: Path) -> AccountSetup:
    """Writes the account's files into `home`. Each request of the account plays the scenario."""
    home.mkdir(parents=True, exist_ok=True)
    chosen = Scenario(scenario)
    return AccountSetup(home, _ACCOUNTS[cli](scenario_url(provider_url, chosen), chosen, home))


def model_for(cli: str) -> str:
    return _MODELS[cli]


def _claude(url: str, scenario: Scenario, home: Path) -> dict[str, str]:
    env = {
        "ANTHROPIC_BASE_URL": url,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_TELEMETRY": "1",
        "CLAUDE_CODE_MAX_RETRIES": "2",
    }
    if scenario not in _NEEDS_SUBSCRIPTION:
        return {**env, "ANTHROPIC_API_KEY": KEY}
    login = {
        "accessToken": OAUTH_TOKEN,
        "refreshToken": OAUTH_TOKEN,
        "expiresAt": 4_102_444_800_000,  # the year 2100: a refresh would go to the real provider
        "scopes": ["user:inference", "user:profile"],
        "subscriptionType": "pro",
    }
    _write_json(home / ".credentials.json", {"claudeAiOauth": login})
    return env


def _codex(url: str, scenario: Scenario, home: Path) -> dict[str, str]:
    config = f"""\
model = "{_MODELS["codex"]}"
model_provider = "fake"
check_for_update_on_startup = false

[model_providers.fake]
name = "Loopback"
base_url = "{url}/v1"
env_key = "FAKE_API_KEY"
wire_api = "responses"
supports_websockets = false
request_max_retries = 1
stream_max_retries = 1

[analytics]
enabled = false

[features]
plugins = false
apps = false
remote_plugin = false
"""
    (home / "config.toml").write_text(config)
    return {"FAKE_API_KEY": KEY}


def _gemini(url: str, scenario: Scenario, home: Path) -> dict[str, str]:
    settings = {
        "security": {"auth": {"selectedType": "gemini-api-key"}},
        "privacy": {"usageStatisticsEnabled": False},
        "telemetry": {"enabled": False},
        "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False, "maxAttempts": 2},
    }
    _write_json(home / ".gemini" / "settings.json", settings)
    return {"GEMINI_API_KEY": KEY, "GOOGLE_GEMINI_BASE_URL": url}


def _opencode(url: str, scenario: Scenario, home: Path) -> dict[str, str]:
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "Loopback",
        "options": {"baseURL": f"{url}/v1", "apiKey": "{env:FAKE_API_KEY}"},
        "models": {
            "fake-model": {
                "name": "Loopback model",
                "tool_call": True,
                "cost": {"input": 3, "output": 15, "cache_read": 0.3},
                "limit": {"context": 200_000, "output": 32_000},
            }
        },
    }
    config = {
        "$schema": "https://opencode.ai/config.json",
        "model": _MODELS["opencode"],
        "autoupdate": False,
        "share": "disabled",
        "provider": {"fake": provider},
    }
    _write_json(home / ".config" / "opencode" / "opencode.json", config)
    return {
        "FAKE_API_KEY": KEY,
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
        "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
        "npm_config_offline": "true",
    }


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2))
    path.chmod(0o600)


_ACCOUNTS: Mapping[str, Callable[[str, Scenario, Path], dict[str, str]]] = {
    "claude": _claude,
    "codex": _codex,
    "gemini": _gemini,
    "opencode": _opencode,
}

_MODELS: Mapping[str, str] = {
    "claude": "claude-sonnet-4-5",
    "codex": "fake-model",
    "gemini": "gemini-2.5-pro",
    "opencode": "fake/fake-model",
}
