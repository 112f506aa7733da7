"""Arrays of the four dtypes as bits or as float32, for frameworks that lack some of the dtypes."""

from __future__ import annotations

from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import BY_NAME, FLOAT32, FLOAT64, Array, is_supported
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.validation import reject_type, reject_value


def to_bits(array: Any) -> Array:
    """Return the bit patterns of an array, as unsigned integers of the same width.

    Parameters
    ----------
    array : ndarray
        Of float16, bfloat16, float32 or float64.

    Examples
    --------
    From a variable of a case to a tensor of PyTorch, ``torch.from_numpy(to_bits(w)).view(torch.bfloat16)``:

    >>> to_bits(from_float32([1.0, -2.0], "bfloat16"))
    array([16256, 49152], dtype=uint16)
    """
    checked = _checked("array", array)
    return checked.view(f"u{checked.dtype.itemsize}")


def from_bits(bits: Any, dtype: str) -> Array:
    """Return a new array with the given bit patterns.

    Parameters
    ----------
    bits : ndarray
        Integers as wide as `dtype`, with or without a sign.
    dtype : str
        "float16", "bfloat16", "float32" or "float64".

    Examples
    --------
    >>> from_bits(np.array([0x3F80, 0x0001], "uint16"), "bfloat16")
    array([1, 9.18355e-41], dtype=bfloat16)
    """
    array, wanted = np.asarray(bits), _named(dtype)
    if array.dtype.kind not in "iu" or array.dtype.itemsize != wanted.itemsize:
        reject_type("bits", array.dtype, f"integers of {8 * wanted.itemsize} bits for {dtype}")
    viewed: Array = np.array(array, order="C").view(wanted)
    return viewed.reshape(array.shape)


def to_float32(array: Any) -> Array:
    """Return the numbers of an array of float16, bfloat16 or float32 as float32, which holds all of them.

    Examples
    --------
    >>> to_float32(from_bits(np.array([0x3F81], "uint16"), "bfloat16"))
    array([1.0078125], dtype=float32)
    """
    checked = _checked("array", array)
    if checked.dtype == FLOAT64:
        reject_type("array", checked.dtype, "an array of float16, bfloat16 or float32")
    return convert(checked, FLOAT32)


def from_float32(array: Any, dtype: str) -> Array:
    """Return numbers of float32 rounded to a dtype, to nearest, ties to even.

    Examples
    --------
    >>> from_float32([1.00390625, 1.01171875], "bfloat16")
    array([1, 1.01562], dtype=bfloat16)
    """
    return convert(np.asarray(array, FLOAT32), _named(dtype))


def _checked(name: str, array: Any) -> Array:
    checked: Array = np.asarray(array)
    if not is_supported(checked.dtype):
        reject_type(name, checked.dtype, f"an array of {', '.join(BY_NAME)}")
    return checked


def _named(dtype: str) -> Any:
    if dtype not in BY_NAME:
        reject_value("dtype", dtype, f"one of {', '.join(BY_NAME)}")
    return BY_NAME[dtype]
