"""From a sum of squares to the correctly rounded norm: by a bound if it decides, else exactly.

The strategy is Ziv's (Fast evaluation of elementary mathematical functions with correctly rounded last bit,
ACM TOMS 17, 1991): where both ends of the interval in which the norm lies round to the same number, that is
the norm.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from numba_kernels.sums import (
    ERROR_OF_COMPENSATED_SUM,
    ERROR_OF_PLAIN_SUM,
    LIMBS,
    LOWEST_EXPONENT,
    UNIT,
)
from sgd_ref.arithmetic.rounded import FLOAT64, FORMATS, Array

SAFE = 2.0**-900, 2.0**1000
"""Between these no square of a float64 that matters was lost, and none overflowed."""


def decided_norms(sums: Array, dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Return norms in a dtype narrower than float64, and which of them are not decided.

    Parameters
    ----------
    sums : ndarray of float64, shape (n,)
        Sums of squares whose relative error is below ``ERROR_OF_PLAIN_SUM``; NaN if an element is NaN.
    dtype : dtype
        float16, bfloat16 or float32.

    Returns
    -------
    norms : ndarray of float64, shape (n,)
        Numbers of `dtype`.
    undecided : ndarray of bool, shape (n,)
        Where the norm has to be computed exactly.
    """
    # Four roundings more: of the factor, the product and the root, and one to spare.
    error = ERROR_OF_PLAIN_SUM + 4 * UNIT
    lower = to_nearest(np.sqrt(sums * (1 - error)), dtype)
    upper = to_nearest(np.sqrt(sums * (1 + error)), dtype)
    return lower, (lower != upper) & ~np.isnan(sums)


def decided_narrow_norm(total: float, dtype: np.dtype[Any]) -> float | None:
    """Return one norm as `decided_norms` does, in a twentieth of its time; None if it is not decided.

    Parameters
    ----------
    total : float
        The sum of squares.
    """
    if not math.isfinite(total):
        return total
    error = ERROR_OF_PLAIN_SUM + 4 * UNIT
    lower = nearest_number(math.sqrt(total * (1 - error)), dtype)
    upper = nearest_number(math.sqrt(total * (1 + error)), dtype)
    return lower if lower == upper else None


def decided_norm(high: float, low: float) -> float | None:
    """Return the norm in float64, or None if that has to be computed exactly.

    Parameters
    ----------
    high, low : float
        The sum of squares is their sum, with a relative error below ``ERROR_OF_COMPENSATED_SUM``.
    """
    if not SAFE[0] < high < SAFE[1]:
        return None
    root = math.sqrt(high + low)
    total = Fraction(high) + Fraction(low)
    error = total * Fraction(2 * ERROR_OF_COMPENSATED_SUM)
    # The root of the rounded sum may be one unit off, and then the neighbour is the candidate.
    for candidate in (root, math.nextafter(root, 0), math.nextafter(root, math.inf)):
        below = (Fraction(candidate) + Fraction(math.nextafter(candidate, 0))) / 2
        above = (Fraction(candidate) + Fraction(math.nextafter(candidate, math.inf))) / 2
        if below**2 < total - error and total + error < above**2:
            return candidate
    return None


def exact_norm(limbs: Array, dtype: np.dtype[Any]) -> float:
    """Return the norm that belongs to an exact sum, rounded once to `dtype`, as a float64.

    Parameters
    ----------
    limbs : ndarray of int64, shape (LIMBS + 2,)
        As the exact kernel leaves it.
    """
    if limbs[LIMBS]:
        return math.nan
    if limbs[LIMBS + 1]:
        return math.inf
    total = sum(int(limb) << 32 * place for place, limb in enumerate(limbs[:LIMBS]))
    if total == 0:
        return 0.0
    precision, lowest = FORMATS[dtype]
    # With this many digits more than the precision, one more digit says on which side of a tie it lies.
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


def to_nearest(numbers: Array, dtype: np.dtype[Any]) -> Array:
    """Round each float64, none of them negative, to the nearest number of `dtype`, ties to even."""
    if dtype == FLOAT64:
        return numbers
    precision, lowest = FORMATS[dtype]
    _, exponents = np.frexp(numbers)
    units = np.maximum(exponents - 1, lowest) - precision + 1
    # A power of two moves the unit to one, where rounding to integers is rounding to nearest even.
    rounded = np.ldexp(np.rint(np.ldexp(numbers, -units)), units)
    return np.where(rounded > float(FORMATS[dtype].largest), np.inf, rounded)


def nearest_number(number: float, dtype: np.dtype[Any]) -> float:
    """Round one float64, finite and not negative, to the nearest number of `dtype`, ties to even."""
    precision, lowest = FORMATS[dtype]
    unit = max(math.frexp(number)[1] - 1, lowest) - precision + 1
    rounded = math.ldexp(round(math.ldexp(number, -unit)), unit)
    return math.inf if rounded >= math.ldexp(1.0, 1 - lowest + 1) else rounded
