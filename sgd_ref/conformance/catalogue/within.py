"""The cases for an implementation that offers only some features: every pair of offered values occurs."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping

from sgd_ref.conformance.catalogue.axes import AXES, Pair, every_pair, label
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.contested import CONTESTED_PAIRS, contested
from sgd_ref.conformance.catalogue.qualities import BESIDE_AXES, qualities
from sgd_ref.conformance.catalogue.suiting import OFFERABLE, Offered, check_offered, suited
from sgd_ref.conformance.catalogue.tiers import cases, make_case
from sgd_ref.validation import reject_type, reject_value

TIMES = 3
"""The number of cases without an open question in which each pair of offered values occurs."""

NOT_DECLINED_BY_SILENCE = ("values", "settings", *BESIDE_AXES)
"""The axes of which everything is offered unless one of their values has a word."""

AXES_OF_WORDS = {
    label(axis, value): (axis, value)
    for axis, values in OFFERABLE.items()
    for value in values
    if value != "none"
}
"""For each word that stands for a value, the axis and the value."""


def cases_within(offered: Offered, tier: str = "standard") -> tuple[Case, ...]:
    """Return the cases of a tier that need only offered values, and more cases for missing pairs.

    The pairs of the standard tier are spread over combinations of many features, few of which an
    implementation with some features can answer. The added cases combine only offered values, so that each
    pair of values of two axes occurs, in at least three cases without an open question if there are so many.

    Parameters
    ----------
    offered : mapping of str to collection of str
        The offered values of each axis of the catalogue; all values of an axis that is left out. The axis
        "shapes" has "filled", "empty" (no elements) and "scalar" (no axes): variables of shapes that are not
        offered are left out of a case, and the words for the offered shapes are added to its id. The axis
        "start" has "fresh" and "resumed".
    tier : str, default "standard"
        "first", "smoke" or "standard".

    Returns
    -------
    tuple of Case

    Raises
    ------
    ValueError
        If an axis, a value or the tier is unknown, or if no value of an axis is offered.

    Examples
    --------
    >>> plain = cases_within({"dtype": ["float32"], "update": ["plain"], "accumulation": ["none"]}, "smoke")
    >>> {case.config["momentum"] for case in plain}
    {0.0}
    """
    check_offered(offered)
    axes = {axis: tuple(v for v in values if v in offered.get(axis, values)) for axis, values in AXES.items()}
    kept = tuple(_all_suited(cases(tier), offered))
    seen = Counter(pair for case in kept if not contested(case) for pair in _pairs(case))
    covered = [case.features for case in kept if case.features is not None]
    added = every_pair(covered, axes, apart=CONTESTED_PAIRS, times=TIMES, seen=seen)
    added += every_pair([*covered, *added], axes)
    return kept + tuple(_all_suited(map(make_case, added), offered))


def _pairs(case: Case) -> set[Pair]:
    """Return all pairs of values that a case has, also of a named case."""
    found = qualities(case)
    return {
        ((first, a), (second, b))
        for first, second in itertools.combinations(AXES, 2)
        for a in found[first]
        for b in found[second]
    }


def offered_by(words: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the offered values from the words for them.

    Parameters
    ----------
    words : iterable of str
        Values of the axes, as in the ids of cases, or names of axes for all of their values. The plainest
        value of an axis needs no word and is always offered, except that only the dtypes with a word are
        offered, if there are any. All numbers (also special and subnormal ones), all settings, all shapes,
        and cases that resume are offered, unless a value of their axis has a word: "filled" alone declines
        variables without elements and without axes, and "fresh" alone declines cases that resume.

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
    for axis, value in values_of(words):
        named.setdefault(axis, set()).add(value)
    return {
        axis: tuple(
            value
            for position, value in enumerate(values)
            if value in named.get(axis, ()) or (position == 0 and not (axis == "dtype" and axis in named))
        )
        for axis, values in OFFERABLE.items()
        if axis not in NOT_DECLINED_BY_SILENCE or axis in named
    }


def values_of(words: Iterable[str]) -> list[tuple[str, str]]:
    """Return the values that words for offered features name, each with its axis.

    Raises
    ------
    ValueError
        If a word is unknown.

    Examples
    --------
    >>> values_of(["float64", "gradients"])
    [('dtype', 'float64'), ('gradients', 'dense'), ('gradients', 'missing'), ('gradients', 'sparse')]
    """
    if isinstance(words, str):
        reject_type("the words for what is offered", words, "a list of words")
    found: list[tuple[str, str]] = []
    for word in words:
        axis = str(word).replace("-", "_")
        if word in AXES_OF_WORDS:
            found.append(AXES_OF_WORDS[word])
        elif axis in OFFERABLE:
            found += [(axis, value) for value in OFFERABLE[axis]]
        else:
            accepted = ", ".join((*AXES_OF_WORDS, *OFFERABLE))
            reject_value("a word for what is offered", word, f"one of {accepted}")
    return found


def offered_by_claims(
    dtypes: Collection[str] | None, features: Mapping[str, Collection[str]]
) -> dict[str, tuple[str, ...]]:
    """Return the offered values from the claims of a handshake.

    The plainest value of an axis is always offered; of an axis without a claim, all values are offered.

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


def _all_suited(asked: Iterable[Case], offered: Offered) -> Iterator[Case]:
    return (found for case in asked if (found := suited(case, offered)) is not None)
