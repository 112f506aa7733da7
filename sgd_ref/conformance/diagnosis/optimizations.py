"""Which optimisations an implementation makes: found in the cases in which each of them changes bits."""

from __future__ import annotations

from collections.abc import Mapping

from sgd_ref.conformance.catalogue.case import Case, Trajectory
from sgd_ref.conformance.catalogue.named.optimizations import OPTIMIZATIONS, PREFIX
from sgd_ref.conformance.faithful import FAITHFUL
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import compare

NOT_DONE, DONE, OTHERWISE = "not done", "done", "evaluated in another way"


def optimizations(graded: Mapping[str, tuple[Case, Trajectory]]) -> dict[str, str]:
    """Return for each optimisation whether it is done.

    Parameters
    ----------
    graded : dict of str to (Case, trajectory)
        By the id of the case, what an implementation answered.

    Returns
    -------
    dict of str to str
        "not done": the bits are those of the reference. "done": they are those of one of its variants.
        "evaluated in another way": they are neither. An optimisation is absent if its case was not graded.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> case = next(c for c in conformance.cases() if c.id == "optimization/fused-multiply-add")
    >>> optimizations({case.id: (case, FAITHFUL["descent-fused"].run(case))})
    {'fused-multiply-add': 'done'}
    """
    found = {}
    for optimization in OPTIMIZATIONS:
        if PREFIX + optimization.name in graded:
            case, observed = graded[PREFIX + optimization.name]
            found[optimization.name] = _found(case, observed, optimization.variants)
    return found


def _found(case: Case, observed: Trajectory, variants: tuple[str, ...]) -> str:
    if compare(case, reference.run(case), observed).equal:
        return NOT_DONE
    if any(compare(case, FAITHFUL[name].run(case), observed).equal for name in variants):
        return DONE
    return OTHERWISE
