"""A PostgreSQL server of the tests' own: Debian's program, a free port, a temporary folder, an ordinary user."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ENV = {"PATH": os.defpath + ":/usr/local/bin", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}


def find_programs() -> Path | None:
    """The folder that holds initdb and postgres, or None when no server is installed."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if versions:
        return versions[-1].parent
    found = shutil.which("initdb", path=ENV["PATH"])
    return Path(found).parent if found else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def postgres(programs: Path) -> Iterator[str]:
    """Starts a server; gives the URL of its maintenance database. PostgreSQL refuses to run as root."""
    folder = Path(tempfile.mkdtemp(prefix="agented-pg-", dir="/tmp"))
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    account = pwd.getpwnam(user)
    if os.geteuid() == 0:
        os.chown(folder, account.pw_uid, account.pw_gid)
    switch = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    data, port = folder / "data", free_port()
    command = [str(programs / "initdb"), "-D", str(data), "-U", "agented", "-A", "trust", "-E", "UTF8", "--no-sync"]
    subprocess.run(command, check=True, env=ENV, cwd=folder, capture_output=True, **switch)  # type: ignore[call-overload]  # keys differ by user
    log = (folder / "log").open("wb")
    server = subprocess.Popen(  # type: ignore[call-overload]  # keys differ by user
        [
            str(programs / "postgres"),
            "-D",
            str(data),
            "-p",
            str(port),
            "-k",
            str(folder),
            "-h",
            "127.0.0.1",
            "-c",
            "fsync=off",
            "-c",
            "synchronous_commit=off",
            "-c",
            "max_connections=200",
        ],
        env=ENV,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=log,
        **switch,
    )
    log.close()
    try:
        _await_port(server, port, folder / "log")
        yield f"postgresql://agented@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _await_port(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if server.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"PostgreSQL did not start: {log.read_text()}") from None
            time.sleep(0.05)
