"""Whether each case exposes the deviations for which it was made, as far as the kill matrix knows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.named import narrow, optimizations


def broken_promises(cases: Iterable[Case], exposed: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield the deviations that a case should expose and does not, one line each.

    Parameters
    ----------
    cases : iterable of Case
        The cases of the standard tier.
    exposed : mapping of str to sequence of str
        For the id of each case that the audit has seen, the deviations that it exposes.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from sgd_ref import conformance
    >>> case = replace(conformance.cases()[0], exposes=("ascends",))
    >>> list(broken_promises([case], {case.id: ["ascends"]}))
    []
    >>> list(broken_promises([case], {case.id: []}))
    ['axes/plain: it promises to expose ascends, and does not']
    """
    for case in cases:
        if case.id not in exposed:
            yield f"{case.id}: the audit has not seen it"
            continue
        for name in case.exposes:
            if name not in exposed[case.id]:
                yield f"{case.id}: it promises to expose {name}, and does not"
        # An optimisation is no mistake; its cases, and those of narrow misses, tell evaluations apart.
        if not case.exposes and not case.id.startswith((optimizations.PREFIX, narrow.PREFIX)):
            also = ", ".join(exposed[case.id][:3]) or "nothing that is known"
            yield f"{case.id}: it is for no known deviation; it exposes {also}"


def cover(cases: Sequence[Case], exposed: Mapping[str, Sequence[str]]) -> tuple[Case, ...]:
    """Return a few cases that together expose every deviation that any given case exposes.

    Each case is chosen because it exposes most of the deviations that are left. Of cases that expose equally
    many, the smaller one is chosen.
    """
    left = {name for case in cases for name in exposed[case.id]}
    chosen = []
    while left:
        best = max(cases, key=lambda case: (len(left.intersection(exposed[case.id])), -_size(case)))
        chosen.append(best)
        left -= set(exposed[best.id])
    order = {case.id: index for index, case in enumerate(cases)}
    return tuple(sorted(chosen, key=lambda case: order[case.id]))


def _size(case: Case) -> int:
    return sum(variable.size for variable in case.variables) * len(case.gradients)
