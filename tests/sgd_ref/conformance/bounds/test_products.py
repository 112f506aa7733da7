"""Products in any order enclose every evaluation, and factors that are kept are those of the same bits."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from sgd_ref.conformance.bounds import products
from sgd_ref.conformance.bounds.enclosure import Enclosure, arithmetic_of
from sgd_ref.conformance.bounds.products import product_in_any_order

F32, F64 = np.dtype("f4"), np.dtype("f8")


def ends(found: Enclosure) -> tuple[float, float]:
    return float(found.lower[0]), float(found.upper[0])


@pytest.mark.parametrize("dtype", [F32, F64])
def test_every_order_of_rounded_operations_is_enclosed(dtype: np.dtype[np.floating]) -> None:
    arithmetic = arithmetic_of(dtype)
    given = [dtype.type(value) for value in (0.3, 1.7, 2.9, 7.1)]
    x, f, g, d = given
    found = product_in_any_order(
        *(arithmetic.point(x), [arithmetic.point(n) for n in (f, g)]), [arithmetic.point(d)]
    )
    low, high = ends(found)
    evaluations = {x * f * g / d, x / d * f * g, x * (f / d) * g, x / (d / (f * g)), x * (f * g * (1 / d))}
    evaluations |= {a * b * c / d for a, b, c in permutations((x, f, g))}
    assert len(evaluations) > 1
    assert low <= min(evaluations)
    assert max(evaluations) <= high
    assert high - low < 16 * float(np.spacing(x * f * g / d))


def test_kept_factors_give_the_same_enclosure() -> None:
    arithmetic = arithmetic_of(F32)
    numbers = np.array([0.3, -2.5, 1e30, 0.0], F32)

    def made(rate: float) -> Enclosure:
        return product_in_any_order(
            arithmetic.point(numbers),
            [arithmetic.point(rate), arithmetic.point(0.7)],
            [arithmetic.point(3.0)],
        )

    products._kept.cache_clear()
    first, again, other = made(0.1), made(0.1), made(0.2)
    assert products._kept.cache_info()[:2] == (1, 2)
    for name in ("lower", "upper", "nan"):
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes()
    assert first.lower.tobytes() != other.lower.tobytes()


def test_zeros_of_either_sign_are_told_apart() -> None:
    products._kept.cache_clear()
    arithmetic = arithmetic_of(F32)
    for zero in (0.0, -0.0):
        product_in_any_order(arithmetic.point(np.ones(1, F32)), [arithmetic.point(np.array([zero], F32))])
    assert products._kept.cache_info().misses == 2


def test_what_flushes_is_told_apart() -> None:
    products._kept.cache_clear()
    found = []
    for flushes in (False, True):
        arithmetic = arithmetic_of(F32, flushes)
        tiny, half = (arithmetic.point(np.array([value], F32)) for value in (2.0**-126, 0.5))
        found.append(product_in_any_order(arithmetic.point(np.ones(1, F32)), [tiny, half]))
    assert products._kept.cache_info().misses == 2
    assert (float(found[0].lower[0]), float(found[1].lower[0])) == (2.0**-127, 0.0)
