"""What is set up for the real CLIs points at loopback and nowhere else."""

from __future__ import annotations

import json
import re
import stat
import tomllib
from pathlib import Path

import pytest

from tests.fakes.clis import KEY, account_for, model_for

CLIS = ("claude", "codex", "gemini", "opencode")
URL = "http://127.0.0.1:8199"


@pytest.mark.parametrize("cli", CLIS)
@pytest.mark.parametrize("scenario", ["plain", "usagelimit"])
def test_an_account_points_at_its_scenario_only(cli: str, scenario: str, tmp_path: Path) -> None:
    setup = account_for(cli, URL, scenario, tmp_path / "home")
    everything = " ".join(setup.env.values())
    everything += " ".join(path.read_text() for path in setup.home.rglob("*") if path.is_file())
    addresses = set(re.findall(r"https?://[^\"\s]+", everything)) - {"https://opencode.ai/config.json"}
    assert addresses
    assert all(address.startswith(f"{URL}/s/{scenario}") for address in addresses)
    assert model_for(cli)


def test_files_with_logins_are_for_their_owner_only(tmp_path: Path) -> None:
    setup = account_for("claude", URL, "usagelimit", tmp_path)
    assert "ANTHROPIC_API_KEY" not in setup.env
    assert stat.S_IMODE((tmp_path / ".credentials.json").stat().st_mode) == 0o600


def test_config_files_can_be_read(tmp_path: Path) -> None:
    for cli in CLIS:
        account_for(cli, URL, "plain", tmp_path / cli)
    assert tomllib.loads((tmp_path / "codex" / "config.toml").read_text())["model_provider"] == "fake"
    assert json.loads((tmp_path / "gemini" / ".gemini" / "settings.json").read_text())["security"]
    config = (tmp_path / "opencode" / ".config" / "opencode" / "opencode.json").read_text()
    assert KEY not in config
    assert json.loads(config)["model"] == model_for("opencode")


def test_an_unknown_scenario_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no-such"):
        account_for("codex", URL, "no-such", tmp_path)
