"""Enclosures: whatever a faithful evaluation gives lies inside, and hardly anything else does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import reduce
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, FORMATS, Array
from sgd_ref.arithmetic.rounded import convert, nearest
from sgd_ref.conformance.bounds.enclosure import (
    Arithmetic,
    Enclosure,
    arithmetic_of,
    hull,
)
from sgd_ref.conformance.bounds.products import product_in_any_order
from sgd_ref.conformance.bounds.sums import MOST_TERMS_IN_ALL_ORDERS, sum_in_any_order
from sgd_ref.conformance.trajectories.comparison import units_apart

ARITHMETICS = {dtype: arithmetic_of(dtype) for dtype in FORMATS}
WIDER = {FLOAT16: (FLOAT32, FLOAT64), BFLOAT16: (FLOAT32, FLOAT64), FLOAT32: (FLOAT64,), FLOAT64: ()}
SPECIAL = (0.0, math.inf, -math.inf, math.nan)

dtypes = st.sampled_from(list(FORMATS))
Rounding = Callable[[Any], Any]


@st.composite
def elements(draw: st.DrawFn, dtype: np.dtype[Any]) -> float:
    """A number of a dtype: short or long, ordinary, subnormal or huge, or special."""
    form = FORMATS[dtype]
    significand = draw(st.integers(1, 9) | st.integers(1, 2**form.precision - 1))
    lowest = form.minimum_exponent - form.precision + 1
    exponent = draw(
        st.integers(-form.precision - 2, 2)
        | st.integers(lowest, lowest + 4)
        | st.integers(
            -form.minimum_exponent - form.precision - 2, -form.minimum_exponent + 1 - form.precision
        )
    )
    value = draw(st.sampled_from([1, -1])) * Fraction(significand) * Fraction(2) ** exponent
    special = draw(st.sampled_from([None] * 12 + list(SPECIAL)))
    return float(nearest(value, dtype)) if special is None else special


def operate(symbol: str, x: Any, y: Any) -> Any:
    """The exact result: a fraction, an infinite float, or NaN."""
    if isinstance(x, Fraction) and isinstance(y, Fraction) and not (symbol == "/" and y == 0):
        return {"+": x.__add__, "-": x.__sub__, "*": x.__mul__, "/": x.__truediv__}[symbol](y)
    # Of a finite number beside an infinity, or of what is divided by zero, only the sign matters.
    left, right = (np.float64(z if isinstance(z, float) else (z > 0) - (z < 0)) for z in (x, y))
    with np.errstate(all="ignore"):
        result = {"+": left + right, "-": left - right, "*": left * right, "/": left / right}[symbol]
    return exactly(float(result))


def exactly(x: float) -> Any:
    return Fraction(x) if math.isfinite(x) else x


def rounded(x: Any, dtype: np.dtype[Any]) -> Any:
    return exactly(float(nearest(x, dtype))) if isinstance(x, Fraction) else x


def roundings(dtype: np.dtype[Any]) -> list[Rounding]:
    """To the dtype, to each wider format, or none."""
    formats = (dtype, *WIDER[dtype])
    return [*((lambda x, form=form: rounded(x, form)) for form in formats), lambda x: x]


def as_array(x: Any, dtype: np.dtype[Any]) -> Array:
    stored = nearest(x, dtype) if isinstance(x, Fraction) else dtype.type(x)
    return np.array([stored], dtype)


def width(enclosure: Enclosure) -> float:
    """The distance of the ends of one stored number, in units."""
    dtype = enclosure.arithmetic.dtype
    stored = enclosure.stored()
    low, high = (convert(np.asarray(end, FLOAT64), dtype) for end in (stored.lower, stored.upper))
    return float(units_apart(low, high)[0])


@given(st.data(), dtypes)
@settings(max_examples=200)
def test_every_evaluation_of_an_expression_lies_inside(data: st.DataObject, dtype: np.dtype[Any]) -> None:
    ways = roundings(dtype)

    def tree(depth: int) -> tuple[Any, Enclosure]:
        if depth == 0 or data.draw(st.integers(0, 3)) == 0:
            value = data.draw(elements(dtype))
            return exactly(value), ARITHMETICS[dtype].point(convert(np.array([value]), dtype))
        symbol = data.draw(st.sampled_from("+-*/"))
        (x, left), (y, right) = tree(depth - 1), tree(depth - 1)
        if symbol == "/":
            # Only positive numbers divide in the rule: norms and limits, scales, counts.
            y, right = (abs(y) if y == y else y), hull(right.at_least(-right), (-right).at_least(right))  # noqa: PLR0124
            if not (right.lower > 0).all():
                symbol = "*"
        rounding = data.draw(st.sampled_from(ways))
        enclosed = {"+": left.__add__, "-": left.__sub__, "*": left.__mul__, "/": left.__truediv__}
        return rounding(operate(symbol, x, y)), enclosed[symbol](right)

    with np.errstate(all="ignore"):
        value, enclosure = tree(3)
        assert enclosure.stored().holds(as_array(value, dtype)).all()


@given(st.data(), dtypes)
def test_one_operation_on_numbers_gives_one_number_or_two_neighbours(
    data: st.DataObject, dtype: np.dtype[Any]
) -> None:
    values = [data.draw(elements(dtype)) for _ in range(2)]
    x, y = (ARITHMETICS[dtype].point(convert(np.array([value]), dtype)) for value in values)
    with np.errstate(all="ignore"):
        for symbol, found in (("+", x + y), ("-", x - y), ("*", x * y)):
            exact = operate(symbol, exactly(values[0]), exactly(values[1]))
            if exact != exact:  # noqa: PLR0124 - only NaN differs from itself
                assert (found.lower > found.upper).all()
                assert found.nan.all()
                continue
            assert not found.nan.any()
            assert width(found) <= 1
            assert found.stored().holds(as_array(exact, dtype)).all()
            if exact == rounded(exact, dtype):
                assert found.lower[0] == found.upper[0]


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_a_tie_is_two_numbers_only_where_a_wider_format_may_break_it(dtype: np.dtype[Any]) -> None:
    arithmetic = ARITHMETICS[dtype]
    half_unit = arithmetic.point(2.0 ** -FORMATS[dtype].precision)
    assert width(arithmetic.point(1) + half_unit) == 0
    nearly = convert(np.array([2.0 ** -FORMATS[dtype].precision * (1 + 2.0**-7)]), dtype)
    above = arithmetic.point(1) + arithmetic.point(nearly)
    # What was not rounded yet meets a second addend and may pass the middle that was rounded to.
    assert width(above - arithmetic.point(2.0 ** -FORMATS[dtype].precision / 2)) == 1


def trees(items: Sequence[Any], operation: Callable[[Any, Any], Any]) -> Iterator[Any]:
    """The values of every tree over some items in one order."""
    if len(items) == 1:
        yield items[0]
    for cut in range(1, len(items)):
        for left in trees(items[:cut], operation):
            for right in trees(items[cut:], operation):
                yield operation(left, right)


@given(st.data(), st.sampled_from([FLOAT16, BFLOAT16, FLOAT32]))
@settings(max_examples=20)
def test_sums_and_products_hold_those_of_every_tree(data: st.DataObject, dtype: np.dtype[Any]) -> None:
    values = convert(np.array([data.draw(elements(dtype)) for _ in range(4)]), dtype)
    arithmetic = ARITHMETICS[dtype]
    terms = [arithmetic.point(value[None]) for value in values]
    with np.errstate(all="ignore"):
        total = sum_in_any_order(terms).stored()
        product = product_in_any_order(terms[0], terms[1:]).stored()
        for order in permutations(list(values)):
            for operation, enclosure in ((np.add, total), (np.multiply, product)):
                for value in trees(order, operation):
                    assert enclosure.holds(np.array([value], dtype)).all()


@given(st.data())
@settings(max_examples=30)
def test_the_ends_of_a_sum_are_reached(data: st.DataObject) -> None:
    finite = st.integers(-999, 999).map(lambda integer: np.float16(integer / 8))
    values = [data.draw(finite) for _ in range(3)]
    terms = [ARITHMETICS[FLOAT16].point(np.array([value])) for value in values]
    total = sum_in_any_order(terms).stored()
    reached = {
        float(as_array(rounding(rounding_of_parts(x + y) + z), FLOAT16)[0])
        for x, y, z in permutations([Fraction(float(value)) for value in values])
        for rounding_of_parts in roundings(FLOAT16)
        for rounding in roundings(FLOAT16)
    }
    assert min(reached) == total.lower[0]
    assert max(reached) == total.upper[0]


def test_a_product_holds_every_way_to_divide() -> None:
    generator = np.random.default_rng(1)
    arrays = generator.uniform(0.5, 2, (4, 2000)).astype(FLOAT32)
    x, factor, divisor, other = arrays
    enclosed = [ARITHMETICS[FLOAT32].point(array) for array in arrays]
    one = np.float32(1)
    single = product_in_any_order(enclosed[0], [enclosed[1]], [enclosed[2]]).stored()
    for result in (
        x * factor / divisor,
        x / divisor * factor,
        x * (factor / divisor),
        x * factor * (one / divisor),
        x * (one / divisor) * factor,
        x * (factor * (one / divisor)),
        x / (divisor / factor),
    ):
        assert single.holds(result).all()
    both = product_in_any_order(enclosed[0], [enclosed[1]], enclosed[2:]).stored()
    for result in (
        x * factor / (divisor * other),
        x / (divisor * other) * factor,
        x / divisor / other * factor,
        x * (factor / (divisor * other)),
        x * (one / divisor) * (one / other) * factor,
        x * (one / (divisor * other)) * factor,
        x / (divisor * other / factor),
        x / (divisor * (other / factor)),
    ):
        assert both.holds(result).all()


def test_sums_of_many_terms_hold_every_order_and_are_not_much_wider() -> None:
    generator = np.random.default_rng(2)
    for dtype in (FLOAT16, FLOAT32, FLOAT64):
        count = MOST_TERMS_IN_ALL_ORDERS + 7
        values = convert(generator.standard_normal((count, 50)), dtype)
        total = sum_in_any_order([ARITHMETICS[dtype].point(row) for row in values]).stored()
        for _ in range(20):
            order = generator.permutation(count)
            assert total.holds(reduce(np.add, values[order])).all()
        magnitudes = np.abs(values.astype(FLOAT64)).sum(axis=0)
        widest = np.asarray(total.upper - total.lower, FLOAT64)
        assert (widest <= 2.1 * count * 2.0 ** -FORMATS[dtype].precision * magnitudes).all()


def test_sums_of_many_terms_attain_nearly_half_of_their_width() -> None:
    # Each of many terms is just below half a unit of one, so that each of them is lost.
    count = 64
    lost = np.nextafter(np.float32(2.0**-24), np.float32(0))
    terms = [ARITHMETICS[FLOAT32].point(np.array([value], FLOAT32)) for value in [1, *[lost] * count]]
    total = sum_in_any_order(terms).stored()
    assert total.holds(np.array([1], FLOAT32)).all()
    assert not total.holds(np.array([1 - 2.0**-17], FLOAT32)).any()


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_what_must_be_nan_holds_nothing_else(dtype: np.dtype[Any]) -> None:
    infinity, zero, one = (
        ARITHMETICS[dtype].point(convert(np.array([x]), dtype)) for x in (math.inf, 0.0, 1.0)
    )
    nothing = convert(np.array([math.nan]), dtype)
    with np.errstate(all="ignore"):
        for undefined in (
            infinity - infinity,
            zero * infinity,
            infinity * zero,
            infinity / infinity,
            zero / zero,
            (infinity - infinity) + one,
            one - (infinity - infinity),
            (zero / zero) * one,
            one / (zero / zero),
            product_in_any_order(infinity, [zero], [one]),
            sum_in_any_order([infinity, one, -infinity]),
        ):
            for kept in (undefined, undefined.stored(), undefined.kept()):
                assert kept.holds(nothing).all()
                for x in (0.0, 1.0, math.inf, -math.inf):
                    assert not kept.holds(convert(np.array([x]), dtype)).any()


def test_what_may_be_nan_or_a_number_holds_both() -> None:
    arithmetic = ARITHMETICS[FLOAT32]
    largest = arithmetic.point(np.finfo(FLOAT32).max)
    sum_or_infinity = hull(largest + largest, arithmetic.point(math.inf))
    with np.errstate(all="ignore"):
        difference = sum_or_infinity - arithmetic.point(math.inf)
    assert difference.holds(np.array([math.nan], FLOAT32)).all()
    assert difference.holds(np.array([-math.inf], FLOAT32)).all()
    assert not difference.holds(np.array([0.0], FLOAT32)).any()
    assert not largest.holds(np.array([math.nan], FLOAT32)).any()


def test_limits_keep_nan_and_numbers() -> None:
    arithmetic = ARITHMETICS[FLOAT32]
    values = np.array([-3, -0.5, 2, math.inf, math.nan], FLOAT32)
    limited = arithmetic.point(values).at_most(arithmetic.point(1)).at_least(arithmetic.point(-1))
    wanted = np.array([-1, -0.5, 1, 1, math.nan], FLOAT32)
    assert limited.holds(wanted).all()
    assert not limited.holds(wanted + np.float32(0.25))[:4].any()
    assert not limited.holds(np.ones(5, FLOAT32))[4]


@given(st.data(), dtypes)
def test_the_part_that_rounds_to_a_number_does(data: st.DataObject, dtype: np.dtype[Any]) -> None:
    values = [data.draw(elements(dtype)) for _ in range(2)]
    if not np.isfinite(values).all():
        return
    x, y = (ARITHMETICS[dtype].point(convert(np.array([value]), dtype)) for value in values)
    with np.errstate(all="ignore"):
        whole = hull(x, y) + y
        for observed in (
            as_array(Fraction(values[0]) + Fraction(values[1]), dtype),
            as_array(Fraction(values[1]) * 2, dtype),
        ):
            if not np.isfinite(observed).all():
                continue
            part = whole.rounded_to(observed)
            assert part.lower[0] <= part.upper[0]
            stored = ARITHMETICS[dtype].point(observed)
            # Where it is one point, that may be a tie, which goes to the other side.
            assert part.stored().holds(observed).all() or part.lower[0] == part.upper[0]
            if (part.lower < part.upper).any():
                middle = (part.lower + part.upper) / 2
                assert ARITHMETICS[dtype].endpoints.nearest(middle)[0] == stored.lower[0]
            assert (part.lower >= whole.lower).all()
            assert (part.upper <= whole.upper).all()


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_subnormals_become_zero_only_where_they_may(dtype: np.dtype[Any]) -> None:
    smallest = float(FORMATS[dtype].smallest_normal)
    values = convert(np.array([smallest / 2, -smallest / 4, smallest, -smallest * 2]), dtype)
    zeros = np.zeros_like(values)
    exact, flushing = arithmetic_of(dtype).point(values), arithmetic_of(dtype, flushes=True).point(values)
    assert not exact.holds(zeros).any()
    flushed = [dtype != FLOAT16] * 2 + [False] * 2
    assert flushing.holds(zeros).tolist() == flushed
    assert flushing.holds(values).all()
    half = arithmetic_of(dtype, flushes=True).point(0.5)
    result = flushing * half
    assert result.holds(zeros).tolist() == [dtype != FLOAT16] * 3 + [False]


def test_quotients_of_real_numbers_are_not_rounded() -> None:
    arithmetic = ARITHMETICS[FLOAT32]
    third = arithmetic.point(1).over(arithmetic.point(3))
    assert third.lower[0] < third.upper[0] == np.nextafter(third.lower[0], 1)
    negative = arithmetic.point(1).over(arithmetic.point(-4))
    assert negative.lower[0] == negative.upper[0] == -0.25


@example([1.0, 2.0], [3.0, -1.0])
@given(*[st.lists(st.floats(-9, 9, width=16), min_size=2, max_size=2)] * 2)
def test_hulls_and_intersections(x: list[float], y: list[float]) -> None:
    arithmetic = ARITHMETICS[FLOAT16]
    one, other = (hull(arithmetic.point(min(pair)), arithmetic.point(max(pair))) for pair in (x, y))
    both, common = hull(one, other), one.among(other)
    for value in np.array([*x, *y], FLOAT16):
        array = value[None]
        assert both.holds(array).all()
        assert common.holds(array).all() == (one.holds(array) & other.holds(array)).all()


def test_python_numbers_and_arrays_become_points() -> None:
    arithmetic: Arithmetic = ARITHMETICS[BFLOAT16]
    for given_, wanted in ((3, 3.0), (np.float64(0.1), 0.1), (np.array([0.5], BFLOAT16), 0.5)):
        point = arithmetic.point(given_)
        assert point.lower.tolist() == point.upper.tolist() == [wanted]
    assert (1 - arithmetic.point(0.25)).lower.tolist() == [0.75]
    assert (1 / arithmetic.point(0.25)).lower.tolist() == [4.0]
