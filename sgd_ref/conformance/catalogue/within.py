"""The cases for an implementation that offers a part: with them, every pair of what it offers occurs."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from sgd_ref.conformance.catalogue.axes import AXES, Pair, every_pair, label
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.contested import CONTESTED_PAIRS, contested
from sgd_ref.conformance.catalogue.qualities import qualities
from sgd_ref.conformance.catalogue.tiers import cases, make_case
from sgd_ref.validation import reject_value

TIMES = 3
"""In how many cases without an open question each pair of what is offered occurs."""

NUMBERS = ("values", "settings")
"""The axes that say which numbers there are, and not what an implementation offers."""

AXES_OF_WORDS = {
    label(axis, value): (axis, value) for axis, values in AXES.items() for value in values if value != "none"
}
"""For each word that stands for a value, its axis and the value."""


def cases_within(offered: Mapping[str, Collection[str]], tier: str = "standard") -> tuple[Case, ...]:
    """Return the cases of a tier that need nothing else than what is offered, and more for missing pairs.

    The pairs of the standard tier are spread over combinations of many features, of which an implementation
    that offers a part can answer few. The cases that are added combine what is offered alone, so that each
    pair of values of two axes occurs, in at least three cases without an open question if there are so many.

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
    kept = tuple(case for case in cases(tier) if is_within(case, offered))
    seen = Counter(pair for case in kept if not contested(case) for pair in _pairs(case))
    covered = [case.features for case in kept if case.features is not None]
    added = every_pair(covered, axes, apart=CONTESTED_PAIRS, times=TIMES, seen=seen)
    added += every_pair([*covered, *added], axes)
    return kept + tuple(make_case(features) for features in added)


def _pairs(case: Case) -> set[Pair]:
    """Return all pairs of values that a case has, named ones too."""
    found = qualities(case)
    return {
        ((first, a), (second, b))
        for first, second in itertools.combinations(AXES, 2)
        for a in found[first]
        for b in found[second]
    }


def offered_by(words: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return what is offered, from the words for it.

    Parameters
    ----------
    words : iterable of str
        Values of the axes, as in the ids of cases, or names of axes for all of their values. What is plainest
        needs no word: of an axis without one that alone is offered, and besides what has one. Only of dtypes
        nothing else is offered than what has a word, if any has. All numbers, special ones and subnormal
        ones too, and all settings are offered, unless one of these has a word.

    Returns
    -------
    dict of str to tuple of str
        For `cases_within`.

    Raises
    ------
    ValueError
        If a word is unknown.

    Examples
    --------
    >>> offered = offered_by(["float64", "momentum", "clipping", "accumulation-2"])
    >>> offered["dtype"], offered["update"], offered["clipping"][:2], offered["accumulation"]
    (('float64',), ('plain', 'momentum'), ('none', 'clipnorm'), ('none', '2'))
    >>> offered["averages"], "values" in offered
    (('none',), False)
    """
    named: dict[str, set[str]] = {}
    for word in words:
        if word in AXES_OF_WORDS:
            axis, value = AXES_OF_WORDS[word]
            named.setdefault(axis, set()).add(value)
        elif word.replace("-", "_") in AXES:
            axis = word.replace("-", "_")
            named.setdefault(axis, set()).update(AXES[axis])
        else:
            reject_value("a word for what is offered", word, f"one of {', '.join((*AXES_OF_WORDS, *AXES))}")
    return {
        axis: tuple(
            value
            for position, value in enumerate(values)
            if value in named.get(axis, ()) or (position == 0 and not (axis == "dtype" and axis in named))
        )
        for axis, values in AXES.items()
        if axis not in NUMBERS or axis in named
    }


def offered_by_claims(
    dtypes: Collection[str] | None, features: Mapping[str, Collection[str]]
) -> dict[str, tuple[str, ...]]:
    """Return what is offered, from what a handshake claims.

    What is plainest is offered besides; of an axis without a claim, all values.

    >>> offered_by_claims(["float64"], {"update": ["momentum"]})
    {'dtype': ('float64',), 'update': ('plain', 'momentum')}
    """
    of_dtypes = {*(dtypes or ()), *features.get("dtype", ())}
    claimed = {**features, **({"dtype": of_dtypes} if of_dtypes else {})}
    return {
        axis: tuple(
            value
            for position, value in enumerate(values)
            if value in claimed[axis] or (position == 0 and axis != "dtype")
        )
        for axis, values in AXES.items()
        if axis in claimed
    }


def is_within(case: Case, offered: Mapping[str, Collection[str]]) -> bool:
    """Whether a case needs nothing else than what is offered, of the axes that are named."""
    found = qualities(case)
    return all(
        found[axis] <= {*values, *(("dense",) if axis == "gradients" else ())}
        for axis, values in offered.items()
    )
