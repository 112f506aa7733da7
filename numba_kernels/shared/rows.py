"""Sparse gradients as sorted rows without duplicates."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.gradients import SparseRows, is_scipy


class Rows(NamedTuple):
    """The rows of a gradient that are not entirely zero.

    Attributes
    ----------
    indices : ndarray of int64, shape (n,)
        In increasing order.
    values : ndarray, shape (n, length of a row)
        In the dtype of the variable, C-contiguous.
    """

    indices: Array
    values: Array

    def dense(self, start: int, stop: int) -> Array:
        """Return the elements from `start` to `stop` of the dense gradient, in row-major order."""
        length = self.values.shape[1]
        piece = np.zeros(stop - start, self.values.dtype)
        if not length:
            return piece
        first, last = np.searchsorted(self.indices, [start // length, -(-stop // length)])
        for index, row in zip(self.indices[first:last].tolist(), self.values[first:last], strict=True):
            begin = index * length - start
            piece[max(begin, 0) : begin + length] = row[max(-begin, 0) : max(stop - start - begin, 0)]
        return piece


def from_sparse(gradient: Any, variable: Array) -> Rows:
    """Return the rows of ``SparseRows`` or of a matrix of ``scipy.sparse``, widened and added up.

    Elements that occur more than once are added in their order of appearance, each sum rounded to the
    dtype of the variable.
    """
    if is_scipy(gradient):
        return _from_scipy(gradient, variable.dtype)
    assert isinstance(gradient, SparseRows)
    length = int(np.prod(gradient.shape[1:], dtype=np.int64))
    values = convert(np.asarray(gradient.values), variable.dtype).reshape(len(gradient.indices), length)
    return Rows(*_added(np.asarray(gradient.indices, np.int64), values))


def _from_scipy(matrix: Any, dtype: np.dtype[Any]) -> Rows:
    coordinates = matrix.tocoo()
    columns = matrix.shape[1]
    places = coordinates.row.astype(np.int64) * columns + coordinates.col
    data = convert(np.asarray(coordinates.data), dtype)
    places, elements = _added(places, data.reshape(-1, 1))
    indices, positions = np.unique(places // max(columns, 1), return_inverse=True)
    values = np.zeros((len(indices), columns), dtype)
    values[positions, places % max(columns, 1)] = elements[:, 0]
    return Rows(indices, values)


def _added(indices: Array, values: Array) -> tuple[Array, Array]:
    """Return the distinct indices in order, and for each the sum of its values from the left."""
    # The usual order of indices, which needs no sorting and takes a tenth of the time.
    if (indices[1:] > indices[:-1]).all():
        return indices, np.ascontiguousarray(values)
    order = np.argsort(indices, kind="stable")
    distinct, starts, counts = np.unique(indices[order], return_index=True, return_counts=True)
    sums = np.ascontiguousarray(values[order[starts]])
    with np.errstate(all="ignore"):
        # The k-th occurrences of all indices that occur so often are added at once.
        for occurrence in range(1, int(counts.max(initial=0))):
            several = np.flatnonzero(counts > occurrence)
            sums[several] = sums[several] + values[order[starts[several] + occurrence]]
    return distinct, sums
