"""The tensors of state that an optimizer keeps for its parameters: velocity, average, accumulator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from numba_kernels.torch.memory import as_laid_out, fills_its_memory, zeros_like
from numba_kernels.torch.rules import VELOCITIES, RuledSettings
from numba_kernels.torch.shards import check_alike, is_spread, part_of

AVERAGE, ACCUMULATOR = "average", "accumulator"
KINDS = (*VELOCITIES, AVERAGE, ACCUMULATOR)


def needed(settings: RuledSettings) -> tuple[str, ...]:
    """Return the kinds of state that a step with these settings reads."""
    has = {
        settings.of_rule.velocity: settings.momentum != 0,
        AVERAGE: settings.use_ema,
        ACCUMULATOR: settings.gradient_accumulation_steps is not None,
    }
    return tuple(kind for kind, is_on in has.items() if is_on)


def check_state(name: str, parameter: Any, kept: Mapping[str, Any], rule: str) -> None:
    """Check the state of one parameter, which may have been loaded or assigned.

    Raises
    ------
    TypeError
        If it is no tensor, or if only one of state and parameter is a DTensor.
    ValueError
        If it has another shape, dtype, device, layout or placement than its parameter, or is the velocity of
        another rule.
    """
    for velocity, rule_of_it in VELOCITIES.items():
        if rule_of_it != rule and kept.get(velocity) is not None:
            raise ValueError(
                f"the state of {name} must be that of rule={rule!r}, got a {velocity}, which belongs to "
                f"rule={rule_of_it!r}"
            )
    for kind in KINDS:
        tensor = kept.get(kind)
        if tensor is None:
            continue
        accepted = (
            f"a dense tensor of {parameter.dtype}, shape {tuple(parameter.shape)}, on {parameter.device}"
        )
        if not isinstance(tensor, torch.Tensor):
            raise TypeError(f"the {kind} of {name} must be {accepted}, got a {type(tensor).__name__}")
        if is_spread(parameter) or is_spread(tensor):
            check_alike(f"the {kind} of {name}", tensor, parameter)
        given = tensor.dtype, tensor.shape, tensor.device, tensor.layout
        if given != (parameter.dtype, parameter.shape, parameter.device, parameter.layout):
            raise ValueError(
                f"the {kind} of {name} must be {accepted}, got one of {tensor.dtype}, shape "
                f"{tuple(tensor.shape)} and layout {tensor.layout}, on {tensor.device}"
            )


def parts_of_state(kept: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts on this rank of the tensors of state of one parameter."""
    return {kind: part_of(kept[kind]) for kind in KINDS if kind in kept}


def completed(parameter: Any, kept: Mapping[str, Any], kinds: tuple[str, ...]) -> dict[str, Any]:
    """Return state of some kinds: kept tensors in the layout of the parameter, and zeros for missing ones."""
    complete = {}
    for kind in kinds:
        tensor = kept.get(kind)
        tensor = zeros_like(parameter) if tensor is None else as_laid_out(tensor.detach(), parameter)
        # Two elements that share memory would both be written.
        complete[kind] = tensor if fills_its_memory(tensor) else tensor.contiguous()
    return complete
