"""A stand-in for a CLI with logins like Claude Code's: it signs in, and it renews its login by a token that works once.

Run as a program, standard library only. It keeps its login in `$CLAUDE_CONFIG_DIR/.credentials.json` and takes no lock
around its renewal, as several CLIs do. What it does at a sign-in is the code that is typed: good, bad, stay, nothing.
Variables: STANDIN_TOKENS, the address of the token endpoint; STANDIN_LEASE_S, how long a renewed login is valid.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

ADDRESS = "https://login.example.test/oauth/authorize?client=standin&state=" + "s" * 120
DEVICE_CODE = "WDJB-MJHT"
_RENEWED_BEFORE_MS = 300_000


def install(folder: Path) -> Path:
    """Makes a program of it."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "standin"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" "$@"\n')
    program.chmod(0o755)
    return program


def write_login(home: Path, access: str, refresh: str, expires_at: float) -> None:
    home.mkdir(parents=True, exist_ok=True)
    login = {
        "accessToken": access,
        "refreshToken": refresh,
        "expiresAt": int(expires_at * 1000),
        "subscriptionType": "max",
    }
    # Whole or not at all, as the CLIs write it.
    fresh = home / f".credentials.json.{os.getpid()}"
    fresh.write_text(json.dumps({"claudeAiOauth": login}))
    fresh.replace(home / ".credentials.json")


def read_stored(home: Path) -> dict[str, Any] | None:
    with suppress(OSError, ValueError):
        return dict(json.loads((home / ".credentials.json").read_text())["claudeAiOauth"])
    return None


def _sign_in(home: Path) -> int:
    opened = subprocess.run(["xdg-open", ADDRESS], check=False).returncode
    # Tools of real CLIs lead sessions of their own, and outlive them.
    subprocess.Popen(["sleep", "300"], start_new_session=True)
    print(f"\x1b[1mSigning in\x1b[0m (browser: {opened}, {os.environ.get('BROWSER')})")
    print(f"Open \x1b]8;;{ADDRESS}\x1b\\\x1b[94m{ADDRESS}\x1b[39m\x1b]8;;\x1b\\")
    print(f"and enter this code: {DEVICE_CODE}")
    print("\x1b[2mignore http://evil.example.test/ and https://user:pw@evil.example.test/login\x1b[0m")
    said = input("Paste code here > ").strip()
    if said == "nothing":
        return 0
    if said not in ("good", "stay"):
        print("\x1b[31mInvalid code\x1b[0m")
        return 1
    token = f"access-token-of-{said}-{time.time_ns()}"
    write_login(home, token, f"refresh-token-of-{said}", 4_102_444_800)
    if said == "stay":
        time.sleep(300)
    time.sleep(0.1)
    print(f"Login successful, {token}")
    return 0


def _renew(home: Path, login: dict[str, Any]) -> bool:
    # Others have read the same token by now, if they may.
    time.sleep(0.3)
    asked = urllib.request.Request(
        os.environ["STANDIN_TOKENS"],
        data=json.dumps({"grant_type": "refresh_token", "refresh_token": login["refreshToken"]}).encode(),
        headers={"User-Agent": "standin/1", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(asked, timeout=10) as reply:
            got = json.loads(reply.read())
    except urllib.error.HTTPError:
        (home / ".credentials.json").unlink(missing_ok=True)
        return False
    lease_s = float(os.environ.get("STANDIN_LEASE_S", "28800"))
    write_login(home, got["access_token"], got["refresh_token"], time.time() + lease_s)
    return True


def _run(home: Path) -> int:
    login = read_stored(home)
    if login is not None and login["expiresAt"] < time.time() * 1000 + _RENEWED_BEFORE_MS and not _renew(home, login):
        login = None
    signed_in = login is not None
    said = "done" if signed_in else "Not logged in · Please run /login"
    session = f"session-{os.getpid()}"
    for line in (
        {"type": "system", "subtype": "init", "session_id": session, "model": "standin"},
        {
            "type": "result",
            "subtype": "success",
            "is_error": not signed_in,
            "result": said,
            "session_id": session,
            "num_turns": 1,
        },
    ):
        print(json.dumps(line), flush=True)
    return 0 if signed_in else 1


def main() -> int:
    home = Path(os.environ["CLAUDE_CONFIG_DIR"])
    if sys.argv[1:] == ["--version"]:
        print("2.1.330 (Stand-in)")
        return 0
    return _sign_in(home) if sys.argv[1:3] == ["auth", "login"] else _run(home)


if __name__ == "__main__":
    raise SystemExit(main())
