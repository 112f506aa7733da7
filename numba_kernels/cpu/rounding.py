"""The correctly rounded norm from a sum of squares: by a bound if that decides, otherwise exactly.

The strategy is Ziv's (Fast evaluation of elementary mathematical functions with correctly rounded last bit,
ACM TOMS 17, 1991): if both ends of the interval that contains the norm round to the same number, this number
is the norm.
"""

from __future__ import annotations

import functools
import math
from fractions import Fraction
from typing import Any

import numpy as np

from numba_kernels.cpu.addresses import enter_default_mode, leave_default_mode
from numba_kernels.cpu.cache import kernel
from numba_kernels.cpu.sums import ERROR_OF_COMPENSATED_SUM, ERROR_OF_PLAIN_SUM, UNIT
from numba_kernels.shared.exact_sums import LIMBS, LOWEST_EXPONENT
from numba_kernels.shared.inlining import inlined
from sgd_ref.arithmetic.formats import FORMATS, Array

SAFE = 2.0**-900, 2.0**1000
"""For a sum between these limits, no significant square of a float64 was lost, and none overflowed."""

UNDECIDED = -1.0
"""Stands for an undecided norm; a norm is never negative."""


def decided_norms(sums: Array, dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Return norms in a dtype narrower than float64, and the flags of the undecided ones.

    Parameters
    ----------
    sums : ndarray of float64, shape (n,)
        Sums of squares with a relative error below ``ERROR_OF_PLAIN_SUM``; NaN if an element is NaN.
    dtype : dtype
        float16, bfloat16 or float32.

    Returns
    -------
    norms : ndarray of float64, shape (n,)
        Numbers of `dtype`.
    undecided : ndarray of bool, shape (n,)
        Whether each norm has to be computed exactly.
    """
    norms = np.empty(len(sums))
    narrow_decisions()(sums, error_of_square(), *FORMATS[dtype], norms)
    return norms, norms == UNDECIDED


def decided_narrow_norm(total: float, dtype: np.dtype[Any]) -> float | None:
    """Return one norm as `decided_norms` does, in a third of its time; None if it is not decided.

    Parameters
    ----------
    total : float
        The sum of squares.
    """
    norm: float = narrow_decision()(total, error_of_square(), *FORMATS[dtype])
    return None if norm == UNDECIDED else norm


def error_of_square() -> float:
    """Return the relative half width of the interval in which the square of a norm lies."""
    # Four more roundings: of the factor, of the product, and of the root, which counts twice in its square.
    return ERROR_OF_PLAIN_SUM + 4 * UNIT


@functools.cache
def narrow_decision() -> Any:
    """Return the kernel of `decided_narrow_norm`."""

    @kernel("decided_norm", "float64(float64, float64, int64, int64)")
    def decide(total: float, error: float, precision: int, lowest: int) -> Any:
        mode = enter_default_mode()
        norm = decided(total, error, precision, lowest)
        leave_default_mode(mode)
        return norm

    return decide


@functools.cache
def narrow_decisions() -> Any:
    """Return the kernel of `decided_norms`."""

    @kernel("decided_norms", "void(float64[::1], float64, int64, int64, float64[::1])")
    def decide(sums: Any, error: float, precision: int, lowest: int, norms: Any) -> None:
        mode = enter_default_mode()
        for index in range(sums.shape[0]):
            norms[index] = decided(sums[index], error, precision, lowest)
        leave_default_mode(mode)

    return decide


@inlined
def decided(total: float, error: float, precision: int, lowest: int) -> Any:
    """Return the norm of a format that belongs to a sum of squares, or ``UNDECIDED``."""
    if not math.isfinite(total):
        return total
    lower = nearest_number(math.sqrt(total * (1 - error)), precision, lowest)
    upper = nearest_number(math.sqrt(total * (1 + error)), precision, lowest)
    return lower if lower == upper else UNDECIDED


@inlined
def nearest_number(number: float, precision: int, lowest: int) -> Any:
    """Round a float64, finite and not negative, to the nearest number of a format, ties to even."""
    # The next power of two above the largest number.
    bound = _power_of_two(2 - lowest)
    if number >= bound:
        return math.inf
    # For zero and subnormal numbers of float64, this is less than the lowest exponent.
    exponent: Any = (np.float64(number).view(np.int64) >> 52) - 1023
    # The last digit of this sum is the unit of the format. With frexp and ldexp, rounding takes 20 times as
    # long.
    shift = _power_of_two(max(exponent, lowest) - precision + 1 + 52)
    rounded = (number + shift) - shift
    return math.inf if rounded >= bound else rounded


@inlined
def _power_of_two(exponent: int) -> Any:
    return np.int64((exponent + 1023) << 52).view(np.float64)


def decided_norm(high: float, low: float) -> float | None:
    """Return the norm in float64, or None if that has to be computed exactly.

    Parameters
    ----------
    high, low : float
        ``high + low`` is the sum of squares, with a relative error below ``ERROR_OF_COMPENSATED_SUM``; `high`
        is this sum rounded.
    """
    norm: float = wide_decision()(high, low, 2 * ERROR_OF_COMPENSATED_SUM)
    return None if norm == UNDECIDED else norm


@functools.cache
def wide_decision() -> Any:
    """Return the kernel of `decided_norm`."""

    @kernel("decided_wide_norm", "float64(float64, float64, float64)")
    def decide(high: float, low: float, error: float) -> Any:
        if not SAFE[0] < high < SAFE[1]:
            return UNDECIDED
        mode = enter_default_mode()
        root = math.sqrt(high)
        # A step of Newton's method: the root of the rounded sum may be one unit off.
        root += _excess(high, low, root) / (2 * root)
        excess = _excess(high, low, root)
        # If h is half the gap to the next number, (root + h)**2 is root**2 + 2 * h * root + h**2, where h**2
        # is relatively 2**-106. This term and the roundings of the excess use little of the allowed error,
        # half of which is spare. Products with a gap, which is a power of two, are exact.
        above = (np.nextafter(root, math.inf) - root) * root
        below = (root - np.nextafter(root, 0.0)) * root
        decided = excess + high * error < above and excess - high * error > -below
        leave_default_mode(mode)
        return root if decided else UNDECIDED

    return decide


@inlined
def _excess(high: float, low: float, root: float) -> Any:
    """Return the sum of two numbers minus the square of the sum's approximate root."""
    square = root * root
    # Dekker's product: halves of 26 digits have exact products ("A floating-point technique for extending the
    # available precision", Numerische Mathematik 18, 1971).
    scaled = root * 134217729.0
    leading = scaled - (scaled - root)
    trailing = root - leading
    rest = trailing * trailing - ((square - leading * leading) - 2 * leading * trailing)
    # Two numbers that are so close have an exact difference.
    return (high - square) + (low - rest)


def exact_norm(limbs: Array, dtype: np.dtype[Any]) -> float:
    """Return the norm that belongs to an exact sum, rounded once to `dtype`, as a float64.

    Parameters
    ----------
    limbs : ndarray of int64, shape (LIMBS + 2,)
        The result of the exact kernel.
    """
    if limbs[LIMBS]:
        return math.nan
    if limbs[LIMBS + 1]:
        return math.inf
    total = sum(int(limb) << 32 * place for place, limb in enumerate(limbs[:LIMBS]))
    if total == 0:
        return 0.0
    precision, lowest = FORMATS[dtype]
    # With this many digits beyond the precision, one more digit shows on which side of a tie the root lies.
    extra = max(0, precision + 2 - total.bit_length() // 2)
    scaled = total << 2 * extra
    root = math.isqrt(scaled)
    exponent = LOWEST_EXPONENT // 2 - extra
    root, exponent = 2 * root + (root * root != scaled), exponent - 1
    dropped = max(root.bit_length() - precision, lowest - precision + 1 - exponent)
    if dropped > 0:
        quotient, remainder = root >> dropped, root & ((1 << dropped) - 1)
        half = 1 << (dropped - 1)
        quotient += remainder > half or (remainder == half and quotient & 1)
        root, exponent = quotient, exponent + dropped
    if Fraction(root) * Fraction(2) ** exponent > FORMATS[dtype].largest:
        return math.inf
    return math.ldexp(root, exponent)
