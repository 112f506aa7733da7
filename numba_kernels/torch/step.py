"""One call: write the numbers of each group, compute norms, and run all kernels in one launch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from numba_kernels.cpu.clipping import clip_all, clip_each
from numba_kernels.cpu.norm import Measurement
from numba_kernels.cpu.tasks import Work
from numba_kernels.cpu.threads import Task, run_as_one, run_uninterrupted
from numba_kernels.torch.options import OF_A_GROUP, OF_THE_OPTIMIZER, Options
from numba_kernels.torch.over_ranks import OverRanks
from numba_kernels.torch.plan import GroupPlan, Plan
from sgd_ref.arithmetic.formats import FLOAT64
from sgd_ref.arithmetic.rounded import promoted


class Step:
    """A call of all groups, once everything in it is checked.

    Parameters
    ----------
    plan : Plan
        The plan with the addresses of the gradients.
    gradients : list of list
        The gradients of each group that has parameters.
    options : list of Options
        The options of the same groups.
    scale : float32 or None
        The loss scale, by which the gradients are divided.
    threads : int
        The number of threads, at least 1.
    """

    def __init__(
        self,
        plan: Plan,
        gradients: list[list[Any]],
        options: list[Options],
        scale: np.float32 | None,
        threads: int,
    ) -> None:
        self.plan, self._gradients, self._options = plan, gradients, options
        self._scale, self._threads = scale, threads
        # All groups share the following values.
        settings = options[0].settings
        self._settings = settings
        self._steps = settings.gradient_accumulation_steps
        self._works: list[list[Work]] = []
        self._wide_factor: np.float64 | None = None
        self._accumulates = False
        self._counting: list[Task] = []

    def prepare(self, param_groups: Sequence[dict[str, Any]], over: OverRanks | None, finite: bool) -> bool:
        """Do all work that may still fail: write numbers into the tables, and compute norms.

        Parameters
        ----------
        param_groups : list of dict
            The groups of the optimizer.
        over : OverRanks or None
            The other ranks, if they take part in the call.
        finite : bool
            Whether the gradients of this rank are finite, which the other ranks have to know.

        Returns
        -------
        bool
            Whether there is a call to make.
        """
        plan, settings = self.plan, self._settings
        self._counting = self._counted(param_groups)
        self._accumulates = self._steps is not None and (param_groups[0]["calls"] + 1) % self._steps != 0
        for group_plan, options, index in zip(plan.groups, self._options, plan.indices, strict=True):
            group_plan.use(options.settings)
            self._works.append(group_plan.works(self._scale is not None, plan.dtypes_of_norm, self._threads))
            self._set_call(group_plan, options, param_groups[index]["calls"])
        clips = not self._accumulates and settings.clips_by_norm
        if over is not None:
            measure = self._measurements if clips else None
            takes_place, self._wide_factor = over.agree(
                plan, settings, self._described(param_groups), measure, finite
            )
            return takes_place
        if not plan.has_gradients:
            return False
        if clips:
            self._wide_factor = self._clip()
        return True

    def write(self) -> None:
        """Make the call and count it; no interrupt can come between the two."""
        accumulates, wide_factor, counting = self._accumulates, self._wide_factor, self._counting
        compiled: list[Task] = []
        in_python: list[Task] = []
        for of_group, gradients in zip(self._works, self._gradients, strict=True):
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

    def _counted(self, param_groups: Sequence[dict[str, Any]]) -> list[Task]:
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
        groups = [group for group_plan in self.plan.groups for group in group_plan.groups]
        dtype = promoted([group.dtype for group in groups if group.has_gradients])
        if self._settings.clipnorm is not None:
            clip_each(groups, self._measurements(False))
            return None
        assert self._settings.global_clipnorm is not None
        measurements = self._measurements(dtype == FLOAT64)
        return clip_all(groups, measurements, self._settings.global_clipnorm, dtype)

    def _measurements(self, wide: bool) -> list[Measurement]:
        has_scale, threads = self._scale is not None, self._threads
        return [
            Measurement(
                group,
                gradients,
                group.constants.gradient(has_scale),
                wide or group.dtype == FLOAT64,
                threads,
            )
            for group_plan, gradients in zip(self.plan.groups, self._gradients, strict=True)
            for group in group_plan.groups
        ]

    def _described(self, param_groups: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return the data that must be the same on all ranks."""
        described: dict[str, Any] = {name: getattr(self._settings, name) for name in OF_THE_OPTIMIZER}
        described["grad_scale"] = None if self._scale is None else float(self._scale)
        for index, options in zip(self.plan.indices, self._options, strict=True):
            name = f"param_groups[{index}]"
            described[f"{name}['lr']"] = float(options.rate)
            described[f"{name}['calls']"] = param_groups[index]["calls"]
            described |= {f"{name}[{option!r}]": getattr(options.settings, option) for option in OF_A_GROUP}
        return described
