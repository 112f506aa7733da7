"""The formats of floating-point numbers that variables have."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]


class Format(NamedTuple):
    """A binary floating-point format of IEEE 754, defined by two numbers.

    A finite number is ``integer * 2**exponent`` with ``abs(integer) < 2**precision`` and
    ``exponent >= minimum_exponent - precision + 1``.
    """

    precision: int
    minimum_exponent: int

    @property
    def largest(self) -> Fraction:
        """The largest finite number."""
        return (2 - Fraction(2) ** (1 - self.precision)) * Fraction(2) ** (1 - self.minimum_exponent)

    @property
    def smallest_normal(self) -> Fraction:
        """The smallest positive number that has full precision."""
        return Fraction(2) ** self.minimum_exponent


FLOAT16 = np.dtype(np.float16)
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)

FORMATS: dict[np.dtype[Any], Format] = {
    FLOAT16: Format(11, -14),
    BFLOAT16: Format(8, -126),
    FLOAT32: Format(24, -126),
    FLOAT64: Format(53, -1022),
}
"""The one list of the dtypes of variables."""

HALF_FORMATS = tuple(dtype for dtype in FORMATS if dtype.itemsize == 2)
"""The dtypes of 16 bits, in which libraries store numbers that they compute in float32."""

BY_NAME = {dtype.name: dtype for dtype in FORMATS}
"""The dtypes by their names."""

LISTED = f"{', '.join(list(BY_NAME)[:-1])} or {list(BY_NAME)[-1]}"
"""The names as an error message lists them."""


def is_supported(dtype: DTypeLike) -> bool:
    """Whether `dtype` is one of the four dtypes, in the byte order of this machine.

    >>> is_supported(np.float16), is_supported(np.int32), is_supported(">f4")
    (True, False, False)
    """
    return np.dtype(dtype) in FORMATS and np.dtype(dtype).isnative
