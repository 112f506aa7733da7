"""Norms on the device: what the bound decides is right, and next to a boundary nothing is decided."""

from __future__ import annotations

import math
import runpy
from fractions import Fraction
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba_kernels.cuda needs numba-cuda")

from numba_kernels.cuda.device.norm import NOT_DECIDED, _decided_double, _decided_narrow
from numba_kernels.cuda.device.sums import error_of_sum
from numba_kernels.cuda.host import program
from numba_kernels.cuda.toolkit import IS_SIMULATED
from sgd_ref import rule
from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, FORMATS
from sgd_ref.arithmetic.rounded import nearest, promoted, setting
from sgd_ref.norm import euclidean_norm

DTYPES = [FLOAT16, BFLOAT16, FLOAT32, FLOAT64]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
simulated_only = pytest.mark.skipif(not IS_SIMULATED, reason="calls functions of kernels as Python")

ERROR = error_of_sum(8192, 100, False)
COMPENSATED = error_of_sum(8192, 100, True)


Stages = runpy.run_path(str(Path(__file__).with_name("stages.py")))["Stages"]


def rounded_root(square: Fraction, dtype: Any) -> float:
    """Return the root of an exact number, rounded once."""
    shift = max(0, 300 - square.numerator.bit_length() + square.denominator.bit_length()) // 2 * 2
    scaled = (square.numerator << shift) // square.denominator
    inexact = (scaled * square.denominator) != square.numerator << shift
    root = math.isqrt(scaled)
    between = inexact or root * root != scaled
    return float(nearest(Fraction(2 * root + between, 2) / Fraction(2) ** (shift // 2), dtype))


def middle(generator: np.random.Generator, dtype: Any, exponents: tuple[int, int]) -> Fraction:
    """Return the middle between two neighbours of a dtype, sometimes next to a power of two."""
    precision, lowest = FORMATS[dtype]
    digits = 2 ** (precision - 1) + int(generator.integers(0, 2 ** (precision - 1)))
    if generator.random() < 0.2:
        digits = 2**precision - 1 if generator.random() < 0.5 else 2 ** (precision - 1)
    exponent = int(generator.integers(*exponents))
    if exponent <= lowest:
        digits = int(generator.integers(0, 2 ** (precision - 1)))
        exponent = lowest
    return (2 * digits + 1) * Fraction(2) ** (exponent - precision)


@simulated_only
@pytest.mark.parametrize("dtype", DTYPES[:3], ids=lambda dtype: dtype.name)
def test_a_narrow_norm_that_is_decided_is_right_for_every_sum_within_the_bound(
    dtype: Any, sweep: Any
) -> None:
    decide = _decided_narrow(dtype)
    _, lowest = FORMATS[dtype]
    decided = undecided = 0
    far = 20.0
    for _ in range(sweep.count(20_000)):
        square = middle(sweep.generator, dtype, (lowest - 2, 1 - lowest)) ** 2
        for offset in (0.0, 0.5, -0.5, 1.0, -1.0, 1.5, -1.5, far, -far):
            high = np.float64(float(square * (1 + Fraction(offset * ERROR))))
            found = float(decide(high, np.float64(0), ERROR))
            if found == NOT_DECIDED:
                undecided += 1
                assert abs(offset) < far, "a sum so far from the boundary has to be decided"
                continue
            decided += 1
            ends = [Fraction(float(high)) / (1 + side * Fraction(ERROR)) for side in (-1, 1)]
            assert [rounded_root(end, dtype) for end in ends] == [found, found], float(high)
    assert decided > 0
    assert undecided >= decided


@simulated_only
def test_a_wide_norm_that_is_decided_is_right_for_every_sum_within_the_bound(sweep: Any) -> None:
    decided = undecided = 0
    for _ in range(sweep.count(20_000)):
        square = middle(sweep.generator, FLOAT64, (-440, 490)) ** 2
        # The sums are wrong by so much, in parts of the bound; the roots' last digits are 2**-53 apart.
        for offset in (0.0, 0.5, -0.5, 1.0, -1.0, 2.0**30, -(2.0**30)):
            exact = square * (1 + Fraction(offset) * Fraction(COMPENSATED))
            high = float(exact)
            low = float(exact - Fraction(high))
            # As a sum gives it, `high` need not be the rounded total.
            if sweep.generator.random() < 0.5:
                high, low = high * (1 - 2.0**-50), float(exact - Fraction(high * (1 - 2.0**-50)))
            found = float(_decided_double(np.float64(high), np.float64(low), COMPENSATED))
            if found == NOT_DECIDED:
                undecided += 1
                assert abs(offset) < 2**30, "a sum so far from the boundary has to be decided"
                continue
            decided += 1
            total = Fraction(high) + Fraction(low)
            ends = [total * (1 + side * Fraction(COMPENSATED)) for side in (-1, 1)]
            assert [rounded_root(end, FLOAT64) for end in ends] == [found, found], (high, low)
    assert decided > 0
    assert undecided >= decided


@simulated_only
def test_a_wide_norm_of_ordinary_sums_is_decided(sweep: Any) -> None:
    for _ in range(sweep.count(20_000)):
        high = float(sweep.generator.random() * 2.0 ** sweep.generator.integers(-800, 900))
        low = high * 2.0**-54 * float(sweep.generator.random() - 0.5)
        found = _decided_double(np.float64(high), np.float64(low), COMPENSATED)
        assert found == rounded_root(Fraction(high) + Fraction(low), FLOAT64)


@simulated_only
def test_what_no_bound_holds_for_is_not_decided() -> None:
    for high in (0.0, 5e-324, 2.0**-901, 2.0**1001, math.inf, math.nan):
        assert _decided_double(np.float64(high), np.float64(0), COMPENSATED) == NOT_DECIDED
    for dtype in DTYPES[:3]:
        decide = _decided_narrow(dtype)
        assert decide(np.float64(0), np.float64(0), ERROR) == 0
        assert decide(np.float64(math.inf), np.float64(0), ERROR) == math.inf
        assert math.isnan(decide(np.float64(math.nan), np.float64(0), ERROR))


@simulated_only
def test_a_narrow_norm_beyond_the_largest_number_is_infinite() -> None:
    for dtype in DTYPES[:3]:
        largest = float(FORMATS[dtype].largest)
        unit = largest * 2.0 ** -FORMATS[dtype].precision
        decide = _decided_narrow(dtype)
        with np.errstate(over="ignore"):
            assert decide(np.float64((largest + 0.9 * unit / 2) ** 2), np.float64(0), ERROR) == largest
            assert decide(np.float64((largest + 1.1 * unit / 2) ** 2), np.float64(0), ERROR) == math.inf


def next_to_a_tie(generator: np.random.Generator, dtype: Any) -> Any:
    """Return numbers whose norm lies next to the middle between two numbers of the dtype."""
    square = middle(generator, dtype, (-1, 2)) ** 2
    parts: list[float] = []
    while square > 0 and len(parts) < 5:
        root = float(mpmath.sqrt(mpmath.mpf(square.numerator) / square.denominator))
        part = dtype.type(root)
        if Fraction(float(part)) ** 2 > square:
            part = np.nextafter(part, dtype.type(0))
        parts.append(float(part))
        square -= Fraction(float(part)) ** 2
    return generator.permutation(np.array(parts)).astype(dtype)


@every_dtype
def test_norms_of_gradients(dtype: Any, sweep: Any) -> None:
    """Each by its own norm, next to ties, of one element, of many, of nothing and of what is not finite."""
    generator = sweep.generator
    arrays = [next_to_a_tie(generator, dtype) for _ in range(sweep.count(200))]
    sized = generator.standard_normal(130) * 2.0 ** generator.integers(-4, 4, 130)
    values = (math.nan, math.inf, -math.inf)
    arrays += [sized[:count].astype(dtype) for count in (1, 2, 41, 130)]
    arrays += [np.array([0.5, value, 0.25, math.inf]).astype(dtype) for value in values]
    arrays += [np.zeros(5, dtype), -np.zeros(3, dtype), np.array([-3.0]).astype(dtype)]
    # Squares that overflow or underflow in the dtype.
    big, tiny = float(FORMATS[dtype].largest) / 3, float(FORMATS[dtype].smallest_normal)
    arrays += [np.array([big, -big]).astype(dtype), np.full(20, big).astype(dtype)]
    arrays += [np.array([tiny, tiny, 3 * tiny]).astype(dtype), np.array([tiny / 2]).astype(dtype)]
    stages = Stages(arrays, clipnorm=tiny)
    stages.run("sum_", "decide_")
    flags = stages.undecided
    # Where nothing was decided nothing was written.
    fresh = [given for given, is_open in zip(stages.divisors, flags, strict=True) if is_open]
    assert fresh == [1.0] * len(fresh)
    stages.run("exact_", "finish_")
    for array, given in zip(arrays, stages.divisors, strict=True):
        norm = float(euclidean_norm([array], dtype))
        expected = norm if math.isnan(norm) else max(norm, tiny)
        assert given == expected or (math.isnan(given) and math.isnan(expected)), (array, given, expected)
    assert sum(flags) > 0
    assert sum(flags) < len(flags)
    assert not stages.limbs.any()


def factor_of(norm: Any, clipnorm: float) -> Any:
    with np.errstate(all="ignore"):
        dtype = norm.dtype
        return rule.global_clip_factor(norm, setting(clipnorm, dtype), setting(1 / clipnorm, dtype))


@pytest.mark.share(3)
@pytest.mark.parametrize("is_forced", [False, True])
@pytest.mark.parametrize("chosen", [(0,), (1,), (2,), (3,), (0, 1), (1, 2), (0, 1, 2, 3)], ids=str)
def test_the_norm_of_all_gradients(
    chosen: tuple[int, ...], is_forced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_forced:
        monkeypatch.setattr(program, "error_of_sum", lambda *sizes: 1 - 2.0**-20)
    generator = np.random.default_rng(2)
    dtype = promoted([DTYPES[i] for i in chosen])
    for special in (1.0, 0.0, math.nan, math.inf):
        arrays = [generator.standard_normal(size).astype(DTYPES[i]) for i in chosen for size in (45, 3)]
        arrays[0][1] *= DTYPES[chosen[0]].type(special)
        arrays = [a * a.dtype.type(0) for a in arrays] if special == 0 else arrays
        stages = Stages(arrays, global_clipnorm=1.5)
        stages.run("sum_", "decide_")
        if is_forced:
            # Zero, and what is not finite, is known at once where squares can neither overflow nor underflow.
            assert stages.undecided == [int(special == 1.0 or dtype == FLOAT64)]
        stages.run("exact_", "finish_")
        norm = euclidean_norm(arrays, dtype)
        wanted, given = factor_of(norm, 1.5), stages.factor
        assert given == wanted or (np.isnan(given) and np.isnan(wanted))
        assert not stages.limbs.any()
