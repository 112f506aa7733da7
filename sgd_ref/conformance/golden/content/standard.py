"""The trajectories of the standard tier: which cases of the catalogue are stored, and where."""

from __future__ import annotations

from collections.abc import Iterator

from sgd_ref.conformance.cases import catalogue, named
from sgd_ref.conformance.cases.axes import Features, every_pair
from sgd_ref.conformance.cases.case import Case
from sgd_ref.conformance.cases.named import exact
from sgd_ref.conformance.cases.named.optimizations import PREFIX

EXACT = "exact"

_HALF = ("float16", "bfloat16")
NARROWER: dict[str, tuple[str, ...]] = {
    "float16": (),
    "bfloat16": (),
    "float32": _HALF,
    "float64": (*_HALF, "float32"),
}


def standard_cases() -> Iterator[Case]:
    """Yield the cases of the catalogue that are stored.

    They are each feature alone, every pair of features, the exact cases, and the named ones. Those that name
    an optimisation fail nobody, and so need none but the judge. Of the exact cases, which come in several
    dtypes with the same small numbers, the narrowest dtypes are stored.

    >>> next(standard_cases()).id.split("/")[0]
    'float32'
    """
    cases = catalogue.cases("standard")
    ids = {case.id for case in cases}
    pairs = {catalogue.case_id(features) for features in every_pair()}
    for case in cases:
        if case.features is not None:
            is_stored = case.id in pairs or _is_feature_alone(case.features)
        elif case.id.startswith(f"{EXACT}/"):
            is_stored = not _has_narrower(case.id, ids)
        else:
            is_stored = not case.id.startswith(PREFIX)
        if is_stored:
            yield case


def _is_feature_alone(features: Features) -> bool:
    """Whether at most one feature beside the dtype and the update is not plain."""
    others = [axis for axis in features if axis not in ("dtype", "update")]
    return sum(features[axis] != catalogue.PLAINEST[axis] for axis in others) <= 1


def _has_narrower(case_id: str, ids: set[str]) -> bool:
    name, dtype = case_id.rsplit("/", 1)
    return any(f"{name}/{narrower}" in ids for narrower in NARROWER[dtype])


def path_of(case: Case) -> str:
    """Return the path of the file of a case, in the folder of the golden data.

    >>> path_of(next(standard_cases()))
    'standard/float32/plain-none-none-none-none-none-constant-dense-ordinary-dyadic.json'
    """
    group, *rest = case.id.split("/")
    return f"standard/{group}/{'-'.join(rest)}.json"


def source_of(case: Case) -> str:
    """Return the module that makes a case."""
    module = named if case.id.startswith("named/") else exact if case.id.startswith("exact/") else catalogue
    return module.__name__
