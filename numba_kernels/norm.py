"""The correctly rounded norms of gradients, from the sums that the kernels return."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from numba_kernels import rounding
from numba_kernels.elementwise import COLUMNS, GRADIENT
from numba_kernels.pieces import Piece
from numba_kernels.plan import Group, chunks_of
from numba_kernels.rows import Rows
from numba_kernels.sums import FINITENESS, HIGH, LIMBS, LOW, exact_kernel, sum_kernel
from numba_kernels.threads import Task, run_uninterrupted
from numba_kernels.update import ACCUMULATED
from sgd_ref.arithmetic.rounded import FLOAT64, Array

Range = tuple[int, int]


class Measurement:
    """The sums of squares of the gradients of one group, and whether the gradients are finite.

    Parameters
    ----------
    group : Group
        With the addresses of the gradients.
    gradients : sequence
        Those of the call, one for each variable of the optimizer.
    gradient : int
        What happens to a gradient before it is clipped: PLAIN, DIVIDED or ACCUMULATED.
    compensated : bool
        Whether a norm in float64 is asked for.
    threads : int
        Number of threads, at least 1.
    """

    def __init__(
        self, group: Group, gradients: Sequence[Any], gradient: int, compensated: bool, threads: int
    ) -> None:
        self.group = group
        self._gradients = gradients
        self._gradient = gradient
        self._results = np.empty((len(group.chunks), 3))
        kernel = sum_kernel(group.dtype, gradient, compensated)
        settings = group.constants.values
        tasks: list[Task] = [
            partial(kernel, group.table, group.chunks, first, last, settings, self._results)
            for first, last in group.shares(threads)
        ]
        if len(tasks) == 1:
            tasks[0]()
        else:
            run_uninterrupted(tasks, threads)
        self._results_elsewhere = {row: self._measured(row, kernel) for row in group.elsewhere}

    @property
    def finite(self) -> bool:
        """Whether no gradient has an infinity or NaN, as it came."""
        results = [self._results, *self._results_elsewhere.values()]
        return all(bool((result[:, FINITENESS] == 0).all()) for result in results)

    def norms(self) -> Array:
        """Return the norm of each gradient, rounded to the dtype of the group, as float64."""
        if self.group.dtype == FLOAT64:
            return np.array([norm([self], FLOAT64, row) for row in range(len(self.group.positions))])
        norms, undecided = rounding.decided_norms(self._sums_of_rows(), self.group.dtype)
        for row in np.flatnonzero(undecided):
            norms[row] = rounding.exact_norm(self.exact_sum(int(row)), self.group.dtype)
        return norms

    def _sums_of_rows(self) -> Array:
        highs = self._results[:, HIGH]
        bounds = self.group.chunks_of_row
        if len(highs) == len(bounds) - 1 and (np.diff(bounds) == 1).all():
            sums = highs.copy()
        else:
            sums = np.array([math.fsum(highs[a:b]) for a, b in pairwise(bounds)])
        for row, results in self._results_elsewhere.items():
            sums[row] = math.fsum(results[:, HIGH])
        return sums

    def parts(self, row: int | None = None) -> list[float]:
        """Return the sums of all chunks, or of those of one row: numbers to be added."""
        results = [self._results[slice(*self._range(row))]]
        results += [kept for place, kept in self._results_elsewhere.items() if row in (None, place)]
        return [part for result in results for part in result[:, : LOW + 1].ravel().tolist()]

    def exact_sum(self, row: int | None = None) -> Array:
        """Return the exact sum of the squares of all gradients, or of one, as the exact kernel does."""
        group = self.group
        limbs = np.zeros(LIMBS + 2, np.int64)
        kernel = exact_kernel(group.dtype, self._gradient)
        kernel(group.table, group.chunks, *self._range(row), group.constants.values, limbs)
        for place in group.elsewhere:
            if row in (None, place):
                for table, chunks in self._tables(place):
                    kernel(table, chunks, 0, len(chunks), group.constants.values, limbs)
        return limbs

    def _measured(self, row: int, kernel: Any) -> Array:
        results = []
        for table, chunks in self._tables(row):
            results.append(np.empty((len(chunks), 3)))
            kernel(table, chunks, 0, len(chunks), self.group.constants.values, results[-1])
        return np.concatenate(results) if results else np.zeros((0, 3))

    def _tables(self, row: int) -> Iterator[tuple[Array, Array]]:
        """Give the tables and chunks of a gradient that is not in one piece of memory."""
        gradient = self._gradients[self.group.positions[row]]
        if gradient is None:
            return
        if isinstance(gradient, Rows) and self._gradient != ACCUMULATED:
            # Zeros add nothing, and only an accumulator could make something else of them.
            table = np.zeros((1, COLUMNS), np.int64)
            table[0, GRADIENT] = gradient.values.ctypes.data
            yield table, chunks_of([gradient.values.size])
            return
        for index in range(*self._range(row)):
            _, start, count = self.group.chunks[index].tolist()
            piece = Piece(self.group, row, start, start + count, gradient)
            yield piece.table, piece.chunks

    def _range(self, row: int | None) -> Range:
        """Return the first chunk, and the first one after the last, of a row or of all rows."""
        bounds = self.group.chunks_of_row
        return (0, int(bounds[-1])) if row is None else (int(bounds[row]), int(bounds[row + 1]))


def norm(measurements: Sequence[Measurement], dtype: np.dtype[Any], row: int | None = None) -> float:
    """Return the norm of all gradients of some groups, or of one gradient of one, rounded to `dtype`."""
    parts = [part for measurement in measurements for part in measurement.parts(row)]
    if dtype == FLOAT64:
        try:
            high = math.fsum(parts)
            decided = rounding.decided_norm(high, math.fsum([*parts, -high]))
        # Squares may overflow, alone or together, though the norm does not.
        except (OverflowError, ValueError):
            decided = None
        if decided is not None:
            return decided
    else:
        decided = rounding.decided_narrow_norm(math.fsum(parts), dtype)
        if decided is not None:
            return decided
    limbs = np.zeros(LIMBS + 2, np.int64)
    for measurement in measurements:
        limbs += measurement.exact_sum(row)
    return rounding.exact_norm(limbs, dtype)
