"""Directed roundings, bits, roots and errors of squares, computed by kernels, against exact arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba_kernels.cuda needs numba-cuda")

from numba_kernels.cuda import simulated
from numba_kernels.cuda.device import exact_numbers
from numba_kernels.cuda.device.access import DOUBLES, HALVES, SINGLES, WORDS, Access
from numba_kernels.cuda.device.storage import storage
from numba_kernels.cuda.host.buffers import Buffer
from numba_kernels.cuda.toolkit import IS_SIMULATED, cuda, kernel
from numba_kernels.shared.inlining import inlined
from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, FORMATS
from sgd_ref.arithmetic.rounded import nearest

MAXIMUM = float(np.finfo(np.float32).max)


def computed(function: Any, access: Access, results: Any, *operands: Any) -> Any:
    """Return what a function of kernels gives for each element of float64 operands."""
    size = results.itemsize
    read, write, count = DOUBLES.read, access.write, len(results)
    is_unary = len(operands) == 1

    @kernel("computed")
    def compute(first: int, second: int, out: int) -> None:
        index = cuda.grid(1)
        while index < count:
            x = read(first + 8 * index)
            y = function(x) if is_unary else function(x, read(second + 8 * index))
            write(out + size * index, y)
            index += cuda.gridsize(1)

    buffers = [Buffer(np.array(operand, np.float64)) for operand in (*operands, *operands)[:2]]
    out = Buffer(results)
    if IS_SIMULATED:
        simulated.allow(buffer.region for buffer in (*buffers, out))
    compute.launch(1, 2, 0, *(buffer.address for buffer in buffers), out.address)
    return out.download()


def hard_numbers(generator: np.random.Generator, count: int, precision: int, lowest: int) -> Any:
    """Return float64 next to numbers, and to middles between numbers, of a format, in all of its range."""
    digits = generator.integers(2**precision, 2 ** (precision + 1), count)
    exponents = generator.integers(lowest - precision - 4, 3 - lowest - precision, count)
    with np.errstate(over="ignore", under="ignore"):
        values = np.ldexp(digits.astype(np.float64), exponents)
    offsets = generator.integers(-2, 3, count)
    for step in (1, 2):
        away = np.where(offsets > 0, np.inf, 0.0)
        values = np.where(np.abs(offsets) >= step, np.nextafter(values, away), values)
    return values * generator.choice([-1.0, 1.0], count)


def everywhere(generator: np.random.Generator, count: int) -> Any:
    """Return hard numbers of every format narrower than float64, and special ones."""
    formats = [FORMATS[dtype] for dtype in (FLOAT16, BFLOAT16, FLOAT32)]
    special = [0.0, -0.0, 5e-324, -5e-324, 2.0**-149, 2.0**-150, 3 * 2.0**-150, 2.0**-126, 2.0**-127 * 3]
    special += [MAXIMUM, MAXIMUM * (1 + 2.0**-26), MAXIMUM * (1 + 2.0**-24), 2.0**128, 1e300, -1e300, 65504.0]
    special += [65519.99, 65520.0, 65536.0, math.inf, -math.inf]
    return np.concatenate([special, *(hard_numbers(generator, count, *each) for each in formats)])


def exactly(x: float) -> Fraction | float:
    return Fraction(x) if math.isfinite(x) else x


def test_directed_roundings_are_the_neighbours(sweep: Any) -> None:
    values = everywhere(sweep.generator, sweep.count(40_000))
    for function, is_upper in ((exact_numbers.rounded_down, False), (exact_numbers.rounded_up, True)):
        found = computed(function, SINGLES, np.zeros(len(values), np.float32), values)
        with np.errstate(over="ignore"):
            beyond = np.nextafter(found, np.float32(-np.inf if is_upper else np.inf))
        for x, near, far in zip(values.tolist(), found.tolist(), beyond.tolist(), strict=True):
            if is_upper:
                assert exactly(far) < exactly(x) <= exactly(near) or near == x == -math.inf, x
            else:
                assert exactly(near) <= exactly(x) < exactly(far) or near == x == math.inf, x
    negative = computed(exact_numbers.rounded_up, SINGLES, np.zeros(1, np.float32), [-1e-300])
    assert math.copysign(1, negative[0]) == -1


@pytest.mark.parametrize("dtype", [FLOAT16, BFLOAT16, FLOAT32], ids=lambda dtype: dtype.name)
def test_narrowing_rounds_once(dtype: Any, sweep: Any) -> None:
    stored = storage(dtype)
    narrowed, store = stored.narrowed, stored.store

    @inlined
    def bits(x: Any) -> Any:
        return store(narrowed(x))

    values = everywhere(sweep.generator, sweep.count(80_000))
    access, word = (HALVES, np.uint16) if dtype.itemsize == 2 else (SINGLES, np.float32)
    found = computed(bits, access, np.zeros(len(values), word), values).view(dtype)
    doubly = 0
    for x, given in zip(values.tolist(), found, strict=True):
        wanted = nearest(Fraction(x), dtype) if math.isfinite(x) and x else dtype.type(x)
        if wanted == 0:
            wanted = dtype.type(math.copysign(0, x))
        assert given.tobytes() == wanted.tobytes(), x
        with np.errstate(over="ignore"):
            doubly += np.float32(x).astype(dtype) != wanted
    # Otherwise rounding twice would pass, too.
    assert doubly > 0 or dtype == FLOAT32


def test_nan_stays_nan() -> None:
    nan = [np.nan, -np.nan]
    for function in (exact_numbers.rounded_down, exact_numbers.rounded_up, exact_numbers.rounded_to_odd):
        assert np.isnan(computed(function, SINGLES, np.zeros(2, np.float32), nan)).all()
    for dtype in (FLOAT16, BFLOAT16):
        stored = storage(dtype)
        narrowed, store = stored.narrowed, stored.store
        halves = computed(_after(store, narrowed), HALVES, np.zeros(2, np.uint16), nan)
        assert np.isnan(halves.view(dtype).astype(np.float32)).all()


def _after(second: Callable[..., Any], first: Callable[..., Any]) -> Any:
    @inlined
    def both(x: Any) -> Any:
        return second(first(x))

    return both


def test_bits_and_back(sweep: Any) -> None:
    values = everywhere(sweep.generator, sweep.count(2000))
    bits = computed(exact_numbers.bits_of, WORDS, np.zeros(len(values), np.int64), values)
    assert bits.tobytes() == values.tobytes()
    again = computed(
        _after(exact_numbers.from_bits, exact_numbers.bits_of), DOUBLES, np.zeros(len(values)), values
    )
    assert again.tobytes() == values.tobytes()


def test_roots_are_the_nearest(sweep: Any) -> None:
    # Squares of 54 digits lie next to the middles between roots.
    middles = sweep.generator.integers(2**53, 2**54, sweep.count(20_000)) | 1
    values = np.concatenate([np.abs(everywhere(sweep.generator, 200)), middles.astype(np.float64) ** 2])
    found = computed(exact_numbers.square_root, DOUBLES, np.zeros(len(values)), values)
    for x, root in zip(values.tolist(), found.tolist(), strict=True):
        if math.isinf(x) or x == 0:
            assert root == x
            continue
        below = (Fraction(root) + Fraction(math.nextafter(root, 0))) / 2
        above = (Fraction(root) + Fraction(math.nextafter(root, math.inf))) / 2
        assert below**2 <= Fraction(x) <= above**2, x


def test_the_error_of_a_square_is_exact(sweep: Any) -> None:
    count = sweep.count(20_000)
    values = sweep.generator.standard_normal(count) * 2.0 ** sweep.generator.integers(-480, 500, count)
    squares = values * values
    found = computed(exact_numbers.error_of_square, DOUBLES, np.zeros(count), values, squares)
    assert np.count_nonzero(found) > count // 2
    for x, square, error in zip(values.tolist(), squares.tolist(), found.tolist(), strict=True):
        assert Fraction(x) ** 2 == Fraction(square) + Fraction(error)


def test_the_error_of_a_square_that_overflows_decides_nothing() -> None:
    numbers, squares = [1e200, np.inf, np.nan], [np.inf, np.inf, np.nan]
    error = computed(exact_numbers.error_of_square, DOUBLES, np.zeros(3), numbers, squares)
    # As by a fused multiplication and addition.
    assert error.tolist()[:1] == [-math.inf]
    assert np.isnan(error[1:]).all()


def test_results_have_the_dtype_that_is_computed_with() -> None:
    for dtype, kind in (
        (FLOAT16, np.float32),
        (BFLOAT16, np.float32),
        (FLOAT32, np.float32),
        (FLOAT64, float),
    ):
        stored = storage(dtype)
        assert stored.compute == kind
        if IS_SIMULATED:
            assert stored.narrowed(np.float64(0.1)).dtype == stored.compute
            assert stored.double(stored.compute.type(1)).dtype == FLOAT64
