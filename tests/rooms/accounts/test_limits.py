"""What providers say of limits, in every shape known, asked over HTTP; and what stays when they say nothing."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from agented.accounts import store
from agented.accounts.limits import Point, SeenWindow, Standing, current, full_at, growth, level_of
from agented.accounts.model import default_account
from agented.accounts.monitor import Crossed, Growth, Monitor, Watched, room_of
from agented.backends.contract import Answer, AskingPlace, LimitState, Login, Task, Window, WindowKind
from agented.backends.events import LimitSeen
from agented.backends.registry import Registry
from agented.kit.bus import Bus
from agented.kit.clock import SetClock
from agented.kit.db import Database
from agented.kit.http import Fetched
from tests.fakes.limits import LimitsDouble

CLIS = {backend.name: backend for backend in Registry().all()}
SOON = "2026-11-23T10:00:00.764689+00:00"
LATER = "2026-11-29T21:59:59.764710+00:00"
NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)


def plain_window(used: float | None, resets_at: str | None) -> dict[str, Any]:
    return {"utilization": used, "resets_at": resets_at, "limit_dollars": None, "locked_reason": None}


NEW_CLAUDE: dict[str, Any] = {
    "five_hour": plain_window(16.0, SOON),
    "seven_day": plain_window(2.0, LATER),
    "seven_day_opus": None,
    "seven_day_sonnet": None,
    "iguana_necktie": None,
    "nimbus_quill": plain_window(0.0, None),
    "extra_usage": {"is_enabled": False, "monthly_limit": None, "utilization": None},
    "limits": [
        {"kind": "session", "group": "session", "percent": 16, "resets_at": SOON, "scope": None},
        {"kind": "weekly_all", "group": "weekly", "percent": 2, "resets_at": LATER, "scope": None},
        {
            "kind": "weekly_scoped",
            "group": "weekly",
            "percent": 3,
            "resets_at": LATER,
            "scope": {"model": {"id": None, "display_name": "Fable"}, "surface": None},
        },
    ],
    "spend": {"enabled": False, "percent": 0},
    "member_dashboard_available": False,
}
OLD_CLAUDE: dict[str, Any] = {
    "five_hour": {"utilization": 42.0, "resets_at": "2026-11-23T10:00:00Z"},
    "seven_day": {"utilization": None, "resets_at": None},
    "seven_day_sonnet": {"utilization": 7, "resets_at": LATER},
    "amber_ladder": {"utilization": 12.5, "resets_at": LATER},
    "extra_usage": {"is_enabled": True, "monthly_limit": 2050, "used_credits": 1025, "utilization": None},
}
CODEX: dict[str, Any] = {
    "email": "dev@example.test",
    "plan_type": "plus",
    "rate_limit": {
        "primary_window": {"used_percent": 42, "limit_window_seconds": 18000, "reset_at": 1795430400},
        "secondary_window": {"used_percent": 17, "limit_window_seconds": 604800, "reset_at": 1795862400},
    },
    "code_review_rate_limit": None,
    "additional_rate_limits": [
        {
            "limit_name": "GPT-5.3-Codex-Spark",
            "metered_feature": "codex_spark",
            "rate_limit": {
                "primary_window": {"used_percent": 5, "limit_window_seconds": 18000, "reset_at": 1795430400},
                "secondary_window": None,
            },
        }
    ],
    "credits": {"has_credits": True, "unlimited": False, "balance": "12.50"},
    "spend_control": {
        "individual_limit": {"limit": "500", "used": "277.25", "remaining_percent": 44, "reset_at": 1795862400}
    },
}
GEMINI: dict[str, Any] = {
    "buckets": [
        {"modelId": "gemini-2.5-pro", "remainingFraction": 0.85, "remainingAmount": "850", "resetTime": LATER},
        {"modelId": "gemini-2.5-pro", "remainingFraction": 0.4, "resetTime": LATER},
        {"modelId": "gemini-2.5-flash", "remainingFraction": 1, "resetTime": LATER},
        {"modelId": "gemini-3", "resetTime": LATER},
    ]
}
TIER = {"currentTier": {"id": "standard-tier", "name": "Standard"}, "cloudaicompanionProject": "my-project-123"}


class Told:
    def __init__(self) -> None:
        self.windows: list[tuple[str, list[str]]] = []
        self.crossings: list[tuple[str, float]] = []
        self.growths: list[tuple[str, float]] = []

    def heard(self, conn: sa.Connection, key: str, windows: Any) -> None:
        self.windows.append((key, [one.window.name for one in windows]))

    def grown(self, conn: sa.Connection, growth: Growth) -> None:
        self.growths.append((growth.window.name, growth.percent))

    def crossed(self, conn: sa.Connection, what: Crossed) -> None:
        self.crossings.append((what[1].name, what[2]))


class Desk:
    """A monitor over one account, and the double that it asks."""

    def __init__(self, db: Database, double: LimitsDouble, home: Path) -> None:
        self.db, self.double, self.home = db, double, home
        self.clock, self.told = SetClock(NOW), Told()
        self.cli, self.login = "claude", Login("subscription", token="tok", plan="max")
        self.program: tuple[str, ...] | None = None
        self.monitor = self.new()

    def new(self) -> Monitor:
        return Monitor(
            db=self.db,
            bus=Bus(),
            clock=self.clock,
            watched=lambda: [self.watched()],
            busy=lambda key: True,
            addresses=self.double.endpoints,
            options={"google_client_id": "id", "google_client_secret": "secret"},
            agent="agented/test",
            interval_s=300,
            idle_interval_s=600,
            levels=(50, 75, 90),
            told=self.told.heard,
            crossed=self.told.crossed,
            grown=self.told.grown,
            folder=self.home / "screens",
            chance=lambda: 0.0,
        )

    def watched(self) -> Watched:
        backend = CLIS[self.cli]
        assert backend.limits is not None
        return Watched(
            account=default_account(self.cli, NOW),
            backend=backend,
            limits=backend.limits,
            login=self.login,
            home=self.home,
            program=self.program,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.home)},
        )

    def ask(self) -> Standing:
        self.monitor.ask(self.watched())
        return self.standing()

    def standing(self) -> Standing:
        with self.db.read() as conn:
            found = store.find_standing(conn, f"{self.cli}:default")
        assert found is not None
        return found

    def windows(self) -> dict[str, tuple[float | None, str | None]]:
        return {one.window.name: (one.window.used_percent, one.window.scope) for one in self.standing().windows}


@pytest.fixture
def double() -> Iterator[LimitsDouble]:
    with LimitsDouble() as double:
        yield double


@pytest.fixture
def desk(db: Database, double: LimitsDouble, tmp_path: Path) -> Desk:
    return Desk(db, double, tmp_path)


USAGE, PROFILE = "/api/oauth/usage", "/api/oauth/profile"


def test_rows_of_windows_count_once_beside_flat_keys(desk: Desk) -> None:
    desk.double.answer(USAGE, NEW_CLAUDE)
    standing = desk.ask()
    assert desk.windows() == {
        "five_hour": (16.0, None),
        "seven_day": (2.0, None),
        "seven_day_fable": (3.0, "Fable"),
    }
    assert (standing.state, standing.plan) == (LimitState.OK, "max")
    assert standing.windows[0].window.resets_at == datetime(2026, 11, 23, 10, 0, 0, 764689, tzinfo=UTC)
    _, _, headers, _ = desk.double.asked[0]
    assert headers["user-agent"] == "agented/test" and headers["authorization"] == "Bearer tok"


def test_flat_keys_unknown_names_and_money_are_read(desk: Desk) -> None:
    desk.double.answer(USAGE, OLD_CLAUDE)
    desk.ask()
    assert desk.windows() == {
        "five_hour": (42.0, None),
        "seven_day": (None, None),
        "seven_day_sonnet": (7.0, "sonnet"),
        "amber_ladder": (12.5, None),
        "extra_usage": (50.0, None),
    }


REFUSALS: list[tuple[int, Any, dict[str, str], tuple[int, Any] | None, LimitState]] = [
    (401, {"error": {"message": "OAuth token has expired."}}, {}, None, LimitState.LOGGED_OUT),
    (403, {"error": {"message": "does not meet scope requirement user:profile"}}, {}, None, LimitState.NOT_ALLOWED),
    (429, {"error": {"message": "slow"}}, {"request_id": "req_1", "retry_after": "120"}, None, LimitState.THROTTLED),
    (429, {"error": {"message": "slow"}}, {"retry_after": "0"}, (403, {}), LimitState.NOT_ALLOWED),
    (429, {"error": {"message": "slow"}}, {"retry_after": "0"}, (200, {}), LimitState.THROTTLED),
    (429, {"error": {"message": "slow"}}, {}, (401, {}), LimitState.LOGGED_OUT),
    (503, b"<html>", {}, None, LimitState.UNREACHABLE),
    (418, {"error": "teapot"}, {}, None, LimitState.UNREADABLE),
    (302, {}, {"location": "http://127.0.0.1:9/"}, None, LimitState.UNREADABLE),
    (200, b"{broken", {}, None, LimitState.UNREADABLE),
    (200, b"[" * 5000, {}, None, LimitState.UNREADABLE),
    (200, b" " * 1_100_000, {}, None, LimitState.UNREACHABLE),
]


@pytest.mark.parametrize(("status", "body", "headers", "profile", "state"), REFUSALS)
def test_each_refusal_is_told_apart_and_takes_nothing_away(
    desk: Desk, status: int, body: Any, headers: dict[str, str], profile: tuple[int, Any] | None, state: LimitState
) -> None:
    desk.double.answer(USAGE, NEW_CLAUDE)
    desk.ask()
    desk.clock.forward(400)
    desk.double.answer(USAGE, body, status, **headers)
    if profile is not None:
        desk.double.answer(PROFILE, profile[1], profile[0])
    standing = desk.ask()
    assert standing.state is state, standing.detail
    assert desk.windows()["five_hour"] == (16.0, None)
    assert (desk.clock.now() - standing.windows[0].captured_at).total_seconds() == 400
    assert (PROFILE in desk.double.paths()) == (profile is not None)


@pytest.mark.parametrize(
    ("retry_after", "waits"), [("0", 300), ("20", 300), ("1200", 1200), ("99999", 3600), ("soon", 300), (None, 300)]
)
def test_retry_after_is_honoured_within_reason(desk: Desk, retry_after: str | None, waits: float) -> None:
    headers = {"request_id": "r"} | ({} if retry_after is None else {"retry_after": retry_after})
    desk.double.answer(USAGE, {}, 429, **headers)
    standing = desk.ask()
    assert standing.next_at == desk.clock.now() + timedelta(seconds=waits)


def test_failures_are_asked_again_ever_later(desk: Desk) -> None:
    desk.double.answer(USAGE, {}, 503)
    waits = []
    for _ in range(6):
        standing = desk.ask()
        assert standing.next_at is not None
        waits.append((standing.next_at - desk.clock.now()).total_seconds())
        desk.clock.forward(waits[-1])
    assert waits == [300, 600, 1200, 2400, 3600, 3600]
    desk.double.answer(USAGE, NEW_CLAUDE)
    assert desk.ask().failures == 0


def test_who_hangs_does_not_hold_anybody_for_long(desk: Desk) -> None:
    desk.double.hang_s = 30

    def fetch(method: str, url: str, **more: Any) -> Fetched:
        from agented.kit.http import fetch as real

        return real(method, url, **more, timeout_s=0.2)

    desk.monitor = replace(desk.monitor, fetch=fetch)
    standing = desk.ask()
    assert (standing.state, standing.detail) == (LimitState.UNREACHABLE, "No answer within 0.2 s.")


def test_many_at_once_are_one_question(desk: Desk) -> None:
    desk.double.answer(USAGE, NEW_CLAUDE)
    desk.double.hang_s = 0.5
    threads = [threading.Thread(target=desk.monitor.ask, args=(desk.watched(),)) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert desk.double.paths() == [USAGE]


def test_nobody_asks_more_often_by_hand_than_twice_a_minute(desk: Desk) -> None:
    desk.double.answer(USAGE, NEW_CLAUDE)
    assert desk.monitor.refresh() == ["claude:default"]
    desk.ask()
    assert desk.monitor.refresh() == []
    desk.clock.forward(31)
    assert desk.monitor.refresh("claude:default") == ["claude:default"]
    desk.double.answer(USAGE, {}, 429, request_id="r", retry_after="600")
    desk.ask()
    desk.clock.forward(100)
    assert desk.monitor.refresh() == []


def test_a_key_that_pays_by_use_is_not_asked_about(desk: Desk) -> None:
    desk.login = Login("api_key", token="sk-1")
    assert desk.ask().state is LimitState.NONE
    assert desk.double.asked == []


def test_a_token_for_another_address_is_not_sent_to_the_provider() -> None:
    for name, env in (("claude", "ANTHROPIC_BASE_URL"), ("gemini", "CODE_ASSIST_ENDPOINT")):
        limits = CLIS[name].limits
        assert limits is not None
        place = AskingPlace(
            home=Path("/"), task=Task(program=(), prompt="", workdir=Path("/")), env={env: "http://127.0.0.1:1"}
        )
        with pytest.raises(StopIteration) as ended:
            next(limits.read(Login("subscription", token="t"), place, NOW))
        assert ended.value.value.state is LimitState.NONE


def test_windows_are_what_their_length_says(desk: Desk) -> None:
    desk.cli = "codex"
    desk.double.answer("/backend-api/wham/usage", CODEX)
    (desk.home / "auth.json").write_text(json.dumps({"tokens": {"account_id": "acc-1"}}))
    standing = desk.ask()
    assert (standing.state, standing.plan, standing.email) == (LimitState.OK, "plus", "dev@example.test")
    assert desk.windows() == {
        "18000s": (42.0, None),
        "604800s": (17.0, None),
        "codex_spark:18000s": (5.0, "GPT-5.3-Codex-Spark"),
        "individual_limit": (56.0, None),
    }
    assert [one.window.kind for one in standing.windows[:2]] == [WindowKind.SESSION, WindowKind.WEEKLY]
    assert desk.double.asked[0][2]["chatgpt-account-id"] == "acc-1"
    only_week = {"rate_limit": {"primary_window": CODEX["rate_limit"]["secondary_window"], "secondary_window": None}}
    desk.double.answer("/backend-api/wham/usage", only_week)
    desk.ask()
    assert list(desk.windows()) == ["604800s"]
    desk.double.answer("/backend-api/wham/usage", {}, 403)
    assert desk.ask().state is LimitState.LOGGED_OUT


SPEAKING_CLI = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    if asked.get("id") == 1:
        print(json.dumps({"id": 1, "result": {}}), flush=True)
        print(json.dumps({"method": "some/notification"}), flush=True)
    if asked.get("id") == 2:
        print(json.dumps({"id": 2, ANSWER}), flush=True)
        sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("answer", "state", "used"),
    [
        (
            '"result": {"rateLimits": {"planType": "plus", "primary": '
            '{"usedPercent": 42, "windowDurationMins": 300, "resetsAt": 1795430400}, "secondary": None}}',
            LimitState.OK,
            {"18000s": (42.0, None)},
        ),
        (
            '"error": {"message": "codex account authentication required to read rate limits"}',
            LimitState.LOGGED_OUT,
            {},
        ),
        ('"error": {"message": "method not found"}', LimitState.OK, {"18000s": (42.0, None), "604800s": (17.0, None)}),
    ],
)
def test_the_cli_itself_is_asked_first(desk: Desk, answer: str, state: LimitState, used: dict[str, Any]) -> None:
    """A stand-in speaks the protocol; where it cannot answer the provider is asked."""
    desk.cli = "codex"
    program = desk.home / "speaking.py"
    program.write_text(SPEAKING_CLI.replace("ANSWER", answer))
    desk.program = (sys.executable, str(program))
    plain = {key: value for key, value in CODEX.items() if key in ("rate_limit", "plan_type")}
    desk.double.answer("/backend-api/wham/usage", plain)
    standing = desk.ask()
    assert (standing.state, desk.windows()) == (state, used), standing.detail
    assert (desk.double.asked == []) == ("not found" not in answer)


def rollout(home: Path, day: str, name: str, *lines: dict[str, Any] | str) -> Path:
    path = home / "sessions" / Path(day) / f"rollout-{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def counted(at: str, primary: Any, secondary: Any = None, **more: Any) -> dict[str, Any]:
    limits = {"limit_id": "codex", "primary": primary, "secondary": secondary, **more}
    return {"timestamp": at, "type": "event_msg", "payload": {"type": "token_count", "rate_limits": limits}}


def five(used: float | None, **more: Any) -> dict[str, Any]:
    return {"used_percent": used, "window_minutes": 300, "resets_at": 1795430400, **more}


def test_what_a_session_wrote_lately_is_not_asked_for(desk: Desk) -> None:
    desk.cli = "codex"
    before = counted("2026-11-23T07:50:00.000Z", five(1))
    told = counted("2026-11-23T07:58:00.000Z", five(42), {**five(17), "window_minutes": 10080}, plan_type="plus")
    nothing = counted("2026-11-23T07:59:00.000Z", None)
    rollout(desk.home, "2026/11/23", "a", before, told, nothing, '{"torn": "rate_limits')
    rollout(desk.home, "2026/11/22", "b", counted("2026-11-22T10:00:00.000Z", five(99)))
    standing = desk.ask()
    assert (standing.state, standing.plan, desk.double.asked) == (LimitState.OK, "plus", [])
    assert desk.windows() == {"18000s": (42.0, None), "604800s": (17.0, None)}
    assert {one.source for one in standing.windows} == {"session"}
    assert standing.windows[0].captured_at == NOW - timedelta(minutes=2)


def test_older_words_of_a_session_do_not_replace_newer_ones(desk: Desk) -> None:
    desk.cli = "codex"
    desk.double.answer("/backend-api/wham/usage", CODEX)
    rollout(desk.home, "2026/11/23", "a", counted("2026-11-23T06:00:00.000Z", five(3)))
    desk.ask()
    assert desk.windows()["18000s"] == (42.0, None), "it is old, so the provider is asked"
    desk.monitor.look_in_files("codex:default")
    assert desk.windows()["18000s"] == (42.0, None)
    desk.clock.forward(120)
    rollout(desk.home, "2026/11/23", "b", counted("2026-11-23T08:01:00.000Z", five(50)))
    desk.monitor.look_in_files("codex:default")
    assert desk.windows()["18000s"] == (50.0, None) and "604800s" in desk.windows()
    assert ("18000s", 8.0) in desk.told.growths


@pytest.mark.parametrize(
    ("line", "used", "resets_at"),
    [
        (
            counted("2026-11-23T07:58:00Z", {"used_percent": 5, "window_minutes": 300, "resets_in_seconds": 60}),
            5.0,
            NOW - timedelta(minutes=1),
        ),
        (counted("2026-11-23T07:58:00Z", five(None)), None, datetime.fromtimestamp(1795430400, UTC)),
        (counted("2026-11-23T07:58:00Z", {"used_percent": "x", "window_minutes": 300}), None, None),
        (counted("yesterday", five(5)), "nothing", None),
        ({"type": "event_msg", "payload": ["rate_limits"]}, "nothing", None),
    ],
)
def test_sessions_of_every_age_are_read(
    tmp_path: Path, line: dict[str, Any], used: Any, resets_at: datetime | None
) -> None:
    rollout(tmp_path, "2026/11/23", "a", line)
    limits = CLIS["codex"].limits
    assert limits is not None
    told = limits.told(tmp_path)
    if used == "nothing":
        assert told is None
        return
    assert told is not None
    assert [(one.used_percent, one.resets_at) for one in told.windows] == [(used, resets_at)]


STATUS = """
import sys, tty
if "app-server" in sys.argv:
    sys.exit("error: unrecognized subcommand 'app-server'")
tty.setcbreak(0)
sys.stdout.write("\x1b[6n")
sys.stdout.flush()
while sys.stdin.read(1) != "R":
    pass
print("\x1b[2J Ask anything", flush=True)
line = ""
while not line.endswith("\\n"):
    line += sys.stdin.read(1)
if line.strip() == "/status":
    print("\x1b[1m5h limit:\x1b[0m      [####..] 58% left \x1b[2m (resets 09:20)\x1b[0m")
    print(" Weekly limit:  [#####.] 83% left  (resets 01:20 on 27 Nov)", flush=True)
sys.stdin.read()
"""


def test_the_screen_is_looked_at_last(desk: Desk) -> None:
    """Of a CLI that cannot be asked, when the provider's answer is none."""
    desk.cli = "codex"
    program = desk.home / "screen.py"
    program.write_text(STATUS)
    desk.program = (sys.executable, str(program))
    desk.double.answer("/backend-api/wham/usage", b"no JSON", 200)
    standing = desk.ask()
    assert standing.state is LimitState.OK, standing.detail
    assert desk.windows() == {"18000s": (42.0, None), "604800s": (17.0, None)}
    assert [one.window.resets_at for one in standing.windows] == [
        datetime(2026, 11, 23, 9, 20, tzinfo=UTC),
        datetime(2026, 11, 27, 1, 20, tzinfo=UTC),
    ]


def test_google_is_asked_with_its_project_and_a_renewed_token(desk: Desk) -> None:
    desk.cli = "gemini"
    desk.login = Login("subscription", "dev@example.test", None, "old", NOW - timedelta(hours=1))
    (desk.home / ".gemini").mkdir()
    (desk.home / ".gemini" / "oauth_creds.json").write_text(json.dumps({"refresh_token": "1//r"}))
    desk.double.answer("/token", {"access_token": "new", "expires_in": 3600})
    desk.double.answer("/v1internal:loadCodeAssist", TIER)
    desk.double.answer("/v1internal:retrieveUserQuota", GEMINI)
    standing = desk.ask()
    assert (standing.state, standing.plan) == (LimitState.OK, "Standard")
    assert {name: used for name, (used, _) in desk.windows().items()} == {
        "gemini-2.5-pro": 60.0,
        "gemini-2.5-flash": 0.0,
        "gemini-3": None,
    }
    token, loaded, quota = desk.double.asked
    assert "grant_type=refresh_token" in token[3] and loaded[2]["authorization"] == "Bearer new"
    assert quota[3] == {"project": "my-project-123"}
    kept = json.loads((desk.home / ".gemini" / "oauth_creds.json").read_text())
    assert kept == {"refresh_token": "1//r"}, "what was renewed is kept nowhere"


def test_a_plan_that_is_served_no_more_is_named(desk: Desk) -> None:
    desk.cli = "gemini"
    message = "IneligibleTierError / UNSUPPORTED_CLIENT: This client is no longer supported"
    desk.double.answer("/v1internal:loadCodeAssist", {"error": {"code": 403, "message": message}}, 403)
    assert desk.ask().state is LimitState.PLAN_UNSUPPORTED
    desk.double.answer("/v1internal:loadCodeAssist", {"error": {"code": 403, "message": "no"}}, 403)
    assert desk.ask().state is LimitState.NOT_ALLOWED


@pytest.mark.parametrize("cli", ["claude", "codex", "gemini"])
@pytest.mark.parametrize(
    "body",
    [None, [], "text", 12, {"limits": 5}, {"limits": [None, {"kind": 3}]}, {"rate_limit": []}, {"buckets": {"a": 1}},
     {"five_hour": {"utilization": "much", "resets_at": 5}}, {"buckets": [{"remainingFraction": -3}]}],
)  # fmt: skip
def test_no_answer_breaks_a_reader(cli: str, body: Any) -> None:
    limits = CLIS[cli].limits
    assert limits is not None
    place = AskingPlace(home=Path("/nowhere"), task=Task(program=(), prompt="", workdir=Path("/")))
    asking = limits.read(Login("subscription", token="t"), place, NOW)
    next(asking)
    with pytest.raises(StopIteration) as ended:
        for _ in range(5):
            asking.send(Answer(status=200, body=body))
    for window in ended.value.value.windows:
        assert window.used_percent is None or 0 <= window.used_percent <= 100


def test_what_a_run_is_told_counts_at_once(desk: Desk) -> None:
    desk.double.answer(USAGE, NEW_CLAUDE)
    asked = {one.window.name: one.window.used_percent for one in desk.ask().windows}["five_hour"]
    assert asked is not None and desk.told.growths == [], "nothing is known of what was used before"
    desk.clock.forward(60)
    reset = NOW + timedelta(hours=2)
    desk.monitor.note_seen("claude:default", [LimitSeen("five_hour", 77.0, reset), LimitSeen("odd_one", 5.0)])
    windows = {one.window.name: one for one in desk.standing().windows}
    assert windows["five_hour"].window.used_percent == 77.0 and windows["five_hour"].window.title == "5 hours"
    assert (windows["five_hour"].source, windows["seven_day"].source) == ("run", "provider")
    assert "odd_one" in windows
    left, back, each = room_of(desk.standing(), None, desk.clock.now())
    assert (left, back, each["five_hour"], each["odd_one"]) == (23.0, reset, 23.0, 95.0)
    assert ("five_hour", 77.0 - asked) in desk.told.growths


def test_people_hear_of_each_level_once_also_over_a_restart(desk: Desk) -> None:
    reset = NOW + timedelta(hours=2)
    for used in (40.0, 51.0, 52.0, 49.0, 53.0, 91.0, 88.0, 92.0):
        desk.clock.forward(60)
        desk.monitor.note_seen("claude:default", [LimitSeen("five_hour", used, reset)])
        desk.monitor = desk.new()
    assert desk.told.crossings == [("five_hour", 50), ("five_hour", 90)]
    desk.monitor.note_seen("claude:default", [LimitSeen("five_hour", 3.0, reset + timedelta(hours=5))])
    desk.monitor.note_seen("claude:default", [LimitSeen("five_hour", 55.0, reset + timedelta(hours=5))])
    assert desk.told.crossings[2:] == [("five_hour", 50)]


def test_a_window_whose_reset_has_passed_is_not_known() -> None:
    window = Window(name="w", title="W", used_percent=100.0, resets_at=NOW)
    seen = SeenWindow(window=window, captured_at=NOW - timedelta(hours=1), source="run")
    assert current(seen, NOW - timedelta(minutes=1)).used_percent == 100.0
    assert current(seen, NOW + timedelta(minutes=1)).used_percent is None


@pytest.mark.parametrize(
    ("before", "now", "resets", "grown"),
    [
        (20.0, 26.5, (60, 60), 6.5),
        (20.0, 20.0, (60, 60), 0.0),
        (20.0, 18.0, (60, 60), 0.0),
        (90.0, 3.0, (60, 360), 3.0),
        (90.0, 95.0, (60, 62), 5.0),
        (90.0, 2.0, (None, None), 2.0),
        (40.0, 45.0, (-1, 300), 45.0),
        (None, 5.0, (60, 60), None),
        (5.0, None, (60, 60), None),
    ],
)
def test_what_was_used_in_between_is_told(
    before: float | None, now: float | None, resets: tuple[int | None, int | None], grown: float | None
) -> None:
    def seen(used: float | None, reset: int | None, at: datetime) -> SeenWindow:
        ends = None if reset is None else NOW + timedelta(minutes=reset)
        return SeenWindow(
            window=Window(name="w", title="W", used_percent=used, resets_at=ends), captured_at=at, source=""
        )

    first, last = seen(before, resets[0], NOW - timedelta(minutes=5)), seen(now, resets[1], NOW)
    assert growth(first, last) == grown


def points(*readings: tuple[float, float], reset_min: float = 300) -> list[Point]:
    reset = NOW + timedelta(minutes=reset_min)
    return [Point(NOW + timedelta(minutes=minute), used, reset) for minute, used in readings]


def test_the_forecast_is_of_the_present_period() -> None:
    now = NOW + timedelta(minutes=40)
    assert full_at(points((0, 20), (20, 40), (40, 60)), now) == NOW + timedelta(minutes=80)
    assert full_at(points((0, 20), (40, 22)), now) is None, "the reset comes first"
    assert full_at(points((0, 90), (10, 95), (20, 5), (40, 25)), now) == NOW + timedelta(minutes=115)
    assert full_at(points((0, 50), (5, 60)), now) is None, "too short to tell"
    assert full_at(points((0, 50), (20, 50), (40, 50)), now) is None
    assert full_at([], now) is None
    moved = [*points((0, 30), (10, 30), reset_min=12), *points((20, 30), (40, 40))]
    assert full_at(moved, now) == NOW + timedelta(minutes=160)


def test_levels_have_slack() -> None:
    readings = ((49, 0), (50, 0), (95, 50), (87, 90), (84, 90))
    assert [level_of(used, (50, 75, 90), known) for used, known in readings] == [0, 50, 90, 90, 75]


def test_old_readings_are_thinned_to_one_an_hour(desk: Desk) -> None:
    reset = NOW + timedelta(days=90)
    for minute in range(0, 180, 5):
        desk.clock.forward(300)
        desk.monitor.note_seen("claude:default", [LimitSeen("five_hour", float(minute) / 2, reset)])
    desk.clock.forward(32 * 86400)
    desk.monitor.forget_old()
    with desk.db.read() as conn:
        kept = store.points_of(conn, "claude:default", NOW)["five_hour"]
    assert len(kept) in (3, 4)
