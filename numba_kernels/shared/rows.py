"""Sparse gradients as rows without duplicates."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.base.settings import Settings
from sgd_ref.gradients import SparseRows, is_scipy


class Rows(NamedTuple):
    """The rows of a gradient that are not entirely zero, each once.

    Attributes
    ----------
    indices : ndarray of int64, shape (n,)
        The positions of the rows. The rows of a matrix may also be its single elements, in row-major order.
    values : ndarray, shape (n, length of a row)
        In the dtype of the variable, C-contiguous.
    """

    indices: Array
    values: Array

    def in_order(self) -> Rows:
        """Return the rows in increasing order.

        >>> Rows(np.array([4, 1]), np.array([[1.0], [2.0]])).in_order().values.tolist()
        [[2.0], [1.0]]
        """
        if (self.indices[1:] > self.indices[:-1]).all():
            return self
        order = np.argsort(self.indices)
        return Rows(self.indices[order], self.values[order])

    def dense(self, start: int, stop: int) -> Array:
        """Return the elements from `start` to `stop` of the dense gradient, in row-major order.

        The rows must be in increasing order.
        """
        length = self.values.shape[1]
        piece = np.zeros(stop - start, self.values.dtype)
        if not length:
            return piece
        first, last = np.searchsorted(self.indices, [start // length, -(-stop // length)])
        if length == 1:
            # A loop in Python over single elements would take more than a thousand times as long.
            piece[self.indices[first:last] - start] = self.values[first:last, 0]
            return piece
        for index, row in zip(self.indices[first:last].tolist(), self.values[first:last], strict=True):
            begin = index * length - start
            piece[max(begin, 0) : begin + length] = row[max(-begin, 0) : max(stop - start - begin, 0)]
        return piece


def may_touch_rows_only(settings: Settings) -> bool:
    """Whether an update changes only the rows of a sparse gradient, if the variable does not decay."""
    accumulates = settings.gradient_accumulation_steps is not None
    return settings.momentum == 0 and not settings.use_ema and not accumulates


def from_sparse(gradient: Any, variable: Array) -> Rows:
    """Return the rows of ``SparseRows`` or of a matrix of ``scipy.sparse``, widened, added up and in order.

    Elements that occur more than once are added in their order of appearance, each sum rounded to the
    dtype of the variable.
    """
    if is_scipy(gradient):
        return _from_scipy(gradient, variable.dtype)
    # The attributes may have changed since they were checked.
    gradient = SparseRows(gradient.indices, gradient.values, gradient.shape)
    length = int(np.prod(gradient.shape[1:], dtype=np.int64))
    values = convert(np.asarray(gradient.values), variable.dtype).reshape(len(gradient.indices), length)
    # A copy: those of the gradient may be read-only, which no kernel takes.
    return Rows(*_added(np.array(gradient.indices, np.int64), values))


def _from_scipy(matrix: Any, dtype: np.dtype[Any]) -> Rows:
    if matrix.format in ("csr", "csc"):
        _check_starts(matrix)
    coordinates = matrix.tocoo()
    columns = matrix.shape[1]
    for place, length in zip((coordinates.row, coordinates.col), matrix.shape, strict=True):
        outside = (place < 0) | (place >= length)
        if outside.any():
            raise ValueError(
                f"a gradient of scipy.sparse must have its elements within its shape {matrix.shape}, "
                f"got one at {int(place[outside][0])} along the axis of length {length}"
            )
    places = coordinates.row.astype(np.int64) * columns + coordinates.col
    data = convert(np.asarray(coordinates.data), dtype)
    places, elements = _added(places, data.reshape(-1, 1))
    indices, positions = np.unique(places // max(columns, 1), return_inverse=True)
    values = np.zeros((len(indices), columns), dtype)
    values[positions, places % max(columns, 1)] = elements[:, 0]
    return Rows(indices, values)


def _check_starts(matrix: Any) -> None:
    # SciPy itself would write outside of its memory.
    starts = matrix.indptr
    stored = min(len(matrix.indices), len(matrix.data))
    if starts[0] != 0 or starts[-1] > stored or (starts[1:] < starts[:-1]).any():
        raise ValueError(
            f"a gradient of scipy.sparse must have an indptr that rises from 0 to at most {stored}, the "
            f"number of its elements, got one from {int(starts[0])} to {int(starts[-1])}"
        )


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
