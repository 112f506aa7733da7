"""Every combination of features that changes the work of kernels; in the full tier, every combination."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

import numba_kernels
from numba_kernels.selfcheck.comparison import by_kernels, compare_cases, timed
from numba_kernels.selfcheck.extent import FULL, QUICK, Extent
from numba_kernels.selfcheck.result import Result
from numba_kernels.shared.element import ACCUMULATED, CLASSIC, DIVIDED, NESTEROV, NO_MOMENTUM, PLAIN, Variant
from sgd_ref.arithmetic.formats import BY_NAME
from sgd_ref.conformance.catalogue.axes import AXES, Features, full_product
from sgd_ref.conformance.catalogue.combinations import case_id
from sgd_ref.conformance.catalogue.tiers import MIXED, make_case

NAME = "product"

FREE_AXES = ("learning_rate", "values", "settings")
"""Axes that change only numbers; their values are drawn at random, except in the full tier."""

SHARE = 200
"""The number of cases that a process runs at a time."""

Share = list[tuple[str, ...]]
"""Combinations, each as its values in the order of the axes."""


def check(extent: Extent, optimizer_class: Any = numba_kernels.SGD) -> Result:
    """Check combinations of features: all, those that change the work of kernels, or a few.

    Parameters
    ----------
    extent : Extent
        The extent; the quick tier has every triple of values that its kernels allow.
    optimizer_class : type, optional
        The optimizer to check.
    """
    result = Result(NAME)
    for share in shares(extent):
        result.include(check_share(share, extent, optimizer_class))
    return result


def shares(extent: Extent, length: int = SHARE) -> Iterator[Share]:
    """Yield the requested combinations in lists of limited length."""
    wanted = (
        tuple(features[axis] for axis in AXES)
        for features in combinations(extent)
        if extent.wants(f"{NAME}/{case_id(features)}")
    )
    while share := list(itertools.islice(wanted, length)):
        yield share


def check_share(share: Share, extent: Extent, optimizer_class: Any = numba_kernels.SGD) -> Result:
    """Check some combinations."""
    result = Result(NAME)
    with timed(result):
        cases = (make_case(dict(zip(AXES, values, strict=True))) for values in share)
        named = (replace(case, id=f"{NAME}/{case.id}") for case in cases)
        compare_cases(result, named, extent, by_kernels(optimizer_class))
    return result


def combinations(extent: Extent) -> Iterator[Features]:
    """Yield the combinations of an extent, whatever its pattern.

    >>> from numba_kernels.selfcheck.extent import STANDARD
    >>> sum(1 for _ in combinations(Extent(STANDARD)))
    19440
    """
    if extent.tier == FULL:
        yield from full_product()
    elif extent.tier == QUICK:
        yield from _every_triple(extent)
    else:
        yield from _every_path(extent.seed)


def dtypes(features: Features) -> set[np.dtype[Any]]:
    """Return the dtypes of the variables of a combination."""
    names = set(MIXED.values()) if features["dtype"] == "mixed" else {features["dtype"]}
    return {BY_NAME[name] for name in names}


def variant(features: Features) -> Variant:
    """Return the variant of the update kernel in a combination."""
    gradient = PLAIN
    if features["accumulation"] != "none":
        gradient = ACCUMULATED
    elif features["loss_scaling"] != "none" or features["clipping"] == "clipnorm":
        gradient = DIVIDED
    momentum = {"plain": NO_MOMENTUM, "momentum": CLASSIC, "nesterov": NESTEROV}[features["update"]]
    return Variant(momentum, gradient, features["averages"] != "none")


def _every_path(seed: int) -> Iterator[dict[str, str]]:
    paths = {axis: values for axis, values in AXES.items() if axis not in FREE_AXES}
    generator = random.Random(seed)
    for chosen in itertools.product(*paths.values()):
        drawn = {axis: generator.choice(AXES[axis]) for axis in FREE_AXES}
        features = dict(zip(paths, chosen, strict=True)) | drawn
        yield {axis: features[axis] for axis in AXES}


def _every_triple(extent: Extent) -> Iterator[Features]:
    """Yield combinations in random order, each with a triple of values that is new."""
    allowed = [
        features
        for features in _every_path(extent.seed)
        if all(variant(features) in extent.variants(dtype) for dtype in dtypes(features))
    ]
    random.Random(extent.seed).shuffle(allowed)
    seen: set[tuple[tuple[str, str], ...]] = set()
    for features in allowed:
        triples = set(itertools.combinations(features.items(), 3))
        if not triples <= seen:
            seen |= triples
            yield features
