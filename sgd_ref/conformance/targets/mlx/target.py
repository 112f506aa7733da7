"""MLX as a target: its offered features, its documented rule, and its known deviations."""

from __future__ import annotations

from pathlib import Path

from sgd_ref.conformance.grading.velocities import Velocities
from sgd_ref.conformance.targets.environments.environment import Environment
from sgd_ref.conformance.targets.environments.isolated import Isolation, isolated_family
from sgd_ref.conformance.targets.mlx.releases import releases

SGD = "https://ml-explore.github.io/mlx/build/html/python/optimizers/_autosummary/mlx.optimizers.SGD.html"

BY_DESIGN = {
    "rate-outside-velocity": SGD,
    # "The weight decay (L2 penalty)" becomes a part of the gradient; 0 means no decay.
    "decay-enters-velocity": SGD,
    "zero-decay-skipped": SGD,
}

EVIDENCE = {
    "clip-adds-epsilon": "optimizers/optimizers.py, `clip_grad_norm`: `max_norm / (total_norm + 1e-6)`, "
    "of which its documentation has nothing",
    "norm-of-rounded-squares": "optimizers/optimizers.py, `clip_grad_norm`: `g.square().sum()` in the dtype "
    "of the gradient, float32 for float16; the norm of [3e20, 4e20] in float32 is infinite",
    "infinite-norm-hides-gradients": "optimizers/optimizers.py, `clip_grad_norm`: an infinite norm gives the "
    "factor 0",
}

ISOLATION = Isolation(
    Environment("mlx", Path(__file__).parent, python="requirements.txt", size="140 MB"),
    offers=(
        "dtype",
        "momentum",
        "nesterov",
        "decay",
        "exclusion",
        "global_clipnorm",
        "piecewise",
        "callable",
        "missing",
    ),
    by_design=BY_DESIGN,
    evidence=EVIDENCE,
    velocities=Velocities(-1, True),
)

FAMILY = isolated_family(ISOLATION, releases)
