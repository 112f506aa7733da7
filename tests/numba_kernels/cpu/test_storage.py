"""How dtypes lie in memory, and that float16 has the same bits with and without the processor's help."""

from __future__ import annotations

import runpy
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numba
import numpy as np
import pytest

from numba_kernels.cpu import compiling
from numba_kernels.cpu.kernels import accumulation_kernel, update_kernel
from numba_kernels.cpu.storage import storage
from numba_kernels.cpu.target import converts_half_in_hardware
from numba_kernels.shared.element import ACCUMULATED, CLASSIC, NESTEROV, PLAIN, Variant
from numba_kernels.shared.slots import ACCUMULATOR, AVERAGE, COLUMNS, GRADIENT, SETTINGS, VARIABLE, VELOCITY
from sgd_ref.conformance.trajectories.comparison import equal_bits

agreement = runpy.run_path(str(Path(__file__).parents[1] / "agreement.py"))
Pair, numbers = agreement["Pair"], agreement["numbers"]

FLOAT16 = np.dtype(np.float16)
DTYPES = [np.dtype(dtype) for dtype in (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
needs_hardware = pytest.mark.skipif(
    not converts_half_in_hardware(), reason="the processor does not convert float16 by itself"
)


def patterns(generator: np.random.Generator, dtype: Any, count: int = 1 << 16) -> Any:
    """Return all patterns of the half types in random order, random ones of the others."""
    if dtype.itemsize == 2:
        return generator.permutation(np.arange(1 << 16, dtype=np.uint16)).view(dtype)
    return generator.integers(0, 256, count * dtype.itemsize, np.uint8).view(dtype)


@every_dtype
def test_arrays_at_addresses_hold_what_numpy_holds(dtype: Any) -> None:
    stored = storage(dtype)
    array_at, load, store = stored.array_at, stored.load, stored.store

    @numba.njit
    def copied(source: int, target: int, count: int, loaded: Any) -> None:
        given, taken = array_at(source, count), array_at(target, count)
        for index in range(count):
            loaded[index] = load(given[index])
            taken[index] = store(load(given[index]))

    source = patterns(np.random.default_rng(1), dtype)
    # What lies before and after must stay as it is.
    target = np.full(len(source) + 2, 7, dtype)
    loaded = np.zeros(len(source), stored.compute)
    copied(source.ctypes.data, target[1:].ctypes.data, len(source), loaded)
    assert equal_bits(source, target[1:-1]).all()
    assert (target[0], target[-1]) == (7, 7)
    with np.errstate(invalid="ignore"):
        assert equal_bits(source.astype(stored.compute), loaded).all()


@every_dtype
def test_settings_become_numbers_of_the_dtype_of_computing(dtype: Any) -> None:
    stored = storage(dtype)
    number = stored.number
    assert stored.dtype == dtype
    assert stored.compute == (np.float64 if dtype == np.float64 else np.float32)

    @numba.njit
    def as_numbers(settings: Any, results: Any) -> None:
        for index in range(settings.shape[0]):
            results[index] = number(settings[index])

    source = patterns(np.random.default_rng(2), dtype)
    with np.errstate(invalid="ignore"):
        settings = source.astype(np.float64)
    results = np.zeros(len(source), stored.compute)
    as_numbers(settings, results)
    with np.errstate(invalid="ignore"):
        assert equal_bits(source.astype(stored.compute), results).all()


def run(kernel: Any, arrays: dict[int, Any], settings: Any) -> list[Any]:
    """Return what a kernel makes of copies of the arrays."""
    copies = {column: array.copy() for column, array in arrays.items()}
    count = len(copies[VARIABLE])
    table = np.zeros((1, COLUMNS), np.int64)
    for column, array in copies.items():
        table[0, column] = array.ctypes.data
    chunks = np.array([[0, 0, count - 5], [0, count - 5, 5]], np.int64)
    kernel(table, chunks, 0, 2, settings, np.array([[0.75, 1.5]]), np.array([True]))
    return list(copies.values())


@pytest.mark.share(2)
@needs_hardware
@pytest.mark.parametrize("variant", [Variant(NESTEROV, ACCUMULATED, True), Variant(CLASSIC, PLAIN, False)])
def test_an_update_of_every_pattern_has_the_same_bits_both_ways(variant: Variant, sweep: Any) -> None:
    settings = np.array([8.0, 3.0, 1000.0, 0.0625, 0.09375, 0.875, 0.75, 0.25, 0.0, 0.0])
    assert len(settings) == SETTINGS
    for _ in range(sweep.count(200)):
        columns = (VARIABLE, GRADIENT, VELOCITY, AVERAGE, ACCUMULATOR)
        arrays = {column: patterns(sweep.generator, FLOAT16) for column in columns}
        results = [
            run(update_kernel(FLOAT16, variant, in_hardware), arrays, settings)
            for in_hardware in (True, False)
        ]
        for column, by_processor, by_bits in zip(columns, *results, strict=True):
            assert equal_bits(by_processor, by_bits).all(), column
        assert not equal_bits(arrays[VARIABLE], results[0][VARIABLE]).all()


@needs_hardware
def test_both_ways_are_kernels_of_their_own() -> None:
    variant = Variant(CLASSIC, PLAIN, False)
    names = {update_kernel(FLOAT16, variant, way).py_func.__qualname__ for way in (None, True, False)}
    assert len(names) == 3
    assert len({accumulation_kernel(FLOAT16, way).py_func.__qualname__ for way in (None, True, False)}) == 3


def test_without_the_processors_help_float16_has_the_bits_of_the_reference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compiling, "update_kernel", partial(update_kernel, in_hardware=False))
    monkeypatch.setattr(compiling, "accumulation_kernel", partial(accumulation_kernel, in_hardware=False))
    generator = np.random.default_rng(3)
    pair = Pair(
        [numbers(generator, 3000, FLOAT16, 0.1), numbers(generator, (7, 9), FLOAT16, 0.1)],
        learning_rate=0.1,
        momentum=0.9,
        nesterov=True,
        weight_decay=0.01,
        clipvalue=2.0,
        use_ema=True,
        ema_momentum=0.9,
        loss_scale_factor=8.0,
        gradient_accumulation_steps=3,
    )
    for _ in range(6):
        pair.apply([numbers(generator, 3000, FLOAT16, 0.1), numbers(generator, (7, 9), FLOAT16, 0.1)])
