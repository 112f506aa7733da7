"""The reference with groups: each group has settings and a rate of its own, and all else is common."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

import sgd_ref
from numba_kernels.torch import SGD
from numba_kernels.torch.memory import array_of
from sgd_ref.base.call import Call
from sgd_ref.base.settings import Settings
from sgd_ref.conformance.dialects.pytorch import PytorchSGD
from sgd_ref.optimizer import Gradients, Values
from tests.numba_kernels.agreement import assert_equal_bits

TORCH = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}


def tensor(array: Any) -> Any:
    """Return a copy of an array as a tensor."""
    array = np.ascontiguousarray(array).reshape(np.shape(array))
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(array.copy())


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, torch.Tensor) else value


class Grouped(sgd_ref.SGD):
    """The reference where the variables form groups.

    Attributes
    ----------
    groups : list of (positions, options)
        The variables of each group, and its momentum, decay, nesterov and rate of the next call.
    """

    groups: list[tuple[list[int], dict[str, Any]]]

    def _each(self, gradients: Gradients, call: Call) -> Iterator[tuple[Gradients, Call]]:
        own = self.settings
        for positions, options in self.groups:
            masked = [g if i in positions else None for i, g in enumerate(gradients)]
            settings = {name: _number(options[name]) for name in ("momentum", "nesterov", "weight_decay")}
            self.settings = replace(
                Settings.checked(**settings),
                **{name: getattr(own, name) for name in ("use_ema", "ema_momentum")},
            )
            yield masked, call._replace(learning_rate=np.float32(options["lr"]))
        self.settings = own

    def decay(self, values: Values, gradients: Gradients, call: Call) -> Values:
        for masked, of_group in self._each(gradients, call):
            values = super().decay(values, masked, of_group)
        return values

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        for masked, of_group in self._each(gradients, call):
            values = super().update(values, masked, of_group)
        return values


class PytorchGrouped(Grouped, PytorchSGD):
    """The same under the rule of PyTorch."""


REFERENCES: dict[str, tuple[type[Grouped], str]] = {
    "keras": (Grouped, "velocity"),
    "pytorch": (PytorchGrouped, "momentum_buffer"),
}
"""For each rule the reference, and the name of velocities in the state."""


class Pair:
    """An optimizer for PyTorch and the reference, with the same variables.

    Parameters
    ----------
    variables : list of list of ndarray
        Those of each group.
    options : list of dict
        Of each group.
    layout : callable
        From a tensor to the tensor that is trained.
    rule : str
        The rule of both.
    **common : object
        Arguments of both constructors.
    """

    def __init__(
        self,
        variables: Sequence[Sequence[Any]],
        options: Sequence[dict[str, Any]],
        layout: Any = lambda tensor: tensor,
        threads: int | None = None,
        rule: str = "keras",
        **common: Any,
    ) -> None:
        self.members = [[torch.nn.Parameter(layout(tensor(w))) for w in group] for group in variables]
        self.parameters = [parameter for group in self.members for parameter in group]
        self.optimizer: Any = SGD(
            [{"params": group, **own} for group, own in zip(self.members, options, strict=True)],
            threads=threads,
            rule=rule,
            **common,
        )
        self.arrays = [np.array(w) for group in variables for w in group]
        # With momentum, the state has velocities for all.
        reference, self.velocity = REFERENCES[rule]
        self.reference = reference(0.5, momentum=0.5, **common)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.reference.build(self.arrays)

    def step(self, gradients: Sequence[Any]) -> None:
        """Make a step with both, and compare all that they have.

        Parameters
        ----------
        gradients : list of ndarray or None
            One for each variable.
        """
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = None
            if gradient is not None:
                parameter.grad = torch.empty_like(parameter)
                parameter.grad.copy_(tensor(gradient))
        self.apply_reference(gradients)
        self.optimizer.step()
        self.compare()

    def apply_reference(self, gradients: Sequence[Any]) -> None:
        start, groups = 0, []
        for group in self.optimizer.param_groups:
            groups.append((list(range(start, start + len(group["params"]))), dict(group)))
            start += len(group["params"])
        self.reference.groups = groups
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.reference.apply(list(gradients))

    def compare(self) -> None:
        """Assert that no bit differs."""
        assert_equal_bits("variables", self.arrays, [array_of(w) for w in self.parameters])
        state = self.optimizer.state
        for kind, arrays in (
            (self.velocity, self.reference.velocities),
            ("average", self.reference.averages),
            ("accumulator", self.reference.accumulators),
        ):
            for index, (array, parameter) in enumerate(zip(arrays, self.parameters, strict=False)):
                if kind in state.get(parameter, {}):
                    assert_equal_bits(f"{kind} {index}", [array], [array_of(state[parameter][kind])])
                else:
                    # Never asked for, so that the reference has its zeros still.
                    assert kind == self.velocity, kind
                    assert not np.any(array), index
        for group in self.optimizer.param_groups:
            assert group["calls"] == self.reference.calls
