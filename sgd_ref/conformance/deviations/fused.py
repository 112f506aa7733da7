"""Fused multiply-add: a * b + c rounded once, as the processor's instruction computes it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT64, Array
from sgd_ref.arithmetic.rounded import convert, nearest
from sgd_ref.conformance.deviations.observed.subnormals import FlushedArray, flush

SPLITTER = 2.0**27 + 1

SMALLEST, LARGEST = 2.0**-400, 2.0**400
"""Between these limits, the exact parts of products and sums in float64 neither overflow nor underflow."""


def fused_multiply_add(a: Any, b: Any, c: Any) -> Array:
    """Return a * b + c, rounded once to the dtype that all three share.

    Parameters
    ----------
    a, b, c : ndarray or numpy scalar
        Numbers of one of the four dtypes, with shapes that broadcast. If one is a ``FlushedArray``, subnormal
        operands and results become zero.

    Notes
    -----
    IEEE 754-2019, section 5.4.1, fusedMultiplyAdd. Boldo and Melquiond, "Emulation of a FMA and correctly
    rounded sums: proved algorithms using rounding to odd", 2008.

    Examples
    --------
    >>> a = np.float32(1 + 2.0**-12)
    >>> float(fused_multiply_add(a, a, np.float32(-1)))  # rounded twice, 2.0**-24 would be lost
    0.0004883408546447754
    """
    operands = [np.asarray(operand) for operand in (a, b, c)]
    flushes = any(isinstance(operand, FlushedArray) for operand in (a, b, c))
    if flushes:
        operands = [flush(operand) for operand in operands]
    with np.errstate(all="ignore"):
        result = _of_doubles(*operands) if operands[2].dtype == FLOAT64 else _of_narrower(*operands)
    return flush(result).view(FlushedArray) if flushes else result


def _of_narrower(a: Array, b: Array, c: Array) -> Array:
    """Multiply exactly in float64, add in float64 with rounding to odd, and round to the dtype.

    The significand of float64 has at least two bits more than twice those of the other dtypes. So rounding
    to odd and then to nearest gives the same as rounding once.
    """
    return convert(_odd_sum(convert(a, FLOAT64) * convert(b, FLOAT64), convert(c, FLOAT64)), c.dtype)


def _of_doubles(a: Array, b: Array, c: Array) -> Array:
    a, b, c = np.broadcast_arrays(a, b, c)
    high, low = _exact_product(a, b)
    # This is the sum of three numbers. The two small parts are added first, with rounding to odd.
    small, small_rest = _exact_sum(c, low)
    large, large_rest = _exact_sum(high, small)
    result = np.asarray(large + _odd_sum(small_rest, large_rest))
    plain = np.asarray(a * b + c)
    # This is right for special values, exact zeros and their signs.
    result = np.where(np.isfinite(plain) & (high != 0), result, plain)
    sizes = np.abs([a, b, c, high])
    outside = ((sizes < SMALLEST) & (sizes != 0)) | ((sizes > LARGEST) & np.isfinite(sizes))
    for index in np.argwhere(outside.any(axis=0) & np.isfinite([a, b, c]).all(axis=0)):
        place = tuple(index)
        exact = Fraction(float(a[place])) * Fraction(float(b[place])) + Fraction(float(c[place]))
        result[place] = nearest(exact, FLOAT64) if exact else plain[place]
    return result


def _exact_product(a: Array, b: Array) -> tuple[Array, Array]:
    """Return the rounded product and its exact rounding error (Dekker)."""
    product = np.asarray(a * b)
    a_high, a_low = _halves(a)
    b_high, b_low = _halves(b)
    rest = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    return product, np.asarray(rest)


def _halves(a: Array) -> tuple[Array, Array]:
    scaled = a * SPLITTER
    high = scaled - (scaled - a)
    return high, a - high


def _exact_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """Return the rounded sum and its exact rounding error (Knuth)."""
    total = np.asarray(a + b)
    b_part = total - a
    return total, np.asarray((a - (total - b_part)) + (b - b_part))


def _odd_sum(a: Array, b: Array) -> Array:
    """Return a + b in float64, rounded to odd: inexact sums have 1 as their last bit."""
    total, rest = _exact_sum(a, b)
    even = (total.view(np.uint64) & np.uint64(1)) == 0
    towards_rest = np.nextafter(total, np.where(rest > 0, np.inf, -np.inf))
    return np.where(np.isfinite(total) & np.isfinite(rest) & (rest != 0) & even, towards_rest, total)
