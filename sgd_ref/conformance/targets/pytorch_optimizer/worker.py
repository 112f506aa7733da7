"""The worker of pytorch_optimizer: its ``SGDW``, whose weight decay is apart from the gradient."""

from __future__ import annotations

import importlib
from typing import Any


def Training(case: Any) -> Any:  # noqa: N802 - the name that the serving process asks for
    """Return one optimizer for the variables of a case."""
    momentum = case.config["momentum"]

    def make(groups: list[dict[str, Any]]) -> Any:
        optimizers = importlib.import_module("pytorch_optimizer")
        looks_ahead = case.config["nesterov"] and momentum != 0
        return optimizers.SGDW(groups, lr=1.0, momentum=momentum, nesterov=looks_ahead)

    return _training().Training(case, make, "momentum_buffer")


def _training() -> Any:
    """Return the module beside the script that runs this file."""
    return importlib.import_module("training_torch")


def versions() -> dict[str, str]:
    """Return the versions of what is run."""
    return dict(_training().versions("pytorch_optimizer"))
