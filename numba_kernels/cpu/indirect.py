"""Updates of indirect rows: variables with an array that a kernel cannot read at its address.

Such an array is copied piece by piece. If a sparse gradient changes only its own rows, the kernel updates
those rows in place.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from numba_kernels.cpu.distinct import tables_of
from numba_kernels.cpu.pieces import Piece
from numba_kernels.cpu.plan import Group
from numba_kernels.cpu.threads import Task
from numba_kernels.shared.element import ACCUMULATED, NO_MOMENTUM, Variant
from numba_kernels.shared.rows import Rows
from numba_kernels.shared.slots import (
    ACCUMULATOR,
    GRADIENT,
    LEARNING_RATE,
    LOSS_SCALE,
    STEPS,
    VARIABLE,
)
from sgd_ref.arithmetic.formats import FLOAT32, FLOAT64, Array
from sgd_ref.arithmetic.rounded import convert, promoted


def update_row(group: Group, row: int, gradient: Any, kernel: Any) -> None:
    """Update one variable, or only its accumulator, by a kernel."""
    values = group.constants.values
    if isinstance(gradient, Rows):
        gradient = gradient.in_order()
    for index in range(*group.chunks_of_row[row : row + 2]):
        _, start, count = group.chunks[index].tolist()
        piece = Piece(group, row, start, start + count, gradient)
        kernel(
            piece.table, piece.chunks, 0, 1, values, group.factors[row : row + 1], group.decays[row : row + 1]
        )
        piece.write_back()


def touches_its_rows_only(group: Group, row: int, gradient: Any, variant: Variant) -> bool:
    """Whether the gradient is sparse and the rule changes only the rows in the gradient.

    A velocity, an average, an accumulator and decay change every row. Without them, ``w - lr * 0`` is `w`,
    even if `w` is -0.0. The exceptions: ``lr * 0`` is -0.0, or it is NaN because a factor is NaN or the rate
    is infinite in the dtype.
    """
    rate = group.constants.values[LEARNING_RATE]
    return bool(
        isinstance(gradient, Rows)
        and variant.momentum == NO_MOMENTUM
        and not variant.averages
        and variant.gradient != ACCUMULATED
        and not group.decays[row]
        and not np.signbit(rate)
        and np.isfinite(rate)
        and not np.isnan(group.factors[row]).any()
    )


def update_of_touched(group: Group, row: int, gradient: Rows, kernel: Any) -> Task:
    """Return the task that updates in place the rows of a variable that are in a sparse gradient.

    For the kernel, each run of neighbouring rows is a variable of its own. Gathering the rows and copying
    them back would take 3 times as long.
    """
    table, chunks, runs, factors = tables_of(gradient, int(group.table[row, VARIABLE]), group.factors[row])
    decays = np.zeros(runs, np.bool_)
    return partial(kernel, table, chunks, 0, runs, group.constants.values, factors, decays)


def update_row_widely(
    group: Group, row: int, gradient: Any, kernel: Any, factor: np.float64, has_loss_scale: bool
) -> None:
    """Update one variable, with its gradient multiplied by a factor of float64.

    NumPy unscales, accumulates and clips the gradient, with the operations and roundings of the kernels. The
    kernel does the rest, with the clipped gradient as its input.
    """
    values = group.constants.values
    if isinstance(gradient, Rows):
        gradient = gradient.in_order()
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
