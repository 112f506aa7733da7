"""Rows that occur more than once in a sparse gradient, added in other orders."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT64, Array
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.base.call import Call
from sgd_ref.conformance.faithful.norms import added_in_pairs
from sgd_ref.gradients import Gradient, SparseRows
from sgd_ref.optimizer import SGD


class RowsAdded(SGD):
    """Forms the dense equivalents of sparse gradients itself."""

    def validated(self, gradients: Sequence[Gradient], variables: Sequence[Array] | None = None) -> Call:
        """Add rows in another way."""
        call = super().validated(gradients, variables)
        with np.errstate(all="ignore"):
            dense = [
                self._dense(gradient, w.dtype) if isinstance(gradient, SparseRows) else given
                for gradient, given, w in zip(gradients, call.gradients, call.state.variables, strict=True)
            ]
        return call._replace(gradients=dense)

    def _dense(self, gradient: SparseRows, dtype: np.dtype[np.generic]) -> Array:
        dense = np.zeros(gradient.shape, dtype)
        values = convert(gradient.values, dtype)
        for index in np.unique(gradient.indices):
            rows = values[gradient.indices == index]
            dense[index] = rows[0] if len(rows) == 1 else self.added(rows)
        return dense

    @abstractmethod
    def added(self, rows: Array) -> Array:
        """Return the sum of rows, stacked along the first axis, that have one index."""


class RowsAddedBackwards(RowsAdded):
    """``((rn + ...) + r2) + r1`` for the rows of one index: from the last one on, every sum rounded.

    A scatter by atomic additions, as on a GPU, has no order at all.
    """

    def added(self, rows: Array) -> Array:
        """Add from the last row on."""
        total = rows[-1]
        for row in rows[-2::-1]:
            total = total + row
        return np.asarray(total)


class RowsAddedInDouble(RowsAdded):
    """The rows of one index are added in float64 and rounded once; float64 rows in pairs."""

    def added(self, rows: Array) -> Array:
        """Add in float64."""
        wide = convert(rows, FLOAT64)
        return convert(np.asarray(added_in_pairs(wide)), rows.dtype)
