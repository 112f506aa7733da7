"""Each mistake about structure is rejected by the cases that are for it, whatever the kill matrix says."""

from __future__ import annotations

from typing import Any

import pytest

from sgd_ref import conformance
from sgd_ref.conformance import Case
from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.conformance.deviations.mistakes.full_launches import FULL_LAUNCHES
from sgd_ref.conformance.deviations.mistakes.names_and_dtypes import NAMES_AND_DTYPES
from sgd_ref.conformance.deviations.mistakes.parts_of_norms import PARTS_OF_NORMS
from sgd_ref.conformance.deviations.mistakes.several_missing import SEVERAL_MISSING
from sgd_ref.conformance.deviations.mistakes.transposed import TRANSPOSED
from sgd_ref.conformance.grading.check import grade
from sgd_ref.conformance.trajectories import reference

GROUPS = (TRANSPOSED, SEVERAL_MISSING, FULL_LAUNCHES, NAMES_AND_DTYPES, PARTS_OF_NORMS)

NAMES = (*(mistake.name for group in GROUPS for mistake in group), "rate-stays-after-sixteen-calls")

NEEDS_SIZE = ("norm-of-first-block",)

FEWEST = 3


def is_rejected(name: str, case: Case) -> bool:
    def run(given: Case) -> Any:
        return reference.run(given, DEVIATIONS[name].optimizer)

    return grade(run, case).grade == "diverges"


@pytest.mark.parametrize("name", NAMES)
def test_three_cases_that_are_for_it_reject_it_and_one_of_smoke(name: str) -> None:
    promised = [case for case in conformance.cases() if name in case.exposes]
    assert len(promised) >= FEWEST
    assert all(is_rejected(name, case) for case in promised[:FEWEST])
    in_smoke = [case for case in conformance.cases("smoke") if name in case.exposes]
    assert name in NEEDS_SIZE or any(is_rejected(name, case) for case in in_smoke)
