"""Structure: the number of variables, their sizes, shapes, layouts and order, and the length of the run.

Each structure becomes cases with plain descent and with momentum, in float32 and float64, without any rarer
feature, so that even the simplest implementation can run them. It is then paired with other features.
Variables without elements or without axes, which few frameworks take, occur only in the cases that are about
them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.structure import big, lengths, memory, mixed, paired, shapes, variables
from sgd_ref.conformance.catalogue.structure.building import Structure, cases_of

GROUPS = (variables, shapes, memory, lengths)


def structures() -> Iterator[Structure]:
    """Yield every structure.

    >>> next(structures()).name
    'one-variable'
    """
    for group in GROUPS:
        yield from group.STRUCTURES


@cache
def structure_cases() -> tuple[Case, ...]:
    """Return all cases of structure, always the same.

    >>> structure_cases()[0].id
    'structure/one-variable/plain/float32'
    """
    alone = (case for structure in structures() for case in cases_of(structure))
    return (*alone, *paired.cases(), *mixed.cases(), *big.cases())
