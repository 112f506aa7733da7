"""Arrays that share memory: an update in place must not change elements that it still has to read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from sgd_ref.arithmetic.formats import Array

# Comparing two interleaved views may need an exponential search; beyond this effort they count as
# overlapping.
EFFORT = 1_000_000


def memory_of(arrays: Iterable[Array]) -> list[Array]:
    """Return each array as a plain ndarray in the same memory; the given arrays may be of subclasses.

    A subclass may redefine reading, arithmetic and writing, which the rule does not provide for.

    >>> matrix = np.zeros((2, 2)).view(np.matrix)
    >>> (plain,) = memory_of([matrix])
    >>> type(plain).__name__, is_same_memory(plain, matrix)
    ('ndarray', True)
    """
    return [np.asarray(array) for array in arrays]


def is_same_memory(first: Array, second: Array) -> bool:
    """Whether two arrays are the same elements of memory in the same order.

    >>> a = np.zeros(4)
    >>> is_same_memory(a, a[:]), is_same_memory(a, a[::-1])
    (True, False)
    """
    return first is second or (
        first.dtype == second.dtype
        and first.shape == second.shape
        and first.strides == second.strides
        and first.__array_interface__["data"][0] == second.__array_interface__["data"][0]
        and first.size > 0
    )


def overlaps_itself(array: Array) -> bool:
    """Whether two elements of `array` may lie in the same memory, as in a broadcast array.

    >>> overlaps_itself(np.zeros((2, 3))), overlaps_itself(np.broadcast_to(np.zeros(3), (2, 3)))
    (False, True)
    """
    reach = array.itemsize - 1
    for stride, length in sorted(
        (abs(stride), length) for stride, length in zip(array.strides, array.shape, strict=True)
    ):
        if length > 1:
            if stride <= reach:
                return array.size > 0
            reach += stride * (length - 1)
    return False


class OccupiedMemory:
    """The memory of several named arrays, which can be asked whether another array shares it.

    >>> a = np.zeros(8)
    >>> memory = OccupiedMemory([("a", a)])
    >>> memory.owner(a[2:4]), memory.owner(np.zeros(2))
    ('a', None)
    """

    def __init__(self, named_arrays: Iterable[tuple[str, Array]] = ()) -> None:
        self._named_arrays = list(named_arrays)
        bounds = [byte_bounds(array) if array.size else (0, 0) for _, array in self._named_arrays]
        self._starts = np.array([start for start, _ in bounds], np.uint64)
        self._ends = np.array([end for _, end in bounds], np.uint64)

    def owner(self, array: Array, among: int | None = None) -> str | None:
        """Return the name of the first array that shares memory with `array`, if there is one.

        Only the first `among` arrays are searched, by default all.
        """
        if not array.size:
            return None
        start, end = byte_bounds(array)
        for index in np.flatnonzero((self._starts[:among] < end) & (self._ends[:among] > start)):
            name, candidate = self._named_arrays[index]
            if _share_memory(array, candidate):
                return name
        return None

    def __reduce__(self) -> tuple[Any, ...]:
        # The copied or unpickled arrays have addresses of their own.
        return OccupiedMemory, (self._named_arrays,)


def _share_memory(first: Array, second: Array) -> bool:
    try:
        # NumPy's annotation has only the two special efforts.
        return np.shares_memory(first, second, max_work=EFFORT)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True
