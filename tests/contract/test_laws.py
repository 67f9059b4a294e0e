"""Every backend keeps every law."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from agented.backends.claude import BACKEND as CLAUDE
from agented.backends.codex import BACKEND as CODEX
from agented.backends.contract import Backend, Exit, Line, Outcome
from agented.backends.gemini import BACKEND as GEMINI
from agented.backends.opencode import BACKEND as OPENCODE
from agented.backends.rehearsal import BACKEND as REHEARSAL
from agented.testing import backend_contract
from agented.testing.backend_contract import Law

CAPTURES = Path(__file__).parents[1] / "captures"
BACKENDS = (CLAUDE, CODEX, GEMINI, OPENCODE, REHEARSAL)


def _name(value: object) -> str:
    return value.name if isinstance(value, Backend) else str(getattr(value, "__name__", value))


@pytest.mark.parametrize("law", backend_contract.LAWS, ids=_name)
@pytest.mark.parametrize("backend", BACKENDS, ids=_name)
def test_every_backend_keeps_the_law(backend: Backend, law: Law) -> None:
    law(backend, CAPTURES / backend.name)


@pytest.mark.parametrize(
    ("backend", "other"), [(one, other) for one in BACKENDS for other in BACKENDS if one is not other], ids=_name
)
def test_the_lines_of_another_cli_are_read_and_are_no_success(backend: Backend, other: Backend) -> None:
    for recording in backend_contract.read_recordings(CAPTURES / other.name):
        _, verdict = backend_contract.read(backend, recording.lines, Exit(0))
        assert verdict.outcome is not Outcome.SUCCEEDED, recording.name


def test_a_backend_that_breaks_a_law_is_found() -> None:
    class Trusting:
        def feed(self, line: Line) -> Sequence[object]:
            raise ValueError(line.text)

    with pytest.raises(AssertionError, match="ValueError"):
        backend_contract.hostile_lines_are_read(_with_output(Trusting), CAPTURES)


def _with_output(output: object) -> Backend:
    from dataclasses import replace

    return replace(REHEARSAL, new_output=lambda before=None: output())  # type: ignore[operator]
