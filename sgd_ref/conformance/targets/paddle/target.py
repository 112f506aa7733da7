"""PaddlePaddle as a target: its offered features, its documented rule, and its known deviations."""

from __future__ import annotations

from pathlib import Path

from sgd_ref.conformance.grading.velocities import Velocities
from sgd_ref.conformance.targets.environments.environment import Environment
from sgd_ref.conformance.targets.environments.isolated import Isolation, isolated_family
from sgd_ref.conformance.targets.paddle.releases import releases

MOMENTUM = "https://www.paddlepaddle.org.cn/documentation/docs/en/api/paddle/optimizer/Momentum_en.html"
DECAY = "https://www.paddlepaddle.org.cn/documentation/docs/en/api/paddle/regularizer/L2Decay_en.html"

BY_DESIGN = {
    "rate-outside-velocity": MOMENTUM,
    "decay-enters-velocity": DECAY,
}

EVIDENCE = {
    "momentum-through-float32": "optimizer/momentum.py gives `momentum` and the coefficient of the decay to "
    "`_C_ops.momentum_`, which rounds both to float32: 0.9 is 0.8999999761581421 for a float64 parameter",
    "norm-of-rounded-squares": "nn/clip.py, `_squared_l2_norm`: squares in the dtype of the gradient; the "
    "norm of [3e20, 4e20] in float32 is infinite",
    "infinite-norm-hides-gradients": "nn/clip.py, `ClipGradByGlobalNorm`: the factor is "
    "`clip_norm / max(norm, clip_norm)`, which is 0 for an infinite norm",
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

FAMILY = isolated_family(ISOLATION, releases)
