"""The norms of faithful variants: near the correctly rounded one, and never spoiled by their squares."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, FORMATS, Array
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.conformance.faithful import FAITHFUL
from sgd_ref.conformance.faithful.norms import NormInDouble, SummedNorm, added_in_pairs, added_in_turn
from sgd_ref.conformance.trajectories.comparison import equal_bits, units_apart
from sgd_ref.norm import euclidean_norm
from sgd_ref.optimizer import SGD

NORMS = {name: v.optimizer for name, v in FAITHFUL.items() if issubclass(v.optimizer, SummedNorm)}
SIZES = (1, 2, 3, 17, 100)


def gradients(dtype: np.dtype[np.generic], size: int, magnitude: float) -> list[Array]:
    generator = np.random.default_rng(size)
    return [convert(generator.standard_normal(count) * magnitude, dtype) for count in (size, 3, 0)]


def units(dtype: np.dtype[np.generic], optimizer_class: type[SGD], arrays: list[Array]) -> float:
    with np.errstate(all="ignore"):
        norm = optimizer_class().norm(arrays)
    assert norm.dtype == dtype
    return float(units_apart(np.asarray(euclidean_norm(arrays, dtype)), np.asarray(norm)))


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_norms_are_rounded_in_every_operation_and_no_more(name: str, dtype: np.dtype[np.generic]) -> None:
    for size in SIZES:
        # Half a unit for each square and each sum, of which the root takes half, and some for roots.
        limit = (size + 3) / 2 + 4 if dtype in (FLOAT32, FLOAT64) else 1
        for magnitude in (0.01, 1.0, 50.0):
            assert units(dtype, NORMS[name], gradients(dtype, size, magnitude)) <= limit


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize(
    ("dtype", "magnitude"),
    [
        (FLOAT16, 1e-06),
        (FLOAT16, 3000.0),
        (BFLOAT16, 1e-38),
        (BFLOAT16, 1e36),
        (FLOAT32, 1e-38),
        (FLOAT32, 1e37),
        (FLOAT64, 1e-307),
        (FLOAT64, 1e305),
    ],
)
def test_squares_neither_overflow_nor_underflow(
    name: str, dtype: np.dtype[np.generic], magnitude: float
) -> None:
    assert units(dtype, NORMS[name], gradients(dtype, 17, magnitude)) <= 14


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("dtype", FORMATS, ids=str)
@pytest.mark.parametrize(
    "elements", [[], [0.0, -0.0], [math.inf, 1.0], [math.nan, math.inf], [-math.inf], [3e4, math.nan]]
)
def test_special_values_are_those_of_the_definition(
    name: str, dtype: np.dtype[np.generic], elements: list[float]
) -> None:
    arrays = [convert(np.array(elements, np.float64), dtype), convert(np.array([0.0]), dtype)]
    expected = euclidean_norm(arrays, dtype)
    assert equal_bits(np.asarray(expected), np.asarray(NORMS[name]().norm(arrays))).all()


def test_norms_of_mixed_dtypes_have_the_dtype_that_holds_all() -> None:
    arrays = [np.array([3.0], FLOAT16), convert(np.array([4.0]), BFLOAT16)]
    for optimizer_class in NORMS.values():
        norm = optimizer_class().norm(arrays)
        assert (norm.dtype, float(norm)) == (FLOAT32, 5.0)


def test_norms_in_double_are_rounded_correctly_in_narrower_dtypes() -> None:
    for size in SIZES:
        assert units(FLOAT32, NormInDouble, gradients(np.dtype(FLOAT32), size, 1.0)) == 0


def test_sums_are_rounded_in_their_order() -> None:
    large_first = np.array([2**24, 1, 1, 1], FLOAT32)
    assert added_in_turn(large_first) == 2**24
    assert added_in_turn(large_first[::-1]) == 2**24 + 4
    assert added_in_pairs(large_first) == 2**24 + 2
    assert added_in_pairs(large_first[:0]) == added_in_turn(large_first[:0]) == 0
    assert np.array_equal(added_in_pairs(np.ones((5, 2), FLOAT32)), [5, 5])
