"""Sums of squares by fused multiply-add: within the derived error, from the first start or the second."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numba
import numpy as np
import pytest
from llvmlite import binding

from numba_kernels.cpu import sums
from numba_kernels.cpu.fused_sums import BLOCK, BUFFER, FIRST, HEADROOM, SCRATCH, WIDTH, fused_chunk
from numba_kernels.cpu.target import fuses, fuses_in_hardware
from numba_kernels.shared.element import DIVIDED, PLAIN
from numba_kernels.shared.inlining import inlined
from sgd_ref.arithmetic.formats import FLOAT64

SIZES = (1, 2, FIRST, BLOCK - 1, BLOCK, BLOCK + 1, BUFFER, BUFFER + 1, 3 * BUFFER + BLOCK + 7)
KINDS = ("ordinary", "growing", "shrinking", "zeros first", "one large", "one large first", "equal")
DERIVED = Fraction(2) ** -70
"""The error that the module states, of all terms together."""


@inlined
def _load(x: Any) -> Any:
    return x


@inlined
def _as_given(x: Any, accumulator: Any, loss_scale: Any, steps: Any) -> Any:
    return x


IN_PLACE = fused_chunk(FLOAT64, PLAIN, _load, _as_given)
BY_BUFFER = fused_chunk(FLOAT64, DIVIDED, _load, _as_given)


@numba.njit
def in_place(g: Any, scratch: Any) -> Any:
    return IN_PLACE(g, g, 1.0, 1.0, scratch)


@numba.njit
def by_buffer(g: Any, scratch: Any) -> Any:
    return BY_BUFFER(g, g, 1.0, 1.0, scratch)


every_way = pytest.mark.parametrize("way", [in_place, by_buffer], ids=["in place", "by buffer"])


def added(way: Any, array: Any) -> tuple[float, float, bool]:
    # Whatever a sum before has left.
    high, low, is_finite = way(np.asarray(array, np.float64), np.full(SCRATCH, 7.0))
    return high, low, is_finite


def exact(array: Any) -> Fraction:
    return sum((Fraction(x) ** 2 for x in array.tolist()), Fraction(0))


def shaped(kind: str, size: int, generator: np.random.Generator) -> Any:
    array = generator.standard_normal(size)
    match kind:
        case "growing":
            return np.sort(np.abs(array)) * np.logspace(-30, 10, size)
        case "shrinking":
            return (np.sort(np.abs(array)) * np.logspace(-30, 10, size))[::-1].copy()
        case "zeros first":
            array[:-1] = 0.0
        case "one large":
            array[-1] = 2.0**200
        case "one large first":
            array[0] = -(2.0**200)
        case "equal":
            array[:] = 1 / 3
    return array


@every_way
@pytest.mark.parametrize(
    ("kind", "size"), [*itertools.product(KINDS, SIZES), ("growing", 65536), ("ordinary", 65536)]
)
def test_the_derived_error(kind: str, size: int, way: Any) -> None:
    array = shaped(kind, size, np.random.default_rng(size))
    high, low, is_finite = added(way, array)
    assert is_finite
    expected = exact(array)
    assert abs(Fraction(high) + Fraction(low) - expected) <= DERIVED * expected
    # The totals of chunks rely on it.
    assert abs(low) <= high * 2.0**-23


def test_the_derived_error_is_below_what_decides() -> None:
    assert Fraction(sums.ERROR_OF_COMPENSATED_SUM) > DERIVED
    n = sums.LONGEST_CHUNK // WIDTH
    lost = (n + n**2) * Fraction(2) ** -106 * Fraction(HEADROOM * WIDTH + 1)
    assert 2 * lost <= DERIVED


@every_way
@pytest.mark.parametrize("place", [0, FIRST, BLOCK, -1])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2.0**512, -(2.0**600)])
def test_what_is_not_finite_or_overflows_is_told(value: float, place: int, way: Any) -> None:
    array = np.random.default_rng(0).standard_normal(3 * BLOCK + 5)
    array[place] = value
    assert not added(way, array)[2]


@every_way
@pytest.mark.parametrize("size", [0, 1, BLOCK, 2 * BLOCK + 1])
def test_zeros_and_squares_that_underflow(size: int, way: Any) -> None:
    for value in (0.0, -0.0):
        assert added(way, np.full(size, value)) == (0.0, 0.0, True)
    high, low, is_finite = added(way, np.full(size, 2.0**-600))
    assert (is_finite, low) == (True, 0.0)
    # Far below what decides a norm.
    assert high == 0.0


def test_a_sum_that_the_instruction_cannot_help_is_done_by_splitting() -> None:
    chunk = sums._compensated_chunk(FLOAT64, PLAIN)
    by_splitting = numba.njit(lambda g, lanes: chunk(g, g, 1.0, 1.0, lanes))
    for kind in ("ordinary", "growing", "one large"):
        array = shaped(kind, 3 * BLOCK + 7, np.random.default_rng(1))
        high, low, finiteness = by_splitting(array, np.zeros(4 * sums.LANES))
        expected = exact(array)
        assert abs(Fraction(high) + Fraction(low) - expected) <= sums.ERROR_OF_COMPENSATED_SUM * expected
        assert finiteness == 0
    assert math.isnan(by_splitting(np.array([1.0, math.inf]), np.zeros(4 * sums.LANES))[2])


@pytest.mark.parametrize(
    ("triple", "name", "features", "expected"),
    [
        ("x86_64-unknown-linux-gnu", "x86-64", "", False),
        ("x86_64-unknown-linux-gnu", "x86-64-v3", "", True),
        ("x86_64-unknown-linux-gnu", "x86-64-v3", "-fma", False),
        ("x86_64-unknown-linux-gnu", "x86-64-v4", "", True),
    ],
)
def test_which_targets_fuse(triple: str, name: str, features: str, expected: bool) -> None:
    try:
        machine = binding.Target.from_triple(triple).create_target_machine(cpu=name, features=features)
    except RuntimeError:
        pytest.skip(f"this LLVM has no {triple}")
    assert fuses(machine) is expected
    assert fuses_in_hardware() in (True, False)
