"""JAX as a target: its offered features, its documented rule, and its known deviations."""

from __future__ import annotations

from pathlib import Path

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.grading.velocities import Velocities
from sgd_ref.conformance.targets.environments.environment import Environment
from sgd_ref.conformance.targets.environments.isolated import Isolation, isolated_family
from sgd_ref.conformance.targets.jax.releases import releases
from sgd_ref.conformance.targets.known import KnownFailure

OPTIMIZERS = "https://docs.jax.dev/en/latest/jax.example_libraries.optimizers.html"

BY_DESIGN = {"rate-outside-velocity": OPTIMIZERS}

EVIDENCE = {
    "infinite-norm-hides-gradients": "example_libraries/optimizers.py, `clip_grads`: the factor "
    "`max_norm / norm` is 0 where the norm is infinite",
    "norm-of-rounded-squares": "example_libraries/optimizers.py, `l2_norm`: `jnp.vdot(x, x)` overflows and "
    "underflows in the dtype of the gradient",
    "subnormals-flushed": "XLA for CPUs computes without subnormal numbers",
    "quotient-in-float32": "example_libraries/optimizers.py, `polynomial_decay`: `jnp.minimum` makes the "
    "step an array, whose quotient is a float32",
}


def promotes(case: Case) -> bool:
    """Whether a rate or a common norm is an array of a wider dtype than some variable."""
    dtypes = {variable.dtype for variable in case.variables}
    schedule = case.config["learning_rate"]
    has_array = isinstance(schedule, dict) and schedule["class_name"] == "PiecewiseConstantDecay"
    return (has_array and bool(dtypes & {FLOAT16, BFLOAT16})) or (
        case.config["global_clipnorm"] is not None and len(dtypes) > 1
    )


def has_large_boundary(case: Case) -> bool:
    """Whether a piecewise constant rate has a boundary past 2**31 - 1."""
    schedule = case.config["learning_rate"]
    return isinstance(schedule, dict) and any(
        boundary >= 2**31 for boundary in schedule["config"].get("boundaries", ())
    )


def passes_32_bits(case: Case) -> bool:
    """Whether the count of calls goes past 2**31 - 1."""
    return case.state is not None and case.state.calls + len(case.gradients) > 2**31


FAILURES = (
    KnownFailure(
        "parameters-promoted",
        r"the dtypes and shapes of record \d+\.variables must be",
        promotes,
        "example_libraries/optimizers.py: what `piecewise_constant` returns, and the norm in `clip_grads` "
        "are arrays that promote parameters of narrower dtypes, which so change their dtype",
    ),
    KnownFailure(
        "boundary-too-large",
        r"OverflowError: Python integer \d+ out of bounds for int32",
        has_large_boundary,
        "example_libraries/optimizers.py, `piecewise_constant`: boundaries become an int32 array",
    ),
    KnownFailure(
        "count-too-large",
        r"OverflowError: (An overflow was encountered|Python integer \d+ out of bounds for int32)",
        passes_32_bits,
        "example_libraries/optimizers.py: schedules compare and divide the count as an int32",
    ),
)

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
    failures=FAILURES,
    velocities=Velocities(-1, True),
)

FAMILY = isolated_family(ISOLATION, releases)
