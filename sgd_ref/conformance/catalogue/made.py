"""Big arrays that a one-line rule makes from their indices, so that a case need not list their elements."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT64, Array
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.conformance.catalogue.numbers import readonly

MODULUS = 2**31 - 1

CLASSES = 8

LARGEST_CACHED = 32

LARGEST_SIZE = 2**21
"""The largest number of elements of an array: up to it, float64 holds every product in the rule exactly."""


def made(multiplier: int, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return the array that the rule makes: ``2 * (((multiplier * i + offset) % (2**31 - 1)) % 8) - 7``.

    Parameters
    ----------
    multiplier, offset : int
        From 0 and below 2**31 - 1.
    shape : tuple of int
        The shape, of at most ``LARGEST_SIZE`` elements. In the rule, i is the index of an element in
        row-major order, from 0.
    dtype : dtype
        Any of the four dtypes. The elements are odd whole numbers from -7 to 7, which every dtype holds.

    Raises
    ------
    ValueError
        If a number is out of its range, or there are too many elements.

    Examples
    --------
    >>> made(3, 5, (2, 3), np.dtype("float32"))
    array([[ 3., -7., -1.],
           [ 5., -5.,  1.]], dtype=float32)
    """
    for name, number in (("multiplier", multiplier), ("offset", offset)):
        if not 0 <= number < MODULUS:
            raise ValueError(f"{name} must be from 0 and below {MODULUS}, got {number}")
    if math.prod(shape) > LARGEST_SIZE:
        raise ValueError(f"shape must have at most {LARGEST_SIZE} elements, got {shape}")
    numbers = _numbers(multiplier, offset, math.prod(shape))
    return readonly(convert(numbers.astype(FLOAT64).reshape(shape), dtype))


@lru_cache(maxsize=LARGEST_CACHED)
def _numbers(multiplier: int, offset: int, size: int) -> Array:
    """Return the elements as small integers; the cases of a structure differ only in their dtypes."""
    index = np.arange(size, dtype=np.int64)
    return (2 * ((multiplier * index + offset) % MODULUS % CLASSES) - (CLASSES - 1)).astype(np.int8)
