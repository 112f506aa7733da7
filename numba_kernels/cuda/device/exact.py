"""Norms on the device that no bound decides: squares added as integers, and the root digit by digit.

This is slow and seldom needed. Additions of integers are exact, so that their order changes no bit.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from numba_kernels.cuda.device import norm_layout
from numba_kernels.cuda.device.access import add_to_word
from numba_kernels.cuda.device.exact_numbers import bits_of, from_bits
from numba_kernels.cuda.device.layout import (
    ACCUMULATOR,
    CHUNK_COUNT,
    CHUNK_WORDS,
    CHUNKS,
    COLUMNS,
    COUNT,
    COUNTS,
    GRADIENTS,
    IS_DYNAMIC,
    IS_UNDECIDED,
    LOSS_SCALE,
    MISSING,
    NUMBERS,
    ROW,
    SCALE,
    SETTINGS,
    START,
    STEPS,
    TABLE,
    set_word,
    single,
    word,
)
from numba_kernels.cuda.device.norm import factor_writer
from numba_kernels.cuda.device.storage import storage
from numba_kernels.cuda.toolkit import Kernel, cuda, kernel, types
from numba_kernels.shared.element import ACCUMULATED, gradient_transformation
from numba_kernels.shared.exact_sums import LIMBS, LOWEST_EXPONENT
from numba_kernels.shared.inlining import inlined
from sgd_ref.arithmetic.formats import FORMATS

NANS, INFINITIES = LIMBS, LIMBS + 1
LIMB_WORDS = LIMBS + 2
"""Limbs of 32 bits in words of 64, then the numbers of NaNs and infinities."""

LOW_HALF = (1 << 32) - 1


@inlined
def _add_square(limbs: Any, x: Any) -> None:
    """Add the square of a float64 to the limbs of a block."""
    bits = bits_of(x)
    exponent, fraction = (bits >> 52) & 0x7FF, bits & ((1 << 52) - 1)
    if exponent == 0x7FF:
        cuda.atomic.add(limbs, NANS if fraction != 0 else INFINITIES, 1)
        return
    if exponent == 0:
        exponent = 1
    else:
        fraction |= 1 << 52
    leading, trailing = fraction >> 27, fraction & ((1 << 27) - 1)
    part = 0
    while part < 3:
        # The square of a sum of two: a number below 2**63, times two to its place.
        number = trailing * trailing
        if part == 1:
            number = 2 * leading * trailing
        elif part == 2:
            number = leading * leading
        place = 2 * exponent - 2 + 27 * part
        lower = (number & LOW_HALF) << (place & 31)
        upper = (number >> 32) << (place & 31)
        cuda.atomic.add(limbs, place >> 5, lower & LOW_HALF)
        cuda.atomic.add(limbs, (place >> 5) + 1, (lower >> 32) + (upper & LOW_HALF))
        cuda.atomic.add(limbs, (place >> 5) + 2, upper >> 32)
        part += 1


@inlined
def _add_limbs(limbs: Any, total: int, thread: int, threads: int) -> None:
    """Add the limbs of a block to those of all blocks."""
    limb = thread
    while limb < LIMB_WORDS:
        if limb >= LIMBS:
            add_to_word(total + 8 * limb, limbs[limb])
        elif limbs[limb] != 0:
            # In halves, so that the sum of 2**31 chunks has room.
            add_to_word(total + 8 * limb, limbs[limb] & LOW_HALF)
            add_to_word(total + 8 * limb + 8, limbs[limb] >> 32)
        limb += threads


@functools.cache
def exact_kernel(dtype: np.dtype[Any], gradient: int) -> Kernel:
    """Return the kernel that adds the squares of gradients of one dtype exactly, if an exact sum is needed.

    Its arguments are the addresses of the descriptor of the group and of the descriptor of the norms, and
    whether each gradient has a norm of its own.
    """
    stored = storage(dtype)
    itemsize = dtype.itemsize
    read, load, double = stored.access.read, stored.load, stored.double
    read_setting, setting_bytes = stored.settings.read, stored.compute.itemsize
    widened = stored.widened
    transformed = gradient_transformation(stored.operations, gradient)
    has_accumulator = gradient == ACCUMULATED

    @kernel(f"exact_{dtype.name}_{gradient}")
    def added(descriptor: int, norms: int, each_has_one: int) -> None:
        limbs = cuda.shared.array(LIMB_WORDS, types.int64)
        counts, thread, threads = word(descriptor, COUNTS), cuda.threadIdx.x, cuda.blockDim.x
        loss_scale = read_setting(word(descriptor, SETTINGS) + setting_bytes * LOSS_SCALE)
        if word(descriptor, IS_DYNAMIC) != 0:
            loss_scale = widened(single(word(descriptor, NUMBERS), SCALE))
        steps = read_setting(word(descriptor, SETTINGS) + setting_bytes * STEPS)
        index = cuda.blockIdx.x
        while word(counts, IS_UNDECIDED) != 0 and index < word(descriptor, CHUNK_COUNT):
            chunk = word(descriptor, CHUNKS) + 8 * CHUNK_WORDS * index
            norm = word(chunk, ROW) * each_has_one
            row = word(descriptor, TABLE) + 8 * COLUMNS * word(chunk, ROW)
            index += cuda.gridDim.x
            gradient_address = word(word(descriptor, GRADIENTS), word(chunk, ROW))
            if gradient_address == MISSING or word(word(norms, norm_layout.UNDECIDED), norm) == 0:
                continue
            limb = thread
            while limb < LIMB_WORDS:
                limbs[limb] = 0
                limb += threads
            cuda.syncthreads()
            offset = word(chunk, START) * itemsize
            element = thread
            while element < word(chunk, COUNT):
                at = offset + element * itemsize
                g = load(read(gradient_address + at))
                accumulated = load(read(word(row, ACCUMULATOR) + at)) if has_accumulator else g
                _add_square(limbs, double(transformed(g, accumulated, loss_scale, steps)))
                element += threads
            cuda.syncthreads()
            _add_limbs(limbs, word(norms, norm_layout.LIMBS) + 8 * LIMB_WORDS * norm, thread, threads)
            cuda.syncthreads()

    return added


@inlined
def _digit_pair(total: int, place: int) -> Any:
    """Return two binary digits of the sum, at twice a place; zeros below its end."""
    if place < 0:
        return 0
    return (word(total, place >> 4) >> (2 * (place & 15))) & 3


@inlined
def _carry(total: int) -> int:
    """Make every limb one of 32 bits; return the place of the leading pair of digits, -1 of zero."""
    top, limb, carry = -1, 0, 0
    while limb < LIMBS:
        carry += word(total, limb)
        digits = carry & LOW_HALF
        set_word(total, limb, digits)
        carry >>= 32
        pair = 0
        while digits >> (2 * pair) != 0:
            top = 16 * limb + pair
            pair += 1
        limb += 1
    return top


def _root(precision: int, lowest: int) -> Any:
    """Return the function of kernels for the root of a sum, rounded to nearest, ties to even.

    Parameters
    ----------
    precision, lowest : int
        Number of binary digits of the dtype, and the exponent of its least normal number.
    """

    @inlined
    def root_of(total: int) -> Any:
        if word(total, NANS) != 0:
            return np.float64(np.nan)
        if word(total, INFINITIES) != 0:
            return np.float64(np.inf)
        top = _carry(total)
        if top < 0:
            return np.float64(0)
        # The leading digit of the root has this exponent, and the last digit that is kept has the exponent of
        # `unit`.
        exponent = top + LOWEST_EXPONENT // 2
        unit = max(exponent, lowest) - precision + 1
        root, remainder, place = 0, 0, top
        # Digit by digit as by hand, with one digit more than is kept.
        while place + LOWEST_EXPONENT // 2 >= unit - 1:
            remainder = 4 * remainder + _digit_pair(total, place)
            trial = 4 * root + 1
            root *= 2
            if remainder >= trial:
                remainder -= trial
                root += 1
            place -= 1
        rest = remainder
        while place >= 0:
            rest |= _digit_pair(total, place)
            place -= 1
        is_up = root & 1 != 0 and (rest != 0 or root & 2 != 0)
        root = (root >> 1) + (1 if is_up else 0)
        # Both are exact: the root has at most `precision` digits, or is a power of two.
        return _times_power_of_two(np.float64(root), unit)

    return root_of


@inlined
def _times_power_of_two(number: Any, exponent: int) -> Any:
    """Return a float64 times two to a power, where that is a number of float64."""
    half = exponent >> 1
    return number * from_bits((1023 + half) << 52) * from_bits((1023 + exponent - half) << 52)


@functools.cache
def finish_kernel(dtype: np.dtype[Any], is_global: bool) -> Kernel:
    """Return the kernel that takes the roots of exact sums, and clears the limbs for the next sums.

    Its arguments are the address of the descriptor of the norms and the number of the norms. A block with one
    thread works on all of them.
    """
    root_of = _root(*FORMATS[dtype])
    write_factors = factor_writer(dtype, is_global)

    @kernel(f"finish_{dtype.name}_{'global' if is_global else 'each'}")
    def finish(norms: int, count: int) -> None:
        counts = word(norms, norm_layout.COUNTS)
        norm = 0
        while word(counts, IS_UNDECIDED) != 0 and norm < count:
            if word(word(norms, norm_layout.UNDECIDED), norm) != 0:
                total = word(norms, norm_layout.LIMBS) + 8 * LIMB_WORDS * norm
                write_factors(norms, norm, root_of(total))
                limb = 0
                while limb < LIMB_WORDS:
                    set_word(total, limb, 0)
                    limb += 1
            norm += 1
        set_word(counts, IS_UNDECIDED, 0)

    return finish
