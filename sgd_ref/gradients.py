"""Gradients as callers hand them in: dense arrays, rows of a dense array, or None."""

from __future__ import annotations

import operator
import sys
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.validation import ndarray, reject_type, reject_value

if TYPE_CHECKING:
    import scipy.sparse


class SparseRows:
    """A gradient with values for some rows only, such as that of an embedding.

    It stands for a dense gradient that starts as zeros. The first occurrence of a row is copied into it,
    and later occurrences of the same row are added in order of appearance.

    Parameters
    ----------
    indices : array_like of int, shape (n,)
        Positions along the first axis, in any order, duplicates allowed, 0 <= index < shape[0].
    values : ndarray, shape (n,) + shape[1:]
        One row for each index.
    shape : tuple of int
        Shape of the variable, with at least one axis.

    Raises
    ------
    TypeError
        If `indices` are not integers or `values` is not an ndarray.
    ValueError
        If an index is outside of the first axis or the shapes do not agree.

    Examples
    --------
    >>> rows = SparseRows([2, 0, 2], np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], "float32"), (4, 2))
    >>> rows.to_dense()
    array([[3., 4.],
           [0., 0.],
           [6., 8.],
           [0., 0.]], dtype=float32)
    """

    def __init__(self, indices: Any, values: Array, shape: tuple[int, ...]) -> None:
        try:
            self.shape = tuple(operator.index(length) for length in shape)
        except TypeError:
            reject_type("shape", shape, "a tuple of integers")
        if not self.shape or min(self.shape) < 0:
            reject_value("shape", shape, "at least one length, none of them negative")
        try:
            self.indices = np.asarray(indices)
        except ValueError:
            reject_type("indices", indices, "an array of integers")
        if self.indices.size == 0:
            self.indices = self.indices.astype(np.int64)
        if self.indices.dtype.kind not in "iu":
            reject_type("indices", indices, "an array of integers")
        if self.indices.ndim != 1:
            reject_value("indices", indices, "an array with one axis")
        self.values = np.asarray(ndarray("values", values))
        expected = (len(self.indices), *self.shape[1:])
        if values.shape != expected:
            reject_value("values.shape", values.shape, f"{expected}, one row for each index")
        outside = (self.indices < 0) | (self.indices >= self.shape[0])
        if outside.any():
            reject_value("indices", int(self.indices[outside][0]), f"in 0 <= index < {self.shape[0]}")

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the values."""
        return self.values.dtype

    def to_dense(self) -> Array:
        """Return the dense equivalent.

        Returns
        -------
        ndarray, of this shape and dtype
            A new array. Each sum of duplicate rows is rounded to the dtype; where it overflows it is
            infinite, and nothing is raised.

        Notes
        -----
        ``dense[i] = values[j1] + values[j2] + ...``, over the positions of i among the indices. Sources: the
        documentation of ``tf.IndexedSlices`` for the places of the rows, and the documentation of
        ``tf.math.unsorted_segment_sum``, which converts the rows, for the sum. `sgd_ref` itself fixes the
        order: from the left, without a zero to start from, so that a single row of -0.0 stays -0.0.

        Examples
        --------
        >>> SparseRows([1, 1], np.array([[-0.0, 1.0], [-0.0, 2.0]]), (2, 2)).to_dense()
        array([[ 0.,  0.],
               [-0.,  3.]])
        """
        dense = np.zeros(self.shape, self.dtype)
        written: set[int] = set()
        with np.errstate(all="ignore"):
            for index, row in zip(self.indices.tolist(), self.values, strict=True):
                dense[index] = dense[index] + row if index in written else row
                written.add(index)
        return dense

    def __repr__(self) -> str:
        return f"SparseRows(indices={self.indices!r}, values={self.values!r}, shape={self.shape!r})"


Gradient: TypeAlias = "Array | SparseRows | scipy.sparse.sparray | scipy.sparse.spmatrix | None"


def is_scipy(value: Any) -> TypeGuard[scipy.sparse.sparray | scipy.sparse.spmatrix]:
    """Whether a value is an array or a matrix of ``scipy.sparse``.

    >>> is_scipy(np.zeros((2, 2)))
    False
    """
    # Importing SciPy takes a third of the import of this package; who has such a value has imported it.
    scipy_sparse = sys.modules.get("scipy.sparse")
    return scipy_sparse is not None and bool(scipy_sparse.issparse(value))


def from_scipy(matrix: Any) -> SparseRows:
    """Convert a matrix of ``scipy.sparse``, two-dimensional, to the rows that it stores.

    The first value that is stored for an element is copied, and later values are added in order of storage,
    as for duplicate rows. A row that stores nothing is not among the indices.

    >>> import scipy.sparse
    >>> from_scipy(scipy.sparse.coo_array(([1.0, 2.0], ([1, 1], [0, 0])), shape=(3, 2))).to_dense()
    array([[0., 0.],
           [3., 0.],
           [0., 0.]])
    """
    coordinates = matrix.tocoo()
    indices, position = np.unique(coordinates.row, return_inverse=True)
    values = np.zeros((len(indices), matrix.shape[1]), coordinates.data.dtype)
    written: set[tuple[int, int]] = set()
    with np.errstate(all="ignore"):
        elements = zip(position.tolist(), coordinates.col.tolist(), coordinates.data, strict=True)
        for row, column, value in elements:
            values[row, column] = values[row, column] + value if (row, column) in written else value
            written.add((row, column))
    return SparseRows(indices, values, matrix.shape)
