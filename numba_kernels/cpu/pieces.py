"""Arrays that kernels cannot read at their address, copied piece by piece.

Views with gaps, gradients of a narrower dtype and sparse gradients are converted to a form that kernels can
read, one chunk at a time, so that a step never needs memory of the size of a variable.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_kernels.cpu.plan import Group, is_one_piece
from numba_kernels.shared.rows import Rows
from numba_kernels.shared.slots import COLUMNS, GRADIENT, MISSING
from sgd_ref.arithmetic.formats import Array
from sgd_ref.arithmetic.rounded import convert


class Piece:
    """One chunk of one variable with its gradient and state, in memory that a kernel can read.

    Parameters
    ----------
    group : Group
        The variables of the dtype.
    row : int
        The row of the variable in the group.
    start, stop : int
        The range of the elements, in row-major order.
    gradient : ndarray, Rows or None
        The accepted gradient.

    Attributes
    ----------
    arrays : dict of int to ndarray
        For each column of the table, the elements along one axis.
    table, chunks : ndarray of int64
        The argument of the kernel.
    """

    def __init__(self, group: Group, row: int, start: int, stop: int, gradient: Any) -> None:
        self._range = slice(start, stop)
        self._originals = group.arrays[row]
        self.arrays = {column: elements(array, start, stop) for column, array in self._originals.items()}
        if gradient is not None:
            self.arrays[GRADIENT] = gradient_elements(gradient, group.dtype, start, stop)
        self.chunks = np.array([[0, 0, stop - start]], np.int64)

    @property
    def table(self) -> Array:
        """The addresses of the arrays."""
        table = np.full((1, COLUMNS), MISSING, np.int64)
        for column, array in self.arrays.items():
            table[0, column] = array.ctypes.data
        return table

    def write_back(self) -> None:
        """Copy the changed elements back into the arrays of the variable."""
        for column, array in self._originals.items():
            if not is_one_piece(array):
                array.flat[self._range] = self.arrays[column]


def elements(array: Array, start: int, stop: int) -> Array:
    """Return elements in row-major order: a view of the array if they are in one piece."""
    if is_one_piece(array):
        return array.reshape(-1)[start:stop]
    # The iterator makes a copy in aligned memory.
    return np.asarray(array.flat[start:stop])


def gradient_elements(gradient: Any, dtype: np.dtype[Any], start: int, stop: int) -> Array:
    """Return elements of a gradient in the dtype of its variable."""
    if isinstance(gradient, Rows):
        return gradient.dense(start, stop)
    return convert(elements(np.asarray(gradient), start, stop), dtype)
