"""The kernels that update: one pass over memory does everything that happens to an element.

A kernel takes one table for all variables of a dtype and works through a list of chunks. The table has a row
for each variable: the addresses of the variable, its gradient, velocity, average and accumulator.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from numba_kernels.cpu.addresses import enter_default_mode, leave_default_mode
from numba_kernels.cpu.cache import kernel
from numba_kernels.cpu.storage import Storage, storage
from numba_kernels.shared.element import (
    ACCUMULATED,
    NO_MOMENTUM,
    Variant,
    averaging,
    clipping,
    element_update,
)
from numba_kernels.shared.inlining import inlined
from numba_kernels.shared.slots import (
    ACCUMULATOR,
    AVERAGE,
    EMA_COMPLEMENT,
    EMA_MOMENTUM,
    FIRST_AVERAGE,
    GRADIENT,
    HIGHEST,
    INDIRECT,
    LEARNING_RATE,
    LOSS_SCALE,
    MISSING,
    MOMENTUM,
    OVERWRITE,
    STEPS,
    VARIABLE,
    VELOCITY,
    WEIGHT_DECAY,
)

SIGNATURE = "void(int64[:, ::1], int64[:, ::1], int64, int64, float64[::1], float64[:, ::1], boolean[::1])"
"""Table, chunks (row, first element, count), first and last chunk, settings, factors, flags for decay."""


@functools.cache
def update_kernel(dtype: np.dtype[Any], variant: Variant, in_hardware: bool | None = None) -> Any:
    """Return the kernel that updates the variables of one dtype, compiled at the first call.

    Its arguments are those of ``SIGNATURE``: settings and factors are float64 that hold numbers of the dtype
    of the computation. `factors` has a factor and a divisor for each variable.
    """
    stored = storage(dtype, in_hardware)
    itemsize = dtype.itemsize
    array_at = stored.array_at
    update = _update_of_chunk(stored, variant, is_bare=False)
    is_half = dtype.itemsize == 2
    bare_update = _update_of_chunk(stored, variant, is_bare=True) if is_half else update
    without_gradient = _chunk_without_gradient(stored, variant)
    has_velocity = variant.momentum != NO_MOMENTUM
    has_average = variant.averages
    has_accumulator = variant.gradient == ACCUMULATED

    @kernel(f"update_{dtype.name}_{variant.name}{_suffix(in_hardware)}", SIGNATURE)
    def updated(
        table: Any, chunks: Any, first: int, last: int, settings: Any, factors: Any, decays: Any
    ) -> None:
        mode = enter_default_mode()
        for index in range(first, last):
            row, start, count = chunks[index, 0], chunks[index, 1], chunks[index, 2]
            address = table[row, GRADIENT]
            if address == INDIRECT:
                continue
            offset = start * itemsize
            w = array_at(table[row, VARIABLE] + offset, count)
            # An array that a variant does not use is never accessed, so any address will do.
            velocity = array_at(table[row, VELOCITY] + offset, count) if has_velocity else w
            average = array_at(table[row, AVERAGE] + offset, count) if has_average else w
            accumulator = array_at(table[row, ACCUMULATOR] + offset, count) if has_accumulator else w
            if address == MISSING:
                without_gradient(w, average, accumulator, settings)
                continue
            is_bare = (
                is_half
                and not decays[row]
                and factors[row, 0] == 1
                and factors[row, 1] == 1
                and settings[HIGHEST] == np.inf
            )
            g = array_at(address + offset, count)
            if is_bare:
                bare_update(w, g, velocity, average, accumulator, settings, factors[row], decays[row])
            else:
                update(w, g, velocity, average, accumulator, settings, factors[row], decays[row])
        leave_default_mode(mode)

    return updated


@functools.cache
def accumulation_kernel(dtype: np.dtype[Any], in_hardware: bool | None = None) -> Any:
    """Return the kernel of a call that only adds to the accumulators; it has the arguments of an update."""
    stored = storage(dtype, in_hardware)
    itemsize = dtype.itemsize
    array_at, number, load, store = stored.array_at, stored.number, stored.load, stored.store
    _, add, _, divide = stored.operations

    @inlined
    def accumulate(gradient: Any, accumulator: Any, loss_scale: Any) -> None:
        for i in range(gradient.shape[0]):
            g = divide(load(gradient[i]), loss_scale)
            accumulator[i] = store(add(g, load(accumulator[i])))

    @kernel(f"accumulate_{dtype.name}{_suffix(in_hardware)}", SIGNATURE)
    def accumulated(
        table: Any, chunks: Any, first: int, last: int, settings: Any, factors: Any, decays: Any
    ) -> None:
        mode = enter_default_mode()
        for index in range(first, last):
            row, start, count = chunks[index, 0], chunks[index, 1], chunks[index, 2]
            address = table[row, GRADIENT]
            if address not in (MISSING, INDIRECT):
                offset = start * itemsize
                accumulate(
                    array_at(address + offset, count),
                    array_at(table[row, ACCUMULATOR] + offset, count),
                    number(settings[LOSS_SCALE]),
                )
        leave_default_mode(mode)

    return accumulated


def _update_of_chunk(stored: Storage, variant: Variant, is_bare: bool) -> Any:
    """Return the loop over a chunk; a bare loop neither clips nor decays."""
    load, store, number = stored.load, stored.store, stored.number
    has_velocity = variant.momentum != NO_MOMENTUM
    has_average = variant.averages
    has_accumulator = variant.gradient == ACCUMULATED
    clipped = clipping(stored.operations, variant.gradient, is_bare)
    updated = element_update(stored.operations, variant, clipped, not is_bare)

    @inlined
    def update(
        variable: Any,
        gradient: Any,
        velocity: Any,
        average: Any,
        accumulator: Any,
        settings: Any,
        factors: Any,
        decays: bool,
    ) -> None:
        # The settings are read once, since the compiler must assume that the loop may write into them.
        loss_scale = number(settings[LOSS_SCALE])
        call = (
            (loss_scale, number(settings[STEPS])),
            (number(factors[0]), number(factors[1]), number(settings[HIGHEST])),
            (
                decays,
                number(settings[WEIGHT_DECAY]),
                number(settings[LEARNING_RATE]),
                number(settings[MOMENTUM]),
            ),
            (
                settings[FIRST_AVERAGE] != 0,
                settings[OVERWRITE] != 0,
                number(settings[EMA_MOMENTUM]),
                number(settings[EMA_COMPLEMENT]),
            ),
        )
        zero = loss_scale - loss_scale
        for i in range(variable.shape[0]):
            w = load(variable[i])
            v = load(velocity[i]) if has_velocity else w
            a = load(average[i]) if has_average else w
            c = load(accumulator[i]) if has_accumulator else w
            w, v, a = updated(w, load(gradient[i]), v, a, c, call)
            if has_accumulator:
                accumulator[i] = store(zero)
            if has_velocity:
                velocity[i] = store(v)
            if has_average:
                average[i] = store(a)
            variable[i] = store(w)

    return update


def _chunk_without_gradient(stored: Storage, variant: Variant) -> Any:
    load, store, number = stored.load, stored.store, stored.number
    has_average = variant.averages
    has_accumulator = variant.gradient == ACCUMULATED
    averaged = averaging(stored.operations)

    @inlined
    def without_gradient(variable: Any, average: Any, accumulator: Any, settings: Any) -> None:
        is_first_average, overwrites = settings[FIRST_AVERAGE] != 0, settings[OVERWRITE] != 0
        ema_momentum, ema_complement = number(settings[EMA_MOMENTUM]), number(settings[EMA_COMPLEMENT])
        if has_accumulator:
            accumulator[:] = store(ema_momentum - ema_momentum)
        if has_average:
            for i in range(variable.shape[0]):
                w = load(variable[i])
                a = averaged(load(average[i]), w, is_first_average, ema_momentum, ema_complement)
                average[i] = store(a)
                variable[i] = store(a) if overwrites else variable[i]

    return without_gradient


def _suffix(in_hardware: bool | None) -> str:
    return "" if in_hardware is None else ("_hardware" if in_hardware else "_bits")
