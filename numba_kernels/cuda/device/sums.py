"""Sums of squares of gradients on the device, chunk by chunk, with a bound on their error.

The order of additions depends on the number of threads and the grid. It need not be fixed, since the norm
computed from the sum is correctly rounded for any order.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from numba_kernels.cuda.device.access import DOUBLES
from numba_kernels.cuda.device.chunk_loop import chunk_fold
from numba_kernels.cuda.device.exact_numbers import error_of_square
from numba_kernels.cuda.device.layout import (
    ACCUMULATES,
    ACCUMULATOR,
    CHUNK_COUNT,
    CHUNK_WORDS,
    CHUNKS,
    COLUMNS,
    COUNT,
    COUNTS,
    GRADIENT,
    GRADIENTS,
    HIGH,
    IS_DYNAMIC,
    LOSS_SCALE,
    LOW,
    MISSING,
    NOT_FINITE,
    NUMBERS,
    RESULT_COUNT,
    RESULTS,
    ROW,
    SCALE,
    SETTINGS,
    START,
    STEPS,
    TABLE,
    addresses_of,
    set_word,
    single,
    word,
)
from numba_kernels.cuda.device.operations import add, multiply, subtract
from numba_kernels.cuda.device.storage import Storage, storage
from numba_kernels.cuda.toolkit import IS_SIMULATED, Kernel, cuda, kernel, types, wait_for_block
from numba_kernels.shared.element import ACCUMULATED, gradient_transformation
from numba_kernels.shared.inlining import inlined

THREADS = 8 if IS_SIMULATED else 256
"""The number of threads of a block that adds, a power of two."""

UNIT = 2.0**-53
"""Half the distance of 1 to the next float64: the bound on the relative error of one operation."""


def error_of_sum(elements: int, chunks: int, compensated: bool) -> float:
    """Return a bound on the relative error of the sum of all chunks.

    Each addition has an error of at most one unit of its result. Squares of 24 digits are exact in float64.
    An element passes through the additions of its thread, of its block, of the results of all chunks by one
    thread, and of a block again. In a compensated sum, the errors are added, too, and each addition of errors
    loses at most one unit of their sum.

    Parameters
    ----------
    elements : int
        The number of elements of the longest chunk.
    chunks : int
        The number of chunks.
    compensated : bool
        Whether the errors of the additions are added up.
    """
    additions = -(-elements // THREADS) + -(-chunks // THREADS) + 4 * THREADS.bit_length()
    return 4 * (additions * UNIT) ** 2 if compensated else additions * UNIT


_read_double, _write_double = DOUBLES.read, DOUBLES.write


@inlined
def add_pair(high: Any, low: Any, more: Any, lost: Any) -> Any:
    """Add a number and its error term to a sum and its error term; the leading parts add exactly."""
    total = add(high, more)
    added = subtract(total, high)
    # Knuth's error term: the exact rounding error of `total` (The Art of Computer Programming 2, 4.2.2).
    missing = add(subtract(high, subtract(total, added)), subtract(more, added))
    return total, add(add(low, lost), missing)


@inlined
def add_block(highs: Any, lows: Any, thread: int) -> None:
    """Add up the sums of the threads of a block; the first thread gets the total."""
    wait_for_block()
    half = THREADS // 2
    while half > 0:
        if thread < half:
            highs[thread], lows[thread] = add_pair(
                highs[thread], lows[thread], highs[thread + half], lows[thread + half]
            )
        wait_for_block()
        half >>= 1


def _step(stored: Storage, gradient: int, compensated: bool) -> Any:
    """Return the function of kernels that adds the square of one element, as it is before clipping."""
    number_of = stored.double
    transformed = gradient_transformation(stored.operations, gradient)
    accumulator = 1 if gradient == ACCUMULATED else 0

    @inlined
    def step(folded: Any, numbers: Any, call: Any) -> Any:
        high, low, finiteness = folded
        loss_scale, steps = call
        given = numbers[0]
        x = number_of(transformed(given, numbers[accumulator], loss_scale, steps))
        square = multiply(x, x)
        if compensated:
            high, low = add_pair(high, low, square, error_of_square(x, square))
        else:
            high = add(high, square)
        # The sum is NaN if the gradient is not finite, and otherwise a sum of zeros.
        return high, low, add(finiteness, subtract(given, given))

    return step


@functools.cache
def sum_kernel(dtype: np.dtype[Any], gradient: int, compensated: bool) -> Kernel:
    """Return the kernel that adds the squares of gradients of one dtype, and tests whether all are finite.

    Its argument is the address of the descriptor. It squares the gradients in the form that would be clipped.
    """
    stored = storage(dtype)
    itemsize = dtype.itemsize
    read_setting, setting_bytes = stored.settings.read, stored.compute.itemsize
    widened = stored.widened
    has_accumulator = gradient == ACCUMULATED
    step = _step(stored, gradient, compensated)
    fold = chunk_fold(stored, step, [GRADIENT, ACCUMULATOR] if has_accumulator else [GRADIENT])
    zero = stored.compute.type(0)

    @kernel(f"sum_{dtype.name}_{gradient}_{'compensated' if compensated else 'plain'}")
    def added(descriptor: int) -> None:
        highs = cuda.shared.array(THREADS, types.float64)
        lows = cuda.shared.array(THREADS, types.float64)
        thread = cuda.threadIdx.x
        counts, chunks, settings = (
            word(descriptor, COUNTS),
            word(descriptor, CHUNKS),
            word(descriptor, SETTINGS),
        )
        is_dynamic = word(descriptor, IS_DYNAMIC) != 0
        loss_scale = read_setting(settings + setting_bytes * LOSS_SCALE)
        if is_dynamic:
            loss_scale = widened(single(word(descriptor, NUMBERS), SCALE))
        call = loss_scale, read_setting(settings + setting_bytes * STEPS)
        # Nothing is clipped in a call that only accumulates.
        is_idle = has_accumulator and not is_dynamic and word(counts, ACCUMULATES) != 0
        end = 0 if is_idle else word(descriptor, CHUNK_COUNT)
        index = cuda.blockIdx.x
        while index < end:
            chunk = chunks + 8 * CHUNK_WORDS * index
            row = word(descriptor, TABLE) + 8 * COLUMNS * word(chunk, ROW)
            gradient_address = word(word(descriptor, GRADIENTS), word(chunk, ROW))
            folded = (np.float64(0), np.float64(0), zero)
            if gradient_address != MISSING:
                addresses = addresses_of(row, gradient_address, word(chunk, START) * itemsize)
                folded = fold(folded, addresses, word(chunk, COUNT), call, thread, THREADS)
            if is_dynamic and folded[2] != 0:
                set_word(counts, NOT_FINITE, 1)
            highs[thread], lows[thread] = folded[0], folded[1]
            add_block(highs, lows, thread)
            if thread == 0:
                result = word(descriptor, RESULTS) + 8 * RESULT_COUNT * index
                _write_double(result + 8 * HIGH, highs[0])
                _write_double(result + 8 * LOW, lows[0])
            # The next chunk needs the same memory.
            wait_for_block()
            index += cuda.gridDim.x

    return added
