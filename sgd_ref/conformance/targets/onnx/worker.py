"""The worker of ONNX: a model with one ``Momentum`` for each variable, in the reference evaluator."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

DOMAIN = "ai.onnx.preview.training"


class Training:
    """A model for each variable of a case, and the state between its runs."""

    def __init__(self, case: Any) -> None:
        config = case.config
        self.variables = [variable.copy() for variable in case.variables]
        self.has_momentum = config["momentum"] != 0
        self.velocities = [np.zeros_like(variable) for variable in self.variables]
        if case.state is not None and case.state.velocities:
            self.velocities = list(case.state.velocities)
        self.count = case.calls_before
        self.models = [
            _model(config, variable, is_excluded)
            for variable, is_excluded in zip(self.variables, case.excluded, strict=True)
        ]

    def step(self, gradients: Sequence[Any], rate: float | None) -> None:
        """Make one update of the variables that have a gradient."""
        if rate is None:
            raise NotImplementedError("a schedule that is a formula")
        for position, gradient in enumerate(gradients):
            if gradient is None:
                continue
            variable = self.variables[position]
            inputs = {
                "R": np.array(rate, variable.dtype),
                "T": np.array(self.count, np.int64),
                "X": variable,
                "G": np.asarray(gradient, variable.dtype),
                "V": self.velocities[position],
            }
            outputs = self.models[position].run(None, inputs)
            self.variables[position], self.velocities[position] = map(np.asarray, outputs)
        self.count += 1

    def record(self) -> dict[str, Any]:
        """Return the state."""
        velocities = self.velocities if self.has_momentum else []
        return {"variables": self.variables, "velocities": list(velocities)}


def _model(config: dict[str, Any], variable: Any, is_excluded: bool) -> Any:
    helper = importlib.import_module("onnx.helper")
    kind = helper.np_dtype_to_tensor_dtype(variable.dtype)
    int64 = helper.np_dtype_to_tensor_dtype(np.dtype("int64"))
    decay = 0.0 if is_excluded else config["weight_decay"] or 0.0
    node = helper.make_node(
        "Momentum",
        ["R", "T", "X", "G", "V"],
        ["X_new", "V_new"],
        domain=DOMAIN,
        alpha=float(config["momentum"]),
        beta=1.0,
        mode="nesterov" if config["nesterov"] else "standard",
        norm_coefficient=float(decay),
    )
    shape = list(variable.shape)
    inputs = [("R", kind, []), ("T", int64, []), ("X", kind, shape), ("G", kind, shape), ("V", kind, shape)]
    graph = helper.make_graph(
        [node],
        "update",
        [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_tensor_value_info(name, kind, shape) for name in ("X_new", "V_new")],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid(DOMAIN, 1)]
    model = helper.make_model(graph, opset_imports=opsets)
    return importlib.import_module("onnx.reference").ReferenceEvaluator(model)


def versions() -> dict[str, str]:
    """Return the versions of what is run."""
    return {"version": str(importlib.import_module("onnx").__version__)}
