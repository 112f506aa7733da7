"""Rounded numbers: float16, bfloat16, float32 and float64, every operation rounded once.

NumPy and ml_dtypes round each ``+ - * /`` to nearest, ties to even, in the dtype of the arrays. This module
adds the rounding of numbers that are *not* yet in the dtype: exact rationals, Python floats (settings), and
arrays of a wider dtype.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT32, FLOAT64, FORMATS, Array


def promoted(dtypes: Sequence[np.dtype[Any]]) -> np.dtype[Any]:
    """Return the narrowest of the four dtypes that holds every number of `dtypes`.

    >>> promoted([np.dtype(np.float16), BFLOAT16])
    dtype('float32')
    """
    distinct = set(dtypes)
    if len(distinct) == 1:
        return distinct.pop()
    return FLOAT64 if FLOAT64 in distinct else FLOAT32


def holds(wide: np.dtype[Any], narrow: np.dtype[Any]) -> bool:
    """Whether every number of `narrow` is a number of `wide`.

    >>> holds(np.dtype(np.float32), np.dtype(np.float16)), holds(np.dtype(np.float16), BFLOAT16)
    (True, False)
    """
    return promoted([wide, narrow]) == wide


def nearest(value: Fraction | int, dtype: DTypeLike) -> Any:
    """Round an exact number to the nearest number of `dtype`, ties to even.

    Parameters
    ----------
    value : Fraction or int
        Any exact number; zero gives +0.0.
    dtype : dtype
        float16, bfloat16, float32 or float64.

    Returns
    -------
    numpy scalar of `dtype`
        Infinite where rounding with unbounded exponents would pass the largest finite number.

    Notes
    -----
    IEEE 754-2019, section 4.3.1, roundTiesToEven.

    Examples
    --------
    >>> nearest(Fraction(1, 3), np.float32)
    np.float32(0.33333334)
    >>> int(nearest(2**24 + 1, np.float32))
    16777216
    """
    dtype = np.dtype(dtype)
    scalar: Any = dtype.type
    if value == 0:
        return scalar(0)
    precision, minimum_exponent = FORMATS[dtype]
    sign = 1 if value > 0 else -1
    magnitude = abs(Fraction(value))
    exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    if magnitude < _power_of_two(exponent):
        exponent -= 1
    unit = max(exponent, minimum_exponent) - precision + 1
    integer = round(magnitude / _power_of_two(unit))
    if integer * _power_of_two(unit) > FORMATS[dtype].largest:
        return scalar(sign * math.inf)
    return scalar(sign * math.ldexp(integer, unit))


def setting(value: float, dtype: DTypeLike) -> Any:
    """Round a setting, a Python float, once to `dtype`: this is D(x) in ``golden/README.md``.

    >>> setting(0.1, np.float32)
    np.float32(0.1)
    >>> float(setting(1 + 2.0**-8 + 2.0**-40, BFLOAT16))  # through float32 this would be 1.0
    1.0078125
    """
    # A key in which the zeros of both signs would be one is of no use.
    return _setting(float(value).hex(), np.dtype(dtype))


@lru_cache(maxsize=1024)
def _setting(value: str, dtype: np.dtype[Any]) -> Any:
    return convert(np.array(float.fromhex(value), np.float64), dtype)[()]


def convert(array: Array, dtype: DTypeLike) -> Array:
    """Round every element of `array` once to `dtype`.

    Parameters
    ----------
    array : ndarray
        Of one of the four dtypes, any shape.
    dtype : dtype
        One of the four dtypes.

    Returns
    -------
    ndarray
        Of the shape of `array`; `array` itself where it has the dtype already.

    Examples
    --------
    >>> convert(np.array([1 + 2.0**-8 + 2.0**-40]), BFLOAT16).astype(float)
    array([1.0078125])
    """
    dtype = np.dtype(dtype)
    if array.dtype == dtype:
        return array
    with np.errstate(all="ignore"):
        if array.dtype == np.float64 and dtype == BFLOAT16:
            array = _to_odd_float32(array)
        return array.astype(dtype)


def flushes_subnormals() -> bool:
    """Whether this thread replaces subnormal numbers by zero, as operands or as results.

    Some libraries set the processor's flush-to-zero mode for the whole process when they are loaded.

    >>> flushes_subnormals()
    False
    """
    smallest = np.full(2, 2.0**-1074)
    with np.errstate(all="ignore"):
        lost_operand = bool((smallest * np.full(2, 2.0**100) == 0).any())
        lost_result = bool((np.full(2, 2.0**-1022) * np.full(2, 0.5) == 0).any())
    return lost_operand or lost_result


def check_subnormals_are_kept() -> None:
    """Check that this thread computes with subnormal numbers.

    Raises
    ------
    RuntimeError
        If it flushes them to zero.
    """
    if flushes_subnormals():
        raise RuntimeError(
            "this thread flushes subnormal numbers to zero, so that no result would be right; "
            "some library has set the processor's flush-to-zero mode"
        )


def _power_of_two(exponent: int) -> Fraction:
    return Fraction(1 << exponent) if exponent >= 0 else Fraction(1, 1 << -exponent)


def _to_odd_float32(array: Array) -> Array:
    """Round float64 to float32 so that a second rounding, to bfloat16, gives the result of a single rounding.

    Rounding to odd records in the last bit whether anything was cut off. The conversion of ml_dtypes from
    float64 to bfloat16 goes through a float32 that is rounded to nearest, and so rounds twice.
    """
    nearby = array.astype(np.float32)
    toward_zero = np.where(np.abs(nearby) > np.abs(array), np.nextafter(nearby, np.float32(0)), nearby)
    inexact = np.isfinite(array) & (toward_zero != array)
    bits: Array = np.asarray(toward_zero.view(np.uint32) | inexact)
    return bits.view(np.float32)
