"""Rows with the same index in a sparse gradient, added in other orders."""

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
    """The common base of variants that compute the dense equivalents of sparse gradients in another way."""

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
        """Return the sum of rows with the same index, which are stacked along the first axis."""


class RowsAddedBackwards(RowsAdded):
    """``((rn + ...) + r2) + r1`` for the rows of one index: added from the last one, with every sum rounded.

    This represents a scatter by atomic additions on a GPU, whose order is arbitrary.
    """

    def added(self, rows: Array) -> Array:
        """Add from the last row on."""
        total = rows[-1]
        for row in rows[-2::-1]:
            total = total + row
        return np.asarray(total)


class RowsAddedInDouble(RowsAdded):
    """The rows of one index are added in float64 and rounded once; rows of float64 are added in pairs."""

    def added(self, rows: Array) -> Array:
        """Add in float64."""
        wide = convert(rows, FLOAT64)
        return convert(np.asarray(added_in_pairs(wide)), rows.dtype)
