"""Sparse gradients whose rows are not merged before they are used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sgd_ref import rule
from sgd_ref.arithmetic.formats import Array
from sgd_ref.arithmetic.rounded import convert, setting
from sgd_ref.base.call import Call
from sgd_ref.gradients import Gradient, SparseRows
from sgd_ref.optimizer import SGD, Gradients, Values


class UnmergedRows(SGD):
    """The common base of deviations that keep the rows of sparse gradients beside their dense equivalents.

    Clipping and accumulation merge the rows.
    """

    rows: dict[int, SparseRows]

    def validated(self, gradients: Sequence[Gradient], variables: Sequence[Array] | None = None) -> Call:
        """Keep the rows of sparse gradients."""
        call = super().validated(gradients, variables)
        self.rows = {}
        if self.settings.gradient_accumulation_steps is None:
            for index, (gradient, dense) in enumerate(zip(gradients, call.gradients, strict=True)):
                if isinstance(gradient, SparseRows) and dense is not None:
                    values = convert(gradient.values, dense.dtype)
                    self.rows[index] = SparseRows(gradient.indices, values, gradient.shape)
        return call

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Unscale the rows, too."""
        unscaled = super().unscale(gradients, loss_scale)
        values = super().unscale(self._values(gradients), loss_scale)
        self._keep(values)
        return unscaled

    def clip(self, gradients: Gradients) -> Gradients:
        """Clip the dense gradients, and drop the rows if clipping changes anything."""
        settings = self.settings
        if settings.clips:
            self.rows = {}
        return super().clip(gradients)

    def _values(self, gradients: Gradients) -> Gradients:
        """Return the values of the rows in place of their dense equivalents."""
        return [
            self.rows[index].values.view(type(gradient)) if index in self.rows else gradient
            for index, gradient in enumerate(gradients)
        ]

    def _keep(self, values: Gradients) -> None:
        for index, rows in self.rows.items():
            self.rows[index] = SparseRows(rows.indices, np.asanyarray(values[index]), rows.shape)


class RowsClippedOneByOne(UnmergedRows):
    """Rows that occur twice in a sparse gradient are clipped one by one, and added afterwards.

    Their sum can be twice the limit, and the norm of unmerged rows is not the norm of the gradient. The
    documentation: "the gradient of each weight is clipped to be no higher than this value". Evidence:
    `_clip_gradients` in `keras/src/optimizers/base_optimizer.py` and `_clip_by_norm` in
    `keras/src/backend/tensorflow/optimizer.py`, given the `IndexedSlices` of an embedding.
    """

    def clip(self, gradients: Gradients) -> Gradients:
        """Clip the rows, and keep them."""
        rows = self.rows
        clipped = super().clip(self._values(gradients))
        self.rows = rows
        self._keep(clipped)
        return [
            self.rows[index].to_dense().view(type(values)) if index in rows else values
            for index, values in enumerate(clipped)
        ]


class RowsMergedLate(UnmergedRows):
    """Rows that occur twice in a sparse gradient are multiplied by the learning rate one by one.

    Without momentum, they are also subtracted one by one. With momentum, they are added after the
    multiplication. The definition adds them first. Evidence: `update_step` in `keras/src/optimizers/sgd.py`,
    given `IndexedSlices`, and `assign_sub` in `keras/src/backend/tensorflow/optimizer.py`, which scatters the
    rows.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Multiply the rows of sparse gradients by the learning rate before they are merged."""
        others = [None if index in self.rows else gradient for index, gradient in enumerate(gradients)]
        values = super().update(values, others, call)
        variables, velocities = list(values.variables), list(values.velocities)
        for index, rows in self.rows.items():
            w = variables[index]
            rate = setting(float(call.learning_rate), w.dtype)
            steps = SparseRows(rows.indices, np.asanyarray(rows.values * rate), rows.shape)
            if self.settings.momentum == 0:
                variables[index] = _less(w, steps)
                continue
            merged = steps.to_dense()
            momentum = setting(self.settings.momentum, w.dtype)
            velocity = velocities[index] = np.asanyarray(momentum * velocities[index] - merged)
            moved = momentum * velocity - merged if self.settings.nesterov else velocity
            variables[index] = rule.move(w, moved)
        return replace(values, variables=variables, velocities=velocities)


def _less(array: Array, rows: SparseRows) -> Array:
    """Return the array minus the rows, which are subtracted one by one."""
    result = array.copy()
    for index, row in zip(rows.indices.tolist(), rows.values, strict=True):
        result[index] = result[index] - row
    return result
