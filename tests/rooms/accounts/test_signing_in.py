"""Signing in with the CLI's own sign-in: what is shown, what is typed, how it ends, and that nothing is left behind."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from agented.accounts.login import read_login
from agented.accounts.model import Account, EnvEntry
from agented.accounts.signing_in.sessions import SignIn, SignIns, SignInState
from agented.backends.claude import BACKEND as CLAUDE
from agented.kit.bus import Bus
from agented.kit.clock import SetClock, SystemClock
from agented.kit.errors import Conflict, Invalid, NotFound, ProgramMissing
from tests.fakes import standin
from tests.rooms.accounts.conftest import NoKeychain

KEY = "claude:acc_1"


class Room:
    def __init__(self, folder: Path, **more: Any) -> None:
        self.home = folder / "home"
        self.account = Account(
            id="acc_1",
            name="work",
            backend="claude",
            home=self.home,
            env=(EnvEntry("ROLE", "of-the-account"),),
            program=str(standin.install(folder / "bin")),
            created_at=SystemClock().now(),
        )
        self.told: list[str] = []
        self.backend = CLAUDE
        ports: Mapping[str, Any] = {
            "bus": Bus(),
            "clock": SystemClock(),
            "find": lambda key: (self.backend, self.account),
            "read_login": lambda backend, account: read_login(backend, account, folder / "person", NoKeychain()),
            "program": lambda backend, account: (account.program,) if account.program else None,
            "env": {"PATH": os.defpath, "HOME": str(folder / "person"), "LANG": "C.UTF-8"},
            "folder": folder / "sign-in",
            "told": self.told.append,
        }
        self.sign_ins = SignIns(**{**ports, **more})

    def start(self, way: int = 0) -> SignIn:
        return self.sign_ins.start(KEY, way=way)

    def text(self) -> str:
        sign_in = self.sign_ins.get(KEY)
        return "" if sign_in is None else sign_in.read(0).data.decode()

    def processes(self) -> list[psutil.Process]:
        """Living ones that this account's terminals started."""
        found = []
        for one in psutil.process_iter():
            try:
                if one.status() != psutil.STATUS_ZOMBIE and one.environ().get("CLAUDE_CONFIG_DIR") == str(self.home):
                    found.append(one)
            except (psutil.Error, OSError):
                continue
        return found


def until(holds: Callable[[], Any], timeout_s: float = 20) -> Any:
    end = time.monotonic() + timeout_s
    while not (value := holds()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)
    return value


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    room = Room(tmp_path)
    (tmp_path / "person").mkdir()
    yield room
    room.sign_ins.close()
    assert room.processes() == []


def test_the_address_and_the_code_are_told_and_the_new_login_is_the_end(room: Room, tmp_path: Path) -> None:
    sign_in = room.start()
    standing = until(lambda: (now := sign_in.standing()).shown.code and now)
    assert (standing.state, standing.way) == (SignInState.RUNNING, "With a subscription")
    assert (standing.shown.url, standing.shown.code) == (standin.ADDRESS, standin.DEVICE_CODE)
    assert "browser: 0" in room.text() and f"{tmp_path}/sign-in/browsers/" in room.text(), "no browser is opened here"
    room.sign_ins.type(KEY, "good\r")
    until(lambda: sign_in.ended_at)
    assert (sign_in.state, sign_in.detail) == (SignInState.SIGNED_IN, "Signed in (max).")
    assert room.told == [KEY]
    assert room.processes() == [], "not even what the CLI left behind"
    login = read_login(CLAUDE, room.account, tmp_path, NoKeychain())
    assert login is not None and login.token is not None
    assert "Login successful, ****" in room.text()
    assert login.token not in room.text()
    written = b"".join(path.read_bytes() for path in (tmp_path / "sign-in").rglob("*") if path.is_file())
    assert b"Paste code" not in written


def test_a_cli_that_goes_on_after_its_sign_in_is_ended(room: Room) -> None:
    sign_in = room.start()
    until(lambda: "Paste code" in room.text())
    room.sign_ins.type(KEY, "stay\r")
    until(lambda: sign_in.ended_at)
    assert sign_in.state is SignInState.SIGNED_IN
    assert room.processes() == []


def test_an_end_without_a_new_login_is_none(room: Room) -> None:
    for typed, state in (("bad", SignInState.FAILED), ("nothing", SignInState.FAILED)):
        sign_in = room.start()
        until(lambda: "Paste code" in room.text())
        room.sign_ins.type(KEY, f"{typed}\r")
        until(lambda sign_in=sign_in: sign_in.ended_at)  # type: ignore[misc]
        assert sign_in.state is state
    standin.write_login(room.home, "the-token-of-before", "r", 4_102_444_800)
    sign_in = room.start()
    until(lambda: "Paste code" in room.text())
    room.sign_ins.type(KEY, "nothing\r")
    until(lambda: sign_in.ended_at)
    assert sign_in.state is SignInState.UNCHANGED
    assert room.told == []


def test_a_cancel_leaves_nothing_and_another_try_begins_anew(room: Room) -> None:
    first = room.start()
    with pytest.raises(Conflict):
        room.start()
    until(lambda: "Paste code" in room.text())
    assert len(room.processes()) >= 2
    room.sign_ins.cancel(KEY)
    assert room.processes() == []
    assert first.state is SignInState.CANCELLED
    room.sign_ins.cancel(KEY)
    second = room.start()
    until(lambda: "Paste code" in room.text())
    assert second.id != first.id
    assert second.state is SignInState.RUNNING


def test_it_is_given_up_after_its_time(tmp_path: Path) -> None:
    clock = SetClock()
    (tmp_path / "person").mkdir()
    room = Room(tmp_path, clock=clock)
    sign_in = room.start()
    clock.forward(901)
    until(lambda: sign_in.ended_at)
    assert (sign_in.state, sign_in.detail) == (SignInState.TIMED_OUT, "It took longer than 15 minutes.")
    assert room.processes() == []


def test_a_server_that_stops_ends_it_and_begins_no_other(room: Room) -> None:
    sign_in = room.start()
    until(lambda: "Paste code" in room.text())
    room.sign_ins.close()
    assert room.processes() == []
    assert sign_in.state is SignInState.CANCELLED
    with pytest.raises(Conflict):
        room.start()


def test_what_cannot_be_signed_in_is_refused_before_anything_starts(room: Room) -> None:
    with pytest.raises(NotFound):
        room.sign_ins.type(KEY, "x")
    with pytest.raises(Invalid):
        room.start(way=7)
    room.account = replace(room.account, home=None)
    with pytest.raises(Invalid, match="no home of its own"):
        room.start()
    room.account = replace(room.account, home=room.home, program=None)
    with pytest.raises(ProgramMissing):
        room.start()
    room.backend = replace(room.backend, login_command=None, login_ways=())
    with pytest.raises(Invalid):
        room.start()
    assert room.sign_ins.get(KEY) is None
