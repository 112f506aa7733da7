"""Formulas of faithful variants by themselves: special operands have the results of the definition."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from sgd_ref.arithmetic.formats import FORMATS, Array
from sgd_ref.arithmetic.rounded import convert, setting
from sgd_ref.conformance.faithful import FAITHFUL
from sgd_ref.conformance.faithful.special_values import where_finite
from sgd_ref.optimizer import SGD

OPTIMIZERS = {name: variant.optimizer for name, variant in FAITHFUL.items()}
OPERANDS = (1.0, -0.5, 0.0, -0.0, math.inf, -math.inf, math.nan)


def operands(count: int, dtype: np.dtype[Any]) -> list[Array]:
    """All combinations of the operands, one array for each place."""
    combinations = np.array(list(itertools.product(OPERANDS, repeat=count)))
    return [convert(column, dtype) for column in combinations.T]


def results(optimizer: SGD, dtype: np.dtype[Any]) -> list[Array]:
    """What every formula gives for all combinations of operands."""

    def number(value: float) -> Any:
        return setting(value, dtype)

    rate, momentum = number(0.25), number(0.75)
    first, second = operands(2, dtype)
    w, old, g = operands(3, dtype)
    new = SGD().accelerated(old, g, momentum, rate)
    with np.errstate(all="ignore"):
        return [
            optimizer.unscaled(first, number(3.0)),
            optimizer.mean_of(first, second, number(3.0)),
            *(optimizer.clipped(first, number(norm), number(1.5)) for norm in (0.0, 1.5, 3.0, *OPERANDS[4:])),
            *(
                optimizer.globally_clipped(first, number(norm), number(1.5), number(1 / 1.5))
                for norm in (0.0, 1.5, 3.0, math.inf, math.nan)
            ),
            optimizer.decayed(first, number(0.125), rate),
            optimizer.descended(first, second, rate),
            optimizer.accelerated(first, second, momentum, rate),
            optimizer.moved(w, old, new, g, momentum, rate),
            optimizer.moved_by_nesterov(w, old, new, g, momentum, rate),
            optimizer.averaged(first, second, momentum),
        ]


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_special_operands_have_the_results_of_the_definition(name: str, dtype: np.dtype[Any]) -> None:
    with np.errstate(all="ignore"):
        pairs = list(zip(results(SGD(), dtype), results(OPTIMIZERS[name](), dtype), strict=True))
    for expected, observed in pairs:
        assert observed.dtype == dtype
        assert np.array_equal(np.isnan(expected), np.isnan(observed))
        infinite = np.isinf(expected) | np.isinf(observed)
        assert np.array_equal(expected[infinite], observed[infinite])


def test_infinite_operands_take_the_definition() -> None:
    operand = np.array([1.0, np.inf, np.nan, -0.0])
    chosen = where_finite(operand * 2, operand - 1, operand)
    assert np.array_equal(chosen, [2.0, np.inf, np.nan, -0.0], equal_nan=True)
    assert np.array_equal(where_finite(1.0, 0.0, operand, operand[::-1]), [1, 0, 0, 1])
