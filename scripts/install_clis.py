"""Installs the real CLIs that tests drive, from npm at pinned versions: `python scripts/install_clis.py [FOLDER]`.

What is installed stands in tests/clis (package.json and its lock). The folder is a cache: it is filled again only when
the lock has changed. Prints the name and the path of each program. Standard library only.

To move to newer versions: change tests/clis/package.json and run, in that folder,
`npm install --package-lock-only --ignore-scripts --omit-lockfile-registry-resolved`.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
WANTED = REPO / "tests" / "clis"
DEFAULT_FOLDER = REPO / ".cache" / "clis"
STAMP = "installed-lock.sha256"

# npm runs no script of any package: gemini's optional ones compile, and these two only put the platform's own binary
# in the place of a stub, so they are run by hand.
FINISHING_SCRIPTS = ("@anthropic-ai/claude-code/install.cjs", "opencode-ai/postinstall.mjs")

# Codex's npm command is a Node script that stays as a parent on older Nodes and then hides the real process from
# signals, so the native program under it is taken.
NATIVE_CODEX = "@openai/codex-*/vendor/*/bin/codex"


class InstallFailed(Exception):
    """npm or a finishing script did not do its work; the message holds its last words."""


def cli_programs(folder: Path) -> dict[str, Path]:
    """The program of each CLI in an installed folder; a CLI that is not there has no entry."""
    modules = folder / "node_modules"
    found = {name: modules / ".bin" / name for name in ("claude", "codex", "gemini", "opencode")}
    for native in modules.glob(NATIVE_CODEX):
        found["codex"] = native
    return {name: program for name, program in found.items() if program.exists()}


def cost_oracle(folder: Path) -> Path | None:
    """The program by which people know what they spent: what we count is compared with it."""
    for program in (folder / "node_modules").glob("@ccusage/ccusage-*/bin/ccusage"):
        program.chmod(0o755)
        return program
    return None


def install(folder: Path, environment: Mapping[str, str]) -> dict[str, Path]:
    """Fills the folder unless it already holds what the lock asks for. One installs, others wait for it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_current(folder):
            fill(folder, environment)
    programs = cli_programs(folder)
    if len(programs) != 4:
        raise InstallFailed(f"Only {sorted(programs)} are in {folder}; delete the folder and run this again.")
    return programs


def is_current(folder: Path) -> bool:
    stamp = folder / STAMP
    return stamp.exists() and stamp.read_text() == wanted_hash()


def wanted_hash() -> str:
    return hashlib.sha256((WANTED / "package-lock.json").read_bytes()).hexdigest()


def fill(folder: Path, environment: Mapping[str, str]) -> None:
    (folder / STAMP).unlink(missing_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(WANTED / name, folder / name)
    with tempfile.TemporaryDirectory(prefix="agented-clis-home-") as home:
        env = child_environment(environment, Path(home))
        # Not `npm ci`: it fails when a platform's optional package that the machine does not need cannot be had from
        # the registry. The versions are exact and the lock's hashes are checked all the same.
        npm = ["npm", "install", "--prefix", str(folder), "--no-save", "--ignore-scripts", "--no-audit", "--no-fund"]
        run(npm, env, cwd=folder)
        for script in FINISHING_SCRIPTS:
            path = folder / "node_modules" / script
            run(["node", str(path)], env, cwd=path.parent)
    (folder / STAMP).write_text(wanted_hash())


def child_environment(environment: Mapping[str, str], home: Path) -> dict[str, str]:
    """A throw-away home, so that nothing is left in the person's, but their npm settings and way to the network."""
    kept = ("PATH", "LANG", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE")
    env = {name: value for name, value in environment.items() if name in kept or is_network_setting(name)}
    settings = Path(environment.get("HOME", "/nonexistent")) / ".npmrc"
    if settings.exists():
        env.setdefault("NPM_CONFIG_USERCONFIG", str(settings))
    return {**env, "HOME": str(home), "NPM_CONFIG_CACHE": str(home / "npm")}


def is_network_setting(name: str) -> bool:
    lower = name.lower()
    return lower in ("http_proxy", "https_proxy", "no_proxy") or lower.startswith("npm_config_")


def run(argv: list[str], env: Mapping[str, str], cwd: Path) -> None:
    try:
        done = subprocess.run(argv, env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, timeout=900)
    except FileNotFoundError as error:
        raise InstallFailed(f"{argv[0]} is not installed; it comes with Node.js.") from error
    except subprocess.TimeoutExpired as error:
        raise InstallFailed(f"`{' '.join(argv[:2])}` did not end within 15 minutes.") from error
    if done.returncode != 0:
        words = (done.stderr or done.stdout).decode("utf-8", "replace").strip()[-2000:]
        raise InstallFailed(f"`{' '.join(argv[:2])}` ended with {done.returncode}: {words}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Installs the real CLIs that tests drive, from npm.")
    parser.add_argument("folder", nargs="?", type=Path, default=DEFAULT_FOLDER)
    folder = parser.parse_args().folder.resolve()
    try:
        programs = install(folder, os.environ)
    except InstallFailed as failed:
        print(failed, file=sys.stderr)
        return 1
    for name, program in sorted(programs.items()):
        print(f"{name}\t{program}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
