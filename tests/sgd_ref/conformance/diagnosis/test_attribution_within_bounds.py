"""Explaining what an implementation does that rounds in its own way besides, by derived bounds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sgd_ref import conformance
from sgd_ref.conformance import Case
from sgd_ref.conformance.deviations import compose
from sgd_ref.conformance.diagnosis.attribution import explain_within_bounds, is_within_bounds
from sgd_ref.conformance.dialects import Dialect
from sgd_ref.conformance.faithful.combined import ChainOfTransformations, LoopOfTensors
from sgd_ref.conformance.trajectories import reference
from sgd_ref.optimizer import SGD

MOMENTUM = "axes/momentum"
SUBNORMAL = "axes/momentum/subnormal"
DECAYING = "axes/momentum/decay"
FROZEN = "axes/mixed/exclusion/accumulation-2/callable/decimal"
CLIPPING = "axes/momentum/clipnorm"


def case_of(case_id: str) -> Case:
    return next(case for case in conformance.cases() if case.id == case_id)


def observed(case: Case, *names: str, base: type[SGD] = SGD) -> list[dict[str, Any]]:
    """Return what an implementation answers that keeps velocities to itself."""
    trajectory = reference.run(case, *compose(names, base))
    return [{key: value for key, value in record.items() if key != "velocities"} for record in trajectory]


@pytest.mark.parametrize("base", [SGD, LoopOfTensors])
def test_the_fewest_that_explain_are_found(base: type[SGD]) -> None:
    case = case_of(DECAYING)
    candidates = ["decay-enters-velocity", "ascends", "nesterov-unasked"]
    for names in (("ascends",), ("decay-enters-velocity", "nesterov-unasked")):
        assert explain_within_bounds(case, observed(case, *names, base=base), candidates) == names


def test_nothing_explains_what_none_of_the_candidates_does() -> None:
    case = case_of(DECAYING)
    assert explain_within_bounds(case, observed(case, "ascends"), ["nesterov-unasked"]) == ()
    assert explain_within_bounds(case, observed(case, "ascends"), []) == ()


def test_what_is_within_the_bounds_of_the_rule_needs_no_name() -> None:
    case = case_of(DECAYING)
    answer = observed(case, "decay-enters-velocity", base=LoopOfTensors)
    rule = Dialect("pytorch").basis()
    assert explain_within_bounds(case, answer, ["decay-enters-velocity", "ascends"], rule) == ()
    wrong = observed(case, "decay-enters-velocity", "ascends", base=LoopOfTensors)
    assert explain_within_bounds(case, wrong, ["nesterov-unasked", "ascends"], rule) == ("ascends",)


def test_other_roundings_beside_a_deviation_make_no_difference() -> None:
    case = case_of(SUBNORMAL)
    answer = observed(case, "subnormals-flushed", base=ChainOfTransformations)
    assert explain_within_bounds(case, answer, ["subnormals-flushed"]) == ("subnormals-flushed",)


def test_roundings_do_not_explain_what_a_contradiction_does() -> None:
    case = case_of(CLIPPING)
    answer = observed(case, "clip-adds-epsilon")
    assert explain_within_bounds(case, answer, ["update-fused"]) == ()
    assert explain_within_bounds(case, answer, ["update-fused", "clip-adds-epsilon"]) == (
        "clip-adds-epsilon",
    )


def test_the_reported_rate_is_used() -> None:
    case = case_of(MOMENTUM)
    rate = 1.25 * case.config["learning_rate"]
    other = replace(case, config={**case.config, "learning_rate": rate})

    def reporting(value: float | None) -> list[dict[str, Any]]:
        return [{**record, "learning_rate": value} for record in observed(other, "ascends")]

    assert explain_within_bounds(case, reporting(None), ["ascends"]) == ()
    assert explain_within_bounds(other, reporting(rate), ["ascends"]) == ("ascends",)


def test_another_rate_may_be_used_than_is_reported() -> None:
    # A compiler freezes the rate, and fuses or not, as the processor has it; what is reported is read later.
    case = case_of(FROZEN)
    for roundings in ((), ("update-fused",), ("update-fused", "decay-fused"), ("mean-by-reciprocal",)):
        answer = [
            {**record, "learning_rate": rate}
            for record, rate in zip(
                observed(case, "rate-frozen", *roundings), case.learning_rate_calls or (), strict=True
            )
        ]
        assert is_within_bounds(case, answer, ["rate-frozen"]), roundings
        assert not is_within_bounds(case, answer, ["ascends"])
        assert not is_within_bounds(case, answer, ["rate-frozen", "ascends"])
