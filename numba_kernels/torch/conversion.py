"""Conversion of state from ``torch.optim.SGD`` to this optimizer and back, if both mean the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from numba_kernels.torch.memory import DTYPES, array_of, tensor_of
from numba_kernels.torch.options import IMPLEMENTATIONS, WITHOUT_MEANING, rounded_rate
from numba_kernels.torch.rules import RULES, RuledSettings
from numba_kernels.torch.shards import part_of, spread_like
from sgd_ref.arithmetic.formats import Array
from sgd_ref.arithmetic.rounded import setting

VELOCITY = RULES["keras"].velocity
BUFFER = RULES["pytorch"].velocity
"""The name in ``torch.optim.SGD`` of the sum of gradients that it keeps."""

MARK = "dampening"
"""An option that every group of ``torch.optim.SGD`` has, and no group of this optimizer."""

OTHERS = (*WITHOUT_MEANING, *IMPLEMENTATIONS)


def is_foreign(group: Mapping[str, Any]) -> bool:
    """Whether a group comes from ``torch.optim.SGD``."""
    return MARK in group


def own_group(name: str, group: Mapping[str, Any], rule: str) -> dict[str, Any]:
    """Return a group of ``torch.optim.SGD`` with the options of this optimizer.

    Under the rule "pytorch" decay means the same, too.

    Raises
    ------
    ValueError
        If an option means something that this optimizer does not offer.
    """
    for option, only in WITHOUT_MEANING.items():
        if group.get(option, only) != only:
            raise ValueError(
                f"{name}[{option!r}] of torch.optim.SGD must be {only!r} to mean the same here, "
                f"got {group[option]!r}"
            )
    kept = {option: value for option, value in group.items() if option not in OTHERS}
    own = {**kept, "schedule": None, "calls": 0}
    if rule == "pytorch":
        return own
    if group["weight_decay"] != 0:
        raise ValueError(
            f"{name}['weight_decay'] of torch.optim.SGD must be 0 to mean the same here, since PyTorch adds "
            f"the decay to the gradient, and with it to the velocity, got {group['weight_decay']!r}; with "
            "rule='pytorch' it means the same"
        )
    return {**own, "weight_decay": None}


def own_state(kept: Mapping[str, Any], rate: np.float32, rule: str) -> dict[str, Any]:
    """Return the state of one parameter: the velocity is ``-(rate * buffer)``, rounded once.

    Under the rule "pytorch" the buffer stays as it is.

    >>> own_state({"momentum_buffer": torch.tensor([2.0])}, np.float32(0.25), "keras")
    {'velocity': tensor([-0.5000])}
    """
    buffer = kept.get(BUFFER)
    if buffer is None:
        return {}
    if rule == "pytorch":
        return {BUFFER: buffer}
    return {VELOCITY: _times(buffer, lambda array, dtype: -(array * setting(float(rate), dtype)))}


def foreign_state(kept: Mapping[str, Any], rate: np.float32) -> dict[str, Any]:
    """Return the state of one parameter for ``torch.optim.SGD``: the buffer is ``-(velocity / rate)``.

    A buffer of the rule "pytorch" stays as it is.

    >>> foreign_state({"velocity": torch.tensor([-0.5])}, np.float32(0.25))
    {'momentum_buffer': tensor([2.])}
    """
    velocity = kept.get(VELOCITY)
    if velocity is None:
        return {BUFFER: kept.get(BUFFER)}
    return {BUFFER: _times(velocity, lambda array, dtype: -(array / setting(float(rate), dtype)))}


def _times(tensor: Any, function: Any) -> Any:
    dtype, part = DTYPES[tensor.dtype], part_of(tensor)
    with np.errstate(all="ignore"):
        result: Array = np.asarray(function(array_of(part), dtype))
    return spread_like(tensor, tensor_of(np.array(result.reshape(-1))).view(part.shape))


def foreign_group(name: str, group: Mapping[str, Any], common: RuledSettings) -> dict[str, Any]:
    """Return a packed group for ``torch.optim.SGD``.

    Raises
    ------
    ValueError
        If a setting means something that ``torch.optim.SGD`` does not offer.
    """
    decay = group["weight_decay"] or 0
    missing = {
        "weight_decay": decay if decay and common.rule != "pytorch" else None,
        "clipnorm": common.clipnorm,
        "clipvalue": common.clipvalue,
        "global_clipnorm": common.global_clipnorm,
        "gradient_accumulation_steps": common.gradient_accumulation_steps,
        "ema_overwrite_frequency": common.ema_overwrite_frequency if common.use_ema else None,
        "schedule": group["schedule"],
    }
    for setting_name, value in missing.items():
        if value is not None:
            raise ValueError(
                f"{setting_name} of {name} must be off to mean the same in torch.optim.SGD, got {value!r}"
            )
    kept = {option: value for option, value in group.items() if option not in ("schedule", "calls")}
    off = {option: WITHOUT_MEANING.get(option) for option in OTHERS if option != "capturable"}
    nesterov = bool(group["nesterov"]) and group["momentum"] != 0
    return {**kept, **off, "weight_decay": decay, "nesterov": nesterov}


def foreign_dict(saved: Mapping[str, Any], common: RuledSettings) -> dict[str, Any]:
    """Return a state dict of this optimizer as one for ``torch.optim.SGD``."""
    groups, state = [], {}
    for index, group in enumerate(saved["param_groups"]):
        name = f"param_groups[{index}]"
        groups.append(foreign_group(name, group, common))
        kept = {place: saved["state"][place] for place in group["params"] if place in saved["state"]}
        rate = check_rate(name, group, list(kept.values()))
        state.update({place: foreign_state(of_one, rate) for place, of_one in kept.items()})
    return {"state": state, "param_groups": groups}


def check_rate(name: str, group: Mapping[str, Any], states: list[Mapping[str, Any]]) -> np.float32:
    """Return the rate of a group, which must not be 0 if a velocity is divided by it.

    Raises
    ------
    ValueError
        If the rate is 0 and there is a velocity.
    """
    rate = rounded_rate(f"{name}['lr']", group["lr"])
    if rate == 0 and any(isinstance(kept.get(VELOCITY), torch.Tensor) for kept in states):
        raise ValueError(f"{name}['lr'] must not be 0, since the velocities are divided by it, got 0")
    return rate
