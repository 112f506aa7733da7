"""Intervals contain what they stand for, and are not much wider than that."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from sgd_ref.arithmetic import exact, interval
from sgd_ref.arithmetic.interval import Interval

FINITE = st.floats(allow_nan=False, allow_infinity=False)
MODERATE = st.floats(2.0**-400, 2.0**400) | st.floats(-(2.0**400), -(2.0**-400))
UNIT = st.fractions(min_value=0, max_value=1)


def contains(around: Interval, value: Fraction) -> bool:
    return Fraction(around.lower) <= value <= Fraction(around.upper)


@pytest.mark.parametrize(
    ("operation", "a", "b", "lower", "upper"),
    [
        (operator.add, (1.0, 2.0), (4.0, 8.0), 5.0, 10.0),
        (operator.sub, (1.0, 2.0), (4.0, 8.0), -7.0, -2.0),
        # Each pair of ends is the least and the greatest of one of them.
        (operator.mul, (1.0, 2.0), (3.0, 4.0), 3.0, 8.0),
        (operator.mul, (-2.0, -1.0), (-4.0, -3.0), 3.0, 8.0),
        (operator.mul, (-2.0, -1.0), (3.0, 4.0), -8.0, -3.0),
        (operator.mul, (1.0, 2.0), (-4.0, -3.0), -8.0, -3.0),
        (operator.truediv, (1.0, 2.0), (4.0, 8.0), 0.125, 0.5),
        (operator.truediv, (-2.0, -1.0), (-8.0, -4.0), 0.125, 0.5),
        (operator.truediv, (-2.0, -1.0), (4.0, 8.0), -0.5, -0.125),
        (operator.truediv, (1.0, 2.0), (-8.0, -4.0), -0.5, -0.125),
    ],
)
def test_ends_are_one_float_outside_of_those_of_the_result(
    operation: Any, a: tuple[float, float], b: tuple[float, float], lower: float, upper: float
) -> None:
    result = operation(Interval(*a), Interval(*b))
    assert (result.lower, result.upper) == (math.nextafter(lower, -9.0), math.nextafter(upper, 99.0))


@pytest.mark.parametrize(
    ("bases", "exponents", "lower", "upper"),
    [
        ((2.0, 4.0), (1.0, 2.0), 2 - 2.0**-49, 16 + 2.0**-46),
        ((0.25, 0.5), (1.0, 2.0), 2.0**-4 - 2.0**-54, 0.5 + 2.0**-51),
        ((-1.0, 4.0), (-1.0, 2.0), 0.0, 16 + 2.0**-46),
        ((-1.0, 0.5), (1.0, 2.0), 0.0, 0.5 + 2.0**-51),
        ((0.5, 0.5), (1074.0, 1074.0), 0.0, 2.0**-1070 + 2.0**-1074),
        ((0.5, 0.5), (1060.0, 1060.0), 2.0**-1060 - 2.0**-1070, 2.0**-1060 + 2.0**-1070),
        ((1.0, 1.0), (0.0, 0.0), 1 - 2.0**-50, 1 + 2.0**-50),
    ],
)
def test_ends_of_a_power(
    bases: tuple[float, float], exponents: tuple[float, float], lower: float, upper: float
) -> None:
    result = interval.power(Interval(*bases), Interval(*exponents))
    assert (result.lower, result.upper) == (lower, upper)


@pytest.mark.parametrize(
    ("x", "lower", "upper"),
    [
        ((0.0, 0.0), 1 - 2.0**-49, 1.0),
        ((1.0, 1.0), -1.0, -1 + 2.0**-49),
        ((-0.5, 0.0), 1 - 2.0**-49, 1.0),
        ((1.0, 1.5), -1.0, -1 + 2.0**-49),
        ((-0.5, 1.5), -1.0, 1.0),
    ],
)
def test_ends_of_a_cosine(x: tuple[float, float], lower: float, upper: float) -> None:
    result = interval.cosine_of_pi_times(Interval(*x))
    assert (result.lower, result.upper) == (lower, upper)


def test_a_cosine_between_both_ends_falls() -> None:
    result = interval.cosine_of_pi_times(Interval(0.25, 0.5))
    assert -(2.0**-48) < result.lower < 0
    assert 0.7071 < result.upper < 0.7072


def test_ends_of_one_number() -> None:
    float_itself, integer = interval.number(0.1), interval.number(2)
    assert (float_itself.lower, float_itself.upper) == (0.1, 0.1)
    assert (integer.lower, integer.upper) == (math.nextafter(2, 1), math.nextafter(2, 3))
    assert repr(float_itself) == "Interval(0.1, 0.1)"


@given(st.fractions() | st.integers() | FINITE)
@example(2**53 + 1)
@example(Fraction(1, 2**1080))
@example(0)
def test_number_contains_it(value: Any) -> None:
    assert contains(interval.number(value), Fraction(value))


@pytest.mark.parametrize("operation", [operator.add, operator.sub, operator.mul, operator.truediv])
@given(a=st.tuples(FINITE, FINITE), b=st.tuples(FINITE, FINITE), at=st.tuples(UNIT, UNIT))
@example(a=(1.0, 1.0), b=(3.0, 3.0), at=(Fraction(0), Fraction(0)))
@example(a=(1.0, 1.0), b=(2.0**-60, 2.0**-60), at=(Fraction(0), Fraction(0)))
@example(a=(0.1, 0.1), b=(0.1, 0.1), at=(Fraction(0), Fraction(0)))
@example(a=(1e-200, 1e-200), b=(3e-200, 3e-200), at=(Fraction(0), Fraction(0)))
@example(a=(-2.0, 3.0), b=(-5.0, 7.0), at=(Fraction(0), Fraction(1)))
@example(a=(-2.0, 3.0), b=(-7.0, -5.0), at=(Fraction(1), Fraction(1)))
def test_operation_contains_the_result_for_all_numbers_inside(
    operation: Callable[[Any, Any], Any], a: tuple[float, float], b: tuple[float, float], at: Any
) -> None:
    inside = [
        Fraction(min(ends)) + (Fraction(max(ends)) - Fraction(min(ends))) * part
        for ends, part in zip((a, b), at, strict=True)
    ]
    try:
        result = operation(Interval(min(a), max(a)), Interval(min(b), max(b)))
    except ArithmeticError:
        assume(False)
    assert contains(result, operation(*inside))


@pytest.mark.parametrize("operation", [operator.add, operator.sub, operator.mul, operator.truediv])
@given(a=MODERATE, integer=st.integers(1, 2))
def test_integers_count_as_intervals(operation: Callable[[Any, Any], Any], a: float, integer: int) -> None:
    exactly, around = Fraction(a), Interval(a, a)
    for result, expected in [
        (operation(around, integer), operation(exactly, integer)),
        (operation(integer, around), operation(integer, exactly)),
    ]:
        assert contains(result, expected)
        assert math.nextafter(math.nextafter(result.lower, math.inf), math.inf) == result.upper


@given(st.floats(0, 2.0**20), st.floats(0, 2.0**30), st.floats(0, 2.0**-20))
@example(0.96, 37.5, 0.0)
@example(0.5, 1074.0, 0.0)
@example(0.5, 1075.5, 0.0)
@example(1e-5, 63.0, 0.0)
@example(0.0, 0.0, 0.0)
@example(1.0, 0.25, 0.5)
def test_power(base: float, exponent: float, width: float) -> None:
    bases, exponents = Interval(base - width, base), Interval(exponent - width, exponent)
    try:
        result = interval.power(bases, exponents)
    except ArithmeticError:
        assume(False)
    for b in {max(bases.lower, 0.0), base, max(base - width / 3, 0.0)}:
        for e in {max(exponents.lower, 0.0), exponent, max(exponent - width / 3, 0.0)}:
            assert contains(result, exact.power(Fraction(b), Fraction(e)))
    if width == 0 and result.lower > 2.0**-1000:
        assert result.upper / result.lower < 1 + 2.0**-48


@given(UNIT | st.fractions(0, 1, max_denominator=24))
@example(1 - Fraction(1, 10**9))
@example(Fraction(1, 10**9))
@example(1 - Fraction(1, 10**30))
def test_cosine(x: Fraction) -> None:
    result = interval.cosine_of_pi_times(interval.number(x))
    assert contains(result, exact.cosine_of_pi_times(x))
    assert result.upper - result.lower < 2.0**-47
    assert -1 <= result.lower <= result.upper <= 1
    wide = interval.cosine_of_pi_times(Interval(float(x) / 3, math.nextafter(float(x), 2)))
    assert contains(wide, exact.cosine_of_pi_times(x))
    assert contains(wide, exact.cosine_of_pi_times(x / 2))
    assert contains(wide, exact.cosine_of_pi_times(Fraction(float(x) / 3)))


@pytest.mark.parametrize(
    "compute",
    [
        lambda: Interval(1e308, 1e308) + Interval(1e308, 1e308),
        lambda: Interval(-1e308, 1e308) * Interval(1e10, 1e10),
        lambda: 1 / Interval(-1.0, 1.0),
        lambda: 1 / Interval(0.0, 1.0),
        lambda: 1 / Interval(0.0, 0.0),
        lambda: 1 / Interval(-1.0, 0.0),
        lambda: interval.power(Interval(2.0, 2.0), Interval(2000.0, 2000.0)),
        lambda: interval.number(10**400),
        lambda: Interval(math.nan, 1.0),
        lambda: Interval(2.0, 1.0),
        lambda: Interval(-math.inf, 1.0),
        lambda: Interval(1.0, math.inf),
    ],
)
def test_what_has_no_finite_interval_is_an_arithmetic_error(compute: Callable[[], Interval]) -> None:
    with pytest.raises(ArithmeticError):
        compute()
