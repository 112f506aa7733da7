"""The cases for an implementation that offers a part: with them, every pair of what it offers occurs."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sgd_ref.conformance.catalogue.axes import AXES, every_pair
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.qualities import qualities
from sgd_ref.conformance.catalogue.tiers import cases, make_case
from sgd_ref.validation import reject_value


def cases_within(offered: Mapping[str, Collection[str]], tier: str = "standard") -> tuple[Case, ...]:
    """Return the cases of a tier that need nothing else than what is offered, and more for missing pairs.

    The pairs of the standard tier are spread over combinations of many features, of which an implementation
    that offers a part can answer few. The cases that are added combine what is offered alone, so that each
    pair of values of two axes occurs.

    Parameters
    ----------
    offered : mapping of str to collection of str
        For axes of the catalogue the values that are offered; of an axis that is left out, all.
    tier : str, default "standard"
        "first", "smoke" or "standard".

    Returns
    -------
    tuple of Case

    Raises
    ------
    ValueError
        If an axis, a value or the tier is unknown, or of an axis nothing is offered.

    Examples
    --------
    >>> plain = cases_within({"dtype": ["float32"], "update": ["plain"], "accumulation": ["none"]}, "smoke")
    >>> {case.config["momentum"] for case in plain}
    {0.0}
    """
    for axis, values in offered.items():
        if axis not in AXES:
            reject_value("the axes of offered", axis, f"among {', '.join(AXES)}")
        if isinstance(values, str) or not values or not set(values) <= set(AXES[axis]):
            reject_value(f"offered[{axis!r}]", values, f"a collection of some of {', '.join(AXES[axis])}")
    axes = {axis: tuple(v for v in values if v in offered.get(axis, values)) for axis, values in AXES.items()}
    kept = tuple(case for case in cases(tier) if _is_within(case, offered))
    covered = [case.features for case in kept if case.features is not None]
    return kept + tuple(make_case(features) for features in every_pair(covered, axes))


def _is_within(case: Case, offered: Mapping[str, Collection[str]]) -> bool:
    found = qualities(case)
    return all(
        found[axis] <= {*values, *(("dense",) if axis == "gradients" else ())}
        for axis, values in offered.items()
    )
