"""What is kept of a graded case makes the same report as the graded case itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sgd_ref import conformance
from sgd_ref.conformance.answers import ANSWERS
from sgd_ref.conformance.catalogue.case import Case, Trajectory
from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.conformance.faithful import FAITHFUL
from sgd_ref.conformance.grading import keeping
from sgd_ref.conformance.grading.check import chosen, grade_by_answers, report_of
from sgd_ref.conformance.grading.verdict import Profile
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import are_equal


def keeps(case: Case) -> Trajectory:
    """Give another answer to an open question."""
    (kept,) = (answer for answer in ANSWERS["missing-on-update-call"] if answer.name == "kept")
    return reference.run(case, kept.optimizer)


def ascends(case: Case) -> Trajectory:
    return reference.run(case, DEVIATIONS["ascends"].optimizer)


def dense(gradient: Any) -> Any:
    return gradient.to_dense() if hasattr(gradient, "to_dense") else gradient


def in_single(case: Case) -> Trajectory:
    """Hide a wider state: the variables of float16 are kept in float32."""
    if any(variable.dtype != np.float16 for variable in case.variables):
        raise conformance.Unsupported("another dtype")
    wide = replace(
        case,
        variables=tuple(variable.astype("float32") for variable in case.variables),
        gradients=tuple(
            tuple(None if gradient is None else dense(gradient).astype("float32") for gradient in call)
            for call in case.gradients
        ),
    )
    return [
        {"variables": [array.astype("float16") for array in record["variables"]]}
        for record in reference.run(wide)
    ]


def of_many_kinds(case: Case) -> Any:
    """Give numbers in unusual types, errors, and no trajectory."""
    kind = len(case.id) % 4
    if kind == 0:
        raise ValueError(f"no {case.id}")
    if kind == 1:
        return [{"variables": []}]
    records = [dict(record, calls=np.int32(record["calls"]), velocities=None) for record in ascends(case)]
    return records if kind == 2 else [dict(record, learning_rate=1) for record in records]


def few_cases() -> list[Case]:
    """Return cases of each kind that matters here, one of them contested."""
    by_id = {case.id: case for case in conformance.cases()}
    ids = (
        "axes/float16",
        "axes/momentum",
        "axes/nesterov",
        "named/missing-on-update-call",
        "exact/clipnorm/float32",
    )
    return [by_id[case_id] for case_id in ids]


@pytest.mark.parametrize(
    ("run", "grades"),
    [
        (reference.run, {"exact"}),
        (keeps, {"exact"}),
        (ascends, {"diverges"}),
        (FAITHFUL["descent-fused"].run, {"exact", "rounding"}),
        (in_single, {"rounding", "unsupported"}),
        (of_many_kinds, {"diverges", "error"}),
    ],
)
def test_the_same_report(run: Callable[[Case], Any], grades: set[str]) -> None:
    profile = Profile()
    graded, again = {}, {}
    for case in chosen(few_cases(), profile):
        graded[case.id] = grade_by_answers(run, case, profile)
        graded[case.id].best()
        document = json.loads(json.dumps(keeping.to_json(graded[case.id])))
        again[case.id] = keeping.from_json(document, case, profile)
        assert again[case.id].judged == graded[case.id].judged
        assert again[case.id].verdicts == graded[case.id].verdicts
        for one, other in zip(graded[case.id].verdicts, again[case.id].verdicts, strict=True):
            assert (one.trajectory is None) == (other.trajectory is None)
            if one.trajectory is not None and other.trajectory is not None:
                assert are_equal(case, one.trajectory, other.trajectory)
    whole, kept = report_of(graded, "mine", profile), report_of(again, "mine", profile)
    assert {verdict.grade for verdict in whole.verdicts.values()} == grades
    assert kept.verdicts == whole.verdicts
    assert kept.answers == whole.answers
    assert kept.hidden_wider_state == whole.hidden_wider_state
    assert (run is keeps) == (kept.answers.get("missing-on-update-call") == "kept")


def test_an_exact_answer_takes_little_place() -> None:
    case = conformance.cases("smoke")[0]
    assert len(json.dumps(keeping.to_json(grade_by_answers(reference.run, case, Profile())))) < 300


def test_an_exact_answer_holds_what_was_reported() -> None:
    case = next(case for case in conformance.cases("smoke") if case.config["momentum"])

    def without_velocities(case: Case) -> Trajectory:
        return [{"variables": record["variables"]} for record in reference.run(case)]

    graded = grade_by_answers(without_velocities, case, Profile())
    (verdict,) = keeping.from_json(keeping.to_json(graded), case, Profile()).verdicts
    assert verdict.trajectory is not None
    assert [list(record) for record in verdict.trajectory] == [["variables"]] * len(verdict.trajectory)
    assert list(verdict.trajectory[-1]) == ["variables"]


def test_another_case_is_refused() -> None:
    one, other, *_ = conformance.cases("smoke")
    kept = keeping.to_json(grade_by_answers(reference.run, one, Profile()))
    with pytest.raises(ValueError, match=f"case must be {one.id}, got {other.id}"):
        keeping.from_json(kept, other, Profile())
