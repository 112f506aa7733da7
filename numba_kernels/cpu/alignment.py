"""Memory whose elements have the same offsets in cache lines as the elements of a variable.

A vector register is as wide as a cache line. Large arrays of NumPy begin in the middle of a line, so that
every access touches two lines. Then momentum over 2 M float32, which fit into the cache, takes 1.4 times as
long.
"""

from __future__ import annotations

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.base.state import State

LINE = 64
"""The length of a cache line in bytes on x86-64 and on most ARM processors. A wrong length costs only
time."""


def zeros_beside(variable: Array) -> Array:
    """Return zeros of the shape and dtype of a variable, with the same offset in a cache line.

    >>> variable = np.ones(1000, np.float32)[5:]
    >>> zeros = zeros_beside(variable)
    >>> zeros.shape, zeros.dtype, bool(zeros.any()), (zeros.ctypes.data - variable.ctypes.data) % LINE
    ((995,), dtype('float32'), False, 0)
    """
    memory = np.zeros(variable.nbytes + LINE, np.uint8)
    first = (variable.ctypes.data - memory.ctypes.data) % LINE
    # The address of a variable may not be a multiple of its element size; allocated memory is aligned.
    first -= first % variable.itemsize
    return memory[first : first + variable.nbytes].view(variable.dtype).reshape(variable.shape)


class AlignedState(State):
    """The state of an optimizer, in memory with the same alignment as its variables."""

    @staticmethod
    def zeros(variable: Array) -> Array:
        """Return memory for the state of a variable."""
        return zeros_beside(variable)


def elements_before_line(array: Array) -> int:
    """Return how many elements come before the first element at the start of a cache line.

    >>> memory = np.zeros(2 * LINE, np.uint8)
    >>> aligned = memory[-memory.ctypes.data % LINE :]
    >>> elements_before_line(aligned), elements_before_line(aligned[16:].view(np.float32))
    (0, 12)
    """
    return (-array.ctypes.data % LINE) // array.itemsize
