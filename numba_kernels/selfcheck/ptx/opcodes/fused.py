"""The fused multiply-add, which rounds once.

It uses exact arithmetic, so that it does not depend on the host's compiler: the product is a sum of two
numbers, the three numbers are added together with the error of each addition, and a rounding to odd comes
before the last rounding.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import Array

SPLITTER = 2.0**27 + 1

SAFE = 2.0**480
"""For factors between the reciprocal of this number and the number itself, the parts neither underflow nor
overflow."""


def fused(a: Array, b: Array, c: Array) -> Array:
    """Return ``a * b + c`` rounded once, in float32 or float64.

    Examples
    --------
    >>> x = np.array([1 + 2.0**-30])
    >>> float(fused(x, x, -np.array([1 + 2.0**-29]))[0]) == 2.0**-60
    True
    """
    a, b, c = np.broadcast_arrays(a, b, c)
    if a.dtype == np.float32:
        # The product of two float32 is exact in float64.
        return _rounded_once(*_two_sum(a.astype(np.float64) * b, c.astype(np.float64))).astype(np.float32)
    with np.errstate(all="ignore"):
        plain = a * b + c
        high, low = _two_product(a, b)
        total, rest = _two_sum(high, c)
        lower, lost = _two_sum(low, rest)
        result = total + _odd(lower, lost)
    # Beyond these sizes a part might overflow, or fall among the subnormal numbers.
    is_easy = ~(np.isfinite(a) & np.isfinite(b) & np.isfinite(c)) | (a == 0) | (b == 0)
    careful = ~(_is_safe(a) & _is_safe(b) & (_is_safe(c) | (c == 0)) & (_is_safe(result) | (result == 0)))
    careful &= ~is_easy
    result = np.where(is_easy, plain, result)
    for place in np.flatnonzero(careful):
        result[place] = _exactly(a[place], b[place], c[place])
    return np.asarray(result)


def _is_safe(x: Array) -> Array:
    size = np.abs(x)
    return (size < SAFE) & (size > 1 / SAFE)


def _two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """Return a product and its rounding error (Dekker, 1971)."""
    product = a * b
    (a_high, a_low), (b_high, b_low) = _split(a), _split(b)
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def _split(x: Array) -> tuple[Array, Array]:
    scaled = SPLITTER * x
    high = scaled - (scaled - x)
    return high, x - high


def _two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """Return a sum and its rounding error (Knuth, The Art of Computer Programming 2, 4.2.2)."""
    total = a + b
    added = total - a
    return total, (a - (total - added)) + (b - added)


def _odd(x: Array, lost: Array) -> Array:
    """Return a number, or, if its rounding error is not zero, its neighbour with an odd last digit."""
    bits = x.view(np.int64)
    # The neighbour in the direction of the error: the exact value lies between the two, one of which is odd.
    step = np.where((lost > 0) == (x > 0), 1, -1)
    return np.where((lost != 0) & (bits & 1 == 0), bits + step, bits).view(np.float64)


def _rounded_once(total: Array, rest: Array) -> Array:
    """Return a float64 that rounds to the same float32 as a sum of two."""
    return np.where(np.isfinite(total) & np.isfinite(rest), _odd(total, rest), total)


def _exactly(a: Any, b: Any, c: Any) -> float:
    exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    if exact == 0:
        return float(a * b + c)
    try:
        # Python rounds the quotient of two integers once.
        return exact.numerator / exact.denominator
    except OverflowError:
        return float(np.copysign(np.inf, float(exact > 0) - 0.5))
