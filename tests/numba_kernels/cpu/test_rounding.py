"""What decides norms: right at and beside ties, in every format, never for the wrong number."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import ml_dtypes
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numba_kernels.cpu import rounding
from numba_kernels.cpu.rounding import ERROR_OF_COMPENSATED_SUM, ERROR_OF_PLAIN_SUM, SAFE
from numba_kernels.cpu.sums import UNIT
from sgd_ref.arithmetic.formats import FLOAT64, FORMATS
from sgd_ref.arithmetic.rounded import nearest
from sgd_ref.norm import _square_root

NARROW = [np.dtype(dtype) for dtype in (np.float16, ml_dtypes.bfloat16, np.float32)]
every_narrow_dtype = pytest.mark.parametrize("dtype", NARROW, ids=lambda dtype: dtype.name)


@numba.njit(error_model="numpy")
def compiled_nearest(number: float, precision: int, lowest: int) -> Any:
    """As the decisions round."""
    return rounding.nearest_number(number, precision, lowest)


def root_of(square: Fraction, dtype: Any) -> float:
    """Return the correctly rounded root of a sum of squares, each a number with a denominator 4**n."""
    exponent = (square.denominator.bit_length() + 1) // 2
    return float(nearest(_square_root(int(square * 4**exponent)) / Fraction(2) ** exponent, dtype))


@every_narrow_dtype
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_rounding_to_nearest(dtype: Any, data: st.DataObject) -> None:
    number = data.draw(
        st.one_of(
            st.floats(0, 1e300),
            st.integers(0, 2**14).map(lambda n: n * 2.0**-30),
            st.integers(0, 2**26).map(float),
        )
    )
    assert compiled_nearest(number, *FORMATS[dtype]) == float(nearest(Fraction(number), dtype))


@every_narrow_dtype
def test_rounding_at_the_ends_of_the_range(dtype: Any) -> None:
    precision, lowest = FORMATS[dtype]
    largest, smallest = float(FORMATS[dtype].largest), math.ldexp(1.0, lowest - precision + 1)
    for number in (largest, smallest, largest * (1 + 2.0 ** -(precision + 1)), smallest / 2, 1.5 * smallest):
        for beside in (math.nextafter(number, 0), number, math.nextafter(number, math.inf)):
            expected = float(nearest(Fraction(beside), dtype))
            assert compiled_nearest(beside, precision, lowest) == expected, beside


@every_narrow_dtype
def test_one_and_many_are_decided_alike(dtype: Any) -> None:
    generator = np.random.default_rng(5)
    sums = generator.standard_normal(2000) ** 2 * 2.0 ** generator.integers(-30, 30, 2000)
    sums[:4] = math.inf, math.nan, 0.0, 2.0
    norms, undecided = rounding.decided_norms(sums, dtype)
    # What is not finite is not computed once more.
    assert str(norms[:3].tolist()) == "[inf, nan, 0.0]"
    assert not undecided[:3].any()
    for total, norm, open_question in zip(sums.tolist(), norms.tolist(), undecided.tolist(), strict=True):
        one = rounding.decided_narrow_norm(total, dtype)
        assert (one is None) == open_question
        assert one is None or one == norm or (math.isnan(one) and math.isnan(norm))


@every_narrow_dtype
def test_a_narrow_norm_is_decided_only_if_no_sum_within_the_bound_has_another(dtype: Any) -> None:
    """Sums beside the square of a tie, by a little less and a little more than the bound."""
    generator = np.random.default_rng(6)
    precision, _ = FORMATS[dtype]
    error = Fraction(ERROR_OF_PLAIN_SUM)
    for _ in range(200):
        tie = Fraction(2 * int(generator.integers(2 ** (precision - 1), 2**precision)) + 1, 2**precision)
        for distance in (-3, -1.05, -1, -0.9, -0.01, 0, 0.01, 0.9, 1, 1.05, 3):
            total = float(tie**2 * (1 + Fraction(distance) * error))
            norm = rounding.decided_narrow_norm(total, dtype)
            assert norm is not None or abs(distance) < 3
            for true in (Fraction(total) / (1 + error), Fraction(total), Fraction(total) / (1 - error)):
                assert norm is None or norm == root_of_any(true, dtype), distance


def root_of_any(square: Fraction, dtype: Any) -> float:
    """Return the correctly rounded root of any rational number."""
    scaled = math.isqrt((square.numerator << 400) // square.denominator)
    return float(nearest(Fraction(2 * scaled + 1, 2 << 200), dtype))


def test_a_wide_norm_is_decided_only_if_no_sum_within_the_bound_has_another() -> None:
    generator = np.random.default_rng(7)
    error = Fraction(ERROR_OF_COMPENSATED_SUM)
    for number in range(300):
        # Also at powers of two, below which the gaps are half as wide.
        near = 2**53 if number % 3 == 0 else int(generator.integers(2**52, 2**53))
        above = 2 if near == 2**53 else 1
        scale = Fraction(2) ** int(generator.integers(-480, 440))
        tie = (2 * near + (above if number % 2 else -1)) * scale
        for distance in (-5, -2.1, -1, -0.9, -0.01, 0, 0.01, 0.9, 1, 2.1, 5):
            total = tie**2 * (1 + Fraction(distance) * error)
            high = float(total)
            low = float(total - Fraction(high))
            norm = rounding.decided_norm(high, low)
            given_total = Fraction(high) + Fraction(low)
            if not SAFE[0] < high < SAFE[1]:
                assert norm is None
                continue
            assert norm is not None or abs(distance) < 5
            for true in (given_total / (1 + error), given_total, given_total / (1 - error)):
                assert norm is None or norm == root_of_any(true * 4**500, FLOAT64) / 2.0**500, distance


@pytest.mark.parametrize("scale", [-440, -30, 0, 30, 490])
def test_wide_norms_of_random_sums_are_decided_and_right(scale: int) -> None:
    generator = np.random.default_rng(8)
    for high in (generator.uniform(1, 4, 500) * 4.0**scale).tolist():
        low = high * UNIT * float(generator.uniform(-0.4, 0.4))
        total = Fraction(high) + Fraction(low)
        assert rounding.decided_norm(high + low, low - ((high + low) - high)) == root_of(total, FLOAT64)


@pytest.mark.parametrize("high", [0.0, 1e-300, 2.0**1000, math.inf, math.nan])
def test_sums_of_which_something_may_be_lost_are_not_decided(high: float) -> None:
    assert rounding.decided_norm(high, 0.0) is None
