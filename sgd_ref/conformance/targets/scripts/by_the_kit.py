"""The code with which a script runs an implementation through the kit, for the remaining features."""

from __future__ import annotations

from sgd_ref.conformance.catalogue.case import Case

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


def resumes_velocities_alone(case: Case) -> bool:
    """Whether a case resumes from velocities and a count of calls, which a script can write without the kit.

    >>> import numpy as np
    >>> from dataclasses import replace
    >>> from sgd_ref.conformance.catalogue.case import State
    >>> w = (np.ones(1, "float32"),)
    >>> case = Case("a", {"learning_rate": 0.5, "gradient_accumulation_steps": None}, ("w",), w, (w,))
    >>> resumes_velocities_alone(case), resumes_velocities_alone(replace(case, state=State(3, w)))
    (False, True)
    """
    state = case.state
    if state is None or not state.velocities or case.config["gradient_accumulation_steps"] is not None:
        return False
    return not state.averages and not state.accumulators and state.loss_scale is None
