"""The laws that every backend keeps, as plain functions over a backend and a folder of recordings.

In your own tests (they need pytest and hypothesis):

    @pytest.mark.parametrize("law", backend_contract.LAWS, ids=lambda law: law.__name__)
    def test_it_keeps_the_law(law):
        law(BACKEND, Path("tests/captures/mine"))

The folder holds one folder for each recorded run: `stdout` and `stderr` as printed, and `exit.json` with `exit_code`
(negative: the number of the signal that ended it). A law that is broken raises AssertionError and says what was fed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from agented.backends.contract import Backend, Exit, Line, Outcome, Reason, Task, Verdict
from agented.backends.events import Concluded, Event, TokensUsed, to_dict

EXITS = (
    Exit(0),
    Exit(1),
    Exit(2),
    Exit(42),
    Exit(143),
    Exit(173),
    Exit(255),
    Exit(None, 2),
    Exit(None, 9),
    Exit(None, 15),
)
PROMPTS = (
    "Say hello.",
    "",
    "--help",
    "-p",
    "--",
    "@/etc/passwd",
    "$(touch made-by-shell) `id`\nsecond line\n",
    "Grüße, 世界 \N{GRINNING FACE}",
    "a\0b",
    "half \ud83d of a pair",
    "long " * 400_000,
)
_LONGEST_ARGUMENT = 100_000
_ALLOWED_REASONS: Mapping[Outcome, frozenset[Reason | None]] = {
    Outcome.SUCCEEDED: frozenset({None}),
    Outcome.LIMITED: frozenset({Reason.USAGE_LIMIT, Reason.RATE_LIMITED, Reason.NO_CREDIT}),
    Outcome.LOGGED_OUT: frozenset({Reason.BAD_CREDENTIALS}),
    Outcome.FAILED: frozenset(Reason) - {Reason.USAGE_LIMIT, Reason.RATE_LIMITED, Reason.NO_CREDIT},
}
_DEEP: Any = []
for _ in range(400):
    _DEEP = [_DEEP]
_JUNK: Sequence[Any] = (
    None,
    True,
    -1,
    10**30,
    1e308,
    "",
    "a word",
    "\x00\x1b[31m\N{RIGHT-TO-LEFT OVERRIDE}",
    "half \ud83d of a pair",
    [],
    ["a word", 1, None, {}],
    {},
    {"type": "text", "text": 5},
    _DEEP,
)


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded run."""

    name: str
    stdout: Sequence[Line]
    stderr: Sequence[Line]
    exit: Exit

    @property
    def lines(self) -> Sequence[Line]:
        return (*self.stdout, *self.stderr)


def read_recording(folder: Path) -> Recording:
    code = json.loads((folder / "exit.json").read_text())["exit_code"]
    ended = Exit(None, -code) if code is not None and code < 0 else Exit(code)
    stdout, stderr = (_lines(folder / name, name == "stderr") for name in ("stdout", "stderr"))
    return Recording(folder.name, stdout, stderr, ended)


def read_recordings(folder: Path) -> Sequence[Recording]:
    found = [read_recording(path.parent) for path in sorted(folder.glob("*/exit.json"))]
    assert found, f"there is no recording in {folder}"
    return found


def _lines(path: Path, stderr: bool) -> Sequence[Line]:
    data = path.read_bytes() if path.exists() else b""
    lines = data.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    return [Line(line.decode("utf-8", "replace").removesuffix("\r"), stderr) for line in lines]


# Commands


def a_command_depends_on_its_task_alone(backend: Backend, _: Path) -> None:
    for task in tasks(backend):
        assert backend.build_command(task) == backend.build_command(replace(task)), task


def a_command_starts_with_the_program(backend: Backend, _: Path) -> None:
    for task in tasks(backend):
        command = backend.build_command(task)
        assert tuple(command.argv[: len(task.program)]) == tuple(task.program), command.argv


def a_command_can_be_started(backend: Backend, _: Path) -> None:
    """Arguments and variables that the system takes, however long the prompt is."""
    for task in tasks(backend):
        command = backend.build_command(task)
        for argument in command.argv:
            assert "\0" not in argument, command.argv
            assert len(argument.encode()) < _LONGEST_ARGUMENT, "an argument as long as its prompt"
        for name, value in command.env.items():
            assert name, command.env
            assert not set(name) & {"=", "\0"}, name
            assert "\0" not in value, name
            assert len(value.encode()) < _LONGEST_ARGUMENT, name


def a_prompt_is_never_read_as_a_flag(backend: Backend, _: Path) -> None:
    """It comes on stdin, or as an argument behind `--`."""
    for prompt in PROMPTS:
        command = backend.build_command(replace(_task(backend), prompt=prompt))
        if command.stdin is not None and prompt.encode("utf-8", "replace") in command.stdin:
            continue
        argv = list(command.argv)
        assert prompt in argv, f"the prompt {prompt[:80]!r} is nowhere"
        assert "--" in argv[: argv.index(prompt)], f"the prompt {prompt[:80]!r} stands among the flags"


def permissions_are_told_apart(backend: Backend, _: Path) -> None:
    assert backend.permissions, "it offers no permission"
    built = [backend.build_command(replace(_task(backend), permission=one)) for one in backend.permissions]
    told = {(tuple(command.argv), tuple(sorted(command.env.items()))) for command in built}
    assert len(told) == len(backend.permissions), "two permissions build the same command"


def a_home_is_pointed_at(backend: Backend, _: Path) -> None:
    homes = Path("/accounts/one"), Path("/accounts/two")
    one, two = (backend.home_env(home) for home in homes)
    assert one, "it cannot be given a home"
    assert set(one) == set(two), "the names of the variables depend on the home"
    assert all(one[name] != two[name] for name in one), "two homes look the same"
    command = backend.build_command(replace(_task(backend), home=homes[0]))
    assert one.items() <= command.env.items(), "the command does not point at its home"
    assert not one.keys() & backend.build_command(_task(backend)).env.keys(), "no home was given"


def the_default_home_is_the_persons(backend: Backend, _: Path) -> None:
    person = Path("/home/person")
    assert backend.default_home(person).is_relative_to(person)


def a_session_and_a_model_are_passed_on(backend: Backend, _: Path) -> None:
    plain = _task(backend)
    named = backend.build_command(replace(plain, model="some-model"))
    assert any("some-model" in argument for argument in named.argv)
    if backend.can_resume:
        resumed = backend.build_command(replace(plain, resume="some-session"))
        assert any("some-session" in argument for argument in resumed.argv)


# Output


def recordings_are_read(backend: Backend, folder: Path) -> None:
    for recording in read_recordings(folder):
        read(backend, recording.lines, recording.exit)


def events_follow_from_the_lines_alone(backend: Backend, folder: Path) -> None:
    """Fed again, the same lines give the same events and the same verdict."""
    for recording in read_recordings(folder):
        first, second = (read(backend, recording.lines, recording.exit) for _ in range(2))
        assert first == second, recording.name


def a_verdict_can_be_asked_for_again(backend: Backend, folder: Path) -> None:
    for recording in read_recordings(folder):
        output = backend.new_output()
        for line in recording.lines:
            list(output.feed(line))
        assert output.verdict(recording.exit) == output.verdict(recording.exit), recording.name


def a_verdict_does_not_depend_on_which_stream_came_first(backend: Backend, folder: Path) -> None:
    for recording in read_recordings(folder):
        _, one = read(backend, (*recording.stdout, *recording.stderr), recording.exit)
        _, other = read(backend, (*recording.stderr, *recording.stdout), recording.exit)
        assert (one.outcome, one.reason) == (other.outcome, other.reason), recording.name


def a_cut_recording_is_read(backend: Backend, folder: Path) -> None:
    """Cut after each line and within it, with every kind of end; success always has its final event."""
    for recording in read_recordings(folder):
        output = backend.new_output()
        events: list[Event] = []
        for line in recording.lines:
            cut = backend.new_output()
            half = Line(line.text[: len(line.text) // 2], line.stderr)
            broken = [*cut.feed(half)]
            for exit in EXITS:
                _check_verdict(cut.verdict(exit), exit, broken)
            events += output.feed(line)
            for exit in EXITS:
                _check_verdict(output.verdict(exit), exit, events)


def nothing_is_read_into_no_output(backend: Backend, _: Path) -> None:
    for exit in EXITS:
        assert backend.new_output().verdict(exit).outcome is not Outcome.SUCCEEDED


def an_altered_recording_is_read(backend: Backend, folder: Path) -> None:
    """Every value of every kind of line, replaced by what was never there."""
    for text in _altered_lines(read_recordings(folder)):
        for stderr in (False, True):
            read(backend, [Line(text, stderr)], Exit(0))
            read(backend, [Line(text, stderr)], Exit(1))


def unknown_kinds_of_lines_are_read(backend: Backend, folder: Path) -> None:
    for recording in read_recordings(folder):
        unknown = [Line(line.text.replace('"type":"', '"type":"un_heard_of_'), line.stderr) for line in recording.lines]
        read(backend, unknown, recording.exit)


def any_bytes_are_read(backend: Backend, _: Path) -> None:
    @settings(max_examples=200, deadline=None, database=None)
    @given(st.lists(st.tuples(st.binary(max_size=200), st.booleans()), max_size=8), st.sampled_from(EXITS))
    def law(pieces: list[tuple[bytes, bool]], exit: Exit) -> None:
        read(backend, [Line(data.decode("utf-8", "replace"), stderr) for data, stderr in pieces], exit)

    law()


def any_json_is_read(backend: Backend, folder: Path) -> None:
    """Objects of any shape, with the names and the kinds that the recordings know."""
    names, kinds = _words(read_recordings(folder))
    value = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(kinds),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(names), inner, max_size=4),
        max_leaves=12,
    )
    line = st.dictionaries(st.sampled_from(names), value, max_size=6).map(json.dumps)

    @settings(max_examples=200, deadline=None, database=None)
    @given(st.lists(st.tuples(line, st.booleans()), max_size=6), st.sampled_from(EXITS))
    def law(lines: list[tuple[str, bool]], exit: Exit) -> None:
        read(backend, [Line(text, stderr) for text, stderr in lines], exit)

    law()


def hostile_lines_are_read(backend: Backend, _: Path) -> None:
    for text in HOSTILE:
        for stderr in (False, True):
            read(backend, [Line(text, stderr)], Exit(0))


HOSTILE = (
    "",
    " ",
    "{",
    "}",
    "null",
    "[" * 100_000,
    '{"type":' * 50_000,
    '{"type":"result","result":' + "[" * 900 + "]" * 900 + "}",
    '{"type":"result","usage":{"input_tokens":' + "9" * 5_000 + "}}",
    '{"type":"error","message":NaN,"n":1e999,"i":-Infinity}',
    '{"type":"\\ud83d","session_id":"\\udc00"}',
    "\N{REPLACEMENT CHARACTER}" * 1_000,
    "x" * 1_000_000,
    "\x1b]0;title\x07\x1b[2J",
)


_USAGE = (
    b'{"type":"assistant","timestamp":"2026-11-20T10:00:00.000Z","sessionId":"s","requestId":"r","message":{"id":"m",'
    b'"model":"x","usage":{"input_tokens":5,"output_tokens":7}},"payload":{"type":"token_count","info":{'
    b'"last_token_usage":{"input_tokens":5}}},"tokens":{"input":1,"output":2}}'
)


def session_files_are_read(backend: Backend, _: Path) -> None:
    """Whatever stands in a session file, a reader goes on, and what it tells can be counted."""
    if backend.sessions is None:
        return
    sessions = backend.sessions

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.one_of(st.binary(max_size=300), _json_lines(), _cut_lines(_USAGE)), max_size=8))
    def check(lines: list[bytes]) -> None:
        path = Path("/home/somebody/chats/session-1.jsonl")
        reader = sessions.new_reader(path)
        for number, line in enumerate(lines):
            reader.feed(line, number)
        state = reader.state()
        rows = [*reader.rows(), *sessions.new_reader(path, state).rows()]
        rows += [*sessions.new_reader(path, str(lines)).rows(), *sessions.read_whole(path, b"".join(lines))]
        for row in rows:
            assert row.key, f"{lines!r} gave a row without a key"
            assert min(row[9:16]) >= 0, f"{lines!r} gave fewer tokens than none: {row}"
            assert isinstance(row.at, int)

    check()


def session_files_that_are_gone_hold_nothing(backend: Backend, _: Path) -> None:
    """A database that is not there, or is none, tells nothing."""
    if backend.sessions is not None:
        for path in (Path("/nonexistent/opened.db"), Path(__file__)):
            rows, _state = backend.sessions.read_database(path, "")
            assert list(rows) == []


def _json_lines() -> st.SearchStrategy[bytes]:
    names = st.sampled_from(["type", "message", "usage", "tokens", "timestamp", "payload", "info", "$set", "messages"])
    leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
    values = st.recursive(leaves, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner)))
    return st.dictionaries(names, values).map(lambda value: json.dumps(value).encode())


def _cut_lines(line: bytes) -> st.SearchStrategy[bytes]:
    places = st.tuples(
        st.integers(0, len(line)), st.integers(0, len(line)), st.sampled_from([b"", b"-", b"9" * 30, b"[]"])
    )
    return places.map(lambda cut: line[: cut[0]] + cut[2] + line[cut[1] :])


def models_are_read_from_anything(backend: Backend, _: Path) -> None:
    if backend.models is not None and backend.models.parse is not None:
        for text in HOSTILE:
            backend.models.parse(text)


def no_login_is_found_where_there_is_none(backend: Backend, folder: Path) -> None:
    if backend.credentials is not None:
        assert backend.credentials.read(folder / "no such home", _NoSecrets(), {}) is None


class _NoSecrets:
    def read(self, service: str, account: str | None = None) -> str | None:
        return None


Law = Callable[[Backend, Path], None]

LAWS: Sequence[Law] = (
    a_command_depends_on_its_task_alone,
    a_command_starts_with_the_program,
    a_command_can_be_started,
    a_prompt_is_never_read_as_a_flag,
    permissions_are_told_apart,
    a_home_is_pointed_at,
    the_default_home_is_the_persons,
    a_session_and_a_model_are_passed_on,
    recordings_are_read,
    events_follow_from_the_lines_alone,
    a_verdict_can_be_asked_for_again,
    a_verdict_does_not_depend_on_which_stream_came_first,
    a_cut_recording_is_read,
    nothing_is_read_into_no_output,
    an_altered_recording_is_read,
    unknown_kinds_of_lines_are_read,
    any_bytes_are_read,
    any_json_is_read,
    hostile_lines_are_read,
    models_are_read_from_anything,
    session_files_are_read,
    session_files_that_are_gone_hold_nothing,
    no_login_is_found_where_there_is_none,
)


def read(backend: Backend, lines: Sequence[Line], exit: Exit) -> tuple[Sequence[Event], Verdict]:
    """Feeds the lines to a new output and checks everything that comes of it."""
    output = backend.new_output()
    events: list[Event] = []
    for line in lines:
        try:
            events += output.feed(line)
        except Exception as error:
            raise AssertionError(
                f"{type(error).__name__} for {'stderr' if line.stderr else 'stdout'} {line.text[:500]!r}"
            ) from error
    for event in events:
        _check_event(event)
    verdict = output.verdict(exit)
    _check_verdict(verdict, exit, events)
    return events, verdict


def tasks(backend: Backend) -> Iterator[Task]:
    """Tasks of every kind, each with something that the others do not have."""
    plain = _task(backend)
    for prompt in PROMPTS:
        yield replace(plain, prompt=prompt)
    for permission in backend.permissions:
        for as_root in (False, True):
            yield replace(plain, permission=permission, as_root=as_root)
            yield replace(
                plain, permission=permission, as_root=as_root, home=Path("/accounts/one"), resume="some-session"
            )
    yield replace(plain, model="some-model", mcp_config=Path("/run/mcp.json"), max_cost_usd=Decimal("0.000001"))
    yield replace(plain, program=("/usr/bin/interpreter", "/opt/with space/script"), workdir=Path("/work/--odd name"))


def _task(backend: Backend) -> Task:
    program = ("/opt/bin/" + backend.program,) if backend.builtin is None else tuple(backend.builtin)
    return Task(program=program, prompt="Say hello.", workdir=Path("/work/tree"), permission=backend.permissions[0])


def _check_event(event: Event) -> None:
    assert isinstance(event, get_args(Event)), event
    # The journal is written with orjson and read by browsers; what either refuses would end a run.
    orjson.dumps(to_dict(event))
    for field in fields(event):
        value = getattr(event, field.name)
        if isinstance(value, datetime):
            assert value.tzinfo is not None, event
        if isinstance(value, float):
            assert math.isfinite(value), event
        if field.type == "str":
            assert isinstance(value, str), event
    if isinstance(event, TokensUsed):
        assert min(event.input, event.output, event.cache_read, event.cache_write) >= 0, event


def _check_verdict(verdict: Verdict, exit: Exit, events: Sequence[Event]) -> None:
    assert verdict.reason in _ALLOWED_REASONS[verdict.outcome], verdict
    assert "\n" not in verdict.detail, verdict
    assert verdict.until is None or verdict.until.tzinfo is not None, verdict
    if verdict.outcome is Outcome.SUCCEEDED:
        assert exit == Exit(0), f"a success that ended with {exit}"
        concluded = [event.ok for event in events if isinstance(event, Concluded)]
        assert concluded and concluded[-1], "a success without the CLI's own final word"


def _altered_lines(recordings: Sequence[Recording]) -> Iterator[str]:
    seen: set[tuple[object, ...]] = set()
    for recording in recordings:
        for line in recording.lines:
            value = _object(line.text)
            if value is None:
                continue
            for path in _paths(value):
                shape = (
                    value.get("type"),
                    value.get("subtype"),
                    *(None if isinstance(step, int) else step for step in path),
                )
                if shape in seen:
                    continue
                seen.add(shape)
                for junk in _JUNK:
                    yield json.dumps(_replaced(value, path, junk))


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _paths(value: Any) -> Iterator[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, part in inner:
        yield (step,)
        for rest in _paths(part):
            yield (step, *rest)


def _replaced(value: Any, path: tuple[str | int, ...], junk: Any) -> Any:
    if not path:
        return junk
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _replaced(copy[path[0]], path[1:], junk)
    return copy


def _words(recordings: Sequence[Recording]) -> tuple[Sequence[str], Sequence[str]]:
    names, kinds = {"type"}, {"text"}
    for recording in recordings:
        for line in recording.lines:
            value = _object(line.text)
            for path in _paths(value) if value is not None else ():
                names |= {step for step in path if isinstance(step, str) and len(step) < 30}
                found: Any = value
                for step in path:
                    found = found[step]
                if path[-1] in ("type", "subtype", "status", "reason", "role") and isinstance(found, str):
                    kinds.add(found)
    return sorted(names), sorted(kinds)
