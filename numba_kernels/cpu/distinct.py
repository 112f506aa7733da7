"""The distinct rows of sparse gradients, and the tables in which kernels find them, in compiled code.

The rows stay in their order of appearance: no bit of an update depends on the order of different rows. With
NumPy, rows and tables for 1,000 rows of 64 float32 take 20 microseconds if the rows are in order, and 190 if
they have to be sorted; these kernels take 7 and 8 (minima beside other work).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import types

from numba_kernels.cpu.addresses import enter_default_mode, leave_default_mode
from numba_kernels.cpu.array_specs import overlaps
from numba_kernels.cpu.cache import kernel
from numba_kernels.cpu.prefetching import fetch
from numba_kernels.cpu.storage import storage
from numba_kernels.shared.pointers import array_reader
from numba_kernels.shared.rows import Rows
from numba_kernels.shared.slots import COLUMNS, GRADIENT, VARIABLE
from sgd_ref.arithmetic.formats import Array

UNREADABLE = -1
"""The result of a kernel for indices that it cannot use."""

MOST_FETCHED = 2**20
"""The most bytes of a variable that are fetched before its update: half of the second level of the cache."""

FREE = -1
"""The content of a slot of the hash table that holds no unit."""

MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
"""2**64 divided by the golden ratio: its products spread consecutive numbers (Knuth, The Art of Computer
Programming 3, 6.4)."""


def distinct_rows(units: Array, values: Array, limit: int) -> Rows | None:
    """Return each unit once, in order of appearance, with the sum of its values from the left.

    Parameters
    ----------
    units : ndarray of int64, shape (n,)
        The positions of rows, or of elements. They are overwritten, so no other code may have a reference.
    values : ndarray, shape (n, length)
        C-contiguous and aligned, of the dtype of the variable.
    limit : int
        The number of rows, or of elements, of the variable.

    Returns
    -------
    Rows or None
        None if a unit is negative or not below the limit. The values are `values` itself if no unit occurs
        twice.

    Examples
    --------
    >>> distinct_rows(np.array([4, 1, 4]), np.array([[1.0], [2.0], [3.0]]), 5)
    Rows(indices=array([4, 1]), values=array([[4.],
           [2.]]))
    """
    count = len(units)
    places = np.empty(count, np.int64)
    slots = np.empty(2 << count.bit_length(), np.int64)
    found = _distinct_kernel()(units, limit, places, slots)
    if found == UNREADABLE:
        return None
    if found == count:
        return Rows(units, values)
    sums = np.empty((found, values.shape[1]), values.dtype)
    sums_kernel(values.dtype)(values.ctypes.data, values.shape[1], places, sums.ctypes.data)
    return Rows(units[:found], sums)


def compile_rows(dtype: np.dtype[Any], itemsizes: Sequence[int]) -> None:
    """Compile all kernels for sparse gradients, so that no later call has to wait.

    Parameters
    ----------
    dtype : dtype
        The dtype of the variable.
    itemsizes : sequence of int
        The sizes of the indices that a matrix of SciPy has, 4 or 8 bytes; empty for rows.
    """
    _distinct_kernel(), _tables_kernel(), _overlap_kernel(), sums_kernel(dtype)
    for itemsize in itemsizes:
        _coordinates_kernel(itemsize), _compressed_kernel(itemsize)


def elements_of_coordinates(rows: Array, columns: Array, shape: tuple[int, int]) -> Array | None:
    """Return the positions of the elements of a matrix in coordinates, or None if some lie outside.

    >>> elements_of_coordinates(np.array([0, 1]), np.array([2, 0]), (2, 3)).tolist()
    [2, 3]
    """
    elements = np.empty(len(rows), np.int64)
    read = _coordinates_kernel(rows.itemsize)(rows.ctypes.data, columns.ctypes.data, *shape, elements)
    return elements if read else None


def elements_of_compressed(starts: Array, columns: Array, shape: tuple[int, int]) -> Array | None:
    """Return the positions of the elements of a matrix that is stored row by row.

    Parameters
    ----------
    starts : ndarray of int32 or int64, shape (rows + 1,)
        The first element of each row, and the end of the last row.
    columns : ndarray of the same dtype
        The column of each element; there may be more columns than elements.
    shape : tuple of int
        The shape of the matrix.

    Returns
    -------
    ndarray of int64, or None
        None if an element lies outside, or the starts decrease.

    Examples
    --------
    >>> elements_of_compressed(np.array([0, 1, 1, 3]), np.array([2, 0, 1]), (3, 3)).tolist()
    [2, 6, 7]
    """
    count = int(starts[-1])
    if not 0 <= count <= len(columns):
        return None
    elements = np.empty(count, np.int64)
    read = _compressed_kernel(starts.itemsize)(starts.ctypes.data, columns.ctypes.data, *shape, elements)
    return elements if read else None


def is_free(array: Array, occupied: Array) -> bool:
    """Whether a contiguous array overlaps none of the regions, which are in increasing order."""
    return bool(_overlap_kernel()(array.ctypes.data, array.nbytes, occupied))


def tables_of(rows: Rows, variable: int, factors: Array) -> tuple[Array, Array, int, Array]:
    """Return the table in which each run of rows is a variable of its own, and what belongs to it.

    Parameters
    ----------
    rows : Rows
        Distinct rows, all of which the variable has.
    variable : int
        The address of the variable.
    factors : ndarray of float64, shape (2,)
        The factor and the divisor by which the gradient is clipped.

    Returns
    -------
    table, chunks : ndarray of int64
        As the kernels take them.
    runs : int
        The number of runs; the other rows of the tables are not set.
    repeated : ndarray of float64
        The factors, for each run.
    """
    count, length = rows.values.shape
    table, chunks = np.empty((count, COLUMNS), np.int64), np.empty((count, 3), np.int64)
    repeated = np.empty((count, 2))
    runs = _tables_kernel()(
        rows.indices,
        length,
        rows.values.itemsize,
        variable,
        rows.values.ctypes.data,
        factors,
        table,
        chunks,
        repeated,
    )
    return table, chunks, runs, repeated


@functools.cache
def _distinct_kernel() -> Any:
    @kernel("distinct", "int64(int64[::1], int64, int64[::1], int64[::1])")
    def distinct(units: Any, limit: int, places: Any, slots: Any) -> Any:
        """Move the distinct units to the front, set the place of each unit there, and count them."""
        is_outside, is_rising, previous = False, True, np.int64(-1)
        for index in range(units.shape[0]):
            unit = units[index]
            is_outside |= unit < 0 or unit >= limit
            is_rising &= unit > previous
            previous = unit
        if is_outside:
            return UNREADABLE
        if is_rising:
            return units.shape[0]
        last, shift, found = slots.shape[0] - 1, np.uint64(64), 0
        while (1 << (64 - np.int64(shift))) <= last:
            shift -= np.uint64(1)
        slots[:] = FREE
        for index in range(units.shape[0]):
            unit = units[index]
            slot = np.int64((np.uint64(unit) * MULTIPLIER) >> shift)
            # At least half of the slots stay free, so that the search ends.
            while slots[slot] != FREE and units[slots[slot]] != unit:
                slot = (slot + 1) & last
            if slots[slot] == FREE:
                slots[slot], units[found] = found, unit
                found += 1
            places[index] = slots[slot]
        return found

    return distinct


@functools.cache
def sums_kernel(dtype: np.dtype[Any]) -> Any:
    """Return the kernel that adds up the rows of a dtype that have the same place."""
    stored, itemsize = storage(dtype), dtype.itemsize
    array_at, load, store, add = stored.array_at, stored.load, stored.store, stored.operations.add

    @kernel(f"sums_of_rows_{dtype.name}", "void(int64, int64, int64[::1], int64)")
    def summed(values: int, length: int, places: Any, sums: int) -> None:
        """Copy the first row of each place, and add the later ones, each sum rounded."""
        mode = enter_default_mode()
        size, begun = length * itemsize, 0
        for index in range(places.shape[0]):
            row = array_at(values + index * size, length)
            total = array_at(sums + places[index] * size, length)
            if places[index] == begun:
                begun += 1
                for i in range(length):
                    total[i] = row[i]
            else:
                for i in range(length):
                    total[i] = store(add(load(total[i]), load(row[i])))
        leave_default_mode(mode)

    return summed


@functools.cache
def _coordinates_kernel(itemsize: int) -> Any:
    integers_at = array_reader(types.int32 if itemsize == 4 else types.int64)

    @kernel(f"elements_of_coordinates_{itemsize}", "boolean(int64, int64, int64, int64, int64[::1])")
    def read(rows: int, columns: int, height: int, width: int, elements: Any) -> Any:
        count = elements.shape[0]
        is_outside: Any = False
        of_rows, of_columns = integers_at(rows, count), integers_at(columns, count)
        for index in range(count):
            row, column = np.int64(of_rows[index]), np.int64(of_columns[index])
            is_outside |= row < 0 or row >= height or column < 0 or column >= width
            elements[index] = row * width + column
        return not is_outside

    return read


@functools.cache
def _compressed_kernel(itemsize: int) -> Any:
    integer = np.int32 if itemsize == 4 else np.int64
    integers_at = array_reader(types.int32 if itemsize == 4 else types.int64)
    block = 64

    @kernel(f"elements_of_compressed_{itemsize}", "boolean(int64, int64, int64, int64, int64[::1])")
    def read(starts: int, columns: int, height: int, width: int, elements: Any) -> Any:
        of_rows, of_columns = integers_at(starts, height + 1), integers_at(columns, elements.shape[0])
        is_outside: Any = of_rows[0] != 0
        done, row = np.int64(0), 0
        while row < height:
            # The processor compares many starts at once: most rows of a large embedding are empty, and a
            # million of them take 170 microseconds instead of 370 one by one.
            if row + block <= height:
                ends = integers_at(starts + (row + 1) * itemsize, block)
                differing, expected = integer(0), integer(done)
                for i in range(ends.shape[0]):
                    differing |= ends[i] ^ expected
                if differing == 0:
                    row += block
                    continue
            for this_row in range(row, min(row + block, height)):
                end = np.int64(of_rows[this_row + 1])
                if end < done or end > elements.shape[0]:
                    return False
                for index in range(done, end):
                    column = np.int64(of_columns[index])
                    is_outside |= column < 0 or column >= width
                    elements[index] = this_row * width + column
                done = end
            row += block
        return done == elements.shape[0] and not is_outside

    return read


@functools.cache
def _overlap_kernel() -> Any:
    @kernel("is_free", "boolean(int64, int64, int64[::1])")
    def free(address: int, length: int, occupied: Any) -> Any:
        return length == 0 or not overlaps(address, address + length, occupied)

    return free


@functools.cache
def _tables_kernel() -> Any:
    signature = (
        "int64(int64[::1], int64, int64, int64, int64, float64[::1], int64[:, ::1], int64[:, ::1], "
        "float64[:, ::1])"
    )

    @kernel("tables_of_rows", signature)
    def tabulated(
        units: Any,
        length: int,
        itemsize: int,
        variable: int,
        values: int,
        factors: Any,
        table: Any,
        chunks: Any,
        repeated: Any,
    ) -> Any:
        size, runs, index = length * itemsize, 0, 0
        while index < units.shape[0]:
            first = index
            index += 1
            # Neighbours are one run: the elements of a row of a matrix of SciPy are neighbours.
            while index < units.shape[0] and units[index] == units[index - 1] + 1:
                index += 1
            # The kernel reaches only a few rows ahead. With all rows on their way, an update of 1,000 rows of
            # 64 float32 takes 90 microseconds instead of 130 (interleaved, beside other work).
            if index * size <= MOST_FETCHED:
                fetch(variable + units[first] * size, (index - first) * size)
            table[runs, :] = 0
            table[runs, VARIABLE] = variable + units[first] * size
            table[runs, GRADIENT] = values + first * size
            chunks[runs, 0], chunks[runs, 1], chunks[runs, 2] = runs, 0, (index - first) * length
            repeated[runs, 0], repeated[runs, 1] = factors[0], factors[1]
            runs += 1
        return runs

    return tabulated
