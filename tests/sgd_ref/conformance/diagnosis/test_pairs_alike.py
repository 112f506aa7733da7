"""Where one pair of mistakes gives every bit, the pairs that give the same bits are named, too."""

from __future__ import annotations

from sgd_ref.conformance import cases
from sgd_ref.conformance.deviations import compose
from sgd_ref.conformance.diagnosis.matching import diagnose
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import are_equal

CASE = next(case for case in cases() if case.id == "named/narrow/no-rows/bfloat16")


def test_every_pair_with_these_bits() -> None:
    observed = reference.run(CASE, *compose(["decay-before-unscaling", "last-variable-skipped"]))
    found = diagnose(CASE, observed)
    assert {"decay-before-unscaling", "last-variable-skipped"} in map(set, found.names)
    assert all(are_equal(CASE, reference.run(CASE, *compose(names)), observed) for names in found.names)
