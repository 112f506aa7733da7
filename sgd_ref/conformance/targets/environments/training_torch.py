"""Training with an optimizer for PyTorch, which several workers share; see ``serving.py``.

It needs the standard library, NumPy and PyTorch, and ml_dtypes for bfloat16. Workers import it by its plain
name, since it lies beside the script that runs them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Make = Callable[[list[dict[str, Any]]], Any]
"""From the groups of parameters, each with its "weight_decay", to the optimizer."""


class Training:
    """One optimizer with two groups of parameters: those that decay, and those that do not.

    Parameters
    ----------
    case : object
        The case, as in ``serving.py``.
    make : callable
        Makes the optimizer.
    buffer : str
        The name of the velocity in the optimizer's state of a parameter.
    """

    def __init__(self, case: Any, make: Make, buffer: str) -> None:
        self.torch = importlib.import_module("torch")
        self.buffer = buffer
        config = case.config
        self.parameters = [
            self.torch.nn.Parameter(self.tensor(variable), requires_grad=False) for variable in case.variables
        ]
        self.has_momentum = config["momentum"] != 0
        groups = []
        for is_excluded in (False, True):
            pairs = zip(self.parameters, case.excluded, strict=True)
            chosen = [parameter for parameter, flag in pairs if flag == is_excluded]
            if chosen:
                decay = 0.0 if is_excluded else config["weight_decay"] or 0.0
                groups.append({"params": chosen, "weight_decay": decay})
        self.optimizer = make(groups)
        if case.state is not None and self.has_momentum:
            for parameter, velocity in zip(self.parameters, case.state.velocities, strict=False):
                self.resume(parameter, self.tensor(velocity))

    def resume(self, parameter: Any, velocity: Any) -> None:
        """Set the velocity of a parameter to that of an earlier training."""
        self.optimizer.state[parameter][self.buffer] = velocity

    def step(self, gradients: Sequence[Any], rate: float | None) -> None:
        """Make one update of the parameters that have a gradient."""
        if rate is None:
            raise NotImplementedError("a schedule that is a formula")
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            # Automatic differentiation gives each gradient the dtype of its parameter.
            parameter.grad = None if gradient is None else self.tensor(gradient).to(parameter.dtype)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()

    def record(self) -> dict[str, Any]:
        """Return the state; before its first gradient, a parameter has no buffer."""
        velocities = [self._velocity(parameter) for parameter in self.parameters] if self.has_momentum else []
        return {"variables": [array_of(parameter) for parameter in self.parameters], "velocities": velocities}

    def _velocity(self, parameter: Any) -> Any:
        kept = self.optimizer.state[parameter].get(self.buffer)
        # Some optimizers keep it in another dtype.
        return array_of(self.torch.zeros_like(parameter) if kept is None else kept.to(parameter.dtype))

    def tensor(self, array: Any) -> Any:
        """Return the tensor with the bits of an array."""
        plain = np.array(array)
        if array.dtype == "bfloat16":
            return self.torch.from_numpy(plain.view("int16")).view(self.torch.bfloat16)
        return self.torch.from_numpy(plain)


def array_of(tensor: Any) -> Any:
    """Return the array with the bits of a tensor."""
    torch, plain = importlib.import_module("torch"), tensor.detach().clone()
    if plain.dtype == torch.bfloat16:
        return plain.view(torch.int16).numpy().view(importlib.import_module("ml_dtypes").bfloat16)
    return plain.numpy()


def versions(package: str) -> dict[str, str]:
    """Return the versions of a package and of PyTorch, which from now on computes with one thread."""
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)
    version = importlib.import_module("importlib.metadata").version
    return {"version": version(package), "torch": str(torch.__version__)}
