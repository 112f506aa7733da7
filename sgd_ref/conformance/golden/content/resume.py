"""Cases that resume in mid-trajectory: one or two calls from a given state, so that errors do not add up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from sgd_ref.conformance.catalogue.case import Case, State
from sgd_ref.conformance.trajectories import reference


def resumed(case: Case, calls_before: int, calls: int) -> Case:
    """Return a case that begins in the middle of another one.

    Parameters
    ----------
    case : Case
        The whole run.
    calls_before : int
        How many of its calls were made; at least 1.
    calls : int
        How many of the following calls the new case has, or as many as there are.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> case = conformance.cases("first")[1]
    >>> resumed(case, 2, calls=1).state.calls
    2
    """
    record = reference.run(case)[calls_before - 1]
    chosen = slice(calls_before, calls_before + calls)
    rates = case.learning_rate_calls
    return replace(
        case,
        id=f"resume/{case.id.removeprefix('first/')}/after-{calls_before}",
        variables=tuple(record["variables"]),
        gradients=case.gradients[chosen],
        state=State(
            calls=record["calls"],
            velocities=tuple(record["velocities"]),
            averages=tuple(record["averages"]),
            accumulators=tuple(record["accumulators"]),
            loss_scale=None if case.loss_scaling is None else float(np.float32(record["loss_scale"])),
            growth_counter=None if case.loss_scaling is None else record["growth_counter"],
        ),
        learning_rate_calls=None if rates is None else rates[chosen],
        exposes=(),
        notes=f"Resumes {case.id} after {calls_before} call{'s' * (calls_before > 1)}.",
    )


def grouped(whole: Iterable[Case]) -> dict[str, list[Case]]:
    """Return for each whole case its name and resumed cases, one starting at each call after the first.

    Those after an even number of calls make one call, the others two.
    """
    return {
        case.id.split("/")[-1]: [
            resumed(case, calls_before, calls=1 + calls_before % 2)
            for calls_before in range(1, len(case.gradients))
        ]
        for case in whole
    }
