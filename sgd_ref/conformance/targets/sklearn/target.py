"""scikit-learn as a target: its offered features, its documented rule, and its known deviations."""

from __future__ import annotations

from pathlib import Path

from sgd_ref.conformance.targets.environments.environment import Environment
from sgd_ref.conformance.targets.environments.isolated import Isolation, isolated_family
from sgd_ref.conformance.targets.sklearn.releases import releases

EVIDENCE = {
    "zero-momentum-multiplied": "neural_network/_stochastic_optimizers.py, `_get_updates`: "
    "`self.momentum * velocity` also where the momentum is 0, so that an infinite velocity becomes NaN",
}

ISOLATION = Isolation(
    Environment("sklearn", Path(__file__).parent, python="requirements.txt", size="300 MB"),
    # Multilayer perceptrons use float32 and float64, and every parameter has a gradient.
    offers=("float32", "float64", "momentum", "nesterov", "piecewise", "callable"),
    evidence=EVIDENCE,
)

FAMILY = isolated_family(ISOLATION, releases)
