"""timm as a target: its offered features, its documented rule, and its known deviations."""

from __future__ import annotations

from pathlib import Path

from sgd_ref.conformance.grading.velocities import Velocities
from sgd_ref.conformance.targets.environments.environment import Environment
from sgd_ref.conformance.targets.environments.isolated import Isolation, isolated_family

SGDW = "https://github.com/huggingface/pytorch-image-models/blob/v1.0.31/timm/optim/sgdw.py"

BY_DESIGN = {
    # It is torch.optim.SGD with "decoupled weight decay".
    "rate-outside-velocity": SGDW,
    # A "weight_decay" of 0 is the default, and means no decay.
    "zero-decay-skipped": SGDW,
}

EVIDENCE = {
    "decay-by-one-factor": "optim/sgdw.py, `_single_tensor_sgdw`: `param.mul_(1. - wd_scale * weight_decay)` "
    "leaves an infinite weight as it is",
}

SETTINGS = {"CUDA_VISIBLE_DEVICES": "-1", "OMP_NUM_THREADS": "1"}

ISOLATION = Isolation(
    Environment("timm", Path(__file__).parent, python="requirements.txt", size="1 GB", settings=SETTINGS),
    offers=("dtype", "momentum", "nesterov", "decay", "exclusion", "piecewise", "callable", "missing"),
    by_design=BY_DESIGN,
    evidence=EVIDENCE,
    velocities=Velocities(-1, True),
    # The deviation that this would be multiplies in float32 and half types alone.
    causes={r"^axes/float64/.*decay.*special": "as for decay-by-one-factor, with a factor in float64"},
)

FAMILY = isolated_family(ISOLATION)
