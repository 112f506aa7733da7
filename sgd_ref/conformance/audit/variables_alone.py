"""Whether the judge rejects a deviation if only variables are reported, as by many adapters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sgd_ref.conformance.catalogue.case import Case, Trajectory
from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.conformance.grading.check import grade
from sgd_ref.conformance.trajectories import reference


def killing(name: str, cases: Iterable[Case]) -> Iterator[str]:
    """Yield the ids of the cases that reject a deviation by its variables alone.

    Parameters
    ----------
    name : str
        The name of the deviation.
    cases : iterable of Case
        The cases, which are run one by one when the next id is asked for.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> next(killing("ascends", conformance.cases()))
    'axes/plain'
    """
    deviation = DEVIATIONS[name]

    def run(case: Case) -> Trajectory:
        records = reference.run(case, deviation.optimizer, deviation.wrapper)
        return [{"variables": record["variables"]} for record in records]

    for case in cases:
        if grade(run, case).grade == "diverges":
            yield case.id
