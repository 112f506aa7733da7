"""The cases that are run as PTX: enough of each kind to reach the code of every kernel."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import numpy as np

from numba_kernels.selfcheck import gradient_forms, product, special
from numba_kernels.selfcheck.extent import FULL, QUICK, Extent
from numba_kernels.selfcheck.making import dense_case, random_numbers
from numba_kernels.selfcheck.ptx.checks import branches
from numba_kernels.selfcheck.ptx.checks.working import Way
from numba_kernels.shared.element import VARIANTS, Variant
from sgd_ref import schedules
from sgd_ref.arithmetic.formats import FORMATS
from sgd_ref.conformance.catalogue.axes import AXES, Features
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.combinations import case_id
from sgd_ref.conformance.catalogue.tiers import cases as of_the_kit
from sgd_ref.conformance.catalogue.tiers import make_case

Item = TypeVar("Item")

BRANCHES_NAME, NORM_BRANCHES_NAME = "branches", "branches of norms"
STANDARD_NAME, PRODUCT_NAME, SIZES_NAME, SPECIAL_NAME, FORMS_NAME, NORMS_NAME, GRAPHS_NAME = (
    "standard tier",
    "product",
    "sizes and places",
    "special values",
    "forms of gradients",
    "norms, exactly",
    "streams and graphs",
)

MOST_ELEMENTS, MOST_CALLS = 4096, 12
"""The largest cases of the standard tier that are run; larger cases take too long."""

SHARE_OF_QUICK = 8
"""The quick tier has one case in this number, and other cases for each seed."""

PACKETS = tuple((size,) for size in (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 24, 33))
MIDDLE = ((203,), (257,), (2048,), (2049,), (45, 61))
LONG = ((branches.CHUNK + 9,),)
"""More chunks than the device has room for blocks, so that a block has several chunks."""

REPLAYED = (3, 5), (300,), (7,)


class Group(NamedTuple):
    """Cases that are run in the same way.

    Attributes
    ----------
    name : str
        The name of the row in the table.
    cases : list of Case
    way : Way
    """

    name: str
    cases: list[Case]
    way: Way


def groups(extent: Extent) -> Iterator[Group]:
    """Yield all requested cases of an extent."""
    for group in _all_groups(extent):
        wanted = [case for case in group.cases if extent.wants(case.id)]
        if wanted:
            yield group._replace(cases=wanted)


def _all_groups(extent: Extent) -> Iterator[Group]:
    yield Group(STANDARD_NAME, list(_standard(extent)), Way())
    combined = list(_product(extent))
    yield Group(PRODUCT_NAME, combined, Way(in_random_order=True))
    normed = [replace(case, id=f"exactly/{case.id}") for case in combined if "clipnorm" in case.id]
    # One thread computes a root digit by digit, which takes half a minute for each case.
    normed = _drawn(normed, extent, "norms")
    yield Group(NORMS_NAME, normed, Way(in_random_order=True, computes_norms_exactly=True))
    for move in ("numba", "offset-1", "gaps"):
        yield Group(SIZES_NAME, list(_sizes(extent, move)), Way(move, in_random_order=move != "numba"))
    yield Group(SPECIAL_NAME, _drawn(special.every_role(extent), extent, "special"), Way())
    forms = (
        *gradient_forms.one_form(extent),
        *gradient_forms.all_dtypes(extent),
        *gradient_forms.untouched_rows(extent),
    )
    yield Group(FORMS_NAME, _drawn(forms, extent, "forms", 4 if extent.tier != FULL else 1), Way())
    for move in branches.MOVES:
        yield Group(
            BRANCHES_NAME, list(branches.elementwise(extent, _kernels(extent, "branches"))), Way(move)
        )
        long = _drawn(branches.of_long_norms(extent), extent, "long norms")
        yield Group(NORM_BRANCHES_NAME, long, Way(move))
    normed = list(branches.of_norms(extent))
    for exactly in (False, True):
        yield Group(
            NORM_BRANCHES_NAME,
            _drawn(normed, extent, "branches of norms"),
            Way(in_random_order=True, computes_norms_exactly=exactly),
        )
    for move in ("stream", "graph"):
        yield Group(GRAPHS_NAME, list(_replayed(extent, move)), Way(move))


def _drawn(cases: Iterable[Item], extent: Extent, purpose: str, of: int = 1) -> list[Item]:
    """Return the cases; in the quick tier, only a share of them."""
    found = list(cases)
    if extent.pattern is not None:
        return found
    count = len(found) // (of * (SHARE_OF_QUICK if extent.tier == QUICK else 1))
    return random.Random(f"{extent.seed} {purpose}").sample(found, max(1, count))


def _standard(extent: Extent) -> Iterator[Case]:
    small = [
        case
        for case in of_the_kit("standard")
        if len(case.gradients) <= MOST_CALLS and sum(v.size for v in case.variables) <= MOST_ELEMENTS
    ]
    for case in _drawn(small, extent, "standard"):
        yield replace(case, id=f"standard/{case.id}")


def _product(extent: Extent) -> Iterator[Case]:
    """Yield combinations that together have every triple of values; in the full tier, all combinations."""
    chosen = extent if extent.tier == FULL else replace(extent, tier=QUICK)
    features = list(product.combinations(chosen))
    for combination in _drawn(features, extent, "product"):
        ordered: Features = {axis: combination[axis] for axis in AXES}
        yield replace(make_case(ordered), id=f"{product.NAME}/{case_id(ordered)}")


def _kernels(extent: Extent, purpose: str) -> list[tuple[np.dtype[Any], Variant]]:
    every = [(dtype, variant) for dtype in FORMATS for variant in VARIANTS]
    if extent.tier != QUICK or extent.pattern is not None:
        return every
    return random.Random(f"{extent.seed} {purpose}").sample(every, len(every) // SHARE_OF_QUICK)


def _sizes(extent: Extent, move: str) -> Iterator[Case]:
    for dtype, variant in _kernels(extent, move):
        identifier = f"sizes/{dtype.name}/{variant.name}/{move}"
        if not extent.wants(identifier):
            continue
        shapes = (*PACKETS, *MIDDLE, *LONG) if move == "numba" else (*PACKETS, (203,))
        yield dense_case(identifier, variant, shapes, dtype, random_numbers(extent, identifier))


def _replayed(extent: Extent, move: str) -> Iterator[Case]:
    settings: dict[str, dict[str, Any]] = {
        "constant": {},
        "schedule": {"learning_rate": schedules.CosineDecay(0.1, 7)},
        "global-clipnorm": {"learning_rate": schedules.CosineDecay(0.1, 7), "global_clipnorm": 0.5},
    }
    for position, (dtype, variant) in enumerate(_kernels(extent, move)):
        name = list(settings)[position % len(settings)]
        identifier = f"graphs/{dtype.name}/{variant.name}/{move}-{name}"
        if extent.wants(identifier):
            generator = random_numbers(extent, identifier)
            yield dense_case(identifier, variant, REPLAYED, dtype, generator, **settings[name])
