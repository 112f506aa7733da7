"""The worker of MLX: ``mlx.optimizers.SGD`` and its clipping, on the CPU."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np


class Training:
    """One optimizer for the variables of a case; two if some variables do not decay."""

    def __init__(self, case: Any) -> None:
        self.mx = importlib.import_module("mlx.core")
        self.optimizers = importlib.import_module("mlx.optimizers")
        config = case.config
        self.clipnorm = config["global_clipnorm"]
        self.has_momentum = config["momentum"] != 0
        self.names = [f"w{position}" for position in range(len(case.variables))]
        self.variables = dict(zip(self.names, map(self._native, case.variables), strict=True))
        self.groups = []
        for is_excluded in (False, True):
            pairs = zip(self.names, case.excluded, strict=True)
            names = [name for name, flag in pairs if flag == is_excluded]
            if names:
                decay = 0.0 if is_excluded else config["weight_decay"] or 0.0
                optimizer = self.optimizers.SGD(
                    0.0, config["momentum"], decay, nesterov=config["nesterov"] and self.has_momentum
                )
                optimizer.init({name: self.variables[name] for name in names})
                self.groups.append((names, optimizer))
        if case.state is not None and self.has_momentum:
            for name, velocity in zip(self.names, case.state.velocities, strict=False):
                self._state(name)["v"] = self._native(velocity)

    def step(self, gradients: Sequence[Any], rate: float | None) -> None:
        """Make one update of the variables that have a gradient."""
        if rate is None:
            raise NotImplementedError("a schedule that is a formula")
        native = {
            # Automatic differentiation gives each gradient the dtype of its parameter.
            name: self._native(gradient).astype(self.variables[name].dtype)
            for name, gradient in zip(self.names, gradients, strict=True)
            if gradient is not None
        }
        if self.clipnorm is not None:
            native, _ = self.optimizers.clip_grad_norm(native, self.clipnorm)
        for names, optimizer in self.groups:
            optimizer.learning_rate = rate
            present = {name: native[name] for name in names if name in native}
            self.variables |= optimizer.apply_gradients(present, self.variables)
        self.mx.eval(self.variables)

    def record(self) -> dict[str, Any]:
        """Return the state."""
        velocities = [_array(self._state(name)["v"]) for name in self.names] if self.has_momentum else []
        return {
            "variables": [_array(self.variables[name]) for name in self.names],
            "velocities": velocities,
        }

    def _state(self, name: str) -> Any:
        return next(optimizer.state[name] for names, optimizer in self.groups if name in names)

    def _native(self, array: Any) -> Any:
        if array.dtype == "bfloat16":
            return self.mx.array(np.array(array).view("uint16")).view(self.mx.bfloat16)
        with self.mx.stream(self.mx.cpu):
            # Without the dtype, MLX would convert NumPy's float64 to float32.
            return self.mx.array(np.array(array), dtype=getattr(self.mx, str(array.dtype)))


def _array(native: Any) -> Any:
    mx = importlib.import_module("mlx.core")
    if native.dtype == mx.bfloat16:
        words = np.array(native.view(mx.uint16))
        return words.view(importlib.import_module("ml_dtypes").bfloat16)
    return np.array(native)


def versions() -> dict[str, str]:
    """Return the versions of what is run."""
    mx = importlib.import_module("mlx.core")
    mx.set_default_device(mx.cpu)
    return {"version": str(mx.__version__)}
