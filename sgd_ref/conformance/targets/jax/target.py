"""JAX as a target: its offered features, its documented rule, and its known deviations."""

from __future__ import annotations

from pathlib import Path

from sgd_ref.conformance.grading.velocities import Velocities
from sgd_ref.conformance.targets.environments.environment import Environment
from sgd_ref.conformance.targets.environments.isolated import Isolation, isolated_family

OPTIMIZERS = "https://docs.jax.dev/en/latest/jax.example_libraries.optimizers.html"

BY_DESIGN = {"rate-outside-velocity": OPTIMIZERS}

EVIDENCE: dict[str, str] = {}

ISOLATION = Isolation(
    Environment(
        "jax",
        Path(__file__).parent,
        python="requirements.txt",
        size="620 MB",
        settings={"JAX_PLATFORMS": "cpu"},
    ),
    offers=(
        "dtype",
        "momentum",
        "nesterov",
        "global_clipnorm",
        "piecewise",
        "callable",
        "exponential",
        "inverse_time",
        "polynomial",
    ),
    by_design=BY_DESIGN,
    evidence=EVIDENCE,
    velocities=Velocities(-1, True),
)

FAMILY = isolated_family(ISOLATION)
