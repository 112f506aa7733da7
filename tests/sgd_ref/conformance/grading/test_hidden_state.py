"""How the state of an implementation is read is decided once, by a whole run, and passed on to its cases."""

from __future__ import annotations

from typing import Any

import pytest

from sgd_ref.conformance import Case, Profile, Report, cases, cases_within, check
from sgd_ref.conformance.faithful.hidden import HiddenFloat64
from sgd_ref.conformance.grading.check import UNDECIDED
from sgd_ref.conformance.trajectories import reference

Records = list[dict[str, Any]]

CASES = [case for case in cases("smoke") if case.made is None]


def test_a_few_cases_say_that_they_cannot_tell_how_the_state_is_read() -> None:
    chosen = cases_within({"dtype": ["float32"], "update": ["momentum"], "values": ["ordinary"]})
    chosen = tuple(case for case in chosen if case.made is None)
    declared = Profile(hidden_wider_state=False)

    def run(case: Case) -> Records:
        return reference.run(case, HiddenFloat64)

    one = next(
        case for case in chosen if check(run, [case], profile=declared).verdicts[case.id].grade == "diverges"
    )
    alone = check(run, [one])
    assert alone.verdicts[one.id].grade == "rounding"
    assert alone.verdicts[one.id].message == UNDECIDED
    assert alone.hidden_wider_state is None
    whole = Report("mine", {}, hidden_wider_state=False)
    assert check(run, [one], profile=whole.settled).verdicts[one.id].grade == "diverges"
    told = Report("mine", {}, hidden_wider_state=True)
    settled = check(run, [one], profile=told.settled)
    assert (settled.verdicts[one.id].grade, settled.verdicts[one.id].message) == ("rounding", "")
    assert settled.hidden_wider_state is True


def test_a_whole_run_tells_how_the_state_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(case: Case) -> Records:
        return reference.run(case, HiddenFloat64)

    monkeypatch.setattr("sgd_ref.conformance.grading.check.is_whole", lambda graded: True)
    report = check(run, CASES[:2])
    changed = [verdict for verdict in report.verdicts.values() if verdict.allowances]
    assert report.hidden_wider_state is (True if changed else None)
    assert all(verdict.message == "" for verdict in changed)
    assert check(changed_by_one_unit, CASES[:2]).hidden_wider_state is False


def changed_by_one_unit(case: Case) -> Records:
    records = reference.run(case)
    for record in records:
        record["variables"][0][...] += 1
    return records
