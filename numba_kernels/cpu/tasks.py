"""The work of a step on the variables of one dtype: kernels are chosen and bound to their tables once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from numba_kernels.cpu.cache import entry
from numba_kernels.cpu.indirect import (
    touches_its_rows_only,
    update_of_touched,
    update_row,
    update_row_widely,
)
from numba_kernels.cpu.plan import Group
from numba_kernels.cpu.threads import Task
from numba_kernels.shared.element import Variant


class Tasks(NamedTuple):
    """The tasks of a call: pure kernels, and Python functions, in which an interrupt may come."""

    compiled: list[Task]
    in_python: list[Task]


class Work:
    """The kernels of one group.

    Parameters
    ----------
    group : Group
        The variables.
    variant : Variant
        The variant of `update`.
    update : kernel
        Does a whole update.
    update_plainly : kernel or None
        Takes gradients that are already clipped: narrow gradients with a clipping factor in float64.
    accumulate : kernel or None
        Adds to the accumulators, if there are any.
    threads : int
        Number of threads, at least 1.

    Attributes
    ----------
    updates, accumulations : list of callable
        The tasks of a call whose gradients all lie at the addresses in the table.
    """

    def __init__(
        self,
        group: Group,
        variant: Variant,
        update: Any,
        update_plainly: Any | None,
        accumulate: Any | None,
        threads: int,
    ) -> None:
        self.group = group
        self._variant = variant
        self._update, self._update_plainly, self._accumulate = update, update_plainly, accumulate
        # The arguments stay the same from call to call, since a call writes into their arrays.
        self.updates = _bound(group, update, threads)
        self.accumulations = [] if accumulate is None else _bound(group, accumulate, threads)

    def accumulating(self, gradients: Sequence[Any]) -> Tasks:
        """Return the tasks of a call that only adds to the accumulators."""
        group, kernel = self.group, self._accumulate
        in_python: list[Task] = [
            partial(update_row, group, row, gradients[group.positions[row]], kernel)
            for row in group.indirect_rows
        ]
        return Tasks(self.accumulations, in_python)

    def updating(self, gradients: Sequence[Any]) -> Tasks:
        """Return the tasks of a call that updates."""
        group, kernel = self.group, self._update
        has_others = len(group.indirect_rows) < len(group.table)
        tasks = Tasks(list(self.updates) if has_others else [], [])
        for row in group.indirect_rows:
            gradient = gradients[group.positions[row]]
            if row not in group.scattered and touches_its_rows_only(group, row, gradient, self._variant):
                tasks.compiled.append(update_of_touched(group, row, gradient, kernel))
            else:
                tasks.in_python.append(partial(update_row, group, row, gradient, kernel))
        return tasks

    def updating_widely(self, gradients: Sequence[Any], factor: np.float64, has_loss_scale: bool) -> Tasks:
        """Return the tasks of an update whose gradients are narrower than the clipping factor, a float64."""
        group = self.group
        in_python: list[Task] = [
            partial(update_row_widely, group, row, gradient, self._update_plainly, factor, has_loss_scale)
            for row, gradient in enumerate(group.gradients(gradients))
        ]
        return Tasks([], in_python)


def _bound(group: Group, kernel: Any, threads: int) -> list[Task]:
    """Return the tasks of a kernel, one for each thread's share of the chunks."""
    values, factors, decays = group.constants.values, group.factors, group.decays
    return [
        partial(entry(kernel), group.table, group.chunks, first, last, values, factors, decays)
        for first, last in group.shares(threads)
        if first < last
    ]
