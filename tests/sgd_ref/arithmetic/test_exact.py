"""Exact numbers against mpmath, an independent evaluation with far more digits."""

from __future__ import annotations

import decimal
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sgd_ref import rule
from sgd_ref.arithmetic import exact
from sgd_ref.arithmetic.formats import BFLOAT16, FORMATS

BOUND = Fraction(1, 2**exact.BITS)
POSITIVE = st.builds(
    lambda significand, exponent: significand * Fraction(2) ** exponent,
    st.fractions(min_value=Fraction(1, 1000), max_value=1000),
    st.integers(-300, 300),
)


def fraction_of(value: Any) -> Fraction:
    magnitude = int(value.man) * Fraction(2) ** int(value.exp)
    return -magnitude if value < 0 else magnitude


def relative_error(value: Fraction, evaluate: Any, *arguments: Fraction) -> Fraction:
    with mpmath.workprec(2500):
        true = fraction_of(evaluate(*(mpmath.mpf(a.numerator) / a.denominator for a in arguments)))
    return abs(value / true - 1)


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_exact_keeps_every_finite_number(dtype: np.dtype[Any]) -> None:
    bits = np.dtype(f"u{dtype.itemsize}")
    if dtype.itemsize == 2:
        array = np.arange(2**16, dtype=bits).view(dtype)
    else:
        array = np.random.default_rng(1).integers(0, 2 ** (8 * dtype.itemsize), 5000, bits).view(dtype)
    with np.errstate(invalid="ignore"):
        array = array[np.isfinite(array)]
    fractions = exact.exact(array)
    assert fractions.dtype == object
    assert {type(fraction) for fraction in fractions} == {Fraction}
    np.testing.assert_array_equal(np.array([float(fraction) for fraction in fractions]), array.astype(float))
    assert len(set(fractions)) == len(np.unique(array))


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_exact_at_special_values(dtype: np.dtype[Any]) -> None:
    precision, minimum_exponent = FORMATS[dtype]
    smallest = Fraction(2) ** (minimum_exponent - precision + 1)
    array = np.array([float(smallest), -0.0, -1.5]).astype(dtype)
    assert exact.exact(array).tolist() == [smallest, 0, Fraction(-3, 2)]
    for shape in [(), (0, 3), (2, 1, 2)]:
        assert exact.exact(np.ones(shape, dtype)).shape == shape


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_exact_refuses_what_is_not_finite(dtype: np.dtype[Any], value: float) -> None:
    with pytest.raises(ValueError, match=f"array must be finite in every element, got {value}"):
        exact.exact(np.array([1.0, value]).astype(dtype))


def test_exact_refuses_a_signaling_nan() -> None:
    with pytest.raises(ValueError, match="array must be finite in every element, got nan"):
        exact.exact(np.array([0x7F81], np.uint16).view(BFLOAT16))


@pytest.mark.parametrize("array", [np.array([1]), np.array([1.0], ">f4"), np.array([1j]), ["a"]])
def test_exact_refuses_other_dtypes(array: Any) -> None:
    with pytest.raises(TypeError, match="array must be an array of float16, bfloat16, float32 or float64"):
        exact.exact(array)


@given(POSITIVE)
@example(Fraction(2))
@example(Fraction(1, 2**2200 - 1))
@example(Fraction(2**2200 + 1))
def test_square_root(x: Fraction) -> None:
    assert relative_error(exact.square_root(x), mpmath.sqrt, x) < BOUND
    assert exact.square_root(x * x) == x


def test_square_root_of_zero_and_of_a_negative_number() -> None:
    assert exact.square_root(Fraction(0)) == 0
    with pytest.raises(ValueError, match="x must be at least 0, got Fraction"):
        exact.square_root(Fraction(-1, 10**9))


@given(POSITIVE, st.fractions(min_value=-6, max_value=6, max_denominator=10**12))
@example(Fraction(2), Fraction(1, 2))
@example(1 - Fraction(1, 2**24), Fraction(10**9 + 1, 3))
@example(1 - Fraction(1, 2**24), Fraction(-(10**10)))
@example(1 + Fraction(1, 3 * 10**40), Fraction(10**42 + 1, 7))
@example(Fraction(3, 2), Fraction(6000))
@example(Fraction(1, 3), Fraction(1, 2**149))
def test_power(base: Fraction, exponent: Fraction) -> None:
    assert relative_error(exact.power(base, exponent), mpmath.power, base, exponent) < BOUND


@given(st.fractions(min_value=Fraction(1, 10**6), max_value=10**6), st.integers(1, 60), st.integers(-20, 20))
def test_power_is_exact_where_it_is_rational(root: Fraction, degree: int, times: int) -> None:
    assert exact.power(root**degree, Fraction(times, degree)) == root**times


@pytest.mark.parametrize(
    ("base", "exponent", "expected"),
    [
        (0, 0, 1),
        (0, Fraction(1, 10**9), 0),
        (5, 0, 1),
        (1, Fraction(10**40, 7), 1),
        (Fraction(1, 2), 149, Fraction(1, 2**149)),
    ],
)
def test_power_in_plain_cases(base: Any, exponent: Any, expected: Any) -> None:
    assert exact.power(Fraction(base), Fraction(exponent)) == expected


@pytest.mark.parametrize("exponent", [10**4, Fraction(10**40, 3), 10**400])
def test_power_beyond_every_dtype(exponent: Any) -> None:
    exponent = Fraction(exponent)
    assert exact.power(Fraction(3, 2), exponent) > 2**4096
    assert exact.power(Fraction(2, 3), -exponent) > 2**4096
    assert 0 < exact.power(Fraction(2, 3), exponent) < Fraction(1, 2**4096)


@pytest.mark.parametrize(("base", "exponent", "name"), [(-1, 1, "base"), (0, -1, "exponent")])
def test_power_refuses(base: int, exponent: int, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 0.*, got Fraction"):
        exact.power(Fraction(base), Fraction(exponent))


def test_power_is_independent_of_the_decimal_context_of_the_caller() -> None:
    expected = exact.power(Fraction(3), Fraction(1, 7))
    careless = decimal.Context(prec=3, rounding=decimal.ROUND_UP, Emin=-3, Emax=3, traps=[decimal.Inexact])
    with decimal.localcontext(careless):
        assert exact.power(Fraction(3), Fraction(1, 7)) == expected


@given(st.fractions(min_value=-4, max_value=4) | st.fractions(max_denominator=50))
@example(Fraction(1, 2) + Fraction(1, 10**60))
@example(1 - Fraction(1, 10**60))
@example(Fraction(10**60 + 1, 7))
def test_cosine(x: Fraction) -> None:
    with mpmath.workprec(2500):
        turned = x % 2
        true = fraction_of(mpmath.cospi(mpmath.mpf(turned.numerator) / turned.denominator))
    assert abs(exact.cosine_of_pi_times(x) - true) < BOUND


@pytest.mark.parametrize("turns", [-4, 0, 2, 10**30])
def test_cosine_is_exact_where_it_is_rational(turns: int) -> None:
    sixths = [exact.cosine_of_pi_times(turns + Fraction(k, 6)) for k in (0, 2, 3, 4, 6, 8, 9, 10)]
    half = Fraction(1, 2)
    assert sixths == [1, half, 0, -half, -1, -half, 0, half]


def test_norm() -> None:
    array = exact.exact(np.array([[3.0, 4.0], [12.0, 0.0]], np.float32))
    assert exact.norm([array]) == 13
    assert exact.norm([array, exact.exact(np.array([84.0]).astype(BFLOAT16))]) == 85
    tiny, huge = exact.exact(np.array([2.0**-1074] * 4)), exact.exact(np.array([2.0**1000] * 4))
    assert exact.norm([tiny]) == Fraction(2) ** -1073
    assert exact.norm([huge]) == 2**1001
    assert abs(exact.norm([huge, tiny]) / 2**1001 - 1) < BOUND


def test_norm_in_the_formula_of_global_clipping() -> None:
    limit = Fraction(2)
    arrays = [exact.exact(np.array([6.0])), exact.exact(np.array(8.0))]
    assert rule.global_clip_factor(exact.norm(arrays), limit, 1 / limit) == Fraction(2, 10)
    assert rule.global_clip_factor(exact.norm(arrays[:0]), limit, 1 / limit) == 1
    assert rule.global_clip_factor(exact.norm([exact.exact(np.zeros(3))]), limit, 1 / limit) == 1
    assert Fraction(1) / exact.norm([exact.exact(np.ones(4))]) == Fraction(1, 2)
