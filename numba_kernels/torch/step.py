"""One call: the numbers of each group are written, norms are taken, and all kernels run as one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from numba_kernels.cpu.clipping import clip_all, clip_each
from numba_kernels.cpu.norm import Measurement
from numba_kernels.cpu.plan import Group
from numba_kernels.cpu.tasks import Work
from numba_kernels.cpu.threads import Task, run_as_one, run_uninterrupted
from numba_kernels.torch.options import Options
from numba_kernels.torch.plan import GroupPlan, Plan
from sgd_ref.arithmetic.formats import FLOAT64
from sgd_ref.arithmetic.rounded import promoted


class Step:
    """A call of all groups, once everything in it is checked.

    Parameters
    ----------
    plan : Plan
        With the addresses of the gradients.
    gradients : list of list
        Those of each group that has parameters.
    options : list of Options
        Of the same groups.
    scale : float32 or None
        By which the gradients are divided.
    threads : int
        At least 1.
    """

    def __init__(
        self,
        plan: Plan,
        gradients: list[list[Any]],
        options: list[Options],
        scale: np.float32 | None,
        threads: int,
    ) -> None:
        self._plan, self._gradients, self._options = plan, gradients, options
        self._scale, self._threads = scale, threads
        # All groups share what follows.
        settings = options[0].settings
        self._settings = settings
        self._steps = settings.gradient_accumulation_steps

    def run(self, param_groups: Sequence[dict[str, Any]]) -> None:
        """Make the call, and count it where no interrupt can come between."""
        plan, settings = self._plan, self._settings
        counting = self._counting(param_groups)
        accumulates = self._steps is not None and (param_groups[0]["calls"] + 1) % self._steps != 0
        works: list[list[Work]] = []
        for group_plan, options, index in zip(plan.groups, self._options, plan.indices, strict=True):
            group_plan.use(options.settings)
            works.append(group_plan.works(self._scale is not None, plan.dtypes_of_norm, self._threads))
            self._set_call(group_plan, options, param_groups[index]["calls"])
        wide_factor = None
        if not accumulates and settings.clips_by_norm:
            wide_factor = self._clip()
        compiled: list[Task] = []
        in_python: list[Task] = []
        for of_group, gradients in zip(works, self._gradients, strict=True):
            for work in of_group:
                if wide_factor is not None and work.group.dtype != FLOAT64:
                    tasks = work.updating_widely(gradients, wide_factor, self._scale is not None)
                else:
                    tasks = work.accumulating(gradients) if accumulates else work.updating(gradients)
                compiled += tasks.compiled
                in_python += tasks.in_python
        if in_python or (self._threads > 1 and len(compiled) > 1):
            run_uninterrupted(compiled + in_python, self._threads, counting)
        else:
            run_as_one(compiled + counting)

    def _counting(self, param_groups: Sequence[dict[str, Any]]) -> list[Task]:
        counting: list[Task] = []
        for group in param_groups:
            if group["schedule"] is not None:
                after = float(group["schedule"](group["calls"] + 1))
                counting.append(partial(group.__setitem__, "lr", after))
            counting.append(partial(group.__setitem__, "calls", group["calls"] + 1))
        return counting

    def _set_call(self, group_plan: GroupPlan, options: Options, calls: int) -> None:
        is_first = overwrites = False
        settings = options.settings
        if settings.use_ema:
            updates, frequency = calls // (self._steps or 1), settings.ema_overwrite_frequency
            is_first, overwrites = updates == 0, frequency is not None and (updates + 1) % frequency == 0
        for group in group_plan.groups:
            group.constants.set_call(options.rate, self._scale, is_first, overwrites)

    def _clip(self) -> np.float64 | None:
        groups: list[Group] = []
        measurements: list[Measurement] = []
        members = [group for group_plan in self._plan.groups for group in group_plan.groups]
        dtype = promoted([group.dtype for group in members if group.has_gradients])
        is_wide = self._settings.global_clipnorm is not None and dtype == FLOAT64
        for group_plan, gradients in zip(self._plan.groups, self._gradients, strict=True):
            for group in group_plan.groups:
                groups.append(group)
                transformed = group.constants.gradient(self._scale is not None)
                compensated = is_wide or group.dtype == FLOAT64
                measurements.append(Measurement(group, gradients, transformed, compensated, self._threads))
        if self._settings.clipnorm is not None:
            clip_each(groups, measurements)
            return None
        assert self._settings.global_clipnorm is not None
        return clip_all(groups, measurements, self._settings.global_clipnorm, dtype)
