"""Where Gemini CLI keeps its login: the environment, a file, or the macOS Keychain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agented.backends.contract import Login, Secrets
from agented.kit import loose

_SERVICE = "gemini-cli-oauth"
_ACCOUNT = "main-account"
_KEYS = ("GEMINI_API_KEY", "GOOGLE_API_KEY")


class GeminiCredentials:
    def read(self, home: Path, secrets: Secrets, env: Mapping[str, str]) -> Login | None:
        folder = home / ".gemini"
        stored = _stored(folder, secrets)
        given = {**_env_file(folder), **env}
        known = [given[name] for name in (*_KEYS, "GOOGLE_CLOUD_ACCESS_TOKEN") if given.get(name)]
        known += [secret for value in stored.values() if (secret := loose.string(value))]
        subscription = _of_environment(given, known) or _subscription(folder, stored, known)
        key = next((given[name] for name in _KEYS if given.get(name)), None)
        if key is None or (subscription is not None and _chosen(folder) == "oauth-personal"):
            return subscription
        return Login("api_key", token=key, secrets=known)


def _chosen(folder: Path) -> str:
    """Which way of signing in the person chose; unlike with the other CLIs it goes before a key in the environment."""
    auth = loose.mapping(loose.mapping(loose.read_file(folder / "settings.json").get("security")).get("auth"))
    return loose.string(auth.get("selectedType"))


def _of_environment(env: Mapping[str, str], known: Sequence[str]) -> Login | None:
    token = env.get("GOOGLE_CLOUD_ACCESS_TOKEN")
    if token and env.get("GOOGLE_GENAI_USE_GCA") == "true":
        return Login("subscription", token=token, secrets=known)
    return None


def _subscription(folder: Path, stored: Mapping[str, Any], known: Sequence[str]) -> Login | None:
    token = loose.string(stored.get("access_token"))
    if not token and not stored.get("refresh_token"):
        return None
    email = loose.string(loose.claims(loose.string(stored.get("id_token"))).get("email"))
    email = email or loose.string(loose.read_file(folder / "google_accounts.json").get("active"))
    milliseconds = loose.number(stored.get("expiry_date"))
    expires_at = None if milliseconds is None else loose.moment(milliseconds / 1000)
    return Login("subscription", email or None, None, token or None, expires_at, known)


def _stored(folder: Path, secrets: Secrets) -> Mapping[str, Any]:
    """The tokens by the names of the file; the Keychain item has its own."""
    names = ("access_token", "refresh_token", "id_token", "expiry_date")
    file = loose.read_file(folder / "oauth_creds.json")
    if file.get("access_token") or file.get("refresh_token"):
        return {name: file.get(name) for name in names}
    item = loose.mapping(loose.read_json(secrets.read(_SERVICE, _ACCOUNT) or secrets.read(_SERVICE) or ""))
    token = loose.mapping(item.get("token")) or item
    spelled = ("accessToken", "refreshToken", "idToken", "expiresAt")
    return {name: token.get(name, token.get(other)) for name, other in zip(names, spelled, strict=True)}


def _env_file(folder: Path) -> Mapping[str, str]:
    """The CLI reads variables from `.gemini/.env`; the environment's own go before them."""
    found: dict[str, str] = {}
    for line in loose.read_text(folder / ".env").splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and not name.startswith("#"):
            found[name.strip()] = value.strip().strip("\"'")
    return found
