"""Sums of squares on the device: their error is below its bound, and the bound is not far above the error."""

from __future__ import annotations

import math
import runpy
from fractions import Fraction
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba_kernels.cuda needs numba-cuda")

from numba_kernels.cuda import simulated
from numba_kernels.cuda.device import layout, sums
from numba_kernels.cuda.device.chunk_loop import chunk_fold
from numba_kernels.cuda.device.storage import storage
from numba_kernels.cuda.device.sums import add_pair, error_of_sum
from numba_kernels.cuda.host.groups import CHUNK
from numba_kernels.cuda.toolkit import IS_SIMULATED
from numba_kernels.shared.element import PLAIN

DTYPES = [np.dtype(dtype) for dtype in (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)

simulated_only = pytest.mark.skipif(not IS_SIMULATED, reason="calls functions of kernels as Python")


Stages = runpy.run_path(str(Path(__file__).with_name("stages.py")))["Stages"]

BIG, SMALL = 1024.0, 181 * 2.0**-24
"""Numbers of all dtypes; the square of the second is just below half a unit of the square of the first."""


def exact_sum(array: Any) -> Fraction:
    return sum((Fraction(x) ** 2 for x in np.ravel(array).astype(np.float64).tolist()), Fraction(0))


def sum_of(results: Any) -> Fraction:
    return sum((Fraction(x) for x in results.ravel().tolist()), Fraction(0))


def of_many_sizes(generator: np.random.Generator, size: int, dtype: Any) -> Any:
    values = generator.standard_normal(size) * 2.0 ** generator.integers(-12, 12, size)
    return values.astype(dtype)


@every_dtype
@pytest.mark.parametrize("compensated", [False, True])
@pytest.mark.usefixtures("both_orders")
def test_the_error_is_below_its_bound(dtype: Any, compensated: bool, sweep: Any) -> None:
    if dtype == DTYPES[3] and not compensated:
        pytest.skip("sums of float64 are always compensated where a norm is asked for")
    # With a float64 among them all are.
    others = [np.zeros(1)] if compensated else []
    for size in (1, CHUNK - 1, CHUNK, 5 * CHUNK + 3):
        array = of_many_sizes(sweep.generator, size, dtype)
        if size == CHUNK:
            array[...] = SMALL
            array[:: max(1, size // 8)] = BIG
        stages = Stages([array, *others], global_clipnorm=1.0)
        stages.run("sum_")
        # Each chunk by itself is right.
        for chunk, start in enumerate(range(0, size, CHUNK)):
            part = exact_sum(array[start : start + CHUNK])
            assert abs(sum_of(stages.results[chunk]) - part) <= Fraction(stages.error) * part
        assert stages.error < 2.0**-46
        if compensated:
            assert stages.error < 2.0**-90


@every_dtype
def test_what_is_squared_is_the_gradient_as_it_is_clipped(dtype: Any) -> None:
    generator = np.random.default_rng(1)
    given = generator.integers(-99, 99, CHUNK + 5).astype(dtype)
    for settings, divisor in (({}, 1), ({"loss_scale_factor": 8.0}, 8)):
        stages = Stages([given], clipnorm=1.0, **settings)
        stages.run("sum_")
        assert sum_of(stages.results) == exact_sum(given) / divisor**2
    stages = Stages([given], clipnorm=1.0, loss_scale_factor=2.0, gradient_accumulation_steps=2)
    stages.run("sum_")
    assert not stages.results.any()
    stages.run("update_")
    stages.run("sum_")
    # The gradient was accumulated by the first call, and is added to itself in the second.
    assert sum_of(stages.results) == exact_sum(given) / 4


def test_a_missing_gradient_adds_nothing() -> None:
    given = np.ones(CHUNK + 5, np.float32)
    stages = Stages([given, None, 2 * given], clipnorm=1.0)
    stages.program._results.host[...] = 7
    stages.program._results.upload(0)
    stages.run("sum_")
    assert stages.results[:, layout.HIGH].tolist() == [CHUNK, 5, 0, 0, 4 * CHUNK, 20]


@pytest.mark.share(3)
@every_dtype
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0])
@pytest.mark.parametrize("place", [0, CHUNK - 1, CHUNK])
def test_whether_all_are_finite(dtype: Any, value: float, place: int) -> None:
    # The squares of large float64 overflow, and they are finite.
    array = np.full(CHUNK + 3, 1e300 if dtype == DTYPES[3] else 6e4).astype(dtype)
    array[place] = value
    for settings in ({}, {"clipnorm": 1.0}, {"gradient_accumulation_steps": 2}):
        stages = Stages([array], is_dynamic=True, **settings)
        stages.run("sum_")
        is_finite = stages.state.counts.download()[layout.NOT_FINITE] == 0
        assert is_finite == math.isfinite(value)


@simulated_only
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("compensated", [False, True])
def test_the_bound_for_the_chunks_and_threads_of_a_device(
    dtype: Any, compensated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every addition of a thread loses almost half a unit, always to the same side."""
    chunk, threads = 8192, 256
    monkeypatch.setattr(sums, "THREADS", threads)
    stored = storage(dtype)
    memory = np.zeros(chunk * dtype.itemsize + 16, np.uint8)
    start = -memory.ctypes.data % 16
    array = memory[start : start + chunk * dtype.itemsize].view(dtype)
    array[...] = SMALL
    array[: threads * stored.width : stored.width] = BIG
    simulated.allow([(array.ctypes.data, array.nbytes)])
    fold = chunk_fold(stored, sums._step(stored, PLAIN, compensated), [0])
    zero, call = stored.compute.type(0), (stored.compute.type(1), stored.compute.type(1))
    # The threads have the same numbers, so that one of them stands for all.
    high, low, finiteness = fold(
        (np.float64(0), np.float64(0), zero), (array.ctypes.data,), chunk, call, 3, threads
    )
    assert finiteness == 0
    pairs = [(high, low)] * threads
    while len(pairs) > 1:
        half = len(pairs) // 2
        pairs = [add_pair(*pairs[i], *pairs[i + half]) for i in range(half)]
    expected = exact_sum(array)
    error = abs(Fraction(float(pairs[0][0])) + Fraction(float(pairs[0][1])) - expected) / expected
    bound = Fraction(error_of_sum(chunk, 1, compensated))
    assert error <= bound
    if not compensated:
        assert error >= bound / 3


def test_the_bound_grows_with_chunks_and_elements() -> None:
    for compensated in (False, True):
        bounds = [error_of_sum(elements, 10**4, compensated) for elements in (1, 8192, 65536)]
        assert bounds == sorted(bounds)
        assert error_of_sum(8192, 2**31 // 8192, compensated) > error_of_sum(8192, 1, compensated)
        assert bounds[0] < bounds[-1]


@simulated_only
def test_a_sum_and_what_it_lacks_lose_nothing_of_the_leading_parts(sweep: Any) -> None:
    for _ in range(sweep.count(20_000)):
        high, more = (float(x) for x in np.abs(of_many_sizes(sweep.generator, 2, DTYPES[3])))
        total, low = add_pair(high, 0.0, more, 0.0)
        assert Fraction(total) + Fraction(low) == Fraction(high) + Fraction(more)
        assert total == high + more
