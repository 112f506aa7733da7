"""Mistakes about matrices with many rows, which are blocks of a launch, or many columns, its threads."""

from __future__ import annotations

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.conformance.deviations.mistakes.elements import ElementsSkipped
from sgd_ref.conformance.deviations.mistakes.mistake import mistake

ROWS = 65535
"""The number of blocks of a launch along the second and third axis of its grid."""

COLUMNS = 1024
"""The largest number of threads of a block."""


class RowsPastGridSkipped(ElementsSkipped):
    """Rows of a matrix past the first 65,535 are not updated.

    Evidence: no report is known.
    """

    def skipped(self, position: Array, w: Array) -> Array:
        """Skip the rows for which there is no block."""
        return (
            np.asarray(position >= ROWS * w.shape[-1]) if w.ndim == 2 and w.size else np.zeros(w.size, bool)
        )


class ColumnsPastBlockSkipped(ElementsSkipped):
    """Columns of a matrix past the first 1,024 are not updated.

    Evidence: no report is known.
    """

    def skipped(self, position: Array, w: Array) -> Array:
        """Skip the columns for which there is no thread."""
        return (
            np.asarray(position % w.shape[-1] >= COLUMNS)
            if w.ndim == 2 and w.size
            else np.zeros(w.size, bool)
        )


LONG_AXES = (
    mistake("rows-past-a-grid-skipped", RowsPastGridSkipped),
    mistake("columns-past-a-block-skipped", ColumnsPastBlockSkipped),
)
