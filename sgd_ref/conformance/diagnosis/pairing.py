"""The order in which pairs of known deviations are tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, product

from sgd_ref.conformance.diagnosis.candidates import Acting
from sgd_ref.conformance.diagnosis.names import Names
from sgd_ref.conformance.diagnosis.work import interleaved

PROMISING = 0.9
"""The share of elements, predicted to agree, from which the deviations that are alike are tried, too."""


def promising(acting: Acting, alike: Mapping[str, Sequence[str]], preferred: frozenset[str]) -> list[Names]:
    """Return the pairs in the order in which they are tried.

    In turn these are the pairs that are predicted to agree best, those nearest to the wrong value, and
    those near in most elements.
    """
    gains = {name: acting.gain(name) for name in alike}
    likely = frozenset(acting.likely())
    pairs = list(combinations(alike, 2))
    promise = acting.promise(pairs)
    spoiling = {name for name in alike if acting.spoils(name)}

    def spoilt(pair: Names) -> int:
        return sum(name in spoiling for name in pair)

    by_promise = [
        one
        for pair in sorted(pairs, key=lambda pair: -promise[pair])
        # Alone, the deviations of a group give the same bits; beside another one they may not.
        for one in (product(*(alike[name] for name in pair)) if promise[pair] >= PROMISING else [pair])
    ]
    by_value = sorted(pairs, key=lambda pair: (spoilt(pair), -sum(name in likely for name in pair)))
    by_gain = sorted(pairs, key=lambda pair: (spoilt(pair), -sum(gains[name] for name in pair)))
    begun = {name: acting.begun_alike(name) for name in alike}
    by_bits = sorted(pairs, key=lambda pair: (-max(begun[name] for name in pair), -promise[pair]))
    ordered = interleaved((by_promise, *([by_bits] if any(begun.values()) else []), by_value, by_gain))
    if not preferred:
        return ordered

    def preference(pair: Names) -> int:
        return -sum(not preferred.isdisjoint(alike.get(name, (name,))) for name in pair)

    return sorted(ordered, key=preference)
