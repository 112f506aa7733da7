"""Deviations that cannot have made a violation are left out, and the others are not."""

from __future__ import annotations

from sgd_ref.conformance import cases
from sgd_ref.conformance.deviations import DEVIATIONS, compose
from sgd_ref.conformance.diagnosis.candidates import may_act
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import compare

EVERY = 45


def test_what_may_not_act_changes_nothing() -> None:
    left_out = 0
    for case in [case for case in cases() if case.made is None and len(case.gradients) <= 16][::EVERY]:
        expected = reference.run(case)
        for name in DEVIATIONS:
            if not may_act(case, name):
                left_out += 1
                assert compare(case, expected, reference.run(case, *compose([name]))).equal, (case.id, name)
    assert left_out > 100
