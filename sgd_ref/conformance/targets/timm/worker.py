"""The worker of timm: its ``SGDW``, whose weight decay is apart from the gradient."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any


def Training(case: Any) -> Any:  # noqa: N802 - the name that the serving process asks for
    """Return one optimizer for the variables of a case."""
    momentum = case.config["momentum"]

    def make(groups: list[dict[str, Any]]) -> Any:
        looks_ahead = case.config["nesterov"] and momentum != 0
        return _module().SGDW(groups, lr=1.0, momentum=momentum, nesterov=looks_ahead)

    return _training().Training(case, make, "momentum_buffer")


def _module() -> Any:
    """Return the module of the optimizer without the models, whose torchvision must fit this PyTorch."""
    if "timm" not in sys.modules:
        spec = importlib.util.find_spec("timm")
        assert spec is not None
        assert spec.origin is not None
        folder = Path(spec.origin).parent
        for name, place in (("timm", folder), ("timm.optim", folder / "optim")):
            package = ModuleType(name)
            package.__path__ = [str(place)]
            sys.modules[name] = package
    return importlib.import_module("timm.optim.sgdw")


def _training() -> Any:
    """Return the module beside the script that runs this file."""
    return importlib.import_module("training_torch")


def versions() -> dict[str, str]:
    """Return the versions of what is run."""
    return dict(_training().versions("timm"))
