"""tinygrad as a target: its offered features, its documented rule, and its known deviations."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.grading.velocities import Velocities
from sgd_ref.conformance.targets.environments.environment import Environment
from sgd_ref.conformance.targets.environments.isolated import Isolation, isolated_family
from sgd_ref.conformance.targets.known import KnownFailure
from sgd_ref.conformance.targets.tinygrad.releases import releases

SGD = "https://docs.tinygrad.org/nn/#tinygrad.nn.optim.SGD"


def has_momentum_of_float64(case: Case) -> bool:
    """Whether a variable of float64 has a momentum buffer."""
    return bool(case.config["momentum"]) and any(one.dtype == np.float64 for one in case.variables)


FAILURES = (
    KnownFailure(
        "momentum-of-float64-refused",
        r"assign dtype mismatch dtypes\.float != dtypes\.double",
        has_momentum_of_float64,
        "nn/optim.py, `_new_optim_param`: buffers have the dtype OPTIM_DTYPE, float32, and take no float64",
    ),
)

ISOLATION = Isolation(
    Environment(
        "tinygrad",
        Path(__file__).parent,
        python="requirements.txt",
        tools=("clang",),
        size="140 MB",
        settings={"DEV": "CPU"},
    ),
    # Every parameter has a gradient. The rate is a tensor of one element, which cannot be combined with a
    # variable without axes. Half types need a newer clang than that of Debian 12.
    offers=(
        "float32",
        "float64",
        "filled",
        "momentum",
        "nesterov",
        "decay",
        "exclusion",
        "piecewise",
        "callable",
    ),
    rule="pytorch",
    failures=FAILURES,
    velocities=Velocities(-1, True),
    # Each program is compiled for its shapes: a case of a thousand calls takes a minute on a busy machine.
    time_limit=300.0,
)

FAMILY = isolated_family(ISOLATION, releases)
