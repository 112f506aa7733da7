"""A check of hundreds of arrays in microseconds: a kernel reads the fields of the array objects themselves.

Checking 200 gradients from Python takes 200 to 400 microseconds; updating 200 small variables takes 30. The
kernel relies on the layout that NumPy's binary interface fixes (``PyArrayObject_fields``). The layout is
tested on known arrays before it is used. If this test fails, every call checks the arrays from Python
instead.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from numba_kernels.cpu.addresses import thread_flushes_subnormals
from numba_kernels.cpu.cache import entry, kernel
from numba_kernels.shared.array_object import AXES, DATA, DTYPE, FLAGS, ITEMS, LENGTHS, TYPE, layout_is_known
from numba_kernels.shared.inlining import inlined
from numba_kernels.shared.pointers import int32_at, int64_at
from numba_kernels.shared.slots import INDIRECT
from sgd_ref.arithmetic.formats import Array

C_CONTIGUOUS, ALIGNED, WRITEABLE = 0x1, 0x100, 0x400

FOR_READING = C_CONTIGUOUS | ALIGNED
FOR_WRITING = FOR_READING | WRITEABLE

DTYPE_IDENTITY, BYTES, NUMBER_OF_AXES, FIRST_LENGTH, ADDRESS = range(5)
SPEC_WORDS = 5

ABSENT = object()
"""Stands in a list for an array that is not looked at."""

SIGNATURE = "boolean(int64, int64, int64, int64, int64[:, ::1], int64[::1], int64[::1], int64[:])"
"""Identities of the list and of ``ABSENT`` or 0, type of the arrays, flags, specs, lengths, occupied memory,
and the addresses."""

FEW = 16
"""For fewer objects, comparing them in Python takes less time than the call of a kernel."""


@functools.cache
def _same_objects() -> Any:
    @kernel("same_objects", "boolean(int64, int64[::1])")
    def same(objects: int, identities: Any) -> Any:
        """Whether a list consists of the objects with these identities."""
        items = int64_at(objects + ITEMS)
        differing = 0
        for index in range(identities.shape[0]):
            differing += int64_at(items + 8 * index) != identities[index]
        return differing == 0

    return same


@inlined
def _matches(array: int, array_type: int, flags: int, specs: Any, index: int, lengths: Any) -> Any:
    if int64_at(array + TYPE) != array_type or int32_at(array + FLAGS) & flags != flags:
        return False
    axes = specs[index, NUMBER_OF_AXES]
    if int64_at(array + DTYPE) != specs[index, DTYPE_IDENTITY] or int32_at(array + AXES) != axes:
        return False
    stored = int64_at(array + LENGTHS)
    for axis in range(axes):
        if int64_at(stored + 8 * axis) != lengths[specs[index, FIRST_LENGTH] + axis]:
            return False
    return specs[index, ADDRESS] == 0 or specs[index, ADDRESS] == int64_at(array + DATA)


@inlined
def overlaps(start: int, end: int, occupied: Any) -> Any:
    """Whether memory overlaps one of the regions, which are in increasing order."""
    low, high = 0, occupied.shape[0] // 2
    while low < high:
        middle = (low + high) // 2
        if occupied[2 * middle] <= start:
            low = middle + 1
        else:
            high = middle
    begins_inside = low > 0 and occupied[2 * low - 1] > start
    return begins_inside or (2 * low < occupied.shape[0] and occupied[2 * low] < end)


@functools.cache
def _inspection() -> Any:
    @kernel("inspect", SIGNATURE)
    def inspect(
        objects: int,
        absent: int,
        array_type: int,
        flags: int,
        specs: Any,
        lengths: Any,
        occupied: Any,
        addresses: Any,
    ) -> Any:
        """Whether all arrays match their specs and overlap no occupied memory; if so, set `addresses`."""
        if thread_flushes_subnormals():
            return False
        items = int64_at(objects + ITEMS)
        for index in range(specs.shape[0]):
            array = int64_at(items + 8 * index)
            if array == absent:
                addresses[index] = INDIRECT
                continue
            if not _matches(array, array_type, flags, specs, index, lengths):
                return False
            address = int64_at(array + DATA)
            bytes_of_array = specs[index, BYTES]
            # An address from an earlier call was looked up then: for 2,000 gradients this takes 6
            # microseconds instead of 26.
            is_known = bytes_of_array == 0 or address == addresses[index]
            if not is_known and overlaps(address, address + bytes_of_array, occupied):
                return False
            addresses[index] = address
        return True

    return inspect


class ArraySpecs:
    """The expected dtype and shape of each array of two lists, for the quick check.

    Parameters
    ----------
    read : sequence of ndarray
        Arrays with the dtypes and shapes that are expected of the arrays that a step reads.
    written : sequence of ndarray
        The arrays that a step writes: these very arrays are accepted, at their present addresses, and
        writable.

    Attributes
    ----------
    counts : tuple of int
        The lengths of the two lists.
    """

    def __init__(self, read: Sequence[Array], written: Sequence[Array]) -> None:
        self.counts = len(read), len(written)
        specs = np.zeros((len(read) + len(written), SPEC_WORDS), np.int64)
        self._read, self._written = specs[: len(read)], specs[len(read) :]
        self._nothing, self._addresses = np.zeros(0, np.int64), np.zeros(len(written), np.int64)
        lengths: list[int] = []
        for index, (row, array) in enumerate(zip(specs, [*read, *written], strict=True)):
            is_written = index >= len(read)
            row[DTYPE_IDENTITY] = id(np.dtype(array.dtype.type))
            row[BYTES] = array.nbytes
            row[NUMBER_OF_AXES] = array.ndim
            row[FIRST_LENGTH] = len(lengths)
            row[ADDRESS] = array.ctypes.data if is_written else 0
            lengths += array.shape
        self._lengths = np.array([*lengths, 0], np.int64)
        self._trusted = layout_is_known()
        if self._trusted:
            # The kernels are compiled here, so that no later step has to wait for the compiler.
            self._inspect, _ = entry(_inspection()), _same_objects()

    def fit(
        self,
        read: list[Any],
        written: list[Any],
        occupied: Array,
        addresses: Array,
        some_are_absent: bool = False,
    ) -> bool:
        """Whether the arrays match their specs and the thread does not flush subnormals.

        Parameters
        ----------
        read, written : list
            As many arrays as were expected. No other thread may change the lists during the call.
        occupied : ndarray of int64
            Memory that no array that is read may overlap: for each region its first address and the first
            address after it, in increasing order.
        addresses : ndarray of int64
            Receives the addresses of the elements of the arrays that are read, if the arrays fit; it must be
            as long. Pass zeros first, and then the same array for all calls with the same `occupied`.
        some_are_absent : bool
            Whether ``ABSENT`` may stand in place of an array that is read. Its address is ``INDIRECT``.
        """
        if not self._trusted:
            return False
        absent = id(ABSENT) if some_are_absent else 0
        kind, lengths = id(np.ndarray), self._lengths
        return bool(
            self._inspect(
                id(written), 0, kind, FOR_WRITING, self._written, lengths, self._nothing, self._addresses
            )
            and self._inspect(id(read), absent, kind, FOR_READING, self._read, lengths, occupied, addresses)
        )


def are_same_objects(objects: Sequence[Any], others: Sequence[Any], identities: Array) -> bool:
    """Whether a list or tuple consists of other objects, which are as many and have these identities."""
    if len(others) < FEW or not layout_is_known():
        return all(map(operator.is_, objects, others))
    # The list must live until the kernel has read it.
    listed, same = list(objects), _same_objects()
    return bool(same(id(listed), identities))
