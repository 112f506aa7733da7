"""The worker of PaddlePaddle: ``SGD`` or ``Momentum``, with its decay and its clipping, on the CPU."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np


class Training:
    """One optimizer for the variables of a case; each variable says whether it decays."""

    def __init__(self, case: Any) -> None:
        self.paddle = importlib.import_module("paddle")
        config = case.config
        if config["clipnorm"] is not None and any(one.dtype == "float64" for one in case.variables):
            raise NotImplementedError("on a CPU, clip_by_norm has a kernel for float32 alone")
        self.parameters = [self._parameter(variable) for variable in case.variables]
        self.has_momentum = config["momentum"] != 0
        # Not by groups of parameters, each of which is clipped by a norm of its own.
        for parameter, is_excluded in zip(self.parameters, case.excluded, strict=True):
            if config["weight_decay"] is not None and not is_excluded:
                parameter.regularizer = self.paddle.regularizer.L2Decay(config["weight_decay"])
        module, clip = self.paddle.optimizer, self._clipping(config)
        if self.has_momentum:
            self.optimizer = module.Momentum(
                0.0, config["momentum"], self.parameters, use_nesterov=config["nesterov"], grad_clip=clip
            )
        else:
            self.optimizer = module.SGD(0.0, self.parameters, grad_clip=clip)
        self.given: dict[str, Any] = {}
        if case.state is not None and self.has_momentum and case.state.velocities:
            pairs = zip(self.parameters, case.state.velocities, strict=True)
            self.given = {f"{parameter.name}_velocity_0": velocity for parameter, velocity in pairs}
            self.optimizer.set_state_dict(
                {name: self.paddle.to_tensor(velocity) for name, velocity in self.given.items()}
            )

    def step(self, gradients: Sequence[Any], rate: float | None) -> None:
        """Make one update of the variables that have a gradient."""
        if rate is None:
            raise NotImplementedError("a schedule that is a formula")
        self.optimizer.set_lr(rate)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            if gradient is not None:
                parameter.grad = self.paddle.to_tensor(np.array(gradient, parameter.numpy().dtype))
        self.optimizer.step()
        self.optimizer.clear_grad(set_to_zero=False)

    def record(self) -> dict[str, Any]:
        """Return the state."""
        variables = [parameter.numpy().copy() for parameter in self.parameters]
        if not self.has_momentum:
            return {"variables": variables, "velocities": []}
        state = self.optimizer.state_dict()
        velocities = []
        for parameter, variable in zip(self.parameters, variables, strict=True):
            name = f"{parameter.name}_velocity_0"
            # Until the first gradient of a parameter, the optimizer holds what it was given out of sight.
            before = self.given.get(name, np.zeros_like(variable))
            velocities.append(state[name].numpy().copy() if name in state else np.array(before))
        return {"variables": variables, "velocities": velocities}

    def _parameter(self, variable: Any) -> Any:
        parameter = self.paddle.create_parameter(list(variable.shape), str(variable.dtype))
        parameter.set_value(variable)
        return parameter

    def _clipping(self, config: dict[str, Any]) -> Any:
        nn = self.paddle.nn
        if config["clipnorm"] is not None:
            return nn.ClipGradByNorm(config["clipnorm"])
        if config["global_clipnorm"] is not None:
            return nn.ClipGradByGlobalNorm(config["global_clipnorm"])
        if config["clipvalue"] is not None:
            return nn.ClipGradByValue(config["clipvalue"])
        return None


def versions() -> dict[str, str]:
    """Return the versions of what is run."""
    paddle = importlib.import_module("paddle")
    paddle.set_device("cpu")
    return {"version": str(paddle.__version__)}
