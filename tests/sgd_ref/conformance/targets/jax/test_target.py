"""In which cases JAX is expected to fail."""

from __future__ import annotations

import pytest

from sgd_ref.conformance import cases
from sgd_ref.conformance.targets.jax import target
from sgd_ref.conformance.targets.known import known_failure

BY_ID = {case.id: case for case in cases()}

PROMOTED = "it is no answer to the case: the dtypes and shapes of record 0.variables must be ['float16[3]']"
OUT_OF_BOUNDS = "OverflowError: Python integer 2147483648 out of bounds for int32"


@pytest.mark.parametrize(
    ("case_id", "message", "name"),
    [
        ("structure/equal-shapes/mixed-global_clipnorm/plain/mixed", PROMOTED, "parameters-promoted"),
        ("named/boundary-at-2147483648", OUT_OF_BOUNDS, "boundary-too-large"),
        ("named/alone/count-passes-31-bits/float32", OUT_OF_BOUNDS, "count-too-large"),
        # The same messages are unexpected where nothing explains them.
        ("axes/momentum", PROMOTED, None),
        ("axes/momentum", OUT_OF_BOUNDS, None),
        ("exact/piecewise/float64", PROMOTED, None),
    ],
)
def test_a_failure_is_known_where_its_cause_is_there(case_id: str, message: str, name: str | None) -> None:
    assert known_failure(BY_ID[case_id], message, target.FAILURES) == name


def test_a_piecewise_rate_promotes_half_types() -> None:
    half = next(
        case
        for case in cases()
        if {variable.dtype.name for variable in case.variables} == {"float16"}
        and isinstance(case.config["learning_rate"], dict)
        and case.config["learning_rate"]["class_name"] == "PiecewiseConstantDecay"
    )
    assert known_failure(half, PROMOTED, target.FAILURES) == "parameters-promoted"
