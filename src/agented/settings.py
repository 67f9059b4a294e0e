"""Configuration, read once and frozen: flags > environment > config file > defaults.

The only place that reads environment variables. What people change while the server runs is in the database.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import platformdirs
from pydantic import AliasChoices, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from agented.kit.errors import Invalid

_CHILD_VARIABLES = (
    "HOME",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_CTYPE",
    "LOGNAME",
    "PATH",
    "SHELL",
    "SSH_AUTH_SOCK",
    "TMPDIR",
    "TZ",
    "USER",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)


_GITHUB_VARIABLES = (
    "GH_TOKEN",
    "GITHUB_TOKEN",
    "GH_ENTERPRISE_TOKEN",
    "GITHUB_ENTERPRISE_TOKEN",
    "GH_CONFIG_DIR",
    "XDG_CONFIG_HOME",
)


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="AGENTED_", frozen=True, extra="forbid", populate_by_name=True)

    data: Path = Field(
        default_factory=lambda: platformdirs.user_data_path("agented"),
        description="Folder that holds the database, the kept output, workspaces and the key.",
    )
    db_path: Path | None = Field(default=None, description="SQLite file; by default `agented.db` in the data folder.")
    database_url: str | None = Field(
        default=None, description="A PostgreSQL URL to use instead of SQLite (`postgresql://user@host/name`)."
    )
    host: str = Field(default="127.0.0.1", description="Address the server listens on.")
    port: int = Field(default=20000, ge=0, le=65535, description="Port the server listens on; 0 picks a free one.")
    allowed_hosts: str = Field(
        default="", description="Host names beside loopback that requests may name, separated by commas."
    )
    behind_tls_proxy: bool = Field(
        default=False, description="A proxy in front ends TLS: cookies become Secure and other addresses may be bound."
    )
    cors_allowed_origins: str = Field(
        default="",
        validation_alias=AliasChoices("AGENTED_CORS_ALLOWED_ORIGINS", "CORS_ALLOWED_ORIGINS", "cors_allowed_origins"),
        description="Origins of other pages that may call the API with a token, separated by commas; `*` for any.",
    )
    secret_key: str | None = Field(
        default=None,
        validation_alias=AliasChoices("AGENTED_SECRET_KEY", "SECRET_KEY", "secret_key"),
        description="Key that signs CSRF tokens; by default derived from the key in the data folder.",
    )
    host_limit: int = Field(default=8, ge=1, le=64, description="Executions that run at once on this machine.")
    project_limit: int = Field(default=5, ge=1, le=64, description="Workspaces open at once per project.")
    account_limit: int = Field(default=4, ge=1, le=64, description="Executions that run at once per added account.")
    sync_interval_s: float = Field(
        default=1800, ge=0, description="Seconds between two syncs of a project with its origin; 0 for never."
    )
    sync_parallel: int = Field(default=4, ge=1, le=32, description="Projects that are synced at once.")
    wall_s: float = Field(default=7200, gt=0, description="Seconds after which a run is stopped.")
    silence_s: float = Field(default=1800, gt=0, description="Seconds without a byte of output that stop a run.")
    output_limit_mb: int = Field(default=4096, ge=1, description="Megabytes of output that stop a run.")
    grace_s: float = Field(default=5, ge=0, description="Seconds between asking a run to end and killing it.")
    github_webhook_secret: str | None = Field(
        default=None,
        validation_alias=AliasChoices(
            "AGENTED_GITHUB_WEBHOOK_SECRET", "GITHUB_WEBHOOK_SECRET", "github_webhook_secret"
        ),
        description="What GitHub signs its webhooks with; without it, and without a trigger's own, they are refused.",
    )
    repository_pace_s: float = Field(
        default=60,
        ge=0,
        description="Seconds at least between the moments at which events of one repository start bots.",
    )
    limit_margin_s: float = Field(
        default=20, ge=0, le=3600, description="Seconds added to the time at which an account's limit is renewed."
    )
    limit_unknown_s: float = Field(
        default=900, gt=0, le=86400, description="Seconds to wait at a limit of which nobody said when it is renewed."
    )
    retry_pauses_s: str = Field(
        default="15,60,240",
        pattern=r"^\s*(\d+(\.\d+)?\s*(,\s*\d+(\.\d+)?\s*)*)?$",
        description="Seconds before each further attempt when a provider is overloaded or cannot be reached.",
    )
    sign_in_s: float = Field(
        default=900, ge=10, le=7200, description="Seconds that a person has to sign in to a CLI from its page."
    )
    limits_interval_s: float = Field(
        default=300, ge=60, le=86400, description="Seconds between two questions for the limits of an account in use."
    )
    limits_idle_interval_s: float = Field(
        default=600, ge=60, le=86400, description="The same for an account that nothing ran on in the last hour."
    )
    limit_levels: str = Field(
        default="50,75,90",
        pattern=r"^\s*(\d+(\.\d+)?\s*(,\s*\d+(\.\d+)?\s*)*)?$",
        description="Percents of a window at which people are told; empty for never.",
    )
    endpoints: dict[str, str] = Field(
        default_factory=dict,
        description="Other addresses of providers' limits, by name, as JSON (see docs/how-to/accounts.md).",
    )
    google_client_id: str | None = Field(
        default=None, description="With the secret: lets an expired Google login be renewed to ask for its limits."
    )
    google_client_secret: str | None = Field(default=None, description="See google_client_id.")
    reserve_percent: float = Field(
        default=0, ge=0, le=100, description="Percent of each window of an account that bots leave for people."
    )
    costs_interval_s: float = Field(
        default=600,
        ge=0,
        description="Seconds between two readings of the session files; 0 for only at a run's end.",
    )
    watch_sessions: bool = Field(
        default=True, description="Hear when session files change, instead of looking for it now and then only."
    )
    keep_transcripts: bool = Field(
        default=True,
        description="Keep what is said in sessions, also when a CLI deletes its files, and make it searchable.",
    )
    transcripts_days: int = Field(
        default=0, ge=0, le=36_500, description="Days after its last word a transcript is let go; 0 for never."
    )
    prices_file: Path | None = Field(
        default=None,
        description="JSON with prices of models as LiteLLM has them; they win over those we bring.",
    )
    time_zone: str | None = Field(
        default=None, description="Zone whose days costs are summed by (`Europe/Berlin`); by default the machine's own."
    )
    public_url: str | None = Field(
        default=None,
        description="The address under which people reach the web app, for links on GitHub and in messages.",
    )
    log_level: str = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR.")
    base_env: Mapping[str, str] = Field(
        default_factory=lambda: {name: os.environ[name] for name in _CHILD_VARIABLES if name in os.environ},
        exclude=True,
        description="Variables that children get from the server's own environment; not a setting of people.",
    )

    github_env: Mapping[str, str] = Field(
        default_factory=lambda: {name: os.environ[name] for name in _GITHUB_VARIABLES if name in os.environ},
        exclude=True,
        description="Variables for gh alone, never for a CLI; not a setting of people.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings, env_settings, _ConfigFile(settings_cls))

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str | None) -> str | None:
        try:
            return name and ZoneInfo(name).key
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("is no zone of the IANA database") from None

    @property
    def url(self) -> str:
        if self.database_url:
            return self.database_url
        return f"sqlite:///{(self.db_path or self.data / 'agented.db').absolute()}"

    @property
    def levels(self) -> list[float]:
        return sorted(float(word) for word in self.limit_levels.split(",") if word.strip())

    @property
    def pauses_s(self) -> list[float]:
        return [float(word) for word in self.retry_pauses_s.split(",") if word.strip()]

    @property
    def home(self) -> Path:
        return Path(self.base_env.get("HOME") or Path.home())


class _ConfigFile(PydanticBaseSettingsSource):
    """`agented.toml` in the user's configuration folder, or the file that AGENTED_CONFIG names."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        named = os.environ.get("AGENTED_CONFIG")
        path = Path(named) if named else platformdirs.user_config_path("agented") / "agented.toml"
        try:
            return tomllib.loads(path.read_text())
        except FileNotFoundError:
            if named:
                raise Invalid(f"AGENTED_CONFIG names {path}, which does not exist.", field="AGENTED_CONFIG") from None
            return {}
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise Invalid(f"{path} is not valid TOML: {error}", field="config") from error


def load_settings(**flags: Any) -> Settings:
    """Settings with the given flags on top; flags that are None count as not given.

    Raises Invalid that names the first wrong field.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise Invalid(
            f"Setting {field}: {first['msg']}.", field=field, hint="See docs/reference/settings.md."
        ) from None
    return settings.model_copy(update={"data": settings.data.expanduser().absolute()})
