"""The worker of bitsandbytes: its ``SGD32bit``, which keeps the momentum of every parameter in float32."""

from __future__ import annotations

import importlib
from typing import Any

BUFFER = "state1"


def Training(case: Any) -> Any:  # noqa: N802 - the name that the serving process asks for
    """Return one optimizer for the variables of a case."""
    optimizers = importlib.import_module("bitsandbytes.optim")

    def make(groups: list[dict[str, Any]]) -> Any:
        config = case.config
        return optimizers.SGD32bit(groups, lr=1.0, momentum=config["momentum"], nesterov=config["nesterov"])

    training = _training().Training(case, make, BUFFER)
    if case.state is not None and case.state.velocities:
        for parameter in training.parameters:
            state = training.optimizer.state[parameter]
            # The first step would take the gradient for the momentum.
            state["step"], state[BUFFER] = case.calls_before, state[BUFFER].float()
    return training


def _training() -> Any:
    """Return the module beside the script that runs this file."""
    return importlib.import_module("training_torch")


def versions() -> dict[str, str]:
    """Return the versions of what is run."""
    return dict(_training().versions("bitsandbytes"))
