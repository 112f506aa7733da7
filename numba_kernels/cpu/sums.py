"""Sums of squares of gradients: fast sums with a rigorous bound on their error, and the exact sum.

The order in which the squares of a gradient are added is free here, since `norm` returns the correctly
rounded norm for any order. The squares are those of the gradient just before clipping: divided by the loss
scale, and averaged over the window, element by element, with the roundings of the update.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from numba_kernels.cpu.addresses import enter_default_mode, leave_default_mode
from numba_kernels.cpu.cache import kernel
from numba_kernels.cpu.fused_sums import SCRATCH, fused_chunk
from numba_kernels.cpu.storage import storage
from numba_kernels.cpu.target import fuses_in_hardware
from numba_kernels.shared.element import ACCUMULATED, PLAIN, gradient_transformation
from numba_kernels.shared.exact_sums import LIMBS, sum_and_error
from numba_kernels.shared.inlining import inlined, reordered
from numba_kernels.shared.slots import ACCUMULATOR, GRADIENT, INDIRECT, LOSS_SCALE, MISSING, STEPS
from sgd_ref.arithmetic.formats import FLOAT64

BLOCK = 256
BLOCKS_OF_A_GROUP = 16
LONGEST_CHUNK = 65536

HIGH, LOW, FINITENESS = range(3)
"""Columns of the results: the sum is HIGH + LOW; FINITENESS is 0 if the given gradient is finite."""

LANES = 64
ROWS = 128

UNIT = 2.0**-53
"""Half the distance of 1 to the next float64: the bound on the relative error of one operation."""

ERROR_OF_PLAIN_SUM = (BLOCK + BLOCKS_OF_A_GROUP + LONGEST_CHUNK // (BLOCK * BLOCKS_OF_A_GROUP) + 8) * UNIT
"""The relative error for a chunk: squares of 24 digits are exact in float64. An element passes through at
most 255 additions of a block in any order, then those of a group, those of a chunk, and a few more."""

ERROR_OF_COMPENSATED_SUM = (2 * ROWS + 4 * LANES + LONGEST_CHUNK // (ROWS * LANES) + 32) * UNIT * 2.0**-24
"""The relative error for a chunk: the squares of the leading 26 digits are added without error. The
remainder, at most 2**-24 of the squares, is added in float64: ROWS additions in a lane, then one for each
block in a lane, then two for each lane. The factors of two are spare."""


SUM_SIGNATURE = "void(int64[:, ::1], int64[:, ::1], int64, int64, float64[::1], float64[:, ::1])"
"""Table, chunks, first and last chunk, settings, and the results: a row for each chunk."""
EXACT_SIGNATURE = "void(int64[:, ::1], int64[:, ::1], int64, int64, float64[::1], int64[::1])"
"""The same arguments, and the results: the limbs, then the counts of NaNs and infinities."""


@functools.cache
def sum_kernel(dtype: np.dtype[Any], gradient: int, compensated: bool, /) -> Any:
    """Return the kernel that adds the squares of the gradients of a dtype, chunk by chunk.

    Parameters
    ----------
    dtype : dtype
        The dtype of the gradients.
    gradient : int
        PLAIN, DIVIDED or ACCUMULATED, as for the update.
    compensated : bool
        Whether the sum must decide the rounding of a float64; always true for float64 gradients.
    """
    add_chunk = _wide_chunk(dtype, gradient) if compensated else _plain_chunk(dtype, gradient)
    stored = storage(dtype)
    array_at, number = stored.array_at, stored.number
    itemsize = dtype.itemsize
    has_accumulator = gradient == ACCUMULATED
    name = f"sum_{dtype.name}_{gradient}_{'compensated' if compensated else 'plain'}"

    @kernel(name, SUM_SIGNATURE)
    def added(table: Any, chunks: Any, first: int, last: int, settings: Any, results: Any) -> None:
        mode = enter_default_mode()
        scratch = np.empty(max(SCRATCH, 4 * LANES))
        for index in range(first, last):
            row, start, count = chunks[index, 0], chunks[index, 1], chunks[index, 2]
            address = table[row, GRADIENT]
            if address in (MISSING, INDIRECT):
                results[index, HIGH] = results[index, LOW] = results[index, FINITENESS] = 0.0
                continue
            offset = start * itemsize
            g = array_at(address + offset, count)
            accumulator = array_at(table[row, ACCUMULATOR] + offset, count) if has_accumulator else g
            high, low, finiteness = add_chunk(
                g, accumulator, number(settings[LOSS_SCALE]), number(settings[STEPS]), scratch
            )
            results[index, HIGH], results[index, LOW] = high, low
            results[index, FINITENESS] = finiteness
        leave_default_mode(mode)

    return added


def _wide_chunk(dtype: np.dtype[Any], gradient: int) -> Any:
    """Return the function of kernels that adds the squares of a chunk for a norm in float64."""
    if not fuses_in_hardware():
        return _compensated_chunk(dtype, gradient)
    stored = storage(dtype)
    load = stored.load
    fused = fused_chunk(dtype, gradient, load, gradient_transformation(stored.operations, gradient))

    @reordered
    def finiteness_of(g: Any) -> Any:
        total = 0.0
        for i in range(g.shape[0]):
            given = load(g[i])
            total += np.float64(given - given)
        return total

    @inlined
    def add_chunk(g: Any, accumulator: Any, loss_scale: Any, steps: Any, scratch: Any) -> Any:
        high, low, is_finite = fused(g, accumulator, loss_scale, steps, scratch)
        # Squares of finite elements may have overflowed; such a norm has to be computed exactly anyway.
        return high, low, 0.0 if is_finite else finiteness_of(g)

    return add_chunk


def _plain_chunk(dtype: np.dtype[Any], gradient: int) -> Any:
    stored = storage(dtype)
    load = stored.load
    transformed = gradient_transformation(stored.operations, gradient)
    # Squares of float32 and narrower numbers never overflow in float64, so a finite sum means finite
    # elements.
    is_flagged = gradient != PLAIN or dtype == FLOAT64

    # Reordering makes the sum 16 times faster (measured), and the bound holds for any order.
    @reordered
    def add_block(g: Any, accumulator: Any, loss_scale: Any, steps: Any) -> Any:
        total, finiteness = 0.0, np.float64(loss_scale - loss_scale)
        for i in range(g.shape[0]):
            given = load(g[i])
            x = np.float64(transformed(given, load(accumulator[i]), loss_scale, steps))
            total += x * x
            if is_flagged:
                # The sum is NaN if the gradient is not finite, and otherwise a sum of zeros.
                finiteness += np.float64(given - given)
        return total, finiteness if is_flagged else total - total

    @inlined
    def add_chunk(g: Any, accumulator: Any, loss_scale: Any, steps: Any, scratch: Any) -> Any:
        total, finiteness = 0.0, 0.0
        length = BLOCK * BLOCKS_OF_A_GROUP
        for start in range(0, g.shape[0], length):
            subtotal = 0.0
            for inner in range(start, min(start + length, g.shape[0]), BLOCK):
                end = min(inner + BLOCK, g.shape[0])
                part, flag = add_block(g[inner:end], accumulator[inner:end], loss_scale, steps)
                subtotal += part
                finiteness += flag
            total += subtotal
        return total, 0.0, finiteness

    return add_chunk


@inlined
def _leading_digits(x: Any) -> Any:
    """Return `x` without its last 27 digits, so that its square is exact."""
    bits = np.float64(x).view(np.int64)
    return np.int64(bits & ~((1 << 27) - 1)).view(np.float64)


def _compensated_chunk(dtype: np.dtype[Any], gradient: int) -> Any:
    stored = storage(dtype)
    load = stored.load
    transformed = gradient_transformation(stored.operations, gradient)

    @inlined
    def add_row(
        g: Any, accumulator: Any, loss_scale: Any, steps: Any, highs: Any, lows: Any, flags: Any
    ) -> None:
        for lane in range(g.shape[0]):
            given = load(g[lane])
            flags[lane] += np.float64(given - given)
            x = np.float64(transformed(given, load(accumulator[lane]), loss_scale, steps))
            leading = _leading_digits(x)
            rest = x - leading
            square = leading * leading
            high = highs[lane]
            total = high + square
            added = total - high
            # Knuth's error term: the exact rounding error of `total` (The Art of Computer Programming 2,
            # 4.2.2).
            lost = (high - (total - added)) + (square - added)
            highs[lane] = total
            lows[lane] += lost + (2.0 * leading * rest + rest * rest)

    @inlined
    def add_chunk(g: Any, accumulator: Any, loss_scale: Any, steps: Any, scratch: Any) -> Any:
        lanes = scratch[: 4 * LANES].reshape((4, LANES))
        lanes[:] = 0.0
        highs, lows, sums_of_lows, flags = lanes[0], lanes[1], lanes[2], lanes[3]
        for start in range(0, g.shape[0], ROWS * LANES):
            for row in range(start, min(start + ROWS * LANES, g.shape[0]), LANES):
                end = min(row + LANES, g.shape[0])
                add_row(g[row:end], accumulator[row:end], loss_scale, steps, highs, lows, flags)
            sums_of_lows += lows
            lows[:] = 0.0
        high, low = 0.0, 0.0
        for lane in range(LANES):
            high, lost = sum_and_error(high, highs[lane])
            low += lost
            low += sums_of_lows[lane]
        return high, low, flags.sum()

    return add_chunk


@functools.cache
def exact_kernel(dtype: np.dtype[Any], gradient: int) -> Any:
    """Return the kernel that adds the squares of the gradients of a dtype exactly."""
    stored = storage(dtype)
    array_at, number, load = stored.array_at, stored.number, stored.load
    transformed = gradient_transformation(stored.operations, gradient)
    itemsize = dtype.itemsize
    has_accumulator = gradient == ACCUMULATED

    @kernel(f"exact_{dtype.name}_{gradient}", EXACT_SIGNATURE)
    def added(table: Any, chunks: Any, first: int, last: int, settings: Any, limbs: Any) -> None:
        mode = enter_default_mode()
        for index in range(first, last):
            row, start, count = chunks[index, 0], chunks[index, 1], chunks[index, 2]
            address = table[row, GRADIENT]
            if address in (MISSING, INDIRECT):
                continue
            offset = start * itemsize
            g = array_at(address + offset, count)
            accumulator = array_at(table[row, ACCUMULATOR] + offset, count) if has_accumulator else g
            for i in range(count):
                x = transformed(
                    load(g[i]),
                    load(accumulator[i]),
                    number(settings[LOSS_SCALE]),
                    number(settings[STEPS]),
                )
                _add_exact_square(x, limbs)
            # A limb has room for 2**30 additions; carrying once in each chunk is more than enough.
            for limb in range(LIMBS - 1):
                limbs[limb + 1] += limbs[limb] >> 32
                limbs[limb] &= 0xFFFFFFFF
        leave_default_mode(mode)

    return added


@inlined
def _add_exact_square(x: Any, limbs: Any) -> None:
    bits: Any = np.float64(x).view(np.int64)
    exponent = (bits >> 52) & 0x7FF
    fraction = bits & ((1 << 52) - 1)
    if exponent == 0x7FF:
        limbs[LIMBS + (0 if fraction != 0 else 1)] += 1
        return
    if exponent == 0:
        exponent = 1
    else:
        fraction |= 1 << 52
    leading, trailing = fraction >> 27, fraction & ((1 << 27) - 1)
    place = 2 * exponent - 2
    _add_at(trailing * trailing, place, limbs)
    _add_at(2 * leading * trailing, place + 27, limbs)
    _add_at(leading * leading, place + 54, limbs)


@inlined
def _add_at(number: Any, place: Any, limbs: Any) -> None:
    """Add an integer below 2**63, times two to `place`."""
    limb, shift = place >> 5, place & 31
    low = (number & 0xFFFFFFFF) << shift
    high = (number >> 32) << shift
    limbs[limb] += low & 0xFFFFFFFF
    limbs[limb + 1] += (low >> 32) + (high & 0xFFFFFFFF)
    limbs[limb + 2] += high >> 32
