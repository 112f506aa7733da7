"""The code with which a script runs an implementation through the kit, for the remaining features."""

from __future__ import annotations

CODE = """\
from sgd_ref.conformance.targets.{target}.worker import prepare
from sgd_ref.gradients import SparseRows as Rows

# {reason}
_, run_case = prepare("{argument}")


def native(gradient):
    if hasattr(gradient, "indices"):
        return Rows(gradient.indices, gradient.values, gradient.shape)
    return gradient


def run(case):
    case.gradients = tuple(tuple(map(native, gradients)) for gradients in case.gradients)
    return run_case(case)
"""


def how_to_run(target: str, argument: str, reason: str) -> str:
    """Return the code that defines ``run(case)`` by the worker of a target, which needs this package.

    >>> print(how_to_run("torch", "fused", "It resumes from a state.").splitlines()[3])
    # It resumes from a state.
    """
    return CODE.format(target=target, argument=argument, reason=reason)
