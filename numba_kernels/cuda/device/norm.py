"""Correctly rounded norms on the device from sums of squares, by a bound on the error if that decides.

A norm lies in an interval. If both ends of the interval round to the same number, that number is the norm
(Ziv, Fast evaluation of elementary mathematical functions with correctly rounded last bit, ACM TOMS 17,
1991). If they do not, the module `exact` adds the squares exactly.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from numba_kernels.cuda.device.access import DOUBLES
from numba_kernels.cuda.device.exact_numbers import (
    bits_of,
    error_of_square,
    from_bits,
    square_root,
)
from numba_kernels.cuda.device.layout import HIGH, IS_UNDECIDED, LOW, RESULT_COUNT, set_word, word
from numba_kernels.cuda.device.norm_layout import (
    CLIPNORM,
    COUNTS,
    ERROR,
    FACTORS,
    FIRST_CHUNKS,
    LIMITS,
    RECIPROCAL,
    RESULTS,
    UNDECIDED,
)
from numba_kernels.cuda.device.operations import add, multiply, subtract
from numba_kernels.cuda.device.storage import Storage, storage
from numba_kernels.cuda.device.sums import THREADS, UNIT, add_block, add_pair
from numba_kernels.cuda.toolkit import Kernel, cuda, kernel, types
from numba_kernels.shared.inlining import inlined
from sgd_ref.arithmetic.formats import FLOAT64

SAFE = 2.0**-900, 2.0**1000
"""For a sum between these limits, no significant square of a float64 was lost, and none overflowed."""

NOT_DECIDED = -1.0
"""Stands for an undecided norm."""

_read_double = DOUBLES.read


@functools.cache
def decision_kernel(dtype: np.dtype[Any], is_global: bool) -> Kernel:
    """Return the kernel that decides norms of a dtype and stores the clipping factors.

    Its argument is the address of the descriptor of the norms; each block decides one norm.
    """
    decided = _decided_double if dtype == FLOAT64 else _decided_narrow(dtype)
    write_factors = factor_writer(dtype, is_global)

    @kernel(f"decide_{dtype.name}_{'global' if is_global else 'each'}")
    def decide(descriptor: int) -> None:
        highs = cuda.shared.array(THREADS, types.float64)
        lows = cuda.shared.array(THREADS, types.float64)
        thread, norm = cuda.threadIdx.x, cuda.blockIdx.x
        first = word(descriptor, FIRST_CHUNKS) + 8 * norm
        high, low = np.float64(0), np.float64(0)
        index = word(first, 0) + thread
        while index < word(first, 1):
            result = word(descriptor, RESULTS) + 8 * RESULT_COUNT * index
            high, low = add_pair(high, low, _read_double(result + 8 * HIGH), _read_double(result + 8 * LOW))
            index += THREADS
        highs[thread], lows[thread] = high, low
        add_block(highs, lows, thread)
        if thread == 0:
            number = decided(highs[0], lows[0], _read_double(word(descriptor, LIMITS) + 8 * ERROR))
            is_decided = number != NOT_DECIDED
            set_word(word(descriptor, UNDECIDED), norm, 0 if is_decided else 1)
            if is_decided:
                write_factors(descriptor, norm, number)
            else:
                set_word(word(descriptor, COUNTS), IS_UNDECIDED, 1)

    return decide


def factor_writer(dtype: np.dtype[Any], is_global: bool) -> Any:
    """Return the function of kernels that stores the clipping factor for a norm of a dtype."""
    return _global_factor_writer(storage(dtype)) if is_global else _divisor_writer(storage(dtype))


def _global_factor_writer(stored: Storage) -> Any:
    """Return the function that stores the factor of all gradients, ``sgd_ref.rule.global_clip_factor``."""
    round_multiply, round_add, round_subtract, round_divide = stored.operations
    narrowed, write = stored.narrowed, stored.settings.write
    one = stored.compute.type(1)

    @inlined
    def write_factor(descriptor: int, norm: int, number: Any) -> None:
        limits = word(descriptor, LIMITS)
        clipnorm = narrowed(_read_double(limits + 8 * CLIPNORM))
        reciprocal = narrowed(_read_double(limits + 8 * RECIPROCAL))
        rounded = narrowed(number)
        inverse = round_divide(one, rounded)
        least = inverse if inverse < reciprocal else reciprocal
        # The difference is zero, or NaN if the norm is not finite.
        difference = round_subtract(rounded, rounded)
        write(word(descriptor, FACTORS), round_add(round_multiply(clipnorm, least), difference))

    return write_factor


def _divisor_writer(stored: Storage) -> Any:
    """Return the function that stores the divisor of one gradient: the larger of norm and ``clipnorm``."""
    narrowed, write, size = stored.narrowed, stored.settings.write, stored.compute.itemsize

    @inlined
    def write_divisor(descriptor: int, norm: int, number: Any) -> None:
        clipnorm = _read_double(word(descriptor, LIMITS) + 8 * CLIPNORM)
        # A comparison with NaN is false, so a NaN stays.
        divisor = clipnorm if number <= clipnorm else number
        write(word(descriptor, FACTORS) + size * (2 * norm + 1), narrowed(divisor))

    return write_divisor


def _decided_narrow(dtype: np.dtype[Any]) -> Any:
    """Return the function of kernels for norms of a dtype narrower than float64."""
    stored = storage(dtype)
    narrowed, double = stored.narrowed, stored.double

    @inlined
    def decided(high: Any, low: Any, error: Any) -> Any:
        # An infinity or NaN among the elements; squares of numbers of 24 digits do not overflow.
        if not high < np.inf:
            return high
        # Four more roundings: of the factor, the product and the root, and one spare.
        margin = error + 4 * UNIT
        below = double(narrowed(square_root(multiply(high, 1.0 - margin))))
        above = double(narrowed(square_root(multiply(high, 1.0 + margin))))
        return below if below == above else NOT_DECIDED

    return decided


@inlined
def _next_above(x: Any) -> Any:
    """Return the next float64 above a positive one."""
    return from_bits(bits_of(x) + 1)


@inlined
def _next_below(x: Any) -> Any:
    """Return the next float64 below a positive one."""
    return from_bits(bits_of(x) - 1)


@inlined
def _is_nearest_root(candidate: Any, high: Any, low: Any, error: Any) -> Any:
    """Whether the candidate is for certain the float64 nearest to the root of a sum.

    It is, if the sum lies between the squares of the two midpoints between the candidate and its neighbours.
    From each of these squares the square of the candidate is subtracted. The difference is exact but for its
    last digits, which the margin covers.
    """
    square = multiply(candidate, candidate)
    difference = add(subtract(subtract(high, square), error_of_square(candidate, square)), low)
    above = multiply(0.5, subtract(_next_above(candidate), candidate))
    below = multiply(0.5, subtract(candidate, _next_below(candidate)))
    to_above = add(multiply(multiply(2.0, candidate), above), multiply(above, above))
    to_below = subtract(multiply(multiply(2.0, candidate), below), multiply(below, below))
    # The roundings here are below 16 units of the compared numbers.
    margin = add(multiply(high, error), multiply(16 * UNIT, add(to_above, math.fabs(difference))))
    return difference < subtract(to_above, margin) and difference > subtract(margin, to_below)


@inlined
def _decided_double(high: Any, low: Any, error: Any) -> Any:
    if not (high > SAFE[0] and high < SAFE[1]):
        return NOT_DECIDED
    total = add(high, low)
    rest = subtract(low, subtract(total, high))
    root = square_root(total)
    # The root of the rounded sum may be one unit off, and then a neighbour is the nearest.
    if _is_nearest_root(root, total, rest, error):
        return root
    if _is_nearest_root(_next_above(root), total, rest, error):
        return _next_above(root)
    if _is_nearest_root(_next_below(root), total, rest, error):
        return _next_below(root)
    return NOT_DECIDED
