"""The counts of an optimizer on the device: the number of the next call, and the numbers that it needs.

The last block of the last launch of a call makes these steps, so that no later launch has to wait for the
host to find out whether a call was skipped.
"""

from __future__ import annotations

import numpy as np

from numba_kernels.cuda.device.access import add_to_word, fence
from numba_kernels.cuda.device.layout import (
    ACCUMULATES,
    ACCUMULATION_STEPS,
    CALLS,
    CALLS_OF_RATES,
    CALLS_OF_WINDOW,
    GROWTH_COUNTER,
    GROWTH_STEPS,
    IS_EXHAUSTED,
    IS_FIRST_AVERAGE,
    LIMITS,
    NOT_FINITE,
    OVERWRITE_FREQUENCY,
    OVERWRITES,
    RATE,
    RATE_COUNT,
    RATES,
    SCALE,
    TICKET,
    UPDATES,
    UPDATES_OF_PERIOD,
    set_single,
    set_word,
    single,
    word,
)
from numba_kernels.cuda.device.operations import multiply
from numba_kernels.cuda.toolkit import Kernel, cuda, kernel
from numba_kernels.shared.inlining import inlined
from sgd_ref.arithmetic.formats import FLOAT32, FORMATS

SMALLEST_NORMAL = np.float32(FORMATS[FLOAT32].smallest_normal)
LARGEST = np.float32(FORMATS[FLOAT32].largest)


@inlined
def prepare(counts: int, numbers: int) -> None:
    """Write the learning rate of the next call, and whether that call accumulates, updates or overwrites."""
    limits = word(counts, LIMITS)
    last_of_window = word(counts, CALLS_OF_WINDOW) + 1 == word(limits, ACCUMULATION_STEPS)
    set_word(counts, ACCUMULATES, 0 if last_of_window else 1)
    set_word(counts, IS_FIRST_AVERAGE, 1 if word(counts, UPDATES) == 0 else 0)
    last_of_period = word(counts, UPDATES_OF_PERIOD) + 1 == word(limits, OVERWRITE_FREQUENCY)
    set_word(counts, OVERWRITES, 1 if last_of_period else 0)
    calls = word(counts, CALLS)
    # A power of two, or 1 for a rate that is always the same.
    place = calls & (word(limits, RATE_COUNT) - 1)
    known = word(limits, RATE_COUNT) == 1 or word(word(limits, CALLS_OF_RATES), place) == calls
    set_word(counts, IS_EXHAUSTED, 0 if known else 1)
    set_single(numbers, RATE, single(word(limits, RATES), place))


@inlined
def _count(counts: int) -> None:
    set_word(counts, CALLS, word(counts, CALLS) + 1)
    if word(counts, ACCUMULATES) != 0:
        set_word(counts, CALLS_OF_WINDOW, word(counts, CALLS_OF_WINDOW) + 1)
        return
    set_word(counts, CALLS_OF_WINDOW, 0)
    set_word(counts, UPDATES, word(counts, UPDATES) + 1)
    period = 0 if word(counts, OVERWRITES) != 0 else word(counts, UPDATES_OF_PERIOD) + 1
    set_word(counts, UPDATES_OF_PERIOD, period)


@inlined
def _grow(counts: int, numbers: int) -> None:
    growth = word(counts, GROWTH_COUNTER) + 1
    if growth < word(word(counts, LIMITS), GROWTH_STEPS):
        set_word(counts, GROWTH_COUNTER, growth)
        return
    set_word(counts, GROWTH_COUNTER, 0)
    doubled = multiply(single(numbers, SCALE), np.float32(2))
    if doubled <= LARGEST:
        set_single(numbers, SCALE, doubled)


@inlined
def _shrink(counts: int, numbers: int) -> None:
    set_word(counts, GROWTH_COUNTER, 0)
    halved = multiply(single(numbers, SCALE), np.float32(0.5))
    if halved >= SMALLEST_NORMAL:
        set_single(numbers, SCALE, halved)


@inlined
def advance(counts: int, numbers: int, is_dynamic: int) -> None:
    """Count the call that was made, or halve the loss scale of one that was skipped, and prepare the next."""
    if word(counts, IS_EXHAUSTED) == 0:
        if word(counts, NOT_FINITE) != 0:
            _shrink(counts, numbers)
        else:
            _count(counts)
            if is_dynamic != 0:
                _grow(counts, numbers)
    set_word(counts, NOT_FINITE, 0)
    prepare(counts, numbers)


@inlined
def is_last_block(counts: int, blocks: int) -> bool:
    """Whether all other blocks of this launch have come here; for one thread of each block to ask."""
    fence()
    if add_to_word(counts + 8 * TICKET, 1) != blocks - 1:
        return False
    set_word(counts, TICKET, 0)
    fence()
    return True


def _preparation() -> Kernel:
    @kernel("prepare")
    def prepared(counts: int, numbers: int) -> None:
        if cuda.grid(1) == 0:
            prepare(counts, numbers)

    return prepared


PREPARATION = _preparation()
"""To run after the host has changed the counts, the rates or the loss scale."""
