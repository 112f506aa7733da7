"""The offsets of the fields of an array object in memory, tested with arrays of known dtype and shape."""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import Any

import ml_dtypes
import numpy as np

from sgd_ref.arithmetic.formats import Array

TYPE, DATA, AXES, LENGTHS, DTYPE, FLAGS = 8, 16, 24, 32, 56, 64
"""The offsets, in bytes, of the type, address, number of axes, lengths, dtype and flags of an array
object."""


ITEMS = 24
"""The offset, in bytes, of the address of the items in a list object."""


@functools.cache
def layout_is_known() -> bool:
    """Whether lists and arrays are laid out as expected, tested with arrays of known dtype and shape."""
    is_cpython = sys.implementation.name == "cpython" and np.intp(0).itemsize == 8
    has_lock = getattr(sys, "_is_gil_enabled", lambda: True)()
    # Only the bytes within the size that CPython reports for the objects are read.
    is_long_enough = np.ndarray.__basicsize__ >= FLAGS + 4 and list.__basicsize__ >= ITEMS + 8
    if not (is_cpython and has_lock and is_long_enough):
        return False
    samples: list[Any] = [
        np.zeros((3, 5, 2), np.float32)[1:],
        np.zeros(7, np.float64),
        np.zeros((2, 2), ml_dtypes.bfloat16),
        np.zeros((), np.float16),
    ]
    items = _bytes_at(_word_at(id(samples) + ITEMS, 8), 8 * len(samples))
    identities = np.frombuffer(items, np.int64).tolist()
    return identities == [id(sample) for sample in samples] and all(map(_header_is_known, samples))


def _header_is_known(array: Array) -> bool:
    lengths = _bytes_at(_word_at(id(array) + LENGTHS, 8), 8 * array.ndim) if array.ndim else b""
    return (
        _word_at(id(array) + TYPE, 8) == id(np.ndarray)
        and _word_at(id(array) + DATA, 8) == array.ctypes.data
        and _word_at(id(array) + AXES, 4) == array.ndim
        and _word_at(id(array) + DTYPE, 8) == id(array.dtype)
        and _word_at(id(array) + FLAGS, 4) == array.flags.num
        and tuple(np.frombuffer(lengths, np.int64)) == array.shape
    )


def _word_at(address: int, size: int) -> int:
    return int.from_bytes(_bytes_at(address, size), sys.byteorder)


def _bytes_at(address: int, count: int) -> bytes:
    return ctypes.string_at(address, count)
