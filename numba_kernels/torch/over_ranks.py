"""The part of a step that involves other ranks: agreement, the norms over all parts, and finiteness."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from numba_kernels.cpu.clipping import set_divisors, set_factor
from numba_kernels.cpu.norm import Measurement
from numba_kernels.cpu.over_ranks import CODES, Agreed, Known, Parts, agreed
from numba_kernels.ranks.communicator import LIMIT
from numba_kernels.ranks.rounds import RankError, Ranks
from numba_kernels.torch.communication import TorchCommunicator
from numba_kernels.torch.gradients import Place
from numba_kernels.torch.memory import DTYPES
from numba_kernels.torch.plan import Plan
from numba_kernels.torch.shards import form_of, is_counted_here, is_spread, ranks_of
from sgd_ref.arithmetic.formats import FLOAT64, Array
from sgd_ref.arithmetic.rounded import promoted
from sgd_ref.base.settings import Settings
from sgd_ref.validation import boolean, positive_real

Measure = Callable[[bool], list[Measurement]]
"""A function that returns the sums of squares of all gradients, group by group; its argument says whether
norms in float64 may be needed."""


class Membership:
    """The ranks that share the steps of an optimizer, from the arguments of its constructor.

    Parameters
    ----------
    process_group : ProcessGroup or None
        The ranks; by default the ranks of the DTensors of the optimizer, if there are any.
    own_parameters : bool
        Whether each rank has plain parameters of its own.
    rank_timeout : float or None
        Seconds that rank 0 waits for the others.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or value.
    """

    def __init__(self, process_group: Any, own_parameters: Any, rank_timeout: Any) -> None:
        self.are_own = boolean("own_parameters", own_parameters)
        self.limit = LIMIT if rank_timeout is None else positive_real("rank_timeout", rank_timeout)
        self._members: list[int] | None = None
        if process_group is not None or self.are_own:
            if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
                raise ValueError(
                    "process_group and own_parameters need torch.distributed.init_process_group, which was "
                    "not called"
                )
            group = torch.distributed.group.WORLD if process_group is None else process_group
            self._members = list(torch.distributed.get_process_group_ranks(group))

    def over(self, parameters: Sequence[Any]) -> OverRanks | None:
        """Return the ranks that share the steps of these parameters; None if no other rank takes part."""
        members = self._members or ranks_of(parameters)
        if not members:
            return None
        return OverRanks(Ranks(TorchCommunicator(members, self.limit)), self.are_own)


class OverRanks:
    """The ranks that share the steps of an optimizer.

    Parameters
    ----------
    ranks : Ranks
        The rounds of this optimizer.
    are_own : bool
        Whether each rank has plain parameters of its own.

    Attributes
    ----------
    other_dtypes : list of dtype
        The dtypes of all parameters on all ranks, if each rank has its own parameters.
    """

    def __init__(self, ranks: Ranks, are_own: bool) -> None:
        self._ranks, self._are_own = ranks, are_own
        self._form: list[Any] | None = None
        self._plan: Plan | None = None
        self._counted: list[Array] = []
        self.other_dtypes: list[np.dtype[Any]] = []

    def agree_on_parameters(self, places: Sequence[Place], common: Settings) -> None:
        """Compare the parameters with those of the other ranks, if they have changed.

        Raises
        ------
        ValueError
            If the parameters cannot be clipped together.
        RankError
            If the parameters of another rank are different, or if it has failed.
        """
        form = [form_of(name, parameter) for name, parameter in places]
        if form == self._form:
            return
        if self._are_own and common.clipnorm is not None and any(is_spread(w) for _, w in places):
            raise ValueError(
                "clipnorm must be None where own_parameters is set and a parameter is a DTensor, "
                f"got {common.clipnorm}"
            )
        are_own = self._are_own
        dtypes = sum({1 << CODES.index(DTYPES[w.dtype]) for _, w in places if w.dtype in DTYPES})

        def compare(of_ranks: list[list[bytes]]) -> list[bytes]:
            bits = 0
            for rank, (own, text) in enumerate(of_ranks):
                bits |= int(own)
                if not are_own and text != of_ranks[0][1]:
                    raise RankError(_difference(rank, json.loads(text), json.loads(of_ranks[0][1])))
            return [b"%d" % bits]

        settings = json.dumps({"own_parameters": are_own}).encode()
        parts = [b"%d" % dtypes, json.dumps(form).encode()]
        (answer,) = self._ranks.round("the parameters", settings, parts, compare)
        self.other_dtypes = [dtype for bit, dtype in enumerate(CODES) if int(answer) >> bit & 1]
        self._form = form

    def refuse(self, error: Exception) -> None:
        """Raise an error, after telling the other ranks that this one cannot make the step."""
        self._ranks.refuse("the norms", error)

    def agree(
        self,
        plan: Plan,
        common: Settings,
        described: dict[str, Any],
        measure: Measure | None,
        finite: bool,
    ) -> tuple[bool, np.float64 | None]:
        """Agree with the other ranks on a step, and write its clipping factors.

        Parameters
        ----------
        plan : Plan
            The plan with the gradients.
        common : Settings
            The settings that all groups share.
        described : dict
            The data that must be the same on all ranks.
        measure : callable or None
            Computes the sums of squares; None if nothing is clipped by a norm.
        finite : bool
            Whether the gradients of this rank are finite.

        Returns
        -------
        takes_place : bool
            Whether there are gradients, and all of them are finite.
        factor : float64 or None
            The factor that ``clip_all`` returns.

        Raises
        ------
        RankError
            If another rank has failed, is lost, or differs. Nothing has changed then.
        """
        groups = [group for group_plan in plan.groups for group in group_plan.groups]
        present = [group.dtype for group in groups if group.has_gradients]
        if not self._are_own:
            described["which gradients are there"] = _presence(plan)
        nothing = Known(finite, present, np.empty((0, 2)), np.empty)
        if measure is None:
            return _takes_place(agreed(self._ranks, described, nothing, [])), None
        counted = self._counted_rows(plan)
        if common.global_clipnorm is not None:
            wide = FLOAT64 in plan.dtypes_of_norm
            parts = Parts(measure(wide), counted, wide)
            known = nothing._replace(sums=parts.sum_of_all(), exact=parts.exact_sum_of_all)
            found = agreed(self._ranks, described, known, None)
            if not _takes_place(found):
                return False, None
            dtype, norm = promoted(found.dtypes), float(found.norms[0])
            return True, set_factor(groups, common.global_clipnorm, norm, dtype)
        measurements = measure(False)
        if self._are_own:
            found = agreed(self._ranks, described, nothing, [])
            norms = [measurement.norms() for measurement in measurements]
        else:
            parts = Parts(measurements, counted, False)
            known = nothing._replace(sums=parts.sums_of_each(), exact=parts.exact_sums_of_each)
            dtypes = [group.dtype for group in groups for _ in group.positions]
            found = agreed(self._ranks, described, known, dtypes)
            norms = np.split(found.norms, np.cumsum([len(group.positions) for group in groups])[:-1])
        for group, of_group in zip(groups, norms, strict=True):
            set_divisors(group, of_group)
        return _takes_place(found), None

    def count(self) -> None:
        """Count a step that this rank has completed."""
        self._ranks.steps += 1

    def _counted_rows(self, plan: Plan) -> list[Array]:
        if plan is not self._plan:
            is_counted = [is_counted_here(w, self._ranks.rank, self._are_own) for w in plan.parameters]
            slices = [part for part in plan.slices if part.start < part.stop]
            self._counted = [
                np.array([is_counted[part][position] for position in group.positions])
                for part, group_plan in zip(slices, plan.groups, strict=True)
                for group in group_plan.groups
            ]
            self._plan = plan
        return self._counted


def _takes_place(found: Agreed) -> bool:
    return found.finite and bool(found.dtypes)


def _presence(plan: Plan) -> str:
    missing = [name for name, parameter in plan.places if parameter.grad is None]
    return "all" if not missing else f"all but those of {', '.join(missing)}"


def _difference(rank: int, own: list[Any], expected: list[Any]) -> str:
    if len(own) != len(expected):
        return f"rank {rank} must have as many parameters as rank 0, {len(expected)}, got {len(own)}"
    words = "name", "dtype", "shape", "placements", "mesh"
    for given, wanted in zip(own, expected, strict=True):
        for word, a, b in zip(words, given, wanted, strict=True):
            if a != b:
                name = f"the {word} of {wanted[0]}"
                return f"{name} must be the same on all ranks, got {a} on rank {rank} and {b} on rank 0"
    return f"the parameters of rank {rank} are not those of rank 0"
