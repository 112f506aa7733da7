"""The correctly rounded norms of gradients, from the sums that the kernels return."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from numba_kernels.cpu import rounding
from numba_kernels.cpu.pieces import Piece
from numba_kernels.cpu.plan import Group, chunks_of
from numba_kernels.cpu.sums import FINITENESS, exact_kernel, sum_kernel
from numba_kernels.cpu.threads import Task, run_uninterrupted
from numba_kernels.cpu.totals import totals, totals_kernel, wide_totals, wide_totals_kernel
from numba_kernels.shared.element import ACCUMULATED
from numba_kernels.shared.exact_sums import LIMBS
from numba_kernels.shared.rows import Rows
from numba_kernels.shared.slots import COLUMNS, GRADIENT
from sgd_ref.arithmetic.formats import FLOAT64, Array

Range = tuple[int, int]


class Measurement:
    """The sums of squares of the gradients of one group, and whether the gradients are finite.

    Parameters
    ----------
    group : Group
        The group, with the addresses of the gradients.
    gradients : sequence
        The gradients of the call, one for each variable of the optimizer.
    gradient : int
        The transformation of a gradient before clipping: PLAIN, DIVIDED or ACCUMULATED.
    compensated : bool
        Whether a norm in float64 is needed.
    threads : int
        Number of threads, at least 1.

    Attributes
    ----------
    results : ndarray of float64, shape (m, 3)
        The results for each chunk, from the kernel of sums.
    """

    def __init__(
        self, group: Group, gradients: Sequence[Any], gradient: int, compensated: bool, threads: int
    ) -> None:
        self.group = group
        self._gradients = gradients
        self._gradient = gradient
        self.results = np.empty((len(group.chunks), 3))
        kernel = sum_kernel(group.dtype, gradient, compensated)
        settings = group.constants.values
        tasks: list[Task] = [
            partial(kernel, group.table, group.chunks, first, last, settings, self.results)
            for first, last in group.shares(threads)
        ]
        if len(tasks) == 1:
            tasks[0]()
        else:
            run_uninterrupted(tasks, threads)
        for row in group.indirect_rows:
            self._measure(row, kernel)

    @property
    def finite(self) -> bool:
        """Whether no gradient, as it was given, has an infinity or NaN."""
        return bool((self.results[:, FINITENESS] == 0).all())

    def norms(self) -> Array:
        """Return the norm of each gradient, rounded to the dtype of the group, as float64."""
        dtype, bounds = self.group.dtype, self.group.chunks_of_row
        if dtype == FLOAT64:
            decided = [rounding.decided_norm(*total) for total in wide_totals(self.results, bounds).tolist()]
            undecided = np.array([norm is None for norm in decided])
            norms = np.array([norm or 0.0 for norm in decided])
        else:
            norms, undecided = rounding.decided_norms(totals(self.results, bounds)[:, 0], dtype)
        for row in np.flatnonzero(undecided):
            norms[row] = rounding.exact_norm(self.exact_sum(int(row)), dtype)
        return norms

    def exact_sum(self, row: int | None = None) -> Array:
        """Return the exact sum of the squares of all gradients, or of one, as the exact kernel gives it."""
        group = self.group
        limbs = np.zeros(LIMBS + 2, np.int64)
        kernel = exact_kernel(group.dtype, self._gradient)
        kernel(group.table, group.chunks, *self._range(row), group.constants.values, limbs)
        for place in group.indirect_rows:
            if row in (None, place):
                for table, chunks in self._tables(place):
                    kernel(table, chunks, 0, len(chunks), group.constants.values, limbs)
        return limbs

    def _measure(self, row: int, kernel: Any) -> None:
        """Measure a gradient that is not in one piece of memory, whose results are zeros so far."""
        first = int(self.group.chunks_of_row[row])
        for table, chunks in self._tables(row):
            kernel(table, chunks, 0, len(chunks), self.group.constants.values, self.results[first:])
            first += len(chunks)

    def _tables(self, row: int) -> Iterator[tuple[Array, Array]]:
        """Yield the tables and chunks of a gradient that is not in one piece of memory."""
        gradient = self._gradients[self.group.positions[row]]
        if gradient is None:
            return
        if isinstance(gradient, Rows) and self._gradient != ACCUMULATED:
            # Zeros add nothing to the sum, and only an accumulator could change them.
            table = np.zeros((1, COLUMNS), np.int64)
            table[0, GRADIENT] = gradient.values.ctypes.data
            yield table, chunks_of([gradient.values.size])
            return
        for index in range(*self._range(row)):
            _, start, count = self.group.chunks[index].tolist()
            piece = Piece(self.group, row, start, start + count, gradient)
            yield piece.table, piece.chunks

    def _range(self, row: int | None) -> Range:
        """Return the range of the chunks of a row, or of all rows."""
        bounds = self.group.chunks_of_row
        return (0, int(bounds[-1])) if row is None else (int(bounds[row]), int(bounds[row + 1]))


def compile_norms(dtypes: Sequence[np.dtype[Any]], of_each: bool) -> None:
    """Compile the kernels that norms in some dtypes need, besides sums, so that no later call has to wait.

    Parameters
    ----------
    dtypes : sequence of dtype
        The dtypes that norms may be rounded to.
    of_each : bool
        Whether each gradient has a norm of its own; otherwise all gradients have a common norm.
    """
    if FLOAT64 in dtypes:
        wide_totals_kernel()
        rounding.wide_decision()
    if any(dtype != FLOAT64 for dtype in dtypes):
        totals_kernel()
        if of_each:
            rounding.narrow_decisions()
        else:
            rounding.narrow_decision()


def norm(measurements: Sequence[Measurement], dtype: np.dtype[Any]) -> float:
    """Return the norm of all gradients of some groups, rounded to `dtype`."""
    results = [measurement.results for measurement in measurements]
    all_results = results[0] if len(results) == 1 else np.concatenate(results)
    bounds = np.array([0, len(all_results)], np.int64)
    if dtype == FLOAT64:
        decided = rounding.decided_norm(*wide_totals(all_results, bounds)[0].tolist())
    else:
        decided = rounding.decided_narrow_norm(float(totals(all_results, bounds)[0, 0]), dtype)
    if decided is not None:
        return decided
    limbs = np.zeros(LIMBS + 2, np.int64)
    for measurement in measurements:
        limbs += measurement.exact_sum()
    return rounding.exact_norm(limbs, dtype)
