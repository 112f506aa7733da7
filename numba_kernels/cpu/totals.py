"""Totals of the sums of the chunks, for each gradient or for all gradients together.

``math.fsum`` adds a list without an error, but for 2,000 small gradients that takes 140 microseconds, as long
as the rest of the step; these kernels take 3.

Each addition is Knuth's, which also gives the rounding error of the sum, exactly (The Art of Computer
Programming 2, 4.2.2). These errors are added up, and their sum is added to the total. For n numbers of one
sign, the result is exact to (n * UNIT)**2 of the total (T. Ogita, S. M. Rump, S. Oishi, "Accurate sum and dot
product", SIAM Journal on Scientific Computing 26, 2005, proposition 4.5). A plain addition would be off by
n * UNIT, and no bound on it would hold for every model. Here n is assumed to be less than 2**25: the tables
of so many chunks would take gigabytes.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from numba_kernels.cpu.addresses import enter_default_mode, leave_default_mode
from numba_kernels.cpu.cache import kernel
from numba_kernels.cpu.sums import HIGH, LOW, UNIT
from numba_kernels.shared.exact_sums import sum_and_error
from numba_kernels.shared.inlining import inlined
from sgd_ref.arithmetic.formats import Array

ERROR_OF_TOTAL = 2 * UNIT
"""The relative error: one unit for the rounding of the total, and less than half a unit for the rounding
errors in the sum of the error terms.

``ERROR_OF_PLAIN_SUM`` has room for it: of its 296 units, 255 are for a block, 15 for a group of blocks and 15
for a chunk."""

ERROR_OF_WIDE_TOTAL = 4 * UNIT * 2.0**-24
"""The relative error. The second number of a total is the sum of the error terms and of the low parts of the
chunks. It is less than 2**-23 of the first number. Rounding it once costs two of these units, and the
rounding errors of its own error terms cost less than two.

``ERROR_OF_COMPENSATED_SUM`` has room for it, since its factors of two are spare."""

SIGNATURE = "void(float64[:, ::1], int64[::1], float64[:, ::1])"
"""The results of the chunks, the bounds and the totals."""


def totals(results: Array, bounds: Array) -> Array:
    """Return the sums of plain sums of chunks.

    Parameters
    ----------
    results : ndarray of float64, shape (m, 3)
        As the kernel of sums leaves it.
    bounds : ndarray of int64, shape (n + 1,)
        The first chunk of each total, and the end of the last total.

    Returns
    -------
    ndarray of float64, shape (n, 1)
        The totals, NaN or infinite if an element is.
    """
    added = np.empty((len(bounds) - 1, 1))
    totals_kernel()(results, bounds, added)
    return added


def wide_totals(results: Array, bounds: Array) -> Array:
    """Return the sums of compensated sums of chunks, as `totals` does.

    Returns
    -------
    ndarray of float64, shape (n, 2)
        Each total as the sum of two numbers, where the first is the rounded total; NaN if an element was not
        finite.
    """
    added = np.empty((len(bounds) - 1, 2))
    wide_totals_kernel()(results, bounds, added)
    return added


@inlined
def total_of(results: Any, first: int, last: int) -> Any:
    """Return the sum of the plain sums of some chunks."""
    total, low = 0.0, 0.0
    for index in range(first, last):
        total, lost = sum_and_error(total, results[index, HIGH])
        low += lost
    # The error term of an infinity is NaN.
    return total + low if math.isfinite(total) else total


@functools.cache
def totals_kernel() -> Any:
    """Return the kernel of `totals`."""

    @kernel("totals", SIGNATURE)
    def add(results: Any, bounds: Any, sums: Any) -> None:
        mode = enter_default_mode()
        for row in range(sums.shape[0]):
            sums[row, 0] = total_of(results, bounds[row], bounds[row + 1])
        leave_default_mode(mode)

    return add


@functools.cache
def wide_totals_kernel() -> Any:
    """Return the kernel of `wide_totals`."""

    @kernel("wide_totals", SIGNATURE)
    def add(results: Any, bounds: Any, sums: Any) -> None:
        mode = enter_default_mode()
        for row in range(sums.shape[0]):
            total, low, lowest = 0.0, 0.0, 0.0
            for index in range(bounds[row], bounds[row + 1]):
                total, lost = sum_and_error(total, results[index, HIGH])
                low, lost_of_low = sum_and_error(low, lost)
                low, lost = sum_and_error(low, results[index, LOW])
                lowest += lost_of_low + lost
            sums[row, 0], sums[row, 1] = sum_and_error(total, low + lowest)
        leave_default_mode(mode)

    return add
