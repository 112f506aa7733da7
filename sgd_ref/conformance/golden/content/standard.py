"""The trajectories of the standard tier: the file of each case, and the module that makes it."""

from __future__ import annotations

from sgd_ref.conformance.catalogue import named, structure, tiers
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.named import exact


def path_of(case: Case) -> str:
    """Return the path of the file of a case, in the folder of the golden data.

    >>> path_of(tiers.cases("standard")[1])
    'standard/axes/momentum.json'
    """
    group, *rest = case.id.split("/")
    return f"standard/{group}/{'-'.join(rest)}.json"


def source_of(case: Case) -> str:
    """Return the module that makes a case."""
    modules = {"named": named, "exact": exact, "structure": structure}
    return modules.get(case.id.partition("/")[0], tiers).__name__
