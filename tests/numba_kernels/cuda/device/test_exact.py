"""The exact way to a norm: every bit of the sum, the root digit by digit, against integers of any size."""

from __future__ import annotations

import math
import runpy
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba_kernels.cuda needs numba-cuda")

from numba_kernels.cuda import simulated
from numba_kernels.cuda.device.exact import INFINITIES, LIMB_WORDS, NANS, _root
from numba_kernels.cuda.host import program
from numba_kernels.cuda.host.groups import CHUNK
from numba_kernels.cuda.toolkit import IS_SIMULATED
from numba_kernels.shared.exact_sums import LIMBS, LOWEST_EXPONENT
from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, FORMATS
from sgd_ref.arithmetic.rounded import nearest
from sgd_ref.norm import euclidean_norm

DTYPES = [FLOAT16, BFLOAT16, FLOAT32, FLOAT64]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
simulated_only = pytest.mark.skipif(not IS_SIMULATED, reason="calls functions of kernels as Python")


Stages = runpy.run_path(str(Path(__file__).with_name("stages.py")))["Stages"]


@pytest.fixture
def undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no bound decide."""
    monkeypatch.setattr(program, "error_of_sum", lambda *sizes: 1 - 2.0**-20)


def integer(limbs: Any) -> int:
    return sum(int(limb) << (32 * place) for place, limb in enumerate(limbs[:LIMBS].tolist()))


def exact_sum(array: Any) -> int:
    """Return the sum of squares in units of the square of the least float64."""
    total = sum(
        (Fraction(x) ** 2 for x in array.astype(np.float64).tolist() if math.isfinite(x)), Fraction(0)
    )
    scaled = total / Fraction(2) ** LOWEST_EXPONENT
    assert scaled.denominator == 1
    return scaled.numerator


def of_all_sizes(generator: np.random.Generator, size: int, dtype: Any) -> Any:
    """Return numbers of the whole range of a dtype, some of them subnormal, zero or the largest."""
    precision, lowest = FORMATS[dtype]
    exponents = generator.integers(lowest - precision, 1 - lowest, size)
    with np.errstate(all="ignore"):
        values = np.ldexp(generator.standard_normal(size), exponents).astype(dtype)
    edges = [0, float(FORMATS[dtype].largest), float(FORMATS[dtype].smallest_normal), 0.0]
    edges[3] = math.ldexp(1, lowest - precision + 1)
    values[: len(edges)] = np.array(edges[:size]).astype(dtype)
    values[~np.isfinite(values.astype(np.float64))] = dtype.type(1)
    return generator.permutation(values)


@every_dtype
@pytest.mark.parametrize("clipping", ["clipnorm", "global_clipnorm"])
@pytest.mark.usefixtures("undecided", "both_orders")
def test_sums_are_exact(dtype: Any, clipping: str) -> None:
    generator = np.random.default_rng(1)
    arrays = [of_all_sizes(generator, size, dtype) for size in (4, CHUNK, 2 * CHUNK + 3)]
    stages = Stages(arrays, **{clipping: 1.0})
    stages.run("sum_", "decide_", "exact_")
    norms = stages.limbs.reshape(-1, LIMB_WORDS)
    expected = [exact_sum(array) for array in arrays]
    if clipping == "global_clipnorm":
        expected = [sum(expected)]
    assert [integer(limbs) for limbs in norms] == expected
    assert not norms[:, NANS:].any()


@every_dtype
def test_only_norms_that_were_not_decided_are_added_up(dtype: Any) -> None:
    # The norm of the first lies in the middle between two numbers.
    # (1 + u)**2 is 1 + 2 * u + u * u, in squares.
    half_unit = 2.0 ** -FORMATS[dtype].precision
    doubled = [math.sqrt(2 * half_unit)] if FORMATS[dtype].precision % 2 else [math.sqrt(half_unit)] * 2
    middle = [1.0, *doubled, half_unit]
    arrays = [np.array(middle).astype(dtype), np.array([3.0, 4.0]).astype(dtype)]
    stages = Stages(arrays, clipnorm=0.25)
    stages.run("sum_", "decide_")
    assert stages.undecided == [1, 0]
    stages.run("exact_")
    norms = stages.limbs.reshape(-1, LIMB_WORDS)
    assert integer(norms[0]) == exact_sum(arrays[0])
    assert not norms[1].any()
    stages.run("finish_")
    # Ties go to even.
    assert stages.divisors == [1.0, 5.0]
    assert not stages.limbs.any()


@every_dtype
@pytest.mark.usefixtures("undecided")
def test_what_is_not_finite(dtype: Any) -> None:
    values = ([np.nan], [np.inf], [-np.inf], [np.inf, np.nan], [1, -np.nan], [2, np.inf], [1, 2])
    arrays = [np.array(each).astype(dtype) for each in values]
    stages = Stages(arrays, clipnorm=1.0)
    stages.run("sum_", "decide_", "exact_", "finish_")
    for array, given in zip(arrays, stages.divisors, strict=True):
        wanted = float(euclidean_norm([array], dtype))
        assert given == wanted or (math.isnan(given) and math.isnan(wanted))
    assert not stages.limbs.any()
    # Nothing is left over for the next call.
    stages.run("sum_", "decide_", "exact_", "finish_")
    assert stages.divisors[-1] == float(euclidean_norm([arrays[-1]], dtype))


@every_dtype
@pytest.mark.usefixtures("undecided")
def test_infinities_and_nans_are_counted_apart(dtype: Any) -> None:
    if dtype != FLOAT64:
        pytest.skip("the bound knows infinities and NaN of the others at once")
    stages = Stages([np.array([np.inf, 1.0, -np.inf, np.nan, 2.0])], clipnorm=1.0)
    stages.run("sum_", "decide_", "exact_")
    assert stages.limbs[[NANS, INFINITIES]].tolist() == [1, 2]
    assert integer(stages.limbs) == exact_sum(np.array([1.0, 2.0]))


def limbs_of(total: int, generator: np.random.Generator) -> Any:
    """Return limbs as atomic additions may leave them: with more than 32 bits, to be carried."""
    limbs = np.zeros(LIMB_WORDS, np.int64)
    for place in range(LIMBS):
        limbs[place] = (total >> (32 * place)) & 0xFFFFFFFF
    for place in range(LIMBS - 1, 0, -1):
        # Of a unit of one limb, 2**32 units of the limb below.
        moved = int(generator.integers(0, min(int(limbs[place]), 2**20) + 1))
        limbs[place] -= moved
        limbs[place - 1] += moved << 32
    assert integer(limbs) == total
    return limbs


def sums_of_all_sizes(generator: np.random.Generator, dtype: Any, count: int) -> list[int]:
    """Return sums whose roots are numbers of the dtype, middles between two, and next to them."""
    precision, lowest = FORMATS[dtype]
    sums = [0, 1, 2, 3, 4]
    for number in range(count):
        digits = int(generator.integers(2 ** (precision - 1), 2**precision)) | 1
        if generator.random() < 0.3:
            digits = 2**precision - 1 if generator.random() < 0.5 else 2 ** (precision - 1)
        exponent = int(generator.integers(lowest - precision - 3, 5 - lowest - precision))
        is_middle = int(generator.integers(0, 2))
        if number == 0:
            # Between the largest number and infinity.
            digits, exponent, is_middle = 2**precision - 1, 2 - lowest - precision, 1
        root = Fraction(2 * digits + is_middle) * Fraction(2) ** (exponent - 1)
        square = root**2 / Fraction(2) ** LOWEST_EXPONENT
        if square.denominator == 1:
            sums += [max(square.numerator + step, 0) for step in (-1, 0, 1)]
    return sums


@pytest.mark.share(2)
@simulated_only
@every_dtype
def test_the_root_of_every_sum_is_rounded_once(dtype: Any, sweep: Any) -> None:
    root_of = _root(*FORMATS[dtype])
    largest = float(FORMATS[dtype].largest)
    infinite = subnormal = 0
    for total in sums_of_all_sizes(sweep.generator, dtype, sweep.count(1500)):
        limbs = limbs_of(total, sweep.generator)
        simulated.allow([(limbs.ctypes.data, limbs.nbytes)])
        with np.errstate(over="ignore"):
            given = float(root_of(limbs.ctypes.data))
        # Rounded once by way of a root with 64 digits more.
        root = math.isqrt(total << 128)
        between = root * root != total << 128
        exact = Fraction(2 * root + between) * Fraction(2) ** (LOWEST_EXPONENT // 2 - 65)
        wanted = float(nearest(exact, dtype))
        if math.isinf(wanted):
            # Of the narrower dtypes it becomes infinite where it is written.
            infinite += 1
            assert given > largest, total
        else:
            assert given == wanted, total
        subnormal += 0 < wanted < float(FORMATS[dtype].smallest_normal)
    assert infinite > 0
    assert subnormal > 0


@every_dtype
@pytest.mark.usefixtures("undecided")
def test_a_norm_beyond_the_largest_number_is_infinite(dtype: Any) -> None:
    largest = dtype.type(float(FORMATS[dtype].largest))
    for count, wanted in ((1, float(largest)), (2, math.inf), (65, math.inf)):
        stages = Stages([np.full(count, largest)], clipnorm=1.0)
        stages.run("sum_", "decide_", "exact_", "finish_")
        assert stages.divisors == [wanted]


@pytest.mark.usefixtures("undecided")
def test_narrow_gradients_in_the_norm_of_wider_ones() -> None:
    generator = np.random.default_rng(3)
    arrays = [of_all_sizes(generator, 9, dtype) for dtype in DTYPES]
    arrays[3] /= 1e100
    stages = Stages(arrays, global_clipnorm=1.0)
    stages.run("sum_", "decide_", "exact_")
    assert integer(stages.limbs) == sum(exact_sum(array) for array in arrays)
