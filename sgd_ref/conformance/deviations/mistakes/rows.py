"""Mistakes about sparse gradients: rows with one index, rows in the wrong place, and absent rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.arithmetic.rounded import convert, setting
from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.mistakes.mistake import mistake
from sgd_ref.gradients import Gradient, SparseRows
from sgd_ref.optimizer import SGD, Gradients, Values


class OtherDense(SGD):
    """The common base of mistakes in the dense equivalent of a sparse gradient."""

    def validated(self, gradients: Sequence[Gradient], variables: Sequence[Array] | None = None) -> Call:
        """Make sparse gradients dense by ``dense``."""
        call = super().validated(gradients, variables)
        others = list(call.gradients)
        with np.errstate(all="ignore"):
            for index, (gradient, dense) in enumerate(zip(gradients, call.gradients, strict=True)):
                if isinstance(gradient, SparseRows) and dense is not None:
                    values = convert(gradient.values, dense.dtype)
                    others[index] = self.dense(SparseRows(gradient.indices, values, gradient.shape))
        return call._replace(gradients=others)

    def dense(self, rows: SparseRows) -> Array:
        """Return the dense equivalent."""
        return rows.to_dense()


class LastDuplicateWins(OtherDense):
    """Of rows that occur twice the last one is kept.

    The definition adds them. Evidence: optimizers that need unique rows,
    https://github.com/tensorflow/tensorflow/issues/28090.
    """

    def dense(self, rows: SparseRows) -> Array:
        """Store the rows one by one, so that the last one remains."""
        dense = np.zeros(rows.shape, rows.dtype)
        for index, row in zip(rows.indices.tolist(), rows.values, strict=True):
            dense[index] = row
        return dense


class FirstDuplicateWins(OtherDense):
    """Of rows that occur twice the first one is kept.

    The definition adds them. Evidence: no report is known.
    """

    def dense(self, rows: SparseRows) -> Array:
        """Store the rows one by one in reverse order, so that the first one remains."""
        dense = np.zeros(rows.shape, rows.dtype)
        for index, row in reversed(list(zip(rows.indices.tolist(), rows.values, strict=True))):
            dense[index] = row
        return dense


class DuplicatesAveraged(OtherDense):
    """Rows that occur twice are averaged.

    The definition adds them. Evidence: no report is known.
    """

    def dense(self, rows: SparseRows) -> Array:
        """Divide by the number of occurrences."""
        dense = rows.to_dense()
        for index, count in zip(*np.unique(rows.indices, return_counts=True), strict=True):
            dense[index] = dense[index] / setting(float(count), rows.dtype)
        return dense


class IndicesSortedAlone(OtherDense):
    """Indices are sorted, and the rows are not sorted with them.

    The definition keeps each row with its index. Evidence: no report is known.
    """

    def dense(self, rows: SparseRows) -> Array:
        """Sort the indices."""
        return SparseRows(np.sort(rows.indices), rows.values, rows.shape).to_dense()


class LastRowLost(OtherDense):
    """The last row of a sparse gradient is left out.

    Evidence: no report is known.
    """

    def dense(self, rows: SparseRows) -> Array:
        """Take all but the last row."""
        return SparseRows(rows.indices[:-1], rows.values[:-1], rows.shape).to_dense()


class SparseAware(SGD):
    """The common base of mistakes that depend on which gradients of a call are sparse."""

    _given: Sequence[Gradient] = ()

    def validated(self, gradients: Sequence[Gradient], variables: Sequence[Array] | None = None) -> Call:
        """Keep the gradients as they were given."""
        self._given = gradients
        return super().validated(gradients, variables)

    def only_given_rows(self, before: Sequence[Array], after: Sequence[Array]) -> list[Array]:
        """Return the arrays after a stage; for sparse gradients, only the given rows differ from before."""
        kept = list(after)
        for index, (gradient, old) in enumerate(zip(self._given, before, strict=False)):
            if isinstance(gradient, SparseRows):
                kept[index] = np.array(old)
                kept[index][gradient.indices] = after[index][gradient.indices]
        return kept


class LazyMomentum(SparseAware):
    """Rows that a sparse gradient does not have neither move by their velocity nor lose any of it.

    The definition takes a sparse gradient for its dense equivalent. Evidence:
    https://github.com/apache/mxnet/issues/9177.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update the given rows."""
        updated = super().update(values, gradients, call)
        return replace(
            updated,
            variables=self.only_given_rows(values.variables, updated.variables),
            velocities=self.only_given_rows(values.velocities, updated.velocities),
        )


class LazyDecay(SparseAware):
    """Rows that a sparse gradient does not have are not decayed.

    The definition takes a sparse gradient for its dense equivalent. Evidence: found in a review,
    https://github.com/ooples/AiDotNet/pull/1526.
    """

    def decay(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Decay the given rows."""
        decayed = super().decay(values, gradients, call)
        return replace(decayed, variables=self.only_given_rows(values.variables, decayed.variables))


class LazyAverages(SparseAware):
    """Rows that a sparse gradient does not have are not averaged.

    The documentation averages the weights of the model. Evidence: no report is known.
    """

    def average(self, values: Values, call: Call) -> Values:
        """Average the given rows."""
        averaged = super().average(values, call)
        if self.updates_before(call) == 0:
            return averaged
        return replace(averaged, averages=self.only_given_rows(values.averages, averaged.averages))


class RepeatedRowsMoveAgain(SparseAware):
    """With momentum, rows that occur more than once go through the update once more, with a gradient of 0.

    The definition adds them, and has one update. Evidence: rows applied one after another,
    https://github.com/ooples/AiDotNet/pull/1526.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update the rows that occur more than once again."""
        updated = super().update(values, gradients, call)
        if self.settings.momentum == 0:
            return updated
        variables, velocities = list(updated.variables), list(updated.velocities)
        for index, given in enumerate(self._given):
            if not isinstance(given, SparseRows):
                continue
            repeated, counts = np.unique(given.indices, return_counts=True)
            again = repeated[counts > 1]
            zeros: Gradients = [None] * len(gradients)
            zeros[index] = np.zeros_like(variables[index])
            once_more = super().update(updated, zeros, call)
            variables[index], velocities[index] = np.array(variables[index]), np.array(velocities[index])
            variables[index][again] = once_more.variables[index][again]
            velocities[index][again] = once_more.velocities[index][again]
        return replace(updated, variables=variables, velocities=velocities)


ROWS = (
    mistake("last-duplicate-wins", LastDuplicateWins),
    mistake("first-duplicate-wins", FirstDuplicateWins),
    mistake("duplicates-averaged", DuplicatesAveraged),
    mistake("indices-sorted-alone", IndicesSortedAlone),
    mistake("last-row-lost", LastRowLost),
    mistake("lazy-momentum", LazyMomentum),
    mistake("lazy-decay", LazyDecay),
    mistake("lazy-averages", LazyAverages),
    mistake("repeated-rows-move-again", RepeatedRowsMoveAgain),
)
