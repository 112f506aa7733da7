"""A long case is cut to the calls around its first violation, and the diagnosis says so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sgd_ref.conformance import cases, check
from sgd_ref.conformance.catalogue.case import Trajectory
from sgd_ref.conformance.deviations import compose
from sgd_ref.conformance.diagnosis import window
from sgd_ref.conformance.diagnosis.matching import diagnose
from sgd_ref.conformance.diagnosis.search import Search
from sgd_ref.conformance.diagnosis.window import MOST_CALLS, around_violation
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import are_equal

BY_ID = {case.id: case for case in cases()}
LONG = BY_ID["structure/calls-66/callable/momentum/float32"]
LATE = "rate-stays-after-sixteen-calls"


def wrong_from(call: int) -> Trajectory:
    observed = reference.run(LONG)
    for record in observed[call:]:
        record["variables"] = [variable + 1 for variable in record["variables"]]
    return observed


@pytest.mark.parametrize(("call", "calls"), [(0, (0, 11)), (7, (0, 11)), (8, (1, 12)), (64, (54, 65))])
def test_the_calls_that_are_looked_at(call: int, calls: tuple[int, int]) -> None:
    observed = wrong_from(call)
    cut = around_violation(LONG, observed)
    assert cut.calls == calls
    assert len(cut.case.gradients) == MOST_CALLS
    assert len(cut.observed) == MOST_CALLS + (LONG.finalize and calls[1] == 65)
    # From the state that was reported, the rule gives the records up to the violation.
    until = call - calls[0]
    assert are_equal(cut.case, reference.run(cut.case)[:until], cut.observed[:until])


def test_without_a_reported_state_they_start_at_the_first_call() -> None:
    observed = wrong_from(40)
    assert around_violation(LONG, observed, is_state_hidden=True).calls == (0, 44)
    stateless = [{key: record[key] for key in record.keys() - {"velocities"}} for record in observed]
    assert around_violation(LONG, stateless).calls == (0, 44)


def test_a_short_case_is_not_cut() -> None:
    short = BY_ID["axes/momentum"]
    assert around_violation(short, reference.run(short)).is_all


def test_a_late_mistake_is_named() -> None:
    observed = reference.run(LONG, *compose([LATE]))
    found = diagnose(LONG, observed)
    assert (found.names, found.up_to, found.calls) == (((LATE,),), None, None)


def test_little_work_is_done_on_a_long_case() -> None:
    case, name = BY_ID["structure/calls-260/momentum/float32"], "velocity-starts-anew-after-eight-bits"
    observed = reference.run(case, *compose([name]))
    cut = around_violation(case, observed)
    search, of_all = Search(cut.case, cut.observed, [name]), Search(case, observed, [name])
    assert search.alone() == of_all.alone() != []
    assert 10 * search.work.done < of_all.work.done


def test_which_calls_were_looked_at_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "WORK_ON_WHOLE", 0)
    observed = reference.run(LONG, *compose([LATE]))
    said = f"it equals {LATE}; of this long case, calls 9 to 20 were looked at"
    assert str(diagnose(LONG, observed)) == said
    report = check(lambda _: reference.run(LONG, *compose([LATE])), [LONG])
    assert list(map(str, report.diagnoses.values())) == [said]


def test_what_explains_these_calls_alone_is_told_up_to_the_first_that_it_does_not() -> None:
    observed = reference.run(LONG, *compose(["ascends"]))
    observed[30]["variables"][0].reshape(-1)[0] += 1
    for found in (
        diagnose(LONG, observed),
        *check(lambda _: observed, [replace(LONG)]).diagnoses.values(),
    ):
        assert (found.names, found.up_to) == ((("ascends",),), 30)
