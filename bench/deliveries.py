"""Signed deliveries to the real server, beside Debian's `webhook` and a bare ASGI callable under the same load.

The load comes from wrk, in a process of its own: a generator in Python would measure itself. `webhook` checks the same
signature and starts `/bin/true` for each, without waiting for it; it stores nothing. The bare callable reads the body
and answers, nothing else: what Python and uvicorn can do at all on this machine.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import sqlalchemy as sa
import yaml
from tests.e2e.served import Served, make_repository, wait_for

from agented.bots import store
from agented.kit.db import Database
from bench.measure import Row, base_env
from bench.server import _served

_SECRET = "a secret that signs"
_SCRIPT = Path(__file__).with_suffix(".lua")
_CONNECTIONS = (1, 32, 64)
_ROUNDS = 3
_SECONDS = 4
_BARE = """
import sys, uvicorn

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 202, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"{}"})

uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", log_config=None, access_log=False,
            lifespan="off", server_header=False)
"""


@dataclass(frozen=True, slots=True)
class Load:
    """One run of wrk: deliveries answered 2xx in a second, their waits, and the ids that the answers named."""

    rate: float
    p50_ms: float
    p99_ms: float
    refused: int
    ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class Target:
    """settle: waits until nothing of a run is left that would disturb the next."""

    url: str
    settle: Callable[[], None] = lambda: None


def rows() -> list[Row]:
    return [*ingest_rows(), start_row()]


def ingest_rows() -> list[Row]:
    if shutil.which("wrk") is None:
        raise SystemExit("The figures of deliveries need wrk: sudo apt-get install wrk webhook")
    with _folder() as folder, _served() as served, _bare(folder) as bare, _webhook(folder) as peer:
        handling: list[float] = []
        ours = Target(served.url + _ingest_address(served), lambda: handling.append(_await_handling(served)))
        targets = {"ours": ours, "bare": bare, **({} if peer is None else {"webhook": peer})}
        loads = {
            (name, count): sorted(found, key=lambda one: one.rate)
            for count in _CONNECTIONS
            for name, found in _rounds(targets, folder, count).items()
        }
        answered = {one for (name, _), found in loads.items() if name == "ours" for load in found for one in load.ids}
        refused = sum(load.refused for (name, _), found in loads.items() if name == "ours" for load in found)
        served.kill()
        lost = len(answered - _stored(served))
    middle = {key: found[len(found) // 2] for key, found in loads.items()}
    return [
        *(row for count in _CONNECTIONS for row in _rows_of(count, middle)),
        Row("deliveries lost", lost, f"of {len(answered):,}", aim="0", met=lost == 0, note=f"{refused} refused"),
        Row("deliveries looked at after the flood", statistics.median(handling), "1/s", note="none of them matches"),
    ]


def _rows_of(count: int, loads: dict[tuple[str, int], Load]) -> Iterator[Row]:
    ours, peer = loads["ours", count], loads.get(("webhook", count))
    yield Row(
        f"deliveries stored, {count} connections",
        ours.rate,
        "1/s",
        "webhook" if peer else "webhook is not installed",
        peer.rate if peer else None,
        ">= 1.2x" if count == 32 else "",
        ours.rate >= 1.2 * peer.rate if peer and count == 32 else None,
        f"bare ASGI {loads['bare', count].rate:,.0f}",
    )
    yield Row(f"their median, {count} connections", ours.p50_ms, "ms", "webhook", peer.p50_ms if peer else None)
    yield Row(
        f"their p99, {count} connections",
        ours.p99_ms,
        "ms",
        "webhook",
        peer.p99_ms if peer else None,
        "<= 0.3x" if count == 32 else "",
        ours.p99_ms <= 0.3 * peer.p99_ms if peer and count == 32 else None,
        f"bare ASGI {loads['bare', count].p99_ms:.3g}",
    )


def _rounds(targets: dict[str, Target], folder: Path, count: int) -> dict[str, list[Load]]:
    """In turns, so that a machine that slows down does so for all."""
    found: dict[str, list[Load]] = {name: [] for name in targets}
    for number in range(_ROUNDS):
        for name, target in targets.items():
            found[name].append(send_many(target.url, folder, count, _SECONDS, f"{name}-{count}-{number}"))
            target.settle()
    return found


def send_many(url: str, folder: Path, connections: int, seconds: int, mark: str) -> Load:
    body, answers = folder / "body.json", folder / "answers"
    body.write_bytes(push_body())
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(_SCRIPT), url, "--"]
    done = subprocess.run(
        [*command, str(body), _signature(push_body()), mark, str(answers)],
        env=base_env(),
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout.strip().splitlines()[-1])
    good = [line[4:] for line in answers.read_text().splitlines() if line.startswith(("200", "202"))]
    ids = frozenset(json.loads(one)["id"] for one in good if one.startswith('{"id"'))
    refused = told["refused"] + told["broken"]
    return Load(len(good) / told["seconds"], told["p50_ms"], told["p99_ms"], refused, ids)


def push_body() -> bytes:
    """5.6 kB such as GitHub sends for a push."""
    person = {"name": "Pat Example", "email": "pat@example.test", "username": "pat"}
    commits = [
        {
            "id": hashlib.sha1(str(n).encode()).hexdigest(),
            "message": f"Change number {n} of the day, with a line that tells why it was made",
            "timestamp": "2026-11-23T12:00:00+01:00",
            "url": f"https://github.example.test/pat/sample/commit/{n}",
            "author": person,
            "committer": person,
            "added": [],
            "removed": [],
            "modified": [f"src/sample/part{n}.py", f"tests/test_part{n}.py"],
        }
        for n in range(9)
    ]
    repository = {"id": 35129377, "name": "sample", "full_name": "pat/sample", "owner": person, "private": False}
    body = {"ref": "refs/heads/trunk", "repository": repository, "pusher": person, "commits": commits}
    return json.dumps({**body, "filler": "x" * (5600 - len(json.dumps(body)) - 14)}).encode()


def _signature(body: bytes) -> str:
    return "sha256=" + hmac.new(_SECRET.encode(), body, hashlib.sha256).hexdigest()


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="agented-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _child(command: list[str], port: int) -> Iterator[psutil.Process]:
    child = subprocess.Popen(command, env=base_env(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: _answers(port), what=command[0])
        yield psutil.Process(child.pid)
    finally:
        child.kill()
        child.wait()


def _await_quiet(process: psutil.Process) -> None:
    def used() -> float:
        times = process.cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)

    def rests() -> bool:
        before = used()
        time.sleep(0.3)
        return used() - before < 0.02 and not process.children()

    wait_for(rests, 120, "the end of its commands")


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def _bare(folder: Path) -> Iterator[Target]:
    port = _free_port()
    program = folder / "bare.py"
    program.write_text(_BARE)
    with _child([sys.executable, str(program), str(port)], port):
        yield Target(f"http://127.0.0.1:{port}/")


@contextmanager
def _webhook(folder: Path) -> Iterator[Target | None]:
    program = shutil.which("webhook")
    if program is None:
        yield None
        return
    signed = {
        "type": "payload-hmac-sha256",
        "secret": _SECRET,
        "parameter": {"source": "header", "name": "X-Hub-Signature-256"},
    }
    hook = {"id": "push", "execute-command": "/bin/true", "trigger-rule": {"match": signed}}
    hooks = folder / "hooks.json"
    hooks.write_text(json.dumps([{**hook, "include-command-output-in-response": False}]))
    port = _free_port()
    with _child([program, "-hooks", str(hooks), "-ip", "127.0.0.1", "-port", str(port)], port) as child:
        # It answers before it has started its commands: what it still owes is waited for.
        yield Target(f"http://127.0.0.1:{port}/hooks/push", lambda: _await_quiet(child))


def _make_bot(served: Served, match: dict[str, object] | None, **step: str) -> str:
    """Gives the path of its webhook."""
    served.run("secrets", "set", "push", stdin=_SECRET)
    repository = make_repository(served.data.parent / "repository", served.env)
    webhook = {"name": "push", "verify": {"style": "github", "secret": "push"}}
    document = {
        "kind": "Bot",
        "name": "pushed",
        "prompt": "say {{delivery.payload.ref}}",
        "chain": [{"backend": "rehearsal", **step}],
        "projects": [str(repository)],
        "triggers": [{"webhook": webhook if match is None else {**webhook, "match": match}}],
    }
    served.run("bots", "apply", "-", stdin=yaml.safe_dump(document))
    return str(served.get("/api/bots/pushed")["webhooks"][0]["path"])


def _ingest_address(served: Served) -> str:
    """Of a bot that no delivery of the flood starts: what is measured is the door, not the CLIs."""
    return _make_bot(served, {"path": "payload.ref", "op": "equals", "value": "refs/heads/another"})


def _waiting(served: Served) -> int:
    db = Database(f"sqlite:///{served.data / 'agented.db'}")
    try:
        with db.read() as conn:
            query = sa.select(sa.func.count()).where(store.deliveries.c.state == "stored")
            return int(conn.execute(query).scalar_one())
    finally:
        db.close()


def _await_handling(served: Served) -> float:
    """Until the dispatcher has looked at all that is stored; gives how many it looked at in a second."""
    waiting, begun = _waiting(served), time.perf_counter()
    wait_for(lambda: not _waiting(served), 300, "the end of the handling")
    return waiting / (time.perf_counter() - begun)


def _stored(served: Served) -> set[str]:
    db = Database(f"sqlite:///{served.data / 'agented.db'}")
    with db.read() as conn:
        ids = set(conn.execute(sa.select(store.deliveries.c.id)).scalars())
    db.close()
    return ids


def start_row(times: int = 25) -> Row:
    """As the server's own launch figure is taken, but asked for by a delivery."""
    with _served() as served:
        folder = served.data.parent
        program, stamp = folder / "stamp.py", folder / "stamp"
        program.write_text(
            f"#!{sys.executable} -IS\nimport time; t = time.time()\n"
            "import os; open(os.environ['STAMP'], 'w').write(repr(t))\n"
            'print(\'{"rehearsal":"done","ok":true}\')\n'
        )
        program.chmod(0o755)
        account = ("accounts", "add", "stamp", "--backend", "rehearsal", "--home", str(folder / "h"))
        served.run(*account, "--program", str(program), "--env", f"STAMP={stamp}")
        path = _make_bot(served, None, account="stamp")
        delays = []
        for _ in range(times):
            stamp.unlink(missing_ok=True)
            begun = time.time()
            delivery = _send(served, path)
            delays.append(float(wait_for(lambda: stamp.exists() and stamp.read_text())) - begun)
            _await_rest(served, delivery)
        floors = []
        for _ in range(times):
            begun = time.time()
            subprocess.run([program], env={"STAMP": str(stamp)}, stdout=subprocess.DEVNULL, check=True)
            floors.append(float(stamp.read_text()) - begun)
    middle, floor = statistics.median(delays) * 1000, statistics.median(floors) * 1000
    return Row(
        "delivery to the CLI's first instruction, idle",
        middle,
        "ms",
        "started directly",
        floor,
        "<= 200",
        middle <= 200,
    )


def _await_rest(served: Served, delivery: str) -> None:
    """Until nothing is left of what it started."""
    [run] = wait_for(lambda: served.get(f"/api/deliveries/{delivery}")["executions"])
    served.ended(run)
    wait_for(lambda: not (served.data / "workspaces" / run).exists())
    time.sleep(0.2)


def _send(served: Served, path: str) -> str:
    parts, body = urlsplit(served.url), push_body()
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    headers = {"Content-Type": "application/json", "X-Hub-Signature-256": _signature(body)}
    try:
        connection.request("POST", path, body, headers)
        reply = connection.getresponse()
        assert reply.status == 202, reply.status
        return str(json.loads(reply.read())["id"])
    finally:
        connection.close()
