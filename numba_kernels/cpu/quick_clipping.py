"""The clipping of ordinary calls, with two calls of kernels and no work in NumPy.

The general way takes 6.4 microseconds for one small variable, of which the sums take less than 1; this takes
1. It is for the variables of one dtype narrower than float64. If a norm has to be computed exactly, nothing
is gained, and the general way does all again.
"""

from __future__ import annotations

import functools
from functools import partial
from typing import Any

import numpy as np

from numba_kernels.cpu.addresses import enter_default_mode, leave_default_mode
from numba_kernels.cpu.cache import entry, kernel
from numba_kernels.cpu.factors import factor_function
from numba_kernels.cpu.plan import Group
from numba_kernels.cpu.rounding import UNDECIDED, decided, error_of_square
from numba_kernels.cpu.sums import sum_kernel
from numba_kernels.cpu.threads import Task, run_uninterrupted
from numba_kernels.cpu.totals import total_of
from sgd_ref.arithmetic.formats import FORMATS
from sgd_ref.arithmetic.rounded import setting
from sgd_ref.base.settings import Settings


class QuickClipping:
    """The clipping by norms of the gradients of one group, all of which lie in one piece of memory.

    Parameters
    ----------
    group : Group
        All variables of the optimizer.
    settings : Settings
        One of ``clipnorm`` and ``global_clipnorm`` is set.
    has_loss_scale : bool
        Whether gradients are divided by a scale.
    threads : int
        Number of threads, at least 1.
    """

    def __init__(self, group: Group, settings: Settings, has_loss_scale: bool, threads: int) -> None:
        dtype, results = group.dtype, np.empty((len(group.chunks), 3))
        add = entry(sum_kernel(dtype, group.constants.gradient(has_loss_scale), False))
        self._sums: list[Task] = [
            partial(add, group.table, group.chunks, first, last, group.constants.values, results)
            for first, last in group.shares(threads)
        ]
        self._threads = threads
        known = error_of_square(), *FORMATS[dtype], group.factors
        if settings.global_clipnorm is None:
            self._clip = partial(entry(own_norms_kernel()), results, group.chunks_of_row, *known)
            return
        clipnorm = settings.global_clipnorm
        limits = float(setting(clipnorm, dtype)), float(setting(1 / clipnorm, dtype))
        self._clip = partial(entry(common_norm_kernel(dtype)), results, *limits, *known)

    def clip(self) -> bool:
        """Write the factors or divisors of a call; the result is false if a norm is not decided."""
        if len(self._sums) == 1:
            self._sums[0]()
        else:
            run_uninterrupted(self._sums, self._threads)
        return bool(self._clip())


@functools.cache
def common_norm_kernel(dtype: np.dtype[Any]) -> Any:
    """Return the kernel that writes the factor of all gradients of a dtype, from the sums of all chunks."""
    factor_of = factor_function(dtype)
    signature = "boolean(float64[:, ::1], float64, float64, float64, int64, int64, float64[:, ::1])"

    @kernel(f"clip_by_common_norm_{dtype.name}", signature)
    def clip(
        results: Any,
        clipnorm: float,
        reciprocal: float,
        error: float,
        precision: int,
        lowest: int,
        factors: Any,
    ) -> Any:
        mode = enter_default_mode()
        norm = decided(total_of(results, 0, results.shape[0]), error, precision, lowest)
        factor = factor_of(clipnorm, reciprocal, norm)
        leave_default_mode(mode)
        if norm == UNDECIDED:
            return False
        for row in range(factors.shape[0]):
            factors[row, 0] = factor
        return True

    return clip


@functools.cache
def own_norms_kernel() -> Any:
    """Return the kernel that writes the divisor of each gradient, from the sums of its chunks."""
    signature = "boolean(float64[:, ::1], int64[::1], float64, int64, int64, float64[:, ::1])"

    @kernel("clip_by_own_norms", signature)
    def clip(results: Any, bounds: Any, error: float, precision: int, lowest: int, factors: Any) -> Any:
        mode = enter_default_mode()
        is_decided = True
        for row in range(factors.shape[0]):
            total = total_of(results, bounds[row], bounds[row + 1])
            norm, limit = decided(total, error, precision, lowest), factors[row, 0]
            is_decided &= norm != UNDECIDED
            # For a NaN norm, the comparison is false.
            factors[row, 1] = limit if norm <= limit else norm
        leave_default_mode(mode)
        return is_decided

    return clip
