"""Checks of groups and state that were loaded, copied or unpickled, before an optimizer takes them over."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch

from numba_kernels.torch import conversion
from numba_kernels.torch.gradients import Place
from numba_kernels.torch.memory import check_parameter
from numba_kernels.torch.options import DEFAULTS, OF_THE_OPTIMIZER, adopt_schedule, check_group
from numba_kernels.torch.plan import named_places
from numba_kernels.torch.rules import RuledSettings
from numba_kernels.torch.shards import check_placements, part_of
from numba_kernels.torch.state import ACCUMULATOR, AVERAGE, check_state

Groups = list[dict[str, Any]]


def checked(
    groups: Groups, kept: Mapping[Any, Any], common: RuledSettings
) -> tuple[Groups, Mapping[Any, Any]]:
    """Return groups and state; those of ``torch.optim.SGD`` are converted.

    Parameters
    ----------
    groups : list of dict
        The groups, with the parameters of the optimizer.
    kept : mapping from Tensor to dict
        The tensors of state of each parameter.
    common : RuledSettings
        The settings that all groups share.

    Raises
    ------
    TypeError, ValueError
        If an option is not acceptable, or the state does not fit the parameters or the settings.
    """
    if any(map(conversion.is_foreign, groups)):
        groups, kept = _converted(groups, kept, common.rule)
    for index, group in enumerate(groups):
        name = f"param_groups[{index}]"
        if "calls" not in group:
            raise ValueError(
                f"{name} must come from numba_kernels.torch.SGD or torch.optim.SGD, "
                f"got a group with the options {sorted(set(group) - {'params'})}"
            )
        for option, default in DEFAULTS.items():
            group.setdefault(option, default)
        adopt_schedule(group)
        check_group(name, group)
        for place in named_places(index, group):
            _check_kept(place, kept.get(place.parameter, {}), group["calls"], common)
    _check_windows(groups, common.gradient_accumulation_steps)
    return groups, kept


def copied(kept: Mapping[Any, Any]) -> defaultdict[Any, Any]:
    """Return a copy of the state."""
    return defaultdict(
        dict,
        {
            key: {kind: copy.deepcopy(item) for kind, item in value.items()}
            if isinstance(value, dict)
            else value
            for key, value in kept.items()
        },
    )


def _check_kept(place: Place, kept: Mapping[str, Any], calls: int, common: RuledSettings) -> None:
    check_state(place.name, place.parameter, kept, common.rule)
    steps = common.gradient_accumulation_steps
    for kind, is_on, since, argument in (
        (AVERAGE, common.use_ema, steps or 1, "use_ema"),
        (ACCUMULATOR, steps is not None, 1, "gradient_accumulation_steps"),
    ):
        if kind in kept and not is_on:
            raise ValueError(
                f"{argument} must be set to load the {kind} of {place.name}, got an optimizer without it"
            )
        if is_on and kind not in kept and calls >= since:
            raise ValueError(f"the {kind} of {place.name} must be there after {calls} steps, got none")


def leave_out_common(group: dict[str, Any], common: RuledSettings) -> None:
    """Remove from a group the options that all groups share, if they have the same value there.

    ``ZeroRedundancyOptimizer`` adds all arguments of the constructor to each group.
    """
    for option in OF_THE_OPTIMIZER:
        if option in group and group[option] == getattr(common, option):
            del group[option]


def check_between_updates(groups: Groups, steps: int | None) -> None:
    """Check that a group may be added.

    Raises
    ------
    RuntimeError
        Between the steps of one update.
    """
    calls = groups[0]["calls"] if groups else 0
    if steps is not None and calls % steps:
        raise RuntimeError(
            "add_param_group must be called between two updates, "
            f"got it after {calls % steps} of {steps} steps"
        )


def _check_windows(groups: Groups, steps: int | None) -> None:
    """Check that all groups are equally far from their next update."""
    if len({group["calls"] % (steps or 1) for group in groups}) > 1:
        raise ValueError(
            f"the calls of all groups must be equally far from an update in {steps} steps, "
            f"got {[group['calls'] for group in groups]}"
        )


def _converted(groups: Groups, kept: Mapping[Any, Any], rule: str) -> tuple[Groups, Mapping[Any, Any]]:
    own_groups: Groups = []
    own_state: dict[Any, Any] = {}
    for index, group in enumerate(groups):
        name = f"param_groups[{index}]"
        own_groups.append(conversion.own_group(name, group, rule))
        rate = conversion.check_rate(name, group, [])
        for parameter in group["params"]:
            if parameter in kept:
                buffer = {conversion.BUFFER: kept[parameter].get(conversion.BUFFER)}
                check_state(name, parameter, buffer, "pytorch")
                own_state[parameter] = conversion.own_state(buffer, rate, rule)
    return own_groups, own_state


def check_parameters(name: str, params: Any) -> None:
    """Check the parameters of a new group, as far as possible before they join the list of all parameters.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not acceptable, or is given twice.
    """
    members = [params] if isinstance(params, torch.Tensor) else list(params)
    tensors = [member[1] if isinstance(member, tuple) else member for member in members]
    for index, parameter in enumerate(tensors):
        if isinstance(parameter, torch.Tensor):
            place = f"{name}['params'][{index}]"
            check_placements(place, parameter)
            check_parameter(place, part_of(parameter))
    if len({id(parameter) for parameter in tensors}) != len(tensors):
        raise ValueError(f"{name}['params'] must hold each parameter once, got duplicate parameters")
