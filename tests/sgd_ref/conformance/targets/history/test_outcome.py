"""What became of a contradiction, from what a script said."""

from __future__ import annotations

import pytest

from sgd_ref.conformance.targets.history.outcome import (
    ABSENT,
    FAILS,
    LONGEST,
    MARKS,
    MEANINGS,
    OTHERWISE,
    THERE,
    Outcome,
    outcome_of,
)
from sgd_ref.conformance.targets.scripts.script import COMPARISON

SEEN = "call 0, w[0]: expected 0, got 1, as it was seen before"
OTHER = "call 1, w[0]: expected 0, got 2"


def answer(ended: str, said: str = "", error: str = "") -> dict[str, str]:
    return {"ended": ended, "said": said, "error": error}


@pytest.mark.parametrize(
    ("given", "of_finding", "name", "detail"),
    [
        (answer("equal", "every expected bit is there"), True, ABSENT, ""),
        (answer("differs", f"{SEEN}\n{SEEN}\n"), True, THERE, "call 0, w[0]: expected 0, got 1"),
        (answer("differs", f"{SEEN}\n{OTHER}\n"), True, OTHERWISE, "call 0, w[0]: expected 0, got 1"),
        (answer("differs", "expected: 1\nactual: 2\n"), False, THERE, "expected: 1"),
        (answer("fails", SEEN, "TypeError: no use_ema\nadvice"), True, FAILS, "TypeError: no use_ema"),
    ],
)
def test_outcomes(given: dict[str, str], of_finding: bool, name: str, detail: str) -> None:
    outcome = outcome_of(given, of_finding)
    assert (outcome.name, outcome.detail) == (name, detail)
    assert outcome.is_affected == (name in (THERE, OTHERWISE))


def test_long_messages_are_cut() -> None:
    detail = outcome_of(answer("fails", "", "x" * 1000), of_finding=True).detail
    assert detail == "x" * LONGEST + " ..."


def test_what_scripts_of_findings_write_is_what_is_looked_for() -> None:
    assert SEEN.rpartition("got 1")[2] in COMPARISON


def test_each_outcome_has_a_mark_of_its_own() -> None:
    assert set(MARKS) == set(MEANINGS)
    assert len(set(MARKS.values())) == len(MARKS)


def test_another_name_is_refused() -> None:
    with pytest.raises(ValueError, match="name must be one of there, otherwise, absent, fails, got 'gone'"):
        Outcome("gone")
