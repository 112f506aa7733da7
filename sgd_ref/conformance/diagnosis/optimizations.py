"""The optimisations that an implementation makes, found in the cases in which each of them changes bits."""

from __future__ import annotations

from collections.abc import Mapping

from sgd_ref.conformance.catalogue.case import Case, Trajectory
from sgd_ref.conformance.catalogue.named.optimizations import OPTIMIZATIONS, PREFIX
from sgd_ref.conformance.deviations import Basis
from sgd_ref.conformance.faithful import FAITHFUL
from sgd_ref.conformance.trajectories.comparison import compare

NOT_DONE, DONE, OTHERWISE = "not done", "done", "evaluated in another way"


def optimizations(graded: Mapping[str, tuple[Case, Trajectory, Basis]]) -> dict[str, str]:
    """Return for each optimisation whether it is done.

    Parameters
    ----------
    graded : dict of str to (Case, trajectory, Basis)
        By the id of the case, the case, the answer of the implementation, and the rule that it was held to.

    Returns
    -------
    dict of str to str
        "not done": the bits are those of the rule. "done": the bits are those of a variant with this
        optimisation. "evaluated in another way": neither. An optimisation is absent if its case was not
        graded.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> from sgd_ref.conformance.deviations import DEFINITION
    >>> case = next(c for c in conformance.cases() if c.id == "optimization/fused-multiply-add")
    >>> optimizations({case.id: (case, FAITHFUL["descent-fused"].run(case), DEFINITION)})
    {'fused-multiply-add': 'done'}
    """
    found = {}
    for optimization in OPTIMIZATIONS:
        if PREFIX + optimization.name in graded:
            found[optimization.name] = _found(*graded[PREFIX + optimization.name], optimization.variants)
    return found


def _found(case: Case, observed: Trajectory, basis: Basis, variants: tuple[str, ...]) -> str:
    if compare(case, basis.run(case), observed).equal:
        return NOT_DONE
    if any(compare(case, FAITHFUL[name].run(case), observed).equal for name in variants):
        return DONE
    return OTHERWISE
