"""What a deviation leaves is rounding, or it is not."""

from __future__ import annotations

from typing import Any

import numpy as np

from sgd_ref.conformance.diagnosis.closeness import leaves_rounding_only


def weights(*values: float, **scalars: Any) -> list[dict[str, Any]]:
    return [{"variables": [np.array(values, "f4")], **scalars}]


def test_a_deviation_that_is_near_explains() -> None:
    assert leaves_rounding_only(weights(1, 3), weights(2, 3), weights(2.0000005, 3))
    assert leaves_rounding_only(weights(1, 3), weights(1, 3), weights(1, 3))


def test_one_that_leaves_as_much_as_there_was_does_not() -> None:
    assert not leaves_rounding_only(weights(1, 3), weights(2, 3), weights(1.5, 3))
    assert not leaves_rounding_only(weights(1, 3), weights(1.0000002, 3), weights(0.9999998, 3))


def test_numbers_that_are_not_finite_must_be_the_same() -> None:
    assert leaves_rounding_only(weights(np.nan, 3), weights(np.inf, 3), weights(np.inf, 3))
    assert leaves_rounding_only(weights(np.nan, 3), weights(2, 3), weights(2.0000002, 3))
    assert leaves_rounding_only(weights(1, 3), weights(np.nan, 3), weights(np.nan, 3.0000002))
    assert not leaves_rounding_only(weights(1, 3), weights(np.inf, 3), weights(2, 3))
    assert not leaves_rounding_only(weights(1, 3), weights(np.inf, 3), weights(-np.inf, 3))


def test_counters_must_be_the_same() -> None:
    assert leaves_rounding_only(weights(1, calls=1), weights(1, calls=2), weights(1, calls=2))
    assert not leaves_rounding_only(weights(1, calls=1), weights(1, calls=2), weights(1, calls=3))


def test_what_was_cut_off_a_large_number_stays_when_it_is_small() -> None:
    def then_small(value: float) -> list[dict[str, Any]]:
        return [*weights(4), *weights(value)]

    assert leaves_rounding_only(then_small(3e-5), then_small(1e-5), then_small(1.2e-5))
    assert not leaves_rounding_only(then_small(3e-5), then_small(1e-5), then_small(2.2e-5))
    assert not leaves_rounding_only(weights(3e-5), weights(1e-5), weights(1.2e-5))
