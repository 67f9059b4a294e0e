"""The rehearsal's translator, fed by hand."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agented.backends.contract import Exit, Line, Outcome, Reason, Verdict
from agented.backends.events import Event, LimitReached, Said, TokensUsed, Unparsed, to_dict
from agented.backends.rehearsal import BACKEND

CAPTURES = Path(__file__).parents[2] / "captures" / "rehearsal"

ANYTHING = st.text() | st.builds(
    lambda kind, values: json.dumps({"rehearsal": kind, **values}, separators=(",", ":")),
    st.sampled_from(["session", "limit", "tokens", "tool_called", "tool_returned", "needs_input", "forked", "done"])
    | st.integers()
    | st.lists(st.none()),
    st.dictionaries(
        st.sampled_from(["id", "model", "resets_at", "input", "output", "ok", "path", "text", "question", "pid"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()),
    ),
)


@given(st.lists(st.tuples(ANYTHING, st.booleans())), st.integers(0, 255) | st.none(), st.integers(1, 64) | st.none())
def test_nothing_it_is_fed_breaks_it(lines: list[tuple[str, bool]], code: int | None, signal: int | None) -> None:
    output = BACKEND.new_output()
    for text, stderr in lines:
        for event in output.feed(Line(text, stderr)):
            to_dict(event)
    verdict = output.verdict(Exit(code, signal))
    assert (verdict.reason is None) == (verdict.outcome is Outcome.SUCCEEDED)


@pytest.mark.parametrize(
    "text",
    [
        '{"rehearsal":',
        '{"rehearsal":' + "[" * 100_000,
        '{"rehearsal":"unheard-of"}',
        '{"rehearsal":"limit","resets_at":"whenever"}',
        '{"rehearsal":"limit","resets_at":"0001-01-01T00:00:00+23:59"}',
        '{"rehearsal":"tokens","input":-1,"output":1}',
        '{"rehearsal":"tokens","input":true,"output":1}',
        '{"rehearsal":{}}',
    ],
)
def test_a_broken_event_is_kept_as_a_line(text: str) -> None:
    assert list(BACKEND.new_output().feed(Line(text))) == [Unparsed(text)]


def test_exit_0_without_a_final_event_is_no_success() -> None:
    assert BACKEND.new_output().verdict(Exit(0)).reason is Reason.NO_FINAL_EVENT


def test_a_final_event_with_another_exit_code_is_no_success() -> None:
    output = BACKEND.new_output()
    list(output.feed(Line('{"rehearsal":"done"}')))
    assert output.verdict(Exit(1)) == Verdict(Outcome.FAILED, Reason.CLI_ERROR, "exit code 1")
    assert output.verdict(Exit(None, 15)).reason is Reason.KILLED


def test_words_on_stderr_are_no_events() -> None:
    output = BACKEND.new_output()
    assert list(output.feed(Line('{"rehearsal":"done"}', stderr=True))) == [Unparsed('{"rehearsal":"done"}')]
    assert output.verdict(Exit(0)).outcome is Outcome.FAILED


def test_what_earlier_attempts_used_is_not_subtracted() -> None:
    output = BACKEND.new_output(TokensUsed(input=5))
    assert list(output.feed(Line('{"rehearsal":"tokens","input":7,"output":1}'))) == [TokensUsed(input=7, output=1)]


def test_prose_that_begins_like_filler_is_said() -> None:
    for text in ("line up", "line 12 is wrong", "flood warning", "line"):
        assert list(BACKEND.new_output().feed(Line(text))) == [Said(text)]


def test_a_hundred_thousand_lines_are_read_quickly() -> None:
    output = BACKEND.new_output()
    lines = [Line(f"line {number}") for number in range(100_000)]
    before = time.process_time()
    for line in lines:
        output.feed(line)
    assert time.process_time() - before < 1  # measured 0.07 s


@pytest.mark.parametrize("folder", sorted(CAPTURES.iterdir()), ids=lambda folder: folder.name)
def test_recordings_give_their_verdict(folder: Path) -> None:
    wanted = {
        "plain": (Outcome.SUCCEEDED, None),
        "tool": (Outcome.SUCCEEDED, None),
        "tool_refused": (Outcome.SUCCEEDED, None),
        "resume": (Outcome.SUCCEEDED, None),
        "usagelimit": (Outcome.LIMITED, Reason.USAGE_LIMIT),
        "auth": (Outcome.LOGGED_OUT, Reason.BAD_CREDENTIALS),
        "ask": (Outcome.FAILED, Reason.NEEDS_INPUT),
        "exit_3": (Outcome.FAILED, Reason.CLI_ERROR),
        "sigterm": (Outcome.FAILED, Reason.KILLED),
    }
    output = BACKEND.new_output()
    events: list[Event] = []
    for name in ("stdout", "stderr"):
        for text in (folder / name).read_text().splitlines():
            events += output.feed(Line(text, stderr=name == "stderr"))
    code = json.loads((folder / "exit.json").read_text())["exit_code"]
    verdict = output.verdict(Exit(None, -code) if code < 0 else Exit(code))
    assert (verdict.outcome, verdict.reason) == wanted[folder.name]
    assert (verdict.until is not None) == any(isinstance(event, LimitReached) for event in events)
