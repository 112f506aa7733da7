"""The kernels that update: one launch does everything that happens to the elements of one dtype.

A block works through chunks of variables, 16 bytes of each array at a time. Device memory says whether a call
updates, only accumulates or is skipped, so that the host need not know.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from numba_kernels.cuda.device.access import DOUBLES
from numba_kernels.cuda.device.chunk_loop import chunk_loop
from numba_kernels.cuda.device.counting import advance, is_last_block
from numba_kernels.cuda.device.layout import (
    ACCUMULATES,
    ACCUMULATOR,
    AVERAGE,
    CHUNK_COUNT,
    CHUNK_WORDS,
    CHUNKS,
    COLUMNS,
    COUNT,
    COUNTS,
    DECAYS,
    DIVISOR,
    EMA_COMPLEMENT,
    EMA_MOMENTUM,
    FACTOR,
    FACTOR_ROWS,
    FACTORS,
    GRADIENT,
    GRADIENTS,
    HIGHEST,
    IS_DYNAMIC,
    IS_EXHAUSTED,
    IS_FIRST_AVERAGE,
    LOSS_SCALE,
    MISSING,
    MOMENTUM,
    NOT_FINITE,
    NUMBERS,
    OVERWRITES,
    RATE,
    ROW,
    SCALE,
    SETTINGS,
    START,
    STEPS,
    TABLE,
    VARIABLE,
    VELOCITY,
    WEIGHT_DECAY,
    addresses_of,
    single,
    word,
)
from numba_kernels.cuda.device.operations import multiply
from numba_kernels.cuda.device.storage import Storage, storage
from numba_kernels.cuda.device.tuples import each
from numba_kernels.cuda.toolkit import Kernel, cuda, kernel
from numba_kernels.shared.element import (
    ACCUMULATED,
    NO_MOMENTUM,
    Variant,
    averaging,
    clipping,
    element_update,
)
from numba_kernels.shared.inlining import inlined


@functools.cache
def update_kernel(dtype: np.dtype[Any], variant: Variant, is_wide: bool = False) -> Kernel:
    """Return the kernel that makes one call for the variables of one dtype.

    Its arguments are the address of the descriptor, and whether this is the last launch of the call.

    Parameters
    ----------
    dtype : dtype
        The dtype of the variables.
    variant : Variant
        The features of the kernel.
    is_wide : bool
        Whether gradients are clipped by a factor in float64, although they are narrower.
    """
    stored = storage(dtype)
    itemsize, settings_bytes = dtype.itemsize, stored.compute.itemsize
    is_half = itemsize == 2
    read_setting, rounded, widened = stored.settings.read, stored.rounded, stored.widened
    factors_access = DOUBLES if is_wide else stored.settings
    read_factor, factor_bytes = factors_access.read, 8 if is_wide else settings_bytes
    update, bare_update, accumulate, average, reset = _loops(stored, variant, is_wide)
    has_average, has_accumulator = variant.averages, variant.gradient == ACCUMULATED

    @inlined
    def setting(settings: int, index: int) -> Any:
        return read_setting(settings + settings_bytes * index)

    @kernel(f"update_{dtype.name}_{variant.name}{'_wide' if is_wide else ''}")
    def updated(descriptor: int, is_last: int) -> None:
        counts, numbers = word(descriptor, COUNTS), word(descriptor, NUMBERS)
        table, chunks, settings = (
            word(descriptor, TABLE),
            word(descriptor, CHUNKS),
            word(descriptor, SETTINGS),
        )
        factors, decays = word(descriptor, FACTORS), word(descriptor, DECAYS)
        accumulates = has_accumulator and word(counts, ACCUMULATES) != 0
        is_skipped = word(counts, NOT_FINITE) != 0 or word(counts, IS_EXHAUSTED) != 0
        loss_scale = setting(settings, LOSS_SCALE)
        if word(descriptor, IS_DYNAMIC) != 0:
            loss_scale = widened(single(numbers, SCALE))
        learning_rate = rounded(single(numbers, RATE))
        steps, highest = setting(settings, STEPS), setting(settings, HIGHEST)
        weight_decay, momentum = setting(settings, WEIGHT_DECAY), setting(settings, MOMENTUM)
        averages = (
            word(counts, IS_FIRST_AVERAGE) != 0,
            word(counts, OVERWRITES) != 0,
            setting(settings, EMA_MOMENTUM),
            setting(settings, EMA_COMPLEMENT),
        )
        end = 0 if is_skipped else word(descriptor, CHUNK_COUNT)
        index = cuda.blockIdx.x
        while index < end:
            chunk = chunks + 8 * CHUNK_WORDS * index
            row, count = word(chunk, ROW), word(chunk, COUNT)
            gradient = word(word(descriptor, GRADIENTS), row)
            addresses = addresses_of(table + 8 * COLUMNS * row, gradient, word(chunk, START) * itemsize)
            factor_row = row * word(descriptor, FACTOR_ROWS)
            factor = read_factor(factors + factor_bytes * (2 * factor_row + FACTOR))
            divisor = read_factor(factors + factor_bytes * (2 * factor_row + DIVISOR))
            decay = word(decays, row) != 0
            call = (
                (loss_scale, steps),
                (factor, divisor, highest),
                (decay, weight_decay, learning_rate, momentum),
                averages,
            )
            if gradient == MISSING:
                if has_average and not accumulates:
                    average(addresses, count, averages, cuda.threadIdx.x, cuda.blockDim.x)
                if has_accumulator and not accumulates:
                    reset(addresses, count, 0, cuda.threadIdx.x, cuda.blockDim.x)
            elif has_accumulator and accumulates:
                accumulate(addresses, count, loss_scale, cuda.threadIdx.x, cuda.blockDim.x)
            elif is_half and not decay and factor == 1 and divisor == 1 and highest == np.inf:
                bare_update(addresses, count, call, cuda.threadIdx.x, cuda.blockDim.x)
            else:
                update(addresses, count, call, cuda.threadIdx.x, cuda.blockDim.x)
            index += cuda.gridDim.x
        # No thread of this block still has to read data of this call.
        cuda.syncthreads()
        if is_last != 0 and cuda.threadIdx.x == 0 and is_last_block(counts, cuda.gridDim.x):
            advance(counts, numbers, word(descriptor, IS_DYNAMIC))

    return updated


def _loops(stored: Storage, variant: Variant, is_wide: bool) -> tuple[Any, Any, Any, Any, Any]:
    """Return the loops: update, the same without clipping and decay, accumulate, average only, reset only."""
    clipped = _wide_clipping(stored) if is_wide else clipping(stored.operations, variant.gradient, False)
    update = _update_loop(stored, variant, clipped, has_decay=True)
    bare = clipping(stored.operations, variant.gradient, True)
    # In the half types each operation needs a rounding; in the other dtypes the operations cost nothing
    # beside the memory traffic.
    is_half = stored.dtype.itemsize == 2
    bare_update = _update_loop(stored, variant, bare, has_decay=False) if is_half else update
    return update, bare_update, _accumulation_loop(stored), _average_loop(stored), _reset_loop(stored)


def _arrays(variant: Variant) -> list[int]:
    """Return the columns of the arrays that a variant writes, the variable first."""
    has_velocity = variant.momentum != NO_MOMENTUM
    has_accumulator = variant.gradient == ACCUMULATED
    return [
        VARIABLE,
        *([VELOCITY] if has_velocity else []),
        *([AVERAGE] if variant.averages else []),
        *([ACCUMULATOR] if has_accumulator else []),
    ]


def _wide_clipping(stored: Storage) -> Any:
    """Return the function of kernels that multiplies with a factor of float64, and rounds once more."""
    double, narrowed = stored.double, stored.narrowed

    @inlined
    def clipped(g: Any, factor: Any, divisor: Any, highest: Any) -> Any:
        return narrowed(multiply(double(g), factor))

    return clipped


def _update_loop(stored: Storage, variant: Variant, clipped: Any, has_decay: bool) -> Any:
    """Return the loop of an update."""
    updated = element_update(stored.operations, variant, clipped, has_decay)
    writes = _arrays(variant)
    reads = [*writes, GRADIENT]
    # A variant never uses the settings that it lacks, so any number will do.
    gradient, velocity, average, accumulator = (
        reads.index(column) if column in reads else 0 for column in (GRADIENT, VELOCITY, AVERAGE, ACCUMULATOR)
    )
    order = [(VARIABLE, VELOCITY, AVERAGE, ACCUMULATOR).index(column) for column in writes]
    zero = stored.compute.type(0)
    chosen = each(len(order), lambda index: _part(order[index]))

    @inlined
    def element(numbers: Any, call: Any) -> Any:
        w, v, a = updated(
            numbers[0], numbers[gradient], numbers[velocity], numbers[average], numbers[accumulator], call
        )
        return chosen((w, v, a, zero), 0)

    return chunk_loop(stored, element, reads, writes)


def _part(index: int) -> Any:
    @inlined
    def part(numbers: Any, _: int) -> Any:
        return numbers[index]

    return part


def _accumulation_loop(stored: Storage) -> Any:
    """Return the loop of a call that only adds to the accumulators."""
    _, add, _, divide = stored.operations

    @inlined
    def element(numbers: Any, loss_scale: Any) -> Any:
        g, accumulator = numbers
        return (add(divide(g, loss_scale), accumulator),)

    return chunk_loop(stored, element, [GRADIENT, ACCUMULATOR], [ACCUMULATOR])


def _average_loop(stored: Storage) -> Any:
    """Return the loop over a variable without a gradient, which is averaged with the others."""
    averaged = averaging(stored.operations)

    @inlined
    def element(numbers: Any, averages: Any) -> Any:
        w, average = numbers
        is_first_average, overwrites, momentum, complement = averages
        average = averaged(average, w, is_first_average, momentum, complement)
        return average if overwrites else w, average

    return chunk_loop(stored, element, [VARIABLE, AVERAGE], [VARIABLE, AVERAGE])


def _reset_loop(stored: Storage) -> Any:
    """Return the loop that stores zeros in the accumulator of a variable without a gradient."""
    zero = stored.compute.type(0)

    @inlined
    def element(numbers: Any, _: Any) -> Any:
        return (zero,)

    return chunk_loop(stored, element, [VARIABLE], [ACCUMULATOR])
