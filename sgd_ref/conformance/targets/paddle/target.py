"""PaddlePaddle as a target: its offered features, its documented rule, and its known deviations."""

from __future__ import annotations

from pathlib import Path

from sgd_ref.conformance.grading.velocities import Velocities
from sgd_ref.conformance.targets.environments.environment import Environment
from sgd_ref.conformance.targets.environments.isolated import Isolation, isolated_family

MOMENTUM = "https://www.paddlepaddle.org.cn/documentation/docs/en/api/paddle/optimizer/Momentum_en.html"
DECAY = "https://www.paddlepaddle.org.cn/documentation/docs/en/api/paddle/regularizer/L2Decay_en.html"

BY_DESIGN = {
    "rate-outside-velocity": MOMENTUM,
    "decay-enters-velocity": DECAY,
}

EVIDENCE = {
    "momentum-through-float32": "phi/kernels/impl/momentum_kernel_impl.h: `mu` and the coefficient of the "
    "decay are attributes of the type float",
    "norm-of-rounded-squares": "nn/clip.py: squares in the dtype of the gradient overflow and underflow",
    "infinite-norm-hides-gradients": "nn/clip.py, `ClipGradByGlobalNorm`: an infinite norm gives "
    "the factor 0",
}

ISOLATION = Isolation(
    Environment("paddle", Path(__file__).parent, python="requirements.txt", size="700 MB"),
    # On a CPU, it supports float32 and float64.
    offers=(
        "float32",
        "float64",
        "momentum",
        "nesterov",
        "decay",
        "exclusion",
        "clipnorm",
        "clipvalue",
        "global_clipnorm",
        "piecewise",
        "callable",
        "missing",
    ),
    by_design=BY_DESIGN,
    evidence=EVIDENCE,
    velocities=Velocities(-1, True),
)

FAMILY = isolated_family(ISOLATION)
