"""The part of a call that involves other ranks, each of which has a part of each variable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from numba_kernels.cpu.clipping import set_divisors, set_factor
from numba_kernels.cpu.norm import Measurement
from numba_kernels.cpu.over_ranks import Agreed, Known, Parts, agreed
from numba_kernels.cpu.plan import Plan
from numba_kernels.ranks.rounds import Ranks
from sgd_ref.arithmetic.formats import FLOAT64
from sgd_ref.arithmetic.rounded import promoted
from sgd_ref.base.call import Call
from sgd_ref.base.settings import Settings


class PartsOfRanks:
    """The ranks that share the calls of an optimizer.

    Parameters
    ----------
    ranks : Ranks
        The rounds of this optimizer.
    replicated : sequence of str
        A variable is the same on all ranks if its name contains one of these strings. All other variables
        have parts on the ranks, some of which may be empty.
    """

    def __init__(self, ranks: Ranks, replicated: Sequence[str]) -> None:
        self._ranks, self._replicated = ranks, list(replicated)

    def refuse(self, error: Exception) -> None:
        """Raise an error, after telling the other ranks that this one cannot make the call."""
        self._ranks.refuse("the norms", error)

    def agree(
        self,
        plan: Plan,
        settings: Settings,
        call: Call,
        loss_scale: float | np.float32 | None,
        measurements: Sequence[Measurement],
        clips: bool,
    ) -> Agreed:
        """Return the common knowledge of all ranks about the gradients.

        Parameters
        ----------
        plan : Plan
            The plan with the gradients of the call.
        settings : Settings
            The settings of the optimizer.
        call : Call
            The checked call.
        loss_scale : float, float32 or None
            The scale by which the gradients are divided.
        measurements : sequence of Measurement
            One for each group; empty if nothing is measured.
        clips : bool
            Whether norms are needed.

        Raises
        ------
        RankError
            If another rank has failed, is lost, or differs.
        """
        groups = plan.groups
        described = self._described(settings, call, loss_scale)
        present = [group.dtype for group in groups if group.has_gradients]
        counted = [np.array(self._are_counted(group.positions, call.state.names)) for group in groups]
        wide = settings.global_clipnorm is not None and plan.dtype_of_norm == FLOAT64
        parts = Parts(measurements, counted, wide) if measurements else None
        finite = parts is None or parts.finite
        known = Known(finite, present, np.empty((0, 2)), np.empty)
        if parts is None or not clips:
            return agreed(self._ranks, described, known, [])
        if settings.global_clipnorm is not None:
            known = known._replace(sums=parts.sum_of_all(), exact=parts.exact_sum_of_all)
            return agreed(self._ranks, described, known, None)
        known = known._replace(sums=parts.sums_of_each(), exact=parts.exact_sums_of_each)
        dtypes = [group.dtype for group in groups for _ in group.positions]
        return agreed(self._ranks, described, known, dtypes)

    def set_factors(self, plan: Plan, settings: Settings, found: Agreed) -> np.float64 | None:
        """Write the clipping factors, as ``clip_each`` and ``clip_all`` do."""
        if settings.global_clipnorm is not None:
            norm, dtype = float(found.norms[0]), promoted(found.dtypes)
            return set_factor(plan.groups, settings.global_clipnorm, norm, dtype)
        ends = np.cumsum([len(group.positions) for group in plan.groups])[:-1]
        for group, norms in zip(plan.groups, np.split(found.norms, ends), strict=True):
            set_divisors(group, norms)
        return None

    def count(self) -> None:
        """Count a call that this rank has completed."""
        self._ranks.steps += 1

    def _are_counted(self, positions: Sequence[int], names: Sequence[str]) -> list[bool]:
        return [self._ranks.rank == 0 or not self._is_replicated(names[position]) for position in positions]

    def _is_replicated(self, name: str) -> bool:
        return any(part in name for part in self._replicated)

    def _described(
        self, settings: Settings, call: Call, loss_scale: float | np.float32 | None
    ) -> dict[str, Any]:
        state = call.state
        described: dict[str, Any] = {
            name: value
            for name, value in asdict(settings).items()
            if name not in ("name", "loss_scale_factor")
        }
        described["learning_rate"] = float(call.learning_rate)
        described["loss_scale"] = None if loss_scale is None else float(loss_scale)
        described["calls"] = state.calls
        for name, variable, decays, gradient in zip(
            state.names, state.variables, state.decayed, call.gradients, strict=True
        ):
            form = [str(variable.dtype), bool(decays), gradient is not None]
            described[name] = [*form, list(variable.shape) if self._is_replicated(name) else "part"]
        return described
