"""The correctly rounded Euclidean norm."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from sgd_ref.arithmetic.formats import FLOAT64, LISTED, Array, is_supported
from sgd_ref.arithmetic.rounded import convert, nearest
from sgd_ref.validation import reject_value

BLOCK = 65536
EXTRA_BITS = 64


def euclidean_norm(arrays: Sequence[Array], dtype: DTypeLike) -> Any:
    r"""Return the Euclidean norm of all elements of all arrays together, rounded once.

    .. math:: \sqrt{\sum_i x_i^2}

    The sum and the root are exact; only the result is rounded, to nearest, ties to even. The order of
    the elements and how they are split into arrays therefore cannot matter, and neither can squares
    that are too large or too small for the dtype.

    Parameters
    ----------
    arrays : sequence of ndarray
        Of float16, bfloat16, float32 or float64, not necessarily all of one dtype; any shapes.
    dtype : dtype
        The dtype of the result, one of the same four.

    Returns
    -------
    numpy scalar of `dtype`
        NaN if any element is NaN, otherwise infinity if any is infinite or if the norm rounds past the
        largest finite number. No elements, or only zeros, give +0.0.

    Raises
    ------
    ValueError
        If `dtype` or the dtype of an array is not one of the four.

    Notes
    -----
    ``math.sqrt(math.fsum(x * x))`` is not this norm. It rounds each square (float64 squares have 106 bits,
    and may overflow or underflow), then the sum, the root, and the conversion to `dtype`. Two roundings in a
    row may give another result than one rounding. In the first example the exact sum is ``(2**24 + 1)**2 +
    2**-40``, so the norm lies just above the midpoint of the neighbours 16777216 and 16777218; fsum drops the
    ``2**-40``, and the remaining tie goes to the wrong neighbour.

    The formula is that of the documentation of ``clipnorm`` and ``global_clipnorm``. IEEE 754-2019,
    section 9.4, leaves the rounding of such sums to the implementation. `sgd_ref` rounds once, at the end,
    so that no order of summation and no number of threads can change the result.

    Examples
    --------
    >>> int(euclidean_norm([np.array([2**24, 4096, 4096, 1, 2**-20], np.float32)], np.float32))
    16777218
    >>> euclidean_norm([np.full((1, 3), 1e200), np.array(-1e200), np.zeros(2, np.float16)], np.float64)
    np.float64(2e+200)
    """
    dtype = _supported("dtype", dtype)
    arrays = [np.asarray(array) for array in arrays]
    for position, array in enumerate(arrays):
        _supported(f"arrays[{position}].dtype", array.dtype)
    with np.errstate(all="ignore"):
        if any(np.isnan(array).any() for array in arrays):
            return dtype.type(math.nan)
        if any(np.isinf(array).any() for array in arrays):
            return dtype.type(math.inf)
    total, exponent = _sum_of_squares(arrays)
    return nearest(_square_root(total) * Fraction(2) ** exponent, dtype)


def _sum_of_squares(arrays: Sequence[Array]) -> tuple[int, int]:
    """Return integers ``(total, exponent)``: the sum of squares is exactly ``total * 4**exponent``."""
    sums: dict[int, int] = defaultdict(int)
    for array in arrays:
        elements = array.ravel()
        # Python's integers take ten times the memory of the elements, so only a block exists at a time.
        for start in range(0, elements.size, BLOCK):
            fraction, exponent = np.frexp(convert(elements[start : start + BLOCK], FLOAT64))
            # A float64, and so every narrower number, has 53 bits: scaled like this, it is an integer.
            integer = (fraction * 2.0**53).astype(np.int64)
            for i, e in zip(integer.tolist(), exponent.tolist(), strict=True):
                sums[e] += i * i
    lowest = min(sums, default=0)
    return sum(sums[e] << 2 * (e - lowest) for e in sums), lowest - 53


def _square_root(total: int) -> Fraction:
    """Return a rational that rounds like the square root of `total`, at any scale by a power of two.

    The result is the root itself if that is a multiple of ``2**-EXTRA_BITS``. Otherwise the root lies
    strictly between two neighbouring multiples, and the result is their midpoint. No number of a dtype, and
    no midpoint of two such numbers, lies between these multiples: they have at most 54 bits, so at the size
    of the root, 1 or more, they are multiples of ``2**-EXTRA_BITS``. Hence the root and the result are
    rounded to the same side.
    """
    scaled = total << 2 * EXTRA_BITS
    root = math.isqrt(scaled)
    between = root * root != scaled
    return Fraction(2 * root + between, 2 << EXTRA_BITS)


def _supported(name: str, dtype: DTypeLike) -> np.dtype[Any]:
    if not is_supported(dtype):
        reject_value(name, dtype, LISTED)
    return np.dtype(dtype)
