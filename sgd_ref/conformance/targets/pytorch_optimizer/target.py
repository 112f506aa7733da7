"""pytorch_optimizer as a target: its offered features and its documented rule."""

from __future__ import annotations

from pathlib import Path

from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.grading.velocities import Velocities
from sgd_ref.conformance.targets.environments.environment import Environment
from sgd_ref.conformance.targets.environments.isolated import Isolation, isolated_family
from sgd_ref.conformance.targets.known import KnownFailure
from sgd_ref.conformance.targets.pytorch_optimizer.releases import SETTINGS, releases

SGDW = "https://pytorch-optimizers.readthedocs.io/en/latest/optimizer/"

BY_DESIGN = {
    # A "momentum factor" as that of torch.optim.SGD.
    "rate-outside-velocity": SGDW,
    # "Apply weight decay to parameters instead of adding it to the gradient"; 0, the default, means no decay.
    "zero-decay-skipped": SGDW,
}

EVIDENCE = {
    "decay-by-one-factor": "base/optimizer.py, `apply_weight_decay`: `p.mul_(1.0 - weight_decay * lr)` "
    "leaves an infinite weight as it is",
}


def has_a_momentum_of_one(case: Case) -> bool:
    """Whether the momentum is 1."""
    return bool(case.config["momentum"] == 1)


FAILURES = (
    KnownFailure(
        "momentum-of-one-refused",
        r"momentum must be in the range \[0\.0, 1\.0\)",
        has_a_momentum_of_one,
        "optimizer/sgd.py, `SGDW.__init__`: `validate_range(momentum, 'momentum', 0.0, 1.0)` leaves out 1",
    ),
)

ISOLATION = Isolation(
    Environment(
        "pytorch_optimizer",
        Path(__file__).parent,
        python="requirements.txt",
        size="1 GB",
        settings=SETTINGS,
    ),
    offers=("dtype", "momentum", "nesterov", "decay", "exclusion", "piecewise", "callable", "missing"),
    by_design=BY_DESIGN,
    evidence=EVIDENCE,
    failures=FAILURES,
    velocities=Velocities(-1, True),
    # The deviation that this would be multiplies in float32 and half types alone.
    causes={r"^axes/float64/.*decay.*special": "as for decay-by-one-factor, with a factor in float64"},
)

FAMILY = isolated_family(ISOLATION, releases)
