"""The worker of tinygrad: ``tinygrad.nn.optim.SGD``."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np


class Training:
    """One optimizer for the variables of a case; two if some variables do not decay."""

    def __init__(self, case: Any) -> None:
        self.tinygrad = importlib.import_module("tinygrad")
        optim = importlib.import_module("tinygrad.nn.optim")
        config = case.config
        self.variables = [self._tensor(variable).is_param_() for variable in case.variables]
        self.has_momentum = config["momentum"] != 0
        self.optimizers = []
        for is_excluded in (False, True):
            chosen = [w for w, flag in zip(self.variables, case.excluded, strict=True) if flag == is_excluded]
            if chosen:
                decay = 0.0 if is_excluded else config["weight_decay"] or 0.0
                self.optimizers.append(
                    optim.SGD(
                        chosen,
                        momentum=config["momentum"],
                        weight_decay=decay,
                        nesterov=config["nesterov"],
                    )
                )
        if case.state is not None and self.has_momentum:
            for variable, velocity in zip(self.variables, case.state.velocities, strict=False):
                self._buffer(variable).assign(self._tensor(velocity)).realize()

    def step(self, gradients: Sequence[Any], rate: float | None) -> None:
        """Make one update."""
        if rate is None:
            raise NotImplementedError("a schedule that is a formula")
        # Automatic differentiation gives each gradient the dtype of its parameter.
        for variable, gradient in zip(self.variables, gradients, strict=True):
            variable.grad = self._tensor(gradient).cast(variable.dtype)
        with self.tinygrad.Context(TRAINING=1):
            for optimizer in self.optimizers:
                optimizer.lr.assign(self.tinygrad.Tensor([rate], dtype=optimizer.lr.dtype)).realize()
                optimizer.step()

    def record(self) -> dict[str, Any]:
        """Return the state; with momentum, all of it is float32."""
        velocities = [_array(self._buffer(one)) for one in self.variables] if self.has_momentum else []
        return {"variables": [_array(variable) for variable in self.variables], "velocities": velocities}

    def _buffer(self, variable: Any) -> Any:
        for optimizer in self.optimizers:
            for parameter, buffer in zip(optimizer.params, optimizer.b, strict=True):
                if parameter is variable:
                    return buffer
        raise AssertionError

    def _tensor(self, array: Any) -> Any:
        if array.dtype == "bfloat16":
            words = self.tinygrad.Tensor(np.array(array).view("uint16"))
            return words.bitcast(self.tinygrad.dtypes.bfloat16).contiguous().realize()
        return self.tinygrad.Tensor(np.array(array)).contiguous().realize()


def _array(tensor: Any) -> Any:
    if str(tensor.dtype).endswith("bfloat16"):
        dtypes = importlib.import_module("tinygrad").dtypes
        return tensor.bitcast(dtypes.uint16).numpy().view(importlib.import_module("ml_dtypes").bfloat16)
    return tensor.numpy()


def versions() -> dict[str, str]:
    """Return the versions of what is run."""
    return {"version": importlib.import_module("importlib.metadata").version("tinygrad")}
