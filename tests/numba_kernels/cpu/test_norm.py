"""The norms of the kernels are those of the reference: fast, undecided, exact, at both ends of the range."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import ml_dtypes
import mpmath
import numpy as np
import pytest

import numba_kernels
import sgd_ref
from numba_kernels.cpu import rounding
from numba_kernels.cpu.plan import chunks_of
from numba_kernels.cpu.quick_clipping import QuickClipping
from numba_kernels.cpu.sums import FINITENESS, LOW, exact_kernel, sum_kernel
from numba_kernels.cpu.totals import totals, wide_totals
from numba_kernels.shared.element import PLAIN
from numba_kernels.shared.exact_sums import LIMBS
from numba_kernels.shared.slots import COLUMNS, GRADIENT, SETTINGS
from sgd_ref.arithmetic.formats import FLOAT64
from sgd_ref.norm import euclidean_norm

DTYPES = [np.dtype(dtype) for dtype in (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)


def tables(array: Any) -> tuple[Any, Any]:
    table = np.zeros((1, COLUMNS), np.int64)
    table[0, GRADIENT] = array.ctypes.data
    return table, chunks_of([array.size])


def measured(array: Any, compensated: bool) -> Any:
    table, chunks = tables(array)
    results = np.full((len(chunks), 3), 7.0)
    sum_kernel(array.dtype, PLAIN, compensated)(table, chunks, 0, len(chunks), np.ones(SETTINGS), results)
    return results


def exact(array: Any, dtype: Any) -> float:
    table, chunks = tables(array)
    limbs = np.zeros(LIMBS + 2, np.int64)
    exact_kernel(array.dtype, PLAIN)(table, chunks, 0, len(chunks), np.ones(SETTINGS), limbs)
    return rounding.exact_norm(limbs, dtype)


def fast(array: Any, dtype: Any) -> float | None:
    results = measured(array, dtype == FLOAT64)
    bounds = np.array([0, len(results)])
    if dtype != FLOAT64:
        return rounding.decided_narrow_norm(float(totals(results, bounds)[0, 0]), dtype)
    return rounding.decided_norm(*wide_totals(results, bounds)[0].tolist())


def same(first: float, second: float) -> bool:
    return first == second or (math.isnan(first) and math.isnan(second))


def exact_sum_of_squares(array: Any) -> Fraction:
    return sum((Fraction(x) ** 2 for x in array.astype(np.float64).tolist()), Fraction(0))


def adversarial(generator: np.random.Generator, dtype: Any) -> Any:
    """Return numbers whose norm lies next to the middle between two numbers of the dtype."""
    digits = {2: 11, 4: 24, 8: 53}[dtype.itemsize] if dtype != DTYPES[1] else 8
    # One digit more than the dtype has, and that one set: the middle between two neighbours.
    norm = (2**digits + 2 * int(generator.integers(0, 2 ** (digits - 1))) + 1) * Fraction(2) ** -digits
    square = norm**2
    parts: list[float] = []
    for _ in range(int(generator.integers(2, 6))):
        root = mpmath.sqrt(mpmath.mpf(square.numerator) / square.denominator)
        part = float(np.asarray(float(root)).astype(dtype).astype(np.float64))
        if Fraction(part) ** 2 > square:
            part = float(np.nextafter(dtype.type(part), dtype.type(0)))
        parts.append(part)
        square -= Fraction(part) ** 2
        if square <= 0:
            break
    return generator.permutation(np.array(parts)).astype(dtype)


@pytest.mark.share(3)
@every_dtype
@pytest.mark.parametrize("scale", [-500, -100, -20, 0, 10, 100, 500])
def test_fast_norms_are_right_or_undecided(dtype: Any, scale: int) -> None:
    generator = np.random.default_rng(scale + 1000)
    decided = 0
    for size in (1, 2, 3, 63, 64, 65, 255, 256, 257, 4097, 8193, 65537):
        with np.errstate(all="ignore"):
            array = (generator.standard_normal(size) * 2.0**scale).astype(dtype)
        for rounded_to in dict.fromkeys((dtype, FLOAT64)):
            expected = float(euclidean_norm([array], rounded_to))
            found = fast(array, rounded_to)
            decided += found is not None
            assert found is None or same(found, expected), (size, rounded_to)
            assert same(exact(array, rounded_to), expected), (size, rounded_to)
    finite = dtype.itemsize > 4 or -20 <= scale <= 10
    assert decided >= (12 if finite and abs(scale) < 400 else 0)


@every_dtype
def test_norms_next_to_a_tie_go_the_exact_way_and_are_right(dtype: Any, sweep: Any) -> None:
    undecided = 0
    for _ in range(sweep.count(4000)):
        array = adversarial(sweep.generator, dtype)
        expected = float(euclidean_norm([array], dtype))
        found = fast(array, dtype)
        undecided += found is None
        assert found is None or found == expected, array.tolist()
        assert exact(array, dtype) == expected, array.tolist()
    # Numbers of few digits come near to a tie less easily.
    assert undecided > 0 or dtype.itemsize == 2


@pytest.mark.parametrize("dtype", DTYPES[2:], ids=lambda dtype: dtype.name)
def test_almost_no_norm_is_undecided(dtype: Any, sweep: Any) -> None:
    undecided = 0
    number = sweep.count(40_000)
    for _ in range(number):
        undecided += fast(sweep.generator.standard_normal(40).astype(dtype), dtype) is None
    assert undecided <= 2 + number // 1000


@every_dtype
@pytest.mark.parametrize("compensated", [False, True])
def test_the_bounds_on_the_error_of_a_sum(dtype: Any, compensated: bool, sweep: Any) -> None:
    if dtype == FLOAT64 and not compensated:
        pytest.skip("sums of float64 are always compensated where a norm is asked for")
    bound = rounding.ERROR_OF_COMPENSATED_SUM if compensated else rounding.ERROR_OF_PLAIN_SUM
    for _ in range(sweep.count(200, 100)):
        size = int(sweep.generator.integers(1, 70_000))
        # Sizes that differ much make the sums of lanes and blocks differ much.
        array = (sweep.generator.standard_normal(size) * 2.0 ** sweep.generator.integers(-5, 5, size)).astype(
            dtype
        )
        results = measured(array, compensated)
        total = sum((Fraction(part) for part in results[:, : LOW + 1].ravel().tolist()), Fraction(0))
        expected = exact_sum_of_squares(array)
        assert abs(total - expected) <= Fraction(bound) * expected


@every_dtype
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, -0.0])
@pytest.mark.parametrize("place", [0, 63, 64, 299])
def test_values_that_are_not_finite(dtype: Any, value: float, place: int) -> None:
    array = np.random.default_rng(1).standard_normal(300).astype(dtype)
    array[place] = value
    for compensated in (False, True):
        finiteness = measured(array, compensated)[0, FINITENESS]
        assert (finiteness == 0) == math.isfinite(value)
    assert same(exact(array, dtype), float(euclidean_norm([array], dtype)))


@every_dtype
def test_norms_of_nothing_and_of_zeros(dtype: Any) -> None:
    for array in (np.zeros(0, dtype), np.zeros(100, dtype), np.full(70, -0.0).astype(dtype)):
        assert math.copysign(1, exact(array, dtype)) == 1
        assert exact(array, dtype) == 0


@pytest.mark.share(2)
@pytest.mark.parametrize("clipping", ["clipnorm", "global_clipnorm"])
@every_dtype
def test_every_norm_by_the_exact_way(dtype: Any, clipping: str, monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    original = rounding.exact_norm

    def noted(limbs: Any, rounded_to: Any) -> float:
        used.append(rounded_to)
        return original(limbs, rounded_to)

    monkeypatch.setattr(rounding, "exact_norm", noted)
    # As where nothing is decided.
    monkeypatch.setattr(QuickClipping, "clip", lambda self: False)
    monkeypatch.setattr(rounding, "decided_norm", lambda high, low: None)
    monkeypatch.setattr(rounding, "decided_narrow_norm", lambda total, rounded_to: None)
    monkeypatch.setattr(
        rounding, "decided_norms", lambda sums, rounded_to: (sums * 0, np.ones(len(sums), bool))
    )
    generator = np.random.default_rng(3)
    w = [
        generator.standard_normal(70_000).astype(dtype),
        generator.standard_normal((3, 5)).astype(dtype)[:, ::2],
    ]
    u = [w[0].copy(), w[1].copy()]
    settings_of_both: dict[str, Any] = {
        clipping: 0.5,
        "loss_scale_factor": 8.0,
        "gradient_accumulation_steps": 2,
    }
    reference, kernels = sgd_ref.SGD(0.1, **settings_of_both), numba_kernels.SGD(0.1, **settings_of_both)
    for _ in range(4):
        gradients = [generator.standard_normal(array.shape).astype(dtype) for array in w]
        reference.apply(gradients, w)
        kernels.apply(gradients, u)
    assert len(used) == 2 * (2 if clipping == "clipnorm" else 1)
    for first, second in zip(w, u, strict=True):
        assert first.tobytes() == second.tobytes()
