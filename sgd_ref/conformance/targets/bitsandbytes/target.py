"""bitsandbytes as a target: its offered features, its documented rule, and its known deviations."""

from __future__ import annotations

from pathlib import Path

from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.grading.velocities import Velocities
from sgd_ref.conformance.targets.bitsandbytes.releases import SETTINGS, releases
from sgd_ref.conformance.targets.environments.environment import Environment
from sgd_ref.conformance.targets.environments.isolated import Isolation, isolated_family
from sgd_ref.conformance.targets.known import KnownFailure

SGD = "https://huggingface.co/docs/bitsandbytes/main/en/reference/optim/sgd"

BY_DESIGN = {
    # "momentum" and "weight_decay" as those of torch.optim.SGD.
    "rate-outside-velocity": SGD,
    "decay-enters-velocity": SGD,
    "zero-decay-skipped": SGD,
}

EVIDENCE = {
    "nesterov-ignored": "optim/sgd.py, `SGD32bit.__init__` takes `nesterov` and uses it nowhere, "
    "https://github.com/bitsandbytes-foundation/bitsandbytes/pull/2085",
}


def has_a_momentum_of_one(case: Case) -> bool:
    """Whether the momentum is 1."""
    return bool(case.config["momentum"] == 1)


FAILURES = (
    KnownFailure(
        "momentum-of-one-refused",
        r"Invalid beta parameter at index 0: 1\.0",
        has_a_momentum_of_one,
        "optim/optimizer.py, `Optimizer1State.__init__`: a momentum has to be below 1, as in Adam",
    ),
)

ISOLATION = Isolation(
    Environment(
        "bitsandbytes",
        Path(__file__).parent,
        python="requirements.txt",
        size="1 GB",
        settings=SETTINGS,
    ),
    # Its kernels compute in float32.
    offers=(
        "float32",
        "float16",
        "bfloat16",
        "momentum",
        "nesterov",
        "decay",
        "exclusion",
        "piecewise",
        "callable",
        "missing",
    ),
    by_design=BY_DESIGN,
    evidence=EVIDENCE,
    failures=FAILURES,
    velocities=Velocities(-1, True),
    hidden_wider_state=True,
)

FAMILY = isolated_family(ISOLATION, releases)
