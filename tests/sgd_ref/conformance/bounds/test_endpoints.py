"""Endpoints: every operation is rounded outwards, and not at all where it is exact."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, FORMATS, Array
from sgd_ref.arithmetic.rounded import convert, nearest
from sgd_ref.conformance.bounds.endpoints import (
    WIDER,
    Directed,
    Endpoints,
    FloatEndpoints,
    FractionEndpoints,
    as_fraction,
    endpoints_of,
)

EXTENDED = np.dtype(np.longdouble)
HAS_EXTENDED = np.finfo(EXTENDED).nmant + 1 == 64

FLOATS = {
    dtype: FloatEndpoints(dtype, EXTENDED if dtype == FLOAT64 else FLOAT64)
    for dtype in FORMATS
    if dtype != FLOAT64 or HAS_EXTENDED
}
FRACTIONS = {dtype: FractionEndpoints(dtype) for dtype in FORMATS}
EXPONENTS = {FLOAT16: (-24, 15), BFLOAT16: (-133, 127), FLOAT32: (-149, 127), FLOAT64: (-1074, 1023)}

dtypes = st.sampled_from(list(FLOATS))


@st.composite
def operands(draw: st.DrawFn, dtype: np.dtype[Any], count: int) -> list[float]:
    """Numbers of a dtype whose significands are long, short, or close to a power of two."""
    precision = FORMATS[dtype].precision
    significand = st.integers(-(2**precision) + 1, 2**precision - 1) | st.sampled_from(
        [0, 1, -1, 3, 2**precision - 1, 2 ** (precision - 1) + 1, 1 - 2**precision]
    )
    low, high = EXPONENTS[dtype]
    found = []
    for _ in range(count):
        exponent = draw(st.integers(-precision - 3, 3) | st.integers(low, high))
        value = float(nearest(Fraction(draw(significand)) * Fraction(2) ** exponent, dtype))
        found.append(value if math.isfinite(value) else float(FORMATS[dtype].largest))
    return found


def ends(endpoints: Endpoints, dtype: np.dtype[Any], values: Sequence[float]) -> Array:
    return endpoints.point(convert(np.array(values), dtype))


def number(x: Any) -> Any:
    """A fraction, an infinite float, or None for NaN."""
    x = float(x) if isinstance(x, BFLOAT16.type) else x
    return None if x != x else as_fraction(x)  # noqa: PLR0124 - only NaN differs from itself


def numbers(directed: Directed) -> tuple[list[Any], list[Any]]:
    down, up = directed
    return [number(x) for x in down], [number(x) for x in up]


def neighbour(x: Any, wide: np.dtype[Any], direction: float) -> Any:
    return np.nextafter(wide.type(x), wide.type(direction))


def check_directed(directed: Directed, wanted: Sequence[Any]) -> None:
    """Each result encloses the exact one, by two neighbours at most, and is it where that is a number."""
    wide = directed[0].dtype
    for down, up, exact in zip(*directed, wanted, strict=True):
        if exact is None:
            assert np.isnan([down, up]).all()
            continue
        low, high = number(down), number(up)
        assert low <= exact <= high
        precision = np.finfo(wide).nmant + 1
        lowest = int(np.finfo(wide).minexp) - precision + 1
        if is_number(exact, precision, lowest) and abs(exact) >= Fraction(2) ** (lowest + 4 * precision):
            assert low == exact == high
        # One number may lie between: where the error itself is rounded, both ends move.
        assert number(neighbour(neighbour(down, wide, math.inf), wide, math.inf)) >= high


def is_number(exact: Any, precision: int, lowest: int) -> bool:
    if isinstance(exact, float) or exact == 0:
        return True
    numerator = abs(exact.numerator)
    if exact.denominator & (exact.denominator - 1) or exact.denominator.bit_length() - 1 > -lowest:
        return False
    return numerator.bit_length() - ((numerator & -numerator).bit_length() - 1) <= precision


@given(st.data(), dtypes)
def test_sums_products_and_quotients_are_rounded_outwards_or_exact(
    data: st.DataObject, dtype: np.dtype[Any]
) -> None:
    x, y = ([value] for value in data.draw(operands(dtype, 2)))
    fast, slow = FLOATS[dtype], FRACTIONS[dtype]
    with np.errstate(all="ignore"):
        check_directed(
            fast.add(ends(fast, dtype, x), ends(fast, dtype, y)),
            numbers(slow.add(ends(slow, dtype, x), ends(slow, dtype, y)))[0],
        )
        check_directed(
            fast.multiply(ends(fast, dtype, x), ends(fast, dtype, y)),
            numbers(slow.multiply(ends(slow, dtype, x), ends(slow, dtype, y)))[0],
        )
        divisor = [abs(y[0])]
        check_directed(
            fast.divide(ends(fast, dtype, x), ends(fast, dtype, divisor)),
            numbers(slow.divide(ends(slow, dtype, x), ends(slow, dtype, divisor)))[0],
        )


@given(st.data(), dtypes)
def test_operands_that_no_dtype_holds_are_rounded_outwards_too(
    data: st.DataObject, dtype: np.dtype[Any]
) -> None:
    values = data.draw(operands(dtype, 4))
    fast = FLOATS[dtype]
    a, b, c, d = (ends(fast, dtype, [value]) for value in values)
    with np.errstate(all="ignore"):
        x, y = fast.multiply(a, b)[0], fast.divide(c, np.abs(d))[1]
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            return
        left, right = number(x[0]), number(y[0])
        check_directed(fast.add(x, y), [left + right])
        if float(np.abs(x[0])) < 1e290 and float(np.abs(y[0])) < 1e290:
            low, high = (number(end[0]) for end in fast.multiply(x, y))
            assert low <= left * right <= high


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("endpoints", [FLOATS, FRACTIONS], ids=["floats", "fractions"])
def test_infinities_and_zeros_follow_the_standard(dtype: np.dtype[Any], endpoints: Any) -> None:
    kind = endpoints[dtype]
    x = kind.point(convert(np.array([math.inf, -math.inf, 0.0, 1.0, -2.0, math.inf, 0.0]), dtype))
    y = kind.point(convert(np.array([math.inf, math.inf, 0.0, math.inf, 0.0, 0.0, math.inf]), dtype))
    with np.errstate(all="ignore"):
        results = {name: numbers(getattr(kind, name)(x, y)) for name in ("add", "multiply", "divide")}
    infinity = math.inf
    wanted = {
        "add": [infinity, None, 0, infinity, -2, infinity, infinity],
        "multiply": [infinity, -infinity, 0, infinity, 0, None, None],
        "divide": [None, None, None, 0, -infinity, infinity, 0],
    }
    for name, expected in wanted.items():
        assert results[name] == (expected, expected), name


@given(st.data(), st.sampled_from(list(FORMATS)))
def test_rounding_to_nearest_is_that_of_the_reference(data: st.DataObject, dtype: np.dtype[Any]) -> None:
    x, y = data.draw(operands(dtype, 2))
    exact = Fraction(x) + Fraction(y) / 3
    slow = FRACTIONS[dtype]
    assert number(slow.nearest(np.array([exact], object))[0]) == number(nearest(exact, dtype))
    tie = Fraction(x) + Fraction(math.ulp(x) if dtype == FLOAT64 else unit_of(x, dtype)) / 2
    assert number(slow.nearest(np.array([tie], object))[0]) == number(nearest(tie, dtype))
    if dtype in FLOATS:
        fast = FLOATS[dtype]
        down, up = fast.enclosing(np.array([tie], object))
        assert number(down[0]) == number(up[0]) == tie
        with np.errstate(over="ignore"):
            assert number(fast.nearest(down)[0]) == number(nearest(tie, dtype))


def unit_of(x: float, dtype: np.dtype[Any]) -> float:
    form = FORMATS[dtype]
    return 2.0 ** (max(math.frexp(x)[1] - 1, form.minimum_exponent) - form.precision + 1)


def test_what_is_too_small_for_float64_is_enclosed_as_closely() -> None:
    for exact in (Fraction(1, 2**1075), Fraction(1, 3 * 2**1070), -Fraction(1, 7 * 2**1020)):
        for endpoints in FLOATS.values():
            down, up = endpoints.enclosing(np.array([exact], object))
            check_directed((down, up), [exact])


@given(st.data(), dtypes)
def test_fractions_are_enclosed_by_neighbours(data: st.DataObject, dtype: np.dtype[Any]) -> None:
    x, y = data.draw(operands(dtype, 2))
    exact = Fraction(x) + Fraction(y) / 3
    down, up = FLOATS[dtype].enclosing(np.array([exact, math.inf, -math.inf], object))
    check_directed((down[:1], up[:1]), [exact])
    assert [float(end) for end in (*down[1:], *up[1:])] == [math.inf, -math.inf] * 2


@given(st.data(), st.sampled_from(list(FORMATS)))
@example(data=None, dtype=BFLOAT16)
@example(data=None, dtype=FLOAT16)
def test_nothing_wider_falls_below_or_exceeds(data: st.DataObject | None, dtype: np.dtype[Any]) -> None:
    values = [1 + 2.0**-24, 0.0] if data is None else data.draw(operands(dtype, 2))
    exact = Fraction(values[0]) + Fraction(values[1]) / 3
    if abs(exact) > FORMATS[FLOAT32].largest and dtype != FLOAT64:
        # Fractions, which serve float64 only where there are no wider registers, have no such overflow.
        return
    slow = FRACTIONS[dtype]
    array = np.array([exact], object)
    below, above = number(slow.below(array)[0]), number(slow.above(array)[0])
    assert below <= exact <= above
    wider = FLOAT32 if dtype not in WIDER else FLOAT64
    if dtype != FLOAT64:
        # The roundings to nearest in the next wider format and in the one after it.
        for form in {wider, FLOAT64}:
            assert below <= number(nearest(exact, form)) <= above
        assert number(slow.below(np.array([below], object))[0]) == below
        if abs(above) < FORMATS[wider].largest:
            assert (
                nearest(below, wider) == nearest(above, wider)
                or number(np.nextafter(nearest(below, wider), wider.type(math.inf))) == above
            )
    if dtype in FLOATS and dtype not in WIDER:
        fast = FLOATS[dtype]
        low, high = fast.enclosing(array)
        assert number(fast.below(low)[0]) == below
        assert number(fast.above(high)[0]) == above


def test_what_float32_cannot_hold_is_unbounded_or_its_largest_number() -> None:
    fast, slow = FLOATS[FLOAT16], FRACTIONS[FLOAT16]
    huge = FORMATS[FLOAT32].largest * 2
    assert fast.above(np.array([float(huge)]))[0] == math.inf
    assert number(fast.below(np.array([float(huge)]))[0]) == FORMATS[FLOAT32].largest
    assert number(slow.below(np.array([huge], object))[0]) <= huge
    assert number(slow.above(np.array([huge], object))[0]) >= huge


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_the_smallest_products_are_enclosed(dtype: np.dtype[Any]) -> None:
    fast = FLOATS[dtype]
    smallest = fast.point(np.array([FORMATS[dtype].smallest_normal], object).astype(float))
    exact, product = Fraction(1), smallest / smallest
    low, high = product, product
    with np.errstate(all="ignore"):
        for _ in range(40):
            low, high = fast.multiply(low, smallest * 3)[0], fast.multiply(high, smallest * 3)[1]
            exact *= FORMATS[dtype].smallest_normal * 3
            assert number(low[0]) <= exact <= number(high[0])
    assert exact > 0


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_points_keep_every_number_and_nan(dtype: np.dtype[Any]) -> None:
    smallest = float(FORMATS[dtype].smallest_normal) * 2.0 ** (1 - FORMATS[dtype].precision)
    values = convert(np.array([1.5, -smallest, -0.0, math.inf, math.nan]), dtype)
    for endpoints in (endpoints_of(dtype), FRACTIONS[dtype]):
        found = [number(x) for x in endpoints.point(values)]
        assert found == [Fraction(3, 2), -Fraction(smallest), 0, math.inf, None]


def test_endpoints_are_wider_than_the_dtype() -> None:
    for dtype in (FLOAT16, BFLOAT16, FLOAT32):
        assert endpoints_of(dtype).point(np.array([1.0])).dtype == FLOAT64
    found = endpoints_of(FLOAT64)
    assert isinstance(found, FloatEndpoints if HAS_EXTENDED else FractionEndpoints)
