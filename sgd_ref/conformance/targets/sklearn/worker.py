"""The worker of scikit-learn: ``SGDOptimizer``, as its multilayer perceptrons use it."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any


class Training:
    """One optimizer for the variables of a case."""

    def __init__(self, case: Any) -> None:
        config = case.config
        module = importlib.import_module("sklearn.neural_network._stochastic_optimizers")
        self.variables = [variable.copy() for variable in case.variables]
        self.has_momentum = config["momentum"] != 0
        self.optimizer = module.SGDOptimizer(
            self.variables, momentum=config["momentum"], nesterov=config["nesterov"]
        )
        if case.state is not None and case.state.velocities:
            self.optimizer.velocities = [velocity.copy() for velocity in case.state.velocities]

    def step(self, gradients: Sequence[Any], rate: float | None) -> None:
        """Make one update."""
        if rate is None:
            raise NotImplementedError("a schedule that is a formula")
        # The optimizer itself sets its adaptive rate in this way.
        self.optimizer.learning_rate = rate
        self.optimizer.update_params(self.variables, gradients)

    def record(self) -> dict[str, Any]:
        """Return the state."""
        velocities = self.optimizer.velocities if self.has_momentum else []
        return {"variables": self.variables, "velocities": list(velocities)}


def versions() -> dict[str, str]:
    """Return the versions of what is run."""
    return {"version": str(importlib.import_module("sklearn").__version__)}
