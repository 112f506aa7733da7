"""Updates of what kernels cannot read where it is: pieces by pieces, and rows of sparse gradients alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_kernels.elementwise import (
    ACCUMULATOR,
    COLUMNS,
    GRADIENT,
    LEARNING_RATE,
    LOSS_SCALE,
    STEPS,
    VARIABLE,
)
from numba_kernels.pieces import Piece
from numba_kernels.plan import Group, chunks_of
from numba_kernels.rows import Rows
from numba_kernels.update import ACCUMULATED, NO_MOMENTUM, Variant
from sgd_ref.arithmetic.rounded import FLOAT32, FLOAT64, Array, convert, promoted


def update_row(group: Group, row: int, gradient: Any, kernel: Any, variant: Variant | None) -> None:
    """Update one variable by a kernel; without a variant, it is one that adds to the accumulator."""
    values = group.constants.values
    if variant is not None and isinstance(gradient, Rows) and touches_its_rows_only(group, row, variant):
        _update_touched(group, row, gradient, kernel)
        return
    for index in range(*group.chunks_of_row[row : row + 2]):
        _, start, count = group.chunks[index].tolist()
        piece = Piece(group, row, start, start + count, gradient)
        kernel(
            piece.table, piece.chunks, 0, 1, values, group.factors[row : row + 1], group.decays[row : row + 1]
        )
        piece.write_back()


def touches_its_rows_only(group: Group, row: int, variant: Variant) -> bool:
    """Whether the rule leaves the rows that a sparse gradient does not have as they are.

    A velocity, an average, an accumulator and decay change every row. Without them ``w - lr * 0`` is `w`,
    also where that is -0.0, unless the zero that is subtracted is negative, or is NaN because a factor is.
    """
    rate = group.constants.values[LEARNING_RATE]
    return bool(
        variant.momentum == NO_MOMENTUM
        and not variant.averages
        and variant.gradient != ACCUMULATED
        and not group.decays[row]
        and not np.signbit(rate)
        and not np.isnan(group.factors[row]).any()
    )


def _update_touched(group: Group, row: int, gradient: Rows, kernel: Any) -> None:
    variable = group.arrays[row][VARIABLE]
    touched = np.ascontiguousarray(variable[gradient.indices])
    table = np.zeros((1, COLUMNS), np.int64)
    table[0, VARIABLE], table[0, GRADIENT] = touched.ctypes.data, gradient.values.ctypes.data
    chunks = chunks_of([touched.size])
    one = slice(row, row + 1)
    kernel(table, chunks, 0, len(chunks), group.constants.values, group.factors[one], group.decays[one])
    variable[gradient.indices] = touched


def update_row_widely(
    group: Group, row: int, gradient: Any, kernel: Any, factor: np.float64, has_loss_scale: bool
) -> None:
    """Update one variable whose gradient is multiplied with a factor of float64.

    NumPy makes of the gradient what is clipped, in the same operations and roundings as the kernels; the
    kernel, for a gradient that is used as it comes, does the rest.
    """
    values = group.constants.values
    for index in range(*group.chunks_of_row[row : row + 2]):
        _, start, count = group.chunks[index].tolist()
        piece = Piece(group, row, start, start + count, gradient)
        if gradient is not None:
            piece.arrays[GRADIENT] = _clipped(piece, values, factor, has_loss_scale, group.dtype)
        if ACCUMULATOR in piece.arrays:
            piece.arrays[ACCUMULATOR][...] = 0
        kernel(piece.table, piece.chunks, 0, 1, values, np.ones((1, 2)), group.decays[row : row + 1])
        piece.write_back()


def _clipped(
    piece: Piece, values: Array, factor: np.float64, has_loss_scale: bool, dtype: np.dtype[Any]
) -> Array:
    g = piece.arrays[GRADIENT]
    with np.errstate(all="ignore"):
        if has_loss_scale:
            wide = promoted([dtype, FLOAT32])
            g = convert(convert(g, wide) / wide.type(values[LOSS_SCALE]), dtype)
        if ACCUMULATOR in piece.arrays:
            g = (g + piece.arrays[ACCUMULATOR]) / dtype.type(values[STEPS])
        return np.ascontiguousarray(convert(convert(g, FLOAT64) * factor, dtype))
