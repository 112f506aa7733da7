"""The worker of JAX: ``sgd``, ``momentum`` and ``nesterov`` of its example optimizers, not jitted."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


class Training:
    """One optimizer for the variables of a case."""

    def __init__(self, case: Any) -> None:
        self.jax = importlib.import_module("jax")
        # Without this setting there is no float64; with it, the rate of a schedule may be a float64.
        self.jax.config.update("jax_enable_x64", any(one.dtype == "float64" for one in case.variables))
        self.optimizers = importlib.import_module("jax.example_libraries.optimizers")
        config = case.config
        self.clipnorm = config["global_clipnorm"]
        self.count = case.calls_before
        self.rate: float | None = None
        self.has_momentum = config["momentum"] != 0
        variables = [self.jax.numpy.asarray(variable) for variable in case.variables]
        self.init, self.update, self.get = self._optimizer(config, self._schedule(case))
        self.state = self.init(variables)
        if case.state is not None and case.state.velocities and self.has_momentum:
            velocities = [self.jax.numpy.asarray(velocity) for velocity in case.state.velocities]
            packed = tuple(zip(variables, velocities, strict=True))
            self.state = self.state._replace(packed_state=packed)

    def step(self, gradients: Sequence[Any], rate: float | None) -> None:
        """Make one update."""
        self.rate = rate
        variables = self.get(self.state)
        # Automatic differentiation gives each gradient the dtype of its parameter.
        pairs = zip(gradients, variables, strict=True)
        native = [self.jax.numpy.asarray(gradient, variable.dtype) for gradient, variable in pairs]
        if self.clipnorm is not None:
            native = self.optimizers.clip_grads(native, self.clipnorm)
        self.state = self.update(self.count, native, self.state)
        self.count += 1

    def record(self) -> dict[str, Any]:
        """Return the state."""
        velocities: list[Any] = []
        if self.has_momentum:
            velocities = [np.array(state[1]) for state in self.state.packed_state]
        return {"variables": [np.array(one) for one in self.get(self.state)], "velocities": velocities}

    def _optimizer(self, config: dict[str, Any], schedule: Callable[[int], float | None]) -> Any:
        if config["momentum"] == 0:
            return self.optimizers.sgd(schedule)
        kind = self.optimizers.nesterov if config["nesterov"] else self.optimizers.momentum
        return kind(schedule, config["momentum"])

    def _schedule(self, case: Any) -> Callable[[int], float | None]:
        given = case.config["learning_rate"]
        if not isinstance(given, dict):
            # A number, or what a callable gave for this call.
            return lambda count: self.rate
        kind, config = given["class_name"], given["config"]
        start, steps = config.get("initial_learning_rate"), config.get("decay_steps")
        schedule: Callable[[int], float | None]
        if kind == "PiecewiseConstantDecay":
            schedule = self.optimizers.piecewise_constant(config["boundaries"], config["values"])
        elif kind == "ExponentialDecay" and not config["staircase"]:
            schedule = self.optimizers.exponential_decay(start, steps, config["decay_rate"])
        elif kind == "InverseTimeDecay":
            schedule = self.optimizers.inverse_time_decay(
                start, steps, config["decay_rate"], staircase=config["staircase"]
            )
        elif kind == "PolynomialDecay" and not config["cycle"]:
            schedule = self.optimizers.polynomial_decay(
                start, steps, config["end_learning_rate"], config["power"]
            )
        else:
            modes = [name for name in ("staircase", "cycle") if config.get(name)]
            raise NotImplementedError(" with ".join([f"the schedule {kind}", *modes]))
        return schedule


def versions() -> dict[str, str]:
    """Return the versions of what is run."""
    jax = importlib.import_module("jax")
    return {"version": jax.__version__, "jaxlib": importlib.import_module("jaxlib").__version__}
