"""Deviations that cannot have made a violation are left out, and the others are not."""

from __future__ import annotations

import numpy as np

from sgd_ref.conformance import cases
from sgd_ref.conformance.deviations import DEVIATIONS, compose
from sgd_ref.conformance.deviations.mistakes import STRUCTURAL
from sgd_ref.conformance.diagnosis.candidates import may_act, suiting
from sgd_ref.conformance.diagnosis.matching import diagnose
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import compare

EVERY = 90


def test_what_may_not_act_changes_nothing() -> None:
    left_out = 0
    for case in [case for case in cases() if case.made is None and len(case.gradients) <= 16][::EVERY]:
        expected = reference.run(case)
        for name in DEVIATIONS:
            if not may_act(case, name):
                left_out += 1
                assert compare(case, expected, reference.run(case, *compose([name]))).equal, (case.id, name)
    assert left_out > 100


def test_big_cases_are_tried_with_structural_deviations_alone() -> None:
    big = next(case for case in cases() if case.id == "structure/big-1048577/plain/float32")
    small = next(case for case in cases() if case.id == "structure/one-variable/plain/float32")
    tried = suiting(big)
    assert "indices-of-16-bits" in tried
    assert set(tried) < STRUCTURAL < set(DEVIATIONS)
    assert "norm-of-first-block" not in tried
    assert "ascends" in suiting(small)
    assert suiting(big, ["ascends", "clip-adds-epsilon"]) == ["ascends"]


def test_what_has_wider_bounds_and_changes_nothing_is_no_name() -> None:
    # The variable has no gradient in the call after the wrong value, and jumps back.
    case = next(case for case in cases() if case.id == "exact/nesterov-and-decay/float32")
    observed = reference.run(case)
    kernel = observed[3]["variables"][0].reshape(-1)
    kernel[2] = np.nextafter(kernel[2], np.float32(9))
    assert diagnose(case, observed).names == ()


def test_the_sign_of_a_zero_is_a_difference() -> None:
    case = next(case for case in cases() if case.id == "named/first-average-is-stored")
    observed = reference.run(case, *compose(["first-average-computed"]))
    assert ("first-average-computed",) in diagnose(case, observed).names
