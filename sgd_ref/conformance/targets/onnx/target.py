"""ONNX as a target: its offered features, its documented rule, and its known deviations."""

from __future__ import annotations

from pathlib import Path

from sgd_ref.conformance.grading.velocities import Velocities
from sgd_ref.conformance.targets.environments.environment import Environment
from sgd_ref.conformance.targets.environments.isolated import Isolation, isolated_family

MOMENTUM = "https://onnx.ai/onnx/operators/onnx_aionnxpreviewtraining_Momentum.html"

BY_DESIGN = {
    "rate-outside-velocity": MOMENTUM,
    "decay-enters-velocity": MOMENTUM,
    # The formulas do not treat a momentum or a coefficient of 0 as a special case.
    "zero-momentum-multiplied": MOMENTUM,
    "unset-decay-multiplied": MOMENTUM,
    # An attribute of an operator is a float32.
    "momentum-through-float32": "https://onnx.ai/onnx/intro/concepts.html",
}

ISOLATION = Isolation(
    Environment("onnx", Path(__file__).parent, python="requirements.txt", size="140 MB"),
    # The operator is defined for float32 and float64. One coefficient applies to all of its variables.
    offers=(
        "float32",
        "float64",
        "momentum",
        "nesterov",
        "decay",
        "piecewise",
        "callable",
        "missing",
    ),
    by_design=BY_DESIGN,
    velocities=Velocities(-1, True),
)

FAMILY = isolated_family(ISOLATION)
