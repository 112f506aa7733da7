"""The worker of pytorch_optimizer: its ``SGDW``, whose weight decay is apart from the gradient."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

BUFFER = "momentum_buffer"


class Training:
    """One optimizer with two groups of parameters: those that decay, and those that do not."""

    def __init__(self, case: Any) -> None:
        self.torch = importlib.import_module("torch")
        optimizers = importlib.import_module("pytorch_optimizer")
        config = case.config
        self.parameters = [
            self.torch.nn.Parameter(self._tensor(variable), requires_grad=False)
            for variable in case.variables
        ]
        self.has_momentum = config["momentum"] != 0
        groups = []
        for is_excluded in (False, True):
            pairs = zip(self.parameters, case.excluded, strict=True)
            chosen = [parameter for parameter, flag in pairs if flag == is_excluded]
            if chosen:
                decay = 0.0 if is_excluded else config["weight_decay"] or 0.0
                groups.append({"params": chosen, "weight_decay": decay})
        self.optimizer = optimizers.SGDW(
            groups, lr=1.0, momentum=config["momentum"], nesterov=config["nesterov"] and self.has_momentum
        )
        if case.state is not None and self.has_momentum:
            for parameter, velocity in zip(self.parameters, case.state.velocities, strict=False):
                self.optimizer.state[parameter][BUFFER] = self._tensor(velocity)

    def step(self, gradients: Sequence[Any], rate: float | None) -> None:
        """Make one update of the parameters that have a gradient."""
        if rate is None:
            raise NotImplementedError("a schedule that is a formula")
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            # Automatic differentiation gives each gradient the dtype of its parameter.
            parameter.grad = None if gradient is None else self._tensor(gradient).to(parameter.dtype)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()

    def record(self) -> dict[str, Any]:
        """Return the state; before its first gradient, a parameter has no buffer."""
        velocities = [self._velocity(parameter) for parameter in self.parameters] if self.has_momentum else []
        return {"variables": [_array(parameter) for parameter in self.parameters], "velocities": velocities}

    def _velocity(self, parameter: Any) -> Any:
        buffer = self.optimizer.state[parameter].get(BUFFER)
        return _array(self.torch.zeros_like(parameter) if buffer is None else buffer)

    def _tensor(self, array: Any) -> Any:
        plain = np.array(array)
        if array.dtype == "bfloat16":
            return self.torch.from_numpy(plain.view("int16")).view(self.torch.bfloat16)
        return self.torch.from_numpy(plain)


def _array(tensor: Any) -> Any:
    torch, plain = importlib.import_module("torch"), tensor.detach().clone()
    if plain.dtype == torch.bfloat16:
        return plain.view(torch.int16).numpy().view(importlib.import_module("ml_dtypes").bfloat16)
    return plain.numpy()


def versions() -> dict[str, str]:
    """Return the versions of what is run."""
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)
    version = importlib.import_module("importlib.metadata").version
    return {"version": version("pytorch_optimizer"), "torch": str(torch.__version__)}
