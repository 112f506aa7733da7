"""The layout of the tables in device memory; kernels get one address for each table.

The layout does not depend on the call, so that a captured graph of launches stays right when the learning
rate, the loss scale and the counts change.
"""

from __future__ import annotations

from typing import Any

from numba_kernels.cuda.device.access import SINGLES, WORDS
from numba_kernels.shared.inlining import inlined

# A kernel gets the address of a descriptor, which has the addresses of everything else. These are the words,
# of 8 bytes, in the descriptor of one dtype: addresses, and numbers of rows and chunks.
TABLE, GRADIENTS, CHUNKS, CHUNK_COUNT, SETTINGS, FACTORS, FACTOR_ROWS, DECAYS, COUNTS, NUMBERS = range(10)
RESULTS, IS_DYNAMIC = 10, 11
DESCRIPTOR_WORDS = 12
"""FACTOR_ROWS is 1 if each gradient has a factor and divisor of its own, 0 if all share one."""

VARIABLE, VELOCITY, AVERAGE, ACCUMULATOR = range(4)
COLUMNS = 4
"""The columns of the table, which has a row of addresses for each variable. The addresses of the gradients
are in a separate table, since they change from call to call."""

GRADIENT = 4
"""The position of the gradient, after these columns, in a tuple of all addresses of a chunk."""

MISSING = 0
"""The address that stands for a missing gradient."""

ROW, START, COUNT = range(3)
CHUNK_WORDS = 3
"""The words of a chunk: the variable, the first element, the number of elements."""

# The positions of the settings, which are in the dtype of the computation.
LOSS_SCALE, STEPS, HIGHEST, WEIGHT_DECAY, MOMENTUM, EMA_MOMENTUM, EMA_COMPLEMENT = range(7)
SETTING_COUNT = 7

FACTOR, DIVISOR = range(2)
"""The places of a gradient's factor and divisor, which are in the dtype of the computation."""

# Of the counts, in words; all dtypes share them. The first five are state, the next ones are for the call
# that comes, and the last is the address of the limits.
CALLS, UPDATES, CALLS_OF_WINDOW, UPDATES_OF_PERIOD, GROWTH_COUNTER = range(5)
ACCUMULATES, IS_FIRST_AVERAGE, OVERWRITES, NOT_FINITE, IS_EXHAUSTED, IS_UNDECIDED, TICKET = range(5, 12)
LIMITS = 12
COUNT_WORDS = 13

# Of the limits, in words: the host sets them, and the device never changes them.
ACCUMULATION_STEPS, OVERWRITE_FREQUENCY, GROWTH_STEPS, RATES, CALLS_OF_RATES, RATE_COUNT = range(6)
LIMIT_WORDS = 6

# Of the numbers, float32.
RATE, SCALE = range(2)
NUMBER_COUNT = 2

# Of the results of one chunk, float64.
HIGH, LOW = range(2)
RESULT_COUNT = 2


_read_word, _write_word = WORDS.read, WORDS.write
_read_single, _write_single = SINGLES.read, SINGLES.write


@inlined
def word(address: int, index: int) -> Any:
    """Return a word of a table."""
    return _read_word(address + 8 * index)


@inlined
def set_word(address: int, index: int, value: int) -> None:
    """Write a word of a table."""
    _write_word(address + 8 * index, value)


@inlined
def single(address: int, index: int) -> Any:
    """Return a float32 of a table."""
    return _read_single(address + 4 * index)


@inlined
def set_single(address: int, index: int, value: Any) -> None:
    """Write a float32 of a table."""
    _write_single(address + 4 * index, value)


@inlined
def addresses_of(addresses: int, gradient: int, offset: int) -> Any:
    """Return the address at which a chunk begins in each array; a missing array is never touched."""
    return (
        word(addresses, VARIABLE) + offset,
        word(addresses, VELOCITY) + offset,
        word(addresses, AVERAGE) + offset,
        word(addresses, ACCUMULATOR) + offset,
        gradient + offset,
    )
