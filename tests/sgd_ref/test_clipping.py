"""The three clippings against their formulas written out with NumPy, for gradients of known norms."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from sgd_ref import SGD

Array = np.ndarray[Any, np.dtype[Any]]

DTYPES: list[Any] = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)

PYTHAGOREAN = [1.0, -4.0, 8.0, -0.0]
NORM = 9.0


@pytest.fixture(autouse=True)
def _special_numbers_are_no_accidents() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def bits(array: Any) -> tuple[str, tuple[int, ...], str]:
    """The dtype, the shape and the bytes; NaN is NaN whatever its payload."""
    array = np.array(array)
    array[np.isnan(array)] = math.nan
    return array.dtype.name, array.shape, array.tobytes().hex()


def used(g: Array, **settings: Any) -> Array:
    """The gradient as it enters the update, recovered to the last bit: ``-(-0.0 - 1.0 * g)`` is g."""
    variable = np.full_like(g, -0.0)
    SGD(1.0, **settings).apply([g], [variable])
    return -variable


def neighbours(dtype: Any, value: float) -> list[float]:
    """The numbers of `dtype` before, at and after `value`."""
    return [
        float(np.nextafter(dtype(value), dtype(0))),
        value,
        float(np.nextafter(dtype(value), dtype(math.inf))),
    ]


@every_dtype
@pytest.mark.parametrize("position", [0, 1, 2])
def test_clipnorm_around_the_norm(dtype: Any, position: int) -> None:
    g, clipnorm = np.array(PYTHAGOREAN, dtype), neighbours(dtype, NORM)[position]
    expected = (g * dtype(clipnorm)) / dtype(NORM if position == 0 else clipnorm)
    assert bits(used(g, clipnorm=clipnorm)) == bits(expected)


@every_dtype
@pytest.mark.parametrize("clipnorm", [0.1, 1.77, 7.77, 777.7])
def test_clipnorm_multiplies_then_divides_also_below_the_norm(dtype: Any, clipnorm: float) -> None:
    g = np.arange(1, 8).astype(dtype) / dtype(8)
    norm = dtype(math.sqrt(1 + 4 + 9 + 16 + 25 + 36 + 49) / 8)
    expected = (g * dtype(clipnorm)) / max(norm, dtype(clipnorm))
    assert bits(used(g, clipnorm=clipnorm)) == bits(expected)


@every_dtype
def test_clipnorm_at_the_ends_of_the_range(dtype: Any) -> None:
    information = ml_dtypes.finfo(dtype)
    tiny, huge = float(information.smallest_subnormal), 2.0 ** (information.maxexp - 3)
    for clipnorm, gradient, expected in (
        (1.0, [3 * tiny, 4 * tiny], [3 * tiny, 4 * tiny]),
        (1.0, [3 * huge, 0.0], [1.0, 0.0]),
        (2 * huge, [2.0, huge], [2.0, math.inf]),
        (1.0, [0.0, -0.0], [0.0, -0.0]),
        (1.0, [math.inf, -1.0], [math.nan, -0.0]),
        (1.0, [math.nan, 1.0], [math.nan, math.nan]),
    ):
        assert bits(used(np.array(gradient, dtype), clipnorm=clipnorm)) == bits(np.array(expected, dtype))


@every_dtype
def test_clipnorm_is_of_each_gradient_alone(dtype: Any) -> None:
    variables = [np.zeros(2, dtype), np.zeros((), dtype), np.zeros((0, 3), dtype)]
    gradients = [np.array([3.0, 4.0], dtype), np.array(math.nan, dtype), np.zeros((0, 3), dtype)]
    SGD(1.0, clipnorm=2.5).apply(gradients, variables)
    assert bits(variables[0]) == bits(np.array([-1.5, -2.0], dtype))
    assert np.isnan(variables[1])


@every_dtype
def test_clipvalue(dtype: Any) -> None:
    below, at, above = (dtype(value) for value in neighbours(dtype, 0.7))
    tiny, huge = ml_dtypes.finfo(dtype).smallest_subnormal, ml_dtypes.finfo(dtype).max
    g = np.array([below, at, above, huge, math.inf, tiny, 0.0, math.nan], dtype)
    expected = np.array([below, at, at, at, at, tiny, 0.0, math.nan], dtype)
    assert bits(used(g, clipvalue=0.7)) == bits(expected)
    assert bits(used(-g, clipvalue=0.7)) == bits(-expected)


@every_dtype
@pytest.mark.parametrize("clipnorm", [0.1, 1.7, 3.1, "below", "at", "above", 777.7])
def test_global_clipnorm(dtype: Any, clipnorm: Any) -> None:
    around_the_norm = dict(zip(["below", "at", "above"], neighbours(dtype, NORM), strict=True))
    clipnorm = around_the_norm.get(clipnorm, clipnorm)
    gradients = [np.array(PYTHAGOREAN[:2], dtype), np.array(PYTHAGOREAN[2:], dtype).reshape(2, 1)]
    variables = [np.full_like(gradient, -0.0) for gradient in gradients]
    SGD(1.0, global_clipnorm=clipnorm).apply(gradients, variables)
    factor = dtype(clipnorm) * min(dtype(1) / dtype(NORM), dtype(1 / clipnorm))
    assert [bits(-w) for w in variables] == [bits(g * factor) for g in gradients]


@every_dtype
@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_global_clipnorm_hides_nothing_that_is_not_finite(dtype: Any, poison: float) -> None:
    variables = [np.zeros(2, dtype), np.zeros((), dtype)]
    SGD(1.0, global_clipnorm=1.0).apply([np.array([0.0, poison], dtype), np.array(1.0, dtype)], variables)
    assert np.isnan(variables[0]).all()
    assert np.isnan(variables[1])


@every_dtype
def test_global_clipnorm_of_zeros_and_of_tiny_numbers(dtype: Any) -> None:
    tiny = ml_dtypes.finfo(dtype).smallest_subnormal
    for numbers in ([0.0, -0.0], [3 * tiny, -4 * tiny]):
        g = np.array(numbers, dtype)
        assert bits(used(g, global_clipnorm=1.7)) == bits(g * (dtype(1.7) * dtype(1 / 1.7)))


def test_global_clipnorm_over_float16_and_bfloat16_is_computed_in_float32() -> None:
    gradients = [np.array([1.0, 2.0, 3.0], np.float16), np.array([4.0, 5.0, 7.0], ml_dtypes.bfloat16)]
    for clipnorm in (0.31, 3.1, 5.7):
        variables = [np.full_like(gradient, -0.0) for gradient in gradients]
        SGD(1.0, global_clipnorm=clipnorm).apply(gradients, variables)
        norm = np.float32(math.sqrt(1 + 4 + 9 + 16 + 25 + 49))
        factor = np.float32(clipnorm) * min(np.float32(1) / norm, np.float32(1 / clipnorm))
        for w, g in zip(variables, gradients, strict=True):
            assert bits(-w) == bits((g.astype(np.float32) * factor).astype(g.dtype))


@pytest.mark.filterwarnings("ignore:no gradient was given")
def test_global_clipnorm_is_computed_in_the_dtype_of_the_gradients_that_are_there() -> None:
    variables = [np.full(2, -0.0, np.float16), np.full(2, -0.0)]
    optimizer = SGD(1.0, global_clipnorm=3.1)
    g = np.array([1.0, 7.0], np.float16)
    optimizer.apply([g, None], variables)
    factor = np.float16(3.1) * min(np.float16(1) / np.float16(math.sqrt(50)), np.float16(1 / 3.1))
    assert bits(-variables[0]) == bits(g * factor)
    wide_factor = 3.1 * min(1 / math.sqrt(50), 1 / 3.1)
    assert bits(g * factor) != bits((g.astype(np.float64) * wide_factor).astype(np.float16))
