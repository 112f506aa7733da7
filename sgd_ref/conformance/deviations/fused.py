"""Fused multiply-add: a * b + c rounded once, as processors have it and compilers put it in."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from sgd_ref.arithmetic.rounded import FLOAT64, Array, convert, nearest
from sgd_ref.conformance.deviations.subnormals import FlushedArray, flush


def fused_multiply_add(a: Any, b: Any, c: Any) -> Array:
    """Return a * b + c, rounded once to the dtype that all three share.

    Parameters
    ----------
    a, b, c : ndarray or numpy scalar
        Of one of the four dtypes, of shapes that broadcast. Where one is a ``FlushedArray``, subnormal
        operands and results become zero.

    Notes
    -----
    IEEE 754-2019, section 5.4.1, fusedMultiplyAdd.

    Examples
    --------
    >>> a = np.float32(1 + 2.0**-12)
    >>> float(fused_multiply_add(a, a, np.float32(-1)))  # rounded twice, 2.0**-24 would be lost
    0.00048834085464477539
    """
    operands = [np.asarray(operand) for operand in (a, b, c)]
    flushes = any(isinstance(operand, FlushedArray) for operand in (a, b, c))
    if flushes:
        operands = [flush(operand) for operand in operands]
    with np.errstate(all="ignore"):
        if operands[2].dtype == FLOAT64:
            result = _of_doubles(*operands)
        else:
            result = _of_narrower_floats(*operands)
    return flush(result).view(FlushedArray) if flushes else result


def _of_narrower_floats(a: Array, b: Array, c: Array) -> Array:
    """Multiply exactly in float64, add rounding to odd there, and round to the dtype.

    A float64 has more than twice the bits of the others and two more, which makes rounding to odd and
    then to nearest the same as rounding once (Boldo and Melquiond, 2008).
    """
    product = convert(a, FLOAT64) * convert(b, FLOAT64)
    addend = convert(c, FLOAT64)
    total = np.asarray(product + addend)
    # What the rounding of the sum cut off, exactly (Knuth's TwoSum).
    addend_part = total - product
    lost = (product - (total - addend_part)) + (addend - addend_part)
    even = (total.view(np.uint64) & np.uint64(1)) == 0
    towards_lost = np.nextafter(total, np.where(lost > 0, np.inf, -np.inf))
    odd = np.where(np.isfinite(total) & (lost != 0) & even, towards_lost, total)
    return convert(np.asarray(odd), c.dtype)


def _of_doubles(a: Array, b: Array, c: Array) -> Array:
    arrays = np.broadcast_arrays(a, b, c)
    # Exact where the product or the sum is 0 or not finite, with the sign that IEEE 754 gives it.
    result = np.array(arrays[0] * arrays[1] + arrays[2])
    flat = result.reshape(-1)
    finite = np.isfinite(arrays[0]) & np.isfinite(arrays[1]) & np.isfinite(arrays[2])
    for index in np.flatnonzero(finite):
        x, y, z = (Fraction(float(array.flat[index])) for array in arrays)
        exact = x * y + z
        if exact:
            flat[index] = nearest(exact, FLOAT64)
    return result
