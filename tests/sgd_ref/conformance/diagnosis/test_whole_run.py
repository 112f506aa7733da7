"""The divergences of one run are explained together."""

from __future__ import annotations

import pytest

from sgd_ref.conformance import Case, cases, check
from sgd_ref.conformance.catalogue.case import Trajectory
from sgd_ref.conformance.deviations import compose
from sgd_ref.conformance.diagnosis import whole_run
from sgd_ref.conformance.diagnosis.exposing import cases_that_expose
from sgd_ref.conformance.faithful import FAITHFUL
from sgd_ref.conformance.grading.verdict import Report
from sgd_ref.conformance.trajectories import reference

BY_ID = {case.id: case for case in cases()}
PLAIN = [
    BY_ID[i]
    for i in ("axes/momentum", "axes/momentum/callable", "exact/callable/float32", "exact/callable/float64")
]
DECAYED = [BY_ID[i] for i in ("axes/momentum/decay", "exact/momentum-and-decay/float64")]


def report_of(chosen: list[Case], *names: str, variant: str = "", keys: tuple[str, ...] = ()) -> Report:
    def run(case: Case) -> Trajectory:
        classes = compose(names, FAITHFUL[variant].optimizer) if variant else compose(names)
        records = reference.run(case, *classes)
        return [{key: record[key] for key in keys or record} for record in records]

    return check(run, chosen)


def named(report: Report) -> set[tuple[str, ...]]:
    return {names for found in report.diagnoses.values() for names in found.names[:1]}


@pytest.mark.share(3)
@pytest.mark.parametrize("variant", ["", "velocity-fused-with-momentum", "step-in-float32"])
def test_one_name_explains_all_whatever_is_rounded_beside_it(variant: str) -> None:
    report = report_of(PLAIN, "rate-outside-velocity", variant=variant)
    assert len(report.diagnoses) >= 3
    assert named(report) == {("rate-outside-velocity",)}


def test_what_is_not_reported_is_not_missed() -> None:
    report = report_of(PLAIN, "rate-outside-velocity", keys=("variables",))
    assert named(report) == {("rate-outside-velocity",)}


def test_a_pair_is_found() -> None:
    report = report_of([*PLAIN, *DECAYED], "rate-outside-velocity", "decay-enters-velocity")
    pair = ("rate-outside-velocity", "decay-enters-velocity")
    assert {frozenset(names) for names in named(report)} <= {
        frozenset(pair),
        frozenset(pair[:1]),
        frozenset(pair[1:]),
    }
    assert all(found.names for found in report.diagnoses.values())


def test_a_name_that_other_cases_do_not_show_is_struck() -> None:
    name = "ascends"
    one, *others = PLAIN
    assert {case.id for case in PLAIN} <= set(cases_that_expose(name))
    wrong = reference.run(one, *compose([name]))
    right = {case.id: (case, reference.run(case)) for case in others}
    found = whole_run.diagnoses({one.id: (one, wrong)}, right)
    assert (name,) not in found[one.id].names
    assert (name,) in whole_run.diagnoses({one.id: (one, wrong)}, {})[one.id].names
    # The source of the implementation says more than the other cases.
    known = whole_run.diagnoses({one.id: (one, wrong)}, right, known=[name])
    assert known[one.id].names == ((name,),)


def test_what_is_known_comes_before_a_single_name_that_is_not() -> None:
    case = BY_ID["named/narrow/global_clipnorm-of-an-overflow/float64"]
    pair = ("infinite-norm-hides-gradients", "norm-of-rounded-squares")
    wrong = {case.id: (case, reference.run(case, *compose(pair)))}
    assert pair not in whole_run.diagnoses(wrong, {})[case.id].names
    assert whole_run.diagnoses(wrong, {}, known=pair)[case.id].names == (pair,)


def test_what_begins_as_a_known_deviation_and_goes_on_otherwise_is_told() -> None:
    case = BY_ID["axes/momentum"]
    wrong = reference.run(case, *compose(["ascends"]))
    wrong[5]["variables"][0].reshape(-1)[2] += 1
    found = whole_run.diagnoses({case.id: (case, wrong)}, {})[case.id]
    assert found.up_to == 5
    assert found.names == (("ascends",),)
    assert "in the first 5 calls it equals ascends" in str(found)


def test_nothing_known_has_no_name() -> None:
    case = BY_ID["axes/momentum"]
    wrong = reference.run(case)
    wrong[0]["variables"][0].reshape(-1)[2] += 1
    found = whole_run.diagnoses({case.id: (case, wrong)}, {})[case.id]
    assert found.names == ()
    assert found.parting is not None
