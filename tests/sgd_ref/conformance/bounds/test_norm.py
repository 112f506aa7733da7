"""The enclosure of a norm: every order of summation is inside, and every term is needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import reduce
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, FORMATS, Array
from sgd_ref.arithmetic.rounded import convert, nearest, promoted
from sgd_ref.conformance.bounds import norm as bounds
from sgd_ref.conformance.bounds.enclosure import Enclosure, arithmetic_of
from sgd_ref.norm import euclidean_norm

Run = Callable[[Array], Any]
Change = Callable[[ModuleType, str, str], ModuleType]


def from_left(x: Array) -> Any:
    return np.sqrt(reduce(np.add, x * x))


def from_right(x: Array) -> Any:
    return from_left(x[::-1])


def in_pairs(x: Array) -> Any:
    def total(squares: Array) -> Any:
        half = len(squares) // 2
        return total(squares[:half]) + total(squares[half:]) if half else squares[0]

    return np.sqrt(total(x * x))


def in_lanes(x: Array) -> Any:
    return np.sqrt(reduce(np.add, [reduce(np.add, (x * x)[lane::8]) for lane in range(min(8, len(x)))]))


def fused(x: Array) -> Any:
    total = Fraction(0)
    for value in x:
        total = Fraction(float(nearest(Fraction(float(value)) ** 2 + total, x.dtype)))
    return np.sqrt(nearest(total, x.dtype))


def scaled(x: Array) -> Any:
    largest = np.max(np.abs(x), axis=0)
    with np.errstate(invalid="ignore"):
        return np.where(largest == 0, largest, largest * from_left(x / largest))


def in_float64(x: Array) -> Any:
    return convert(np.asarray(from_left(x.astype(FLOAT64))), x.dtype)[()]


def correctly_rounded(x: Array) -> Any:
    return euclidean_norm([x], x.dtype)


RUNS: dict[str, Run] = {
    run.__name__: run
    for run in (from_left, from_right, in_pairs, in_lanes, fused, scaled, in_float64, correctly_rounded)
}


def losing_all(dtype: np.dtype[Any], count: int) -> Array:
    """One, and many numbers whose squares are just below half a unit of it: each of them is lost."""
    half_unit = 2.0 ** -FORMATS[dtype].precision
    lost = convert(np.array(math.sqrt(half_unit) * (1 - 2.0**-20)), dtype)
    return np.array([1, *[lost] * count], dtype)


def gaining_all(dtype: np.dtype[Any], count: int) -> Array:
    """One, and many numbers whose squares are just above half a unit of it: each makes one unit."""
    half_unit = 2.0 ** -FORMATS[dtype].precision
    gained = convert(np.array(math.sqrt(half_unit) * (1 + 2.0**-20)), dtype)
    return np.array([1, *[gained] * count], dtype)


def drawn(dtype: np.dtype[Any], seed: int, size: int) -> Array:
    return convert(np.random.default_rng(seed).standard_normal(size), dtype)


SQUARES_NEARLY_SUBNORMAL = np.array(
    # Squares of the others are 32.5 units of the smallest number and lose half of one: as much as the sum
    # of the first two may lose. The root of that sum lies just below the middle of two numbers.
    [
        float.fromhex("0x1.ca1b32p-61"),
        float.fromhex("0x1.ca1b32p-62"),
        *[float.fromhex("0x1.01fe02p-72")] * 62,
    ],
    FLOAT32,
)

DATA = {
    f"{name}-{dtype}": array
    for dtype in (FLOAT32, FLOAT64)
    for name, array in (
        ("losing", losing_all(dtype, 64)),
        ("gaining", gaining_all(dtype, 64)),
        ("losing-few", losing_all(dtype, 3)),
        ("gaining-few", gaining_all(dtype, 3)),
        ("pair", drawn(dtype, 1, 2)),
        ("triple", drawn(dtype, 2, 3)),
        ("many", drawn(dtype, 3, 100)),
        ("descending", np.sort(drawn(dtype, 4, 50))),
        ("exact", np.array([3, 4, 12, 84], dtype)),
        ("one", drawn(dtype, 5, 1)),
        ("zeros", np.zeros(3, dtype)),
    )
} | {"squares-nearly-subnormal": SQUARES_NEARLY_SUBNORMAL}


def enclosed(arrays: Sequence[Array], dtype: np.dtype[Any], module: ModuleType = bounds) -> Enclosure:
    with np.errstate(all="ignore"):
        found: Enclosure = module.norm(
            [arithmetic_of(array.dtype).point(array) for array in arrays], dtype
        ).stored()
    return found


def holds(found: Enclosure, value: Any) -> bool:
    return bool(found.holds(np.asarray(value).reshape(1)).all())


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("name", DATA)
def test_every_way_to_sum_is_inside(name: str, run: str) -> None:
    x = DATA[name]
    assert holds(enclosed([x], x.dtype), RUNS[run](x))


@pytest.mark.parametrize("outer", ["from_left", "scaled", "fused"])
@pytest.mark.parametrize("inner", ["from_left", "scaled", "in_float64"])
@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_norms_of_norms_are_inside(dtype: np.dtype[Any], inner: str, outer: str) -> None:
    wide = promoted([dtype, FLOAT32])
    for seed in range(8):
        parts = [drawn(dtype, 10 * seed + index, size) for index, size in enumerate((3, 1, 5))]
        found = enclosed(parts, dtype)
        norms = np.array([RUNS[inner](convert(part, wide)) for part in parts], wide)
        kept = convert(convert(norms, dtype), wide)
        for each in (norms, kept):
            assert holds(found, convert(np.asarray(RUNS[outer](each)), dtype))


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("dtype", [FLOAT16, BFLOAT16], ids=str)
def test_half_types_sum_in_float32(dtype: np.dtype[Any], run: str) -> None:
    for seed in range(10):
        x = drawn(dtype, seed, 40)
        wide = RUNS[run](x.astype(FLOAT32))
        found = enclosed([x], dtype)
        assert holds(found, convert(np.asarray(wide), dtype))
        assert float(found.upper[0] - found.lower[0]) <= 2.0 ** (1 - FORMATS[dtype].precision) * float(wide)


def test_half_precision_sums_are_outside() -> None:
    x = np.full(4096, 0.25, BFLOAT16)
    with np.errstate(all="ignore"):
        assert not holds(enclosed([x], BFLOAT16), from_left(x))
    assert holds(enclosed([x], BFLOAT16), BFLOAT16.type(16))


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)
@pytest.mark.parametrize(("end", "array"), [("1 - count", losing_all), ("1 + count", gaining_all)])
def test_half_of_the_error_is_not_enough(
    end: str, array: Callable[[np.dtype[Any], int], Array], dtype: np.dtype[Any], changed: Change
) -> None:
    sign = end[:3]
    halved = changed(bounds, f"({end} * unit)", f"({sign} count * unit / 2)".replace("  ", " "))
    x = array(dtype, 64)
    assert holds(enclosed([x], dtype), from_left(x))
    assert not holds(enclosed([x], dtype, halved), from_left(x))


def test_what_subnormal_squares_lose_is_needed(changed: Change) -> None:
    forgetful = changed(
        bounds, "count * Fraction(2) ** (form.minimum_exponent - form.precision)", "Fraction(0)"
    )
    x = SQUARES_NEARLY_SUBNORMAL
    assert holds(enclosed([x], FLOAT32), from_left(x))
    assert not holds(enclosed([x], FLOAT32, forgetful), from_left(x))


def test_squares_that_vanish_are_no_excuse() -> None:
    x = np.full(4, 2.0**-100, FLOAT32)
    assert from_left(x) == 0
    assert not holds(enclosed([x], FLOAT32), np.float32(0))
    assert holds(enclosed([x], FLOAT32), np.float32(2.0**-99))
    huge = np.full(4, 2.0**100, FLOAT32)
    assert not holds(enclosed([huge], FLOAT32), np.float32(math.inf))
    assert holds(enclosed([huge], FLOAT32), np.float32(2.0**101))


def worst(run: Callable[[Array], Any], parts: int, largest_is_power_of_two: bool) -> Array:
    """Of many parts of two numbers each those whose norm a run misses most; elements on the first axes."""
    x = np.random.default_rng(6).uniform(0.5, 1, (parts, 2, 200_000)).astype(FLOAT32)
    if largest_is_power_of_two:
        # Then the scaled form divides and multiplies exactly.
        x[0, 0] = 1
    true = np.sqrt((x.astype(FLOAT64) ** 2).sum(axis=(0, 1)))
    error = np.abs(run(x) - true) / true
    return x[:, :, np.argsort(error)[-40:]]


def is_missed(without: ModuleType, run: Callable[[Array], Any], data: Array) -> bool:
    """Whether a run that the bounds hold is outside of those from which something was taken."""
    results = run(data)
    missed = False
    for index in range(data.shape[2]):
        parts = list(data[:, :, index])
        assert holds(enclosed(parts, FLOAT32), results[index])
        missed |= not holds(enclosed(parts, FLOAT32, without), results[index])
    return missed


BOTH = "ways = [_plain(together), _scaled(together)]"


def test_the_scaled_form_is_needed(changed: Change) -> None:
    without = changed(bounds, BOTH, "ways = [_plain(together)]")

    def run(x: Array) -> Any:
        return scaled(x[0])

    assert is_missed(without, run, worst(run, 1, False))


def test_the_plain_form_is_needed(changed: Change) -> None:
    without = changed(bounds, BOTH, "ways = [_scaled(together)]")
    x = SQUARES_NEARLY_SUBNORMAL
    assert not holds(enclosed([x], FLOAT32, without), from_left(x))


def test_norms_of_norms_may_be_scaled_outside(changed: Change) -> None:
    without = changed(bounds, "ways.append(_scaled(_joined(norms)))", "ways.append(_plain(_joined(norms)))")

    def run(x: Array) -> Any:
        return scaled(np.stack([from_left(part) for part in x]))

    assert is_missed(without, run, worst(run, 2, True))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ways.append(_scaled(_joined(norms)))", "pass"),
        ("_kept(_scaled(part), g.arithmetic)", "_scaled(part)"),
    ],
)
def test_norms_of_half_gradients_may_be_kept_in_half(old: str, new: str, changed: Change) -> None:
    without = changed(bounds, old, new)
    missed = False
    for seed in range(50):
        parts = [drawn(BFLOAT16, 2 * seed + index, 2) for index in range(2)]
        norms = [convert(np.asarray(from_left(part.astype(FLOAT32))), BFLOAT16) for part in parts]
        result = convert(np.asarray(from_left(np.array(norms).astype(FLOAT32))), BFLOAT16)
        assert holds(enclosed(parts, BFLOAT16), result)
        missed |= not holds(enclosed(parts, BFLOAT16, without), result)
    assert missed


def test_exact_norms_are_points_only_since_exactness_is_seen(changed: Change) -> None:
    unseen = changed(bounds, "if not _is_exact(smallest, largest, form.precision):", "if True:")
    for dtype in (FLOAT32, FLOAT64):
        x = np.array([3, 4], dtype)
        for found in (enclosed([x], dtype), enclosed([x[:1], x[1:]], dtype)):
            assert found.lower[0] == found.upper[0] == 5
        blurred = enclosed([x], dtype, unseen)
        assert blurred.lower[0] < blurred.upper[0]


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_special_values(dtype: np.dtype[Any]) -> None:
    def of(*values: float) -> Enclosure:
        return enclosed([convert(np.array(values), dtype)], dtype)

    def hold(found: Enclosure, value: float) -> bool:
        return holds(found, convert(np.array(value), dtype))

    assert hold(of(1, math.inf), math.inf)
    assert not hold(of(1, math.inf), 1.0)
    assert hold(of(1, math.nan), math.nan)
    assert not hold(of(1, math.nan), 1.0)
    assert not hold(of(1, math.inf), math.nan)
    assert hold(of(0, -0.0), 0.0)
    assert hold(enclosed([np.zeros(0, dtype)], dtype), 0.0)


def test_mixed_dtypes_meet_in_the_dtype_that_holds_them() -> None:
    parts = [np.array([2], FLOAT16), np.array([4], BFLOAT16), np.array([4], FLOAT64)]
    found = enclosed(parts, FLOAT64)
    assert (found.lower[0], found.upper[0]) == (6, 6)
    found = enclosed([np.array([3], FLOAT16), parts[1]], FLOAT32)
    assert (found.lower[0], found.upper[0]) == (5, 5)


def test_roots_are_exact_or_rounded_outwards() -> None:
    for x in (Fraction(2), Fraction(9, 4), Fraction(1, 3), Fraction(10**40 + 1), Fraction(1, 10**40)):
        low, high = bounds._root(x, upwards=False), bounds._root(x, upwards=True)
        assert low**2 <= x <= high**2
        assert (high - low) * 2**100 <= high
        assert (low == high) == (x == Fraction(9, 4))
