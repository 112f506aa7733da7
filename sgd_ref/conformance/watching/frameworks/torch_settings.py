"""The settings that a group of a PyTorch optimizer states, under the names of ``torch.optim.SGD``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sgd_ref.conformance.dialects import RULES

STATED = ("momentum", "nesterov", "weight_decay")


def settings_of(group: Mapping[str, Any], declared: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a group, where each declared setting replaces the stated one.

    >>> settings_of({"lr": 0.1, "momentum": 0.5, "weight_decay": 0}, {"nesterov": True})
    {'momentum': 0.5, 'nesterov': True}
    """
    stated = {name: _number(group[name]) for name in STATED if group.get(name) is not None}
    if stated.get("weight_decay") == 0:
        # In PyTorch, 0 is the only way to say that there is no weight decay.
        del stated["weight_decay"]
    return stated | {name: value for name, value in declared.items() if name != "learning_rate"}


def usual_rule(optimizer: Any) -> str:
    """Return the rule that an optimizer says it follows, by default that of PyTorch.

    >>> from types import SimpleNamespace
    >>> usual_rule(SimpleNamespace(rule="keras")), usual_rule(SimpleNamespace(rule=print))
    ('keras', 'pytorch')
    """
    stated = getattr(optimizer, "rule", None)
    return stated if isinstance(stated, str) and stated in RULES else "pytorch"


def scale_of(optimizer: Any) -> float | None:
    """Return the scale of the gradients that an optimizer gets; None if they are not scaled.

    ``GradScaler`` leaves the unscaling to optimizers that can do it, such as the fused ones.

    >>> from types import SimpleNamespace
    >>> scale_of(SimpleNamespace(grad_scale=None)), scale_of(SimpleNamespace(grad_scale=8.0))
    (None, 8.0)
    """
    scale = getattr(optimizer, "grad_scale", None)
    return None if scale is None else float(scale)


def is_skipped(optimizer: Any) -> bool:
    """Whether ``GradScaler`` asks an optimizer that unscales gradients to skip its step."""
    found = getattr(optimizer, "found_inf", None)
    return found is not None and bool(found)


def by_design_of(groups: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """Return the known deviations that ``maximize``, or a ``dampening`` equal to the momentum, stands for.

    Raises
    ------
    ValueError
        If no known deviation has the effect of these options, or if the groups differ.

    Examples
    --------
    >>> by_design_of([{"maximize": True}])
    frozenset({'ascends'})
    """
    asked = {frozenset(_asked(group)) for group in groups}
    if len(asked) > 1:
        raise ValueError("maximize and dampening must be the same in all groups of the optimizer")
    return asked.pop()


def _asked(group: Mapping[str, Any]) -> list[str]:
    names = []
    if group.get("maximize"):
        names.append("ascends")
    dampening = _number(group.get("dampening", 0))
    if dampening and dampening != _number(group.get("momentum", 0)):
        raise ValueError(f"dampening must be 0 or the momentum, got {dampening!r}")
    return [*names, "dampened-after-the-first-update"] if dampening else names


def _number(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
