"""What is computed for all choices of one size together has the bits of what is computed for each alone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pytest

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT32, FLOAT64
from sgd_ref.conformance.bounds.choices import Choice
from sgd_ref.conformance.bounds.enclosure import Arithmetic, Enclosure, hull
from sgd_ref.conformance.bounds.endpoints import FractionEndpoints, endpoints_of
from sgd_ref.conformance.bounds.products import product_in_any_order
from sgd_ref.conformance.bounds.sums import sum_in_any_order

ARITHMETICS = [
    Arithmetic(dtype, endpoints(dtype), flushes)
    for dtype in (BFLOAT16, FLOAT32, FLOAT64)
    for endpoints in (endpoints_of, FractionEndpoints)
    for flushes in (False, True)
]


def named(arithmetic: Arithmetic) -> str:
    flushes = "flushing" if arithmetic.flushes else "plain"
    return f"{arithmetic.dtype.name}-{type(arithmetic.endpoints).__name__}-{flushes}"


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def drawn(arithmetic: Arithmetic, count: int, size: int) -> list[Enclosure]:
    """Numbers and intervals, some of them infinite, NaN or zeros of either sign."""
    generator = np.random.default_rng(count)
    found = []
    for index in range(count):
        numbers = (generator.standard_normal(size) * 2.0 ** generator.integers(-9, 9, size)).astype("f4")
        if index % 2:
            numbers[generator.integers(size)] = generator.choice([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-44])
        one = arithmetic.point(numbers.astype(arithmetic.dtype))
        found.append(one + arithmetic.point(np.float64(0.1)) if index % 3 else one)
    return found


def others(whole: Choice, part: Choice) -> Choice:
    return tuple(index for index in whole if index not in part)


def choices(count: int) -> list[Choice]:
    return [one for size in range(1, count + 1) for one in combinations(range(count), size)]


def parts(whole: Choice) -> list[Choice]:
    return [one for size in range(1, len(whole) + 1) for one in combinations(whole, size)]


def plain_sum(terms: list[Enclosure]) -> Enclosure:
    made: dict[Choice, Enclosure] = {}
    for one in choices(len(terms)):
        halves = [
            part
            for part in parts(one)
            if 2 * len(part) < len(one) or (2 * len(part) == len(one) and part[0] == one[0])
        ]
        made[one] = (
            hull(*(made[part] + made[others(one, part)] for part in halves)) if halves else terms[one[0]]
        )
    return made[tuple(range(len(terms)))]


def plain_product(values: Enclosure, factors: list[Enclosure], divisors: list[Enclosure]) -> Enclosure:
    items = [*factors, *divisors]
    times: dict[Choice, Enclosure] = {}
    by: dict[Choice, Enclosure] = {}
    made: dict[Choice, Enclosure] = {(): values}
    for one in choices(len(items)):
        if len(one) == 1:
            is_divisor = one[0] >= len(factors)
            by |= {one: items[one[0]]} if is_divisor else {}
            times[one] = 1 / items[one[0]] if is_divisor else items[one[0]]
        else:
            fewer = [(part, others(one, part)) for part in parts(one) if part != one]
            dividing = [
                by[part] * by[rest] if rest in by else by[part] / times[rest]
                for part, rest in fewer
                if part in by
            ]
            multiplying = [times[part] * times[rest] for part, rest in fewer if part[0] == one[0]]
            if dividing:
                by[one] = hull(*dividing)
                multiplying.append(1 / by[one])
            times[one] = hull(*multiplying)
        made[one] = hull(*(made[others(one, part)] * times[part] for part in parts(one)))
    return made[tuple(range(len(items)))]


def are_same(one: Enclosure, other: Enclosure) -> bool:
    ends = ((one.lower, other.lower), (one.upper, other.upper))
    return np.array_equal(one.nan, other.nan) and all(
        x.shape == y.shape
        and (x.tolist() == y.tolist() if x.dtype == object else bool((np.signbit(x) == np.signbit(y)).all()))
        and np.array_equal(x, y)
        for x, y in ends
    )


@pytest.mark.parametrize("arithmetic", ARITHMETICS, ids=named)
def test_sums(arithmetic: Arithmetic) -> None:
    for count in range(1, 6):
        terms = drawn(arithmetic, count, 5)
        assert are_same(sum_in_any_order(terms), plain_sum(terms))


@pytest.mark.parametrize("arithmetic", ARITHMETICS, ids=named)
@pytest.mark.parametrize(("factors", "divisors"), [(1, 0), (0, 1), (2, 1), (1, 2), (2, 2), (0, 3)])
def test_products(arithmetic: Arithmetic, factors: int, divisors: int) -> None:
    values, *_ = drawn(arithmetic, 2, 5)
    numbers = [one[:1] for one in drawn(arithmetic, factors + divisors, 2)]
    # What divides is not negative.
    dividing = [one.at_least(arithmetic.point(0)) for one in numbers[factors:]]
    found = product_in_any_order(values, numbers[:factors], dividing)
    assert are_same(found, plain_product(values, numbers[:factors], dividing))


def test_terms_of_other_shapes() -> None:
    arithmetic = ARITHMETICS[4]
    terms = [*drawn(arithmetic, 2, 5), arithmetic.point(0.1)]
    assert are_same(sum_in_any_order(terms), plain_sum(terms))
    nothing = [one[:0] for one in terms]
    assert sum_in_any_order(nothing).lower.shape == (0,)
    assert product_in_any_order(nothing[0], terms[2:]).lower.shape == (0,)
