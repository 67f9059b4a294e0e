"""Where Claude Code keeps its login: the environment, a file, or the macOS Keychain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from agented.backends.contract import Login, Secrets
from agented.kit import loose

_SERVICE = "Claude Code-credentials"
# In the order in which the CLI prefers them; the last one signs in to the plan that `claude setup-token` was run with.
_VARIABLES = (
    ("ANTHROPIC_AUTH_TOKEN", "api_key"),
    ("ANTHROPIC_API_KEY", "api_key"),
    ("CLAUDE_CODE_OAUTH_TOKEN", "subscription"),
)


class ClaudeCredentials:
    def read(self, home: Path, secrets: Secrets, env: Mapping[str, str]) -> Login | None:
        stored = _stored(home, secrets)
        known = [env[name] for name, _ in _VARIABLES if env.get(name)]
        known += [secret for key in ("accessToken", "refreshToken") if (secret := loose.string(stored.get(key)))]
        for name, kind in _VARIABLES:
            if token := env.get(name):
                return Login(kind, token=token, secrets=known)
        return _subscription(home, stored, known)


def _subscription(home: Path, stored: Mapping[str, object], known: Sequence[str]) -> Login | None:
    token = loose.string(stored.get("accessToken"))
    if not token:
        return None
    milliseconds = loose.number(stored.get("expiresAt"))
    return Login(
        "subscription",
        email=_email(home),
        plan=loose.string(stored.get("subscriptionType")) or None,
        token=token,
        expires_at=None if milliseconds is None else loose.moment(milliseconds / 1000),
        secrets=known,
    )


def _stored(home: Path, secrets: Secrets) -> Mapping[str, object]:
    login = loose.mapping(loose.read_file(home / ".credentials.json").get("claudeAiOauth"))
    if login.get("accessToken"):
        return login
    for service in keychain_services(home):
        found = loose.mapping(loose.read_json(secrets.read(service) or ""))
        login = loose.mapping(found.get("claudeAiOauth"))
        if login.get("accessToken"):
            return login
    return {}


def keychain_services(home: Path) -> Sequence[str]:
    """The Keychain items of a config folder. The plain one belongs to the default folder alone."""
    own = f"{_SERVICE}-{sha256(str(home).encode()).hexdigest()[:8]}"
    return (own, _SERVICE) if home.name == ".claude" else (own,)


def _email(home: Path) -> str | None:
    """The default home has its `.claude.json` beside it, every other one inside."""
    places = [home / ".claude.json"]
    if home.name == ".claude":
        places.append(home.parent / ".claude.json")
    for place in places:
        if email := loose.string(loose.mapping(loose.read_file(place).get("oauthAccount")).get("emailAddress")):
            return email
    return None
