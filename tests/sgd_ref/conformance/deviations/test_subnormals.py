"""Flushed subnormals beside every other deviation."""

from __future__ import annotations

import pytest

from sgd_ref.conformance import cases
from sgd_ref.conformance.audit.naming import dtype_of
from sgd_ref.conformance.deviations import DEVIATIONS, compose
from sgd_ref.conformance.diagnosis.candidates import may_act
from sgd_ref.conformance.trajectories import reference

FLUSHED = "subnormals-flushed"
SHORT = [case for case in cases() if case.made is None and len(case.gradients) <= 12]


@pytest.mark.share(5)
@pytest.mark.parametrize("name", [name for name in DEVIATIONS if name != FLUSHED])
def test_a_step_can_be_made_in_every_dtype(name: str) -> None:
    # A part that is computed on bit patterns must not be asked for its floats for ever.
    for case in {dtype_of(case): case for case in SHORT if may_act(case, name)}.values():
        try:
            records = reference.run(case, *compose([FLUSHED, name]))
        # Together they may make no step at all.
        except (ArithmeticError, TypeError, ValueError):
            continue
        assert len(records) == len(case.gradients) + case.finalize
