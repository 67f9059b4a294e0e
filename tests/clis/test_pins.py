"""The real CLIs are pinned exactly, and what installs them leaves the person's home alone."""

from __future__ import annotations

import json
import re
from pathlib import Path

from scripts.install_clis import WANTED, child_environment, cli_programs, is_current

LOCK = json.loads((WANTED / "package-lock.json").read_text())


def test_every_version_is_exact_and_the_lock_agrees() -> None:
    wanted = json.loads((WANTED / "package.json").read_text())["dependencies"]
    assert len(wanted) == 5
    for name, version in wanted.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
        assert LOCK["packages"][f"node_modules/{name}"]["version"] == version


def test_the_lock_knows_what_it_wants_by_content_and_not_by_address() -> None:
    packages = {name: values for name, values in LOCK["packages"].items() if name}
    assert all(values["integrity"].startswith("sha512-") for values in packages.values())
    assert "resolved" not in json.dumps(LOCK)


def test_an_empty_folder_has_no_programs(tmp_path: Path) -> None:
    assert cli_programs(tmp_path) == {}
    assert not is_current(tmp_path)


def test_the_native_program_is_taken_where_there_is_one(tmp_path: Path) -> None:
    wrapper = tmp_path / "node_modules" / ".bin" / "codex"
    native = tmp_path / "node_modules" / "@openai" / "codex-linux-x64" / "vendor" / "x86_64-linux" / "bin" / "codex"
    for path in (wrapper, native):
        path.parent.mkdir(parents=True)
        path.touch()
    assert cli_programs(tmp_path) == {"codex": native}


def test_npm_gets_a_home_of_its_own_and_the_way_to_the_network(tmp_path: Path) -> None:
    person = tmp_path / "person"
    person.mkdir()
    (person / ".npmrc").touch()
    given = {"HOME": str(person), "PATH": "/bin", "HTTPS_PROXY": "http://127.0.0.1:1", "GITHUB_TOKEN": "dummy"}
    env = child_environment(given, tmp_path / "throw-away")
    assert env["HOME"] == str(tmp_path / "throw-away")
    assert env["NPM_CONFIG_USERCONFIG"] == str(person / ".npmrc")
    assert env["HTTPS_PROXY"] == "http://127.0.0.1:1"
    assert "GITHUB_TOKEN" not in env
