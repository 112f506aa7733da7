"""Named cases. Each tests one thing that implementations are known to get wrong, or to do differently."""

from __future__ import annotations

from functools import cache

from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.degenerate import refuse_degenerate
from sgd_ref.conformance.catalogue.named import (
    accumulation,
    averages,
    clipping,
    decay,
    events,
    exact,
    narrow_counts,
    narrow_misses,
    narrow_rates,
    narrow_rows,
    narrow_scales,
    open_questions,
    optimizations,
    plain_ground,
    scaling,
    schedules,
    update,
)

GROUPS = (
    decay,
    update,
    clipping,
    averages,
    accumulation,
    scaling,
    schedules,
    events,
    exact,
    optimizations,
    open_questions,
)

DELIBERATE = (plain_ground, narrow_misses, narrow_rates, narrow_rows, narrow_counts, narrow_scales)
"""Groups of cases that intentionally have trivial values, or few numbers."""


@cache
def named_cases() -> tuple[Case, ...]:
    """Return all named cases, always the same.

    >>> [case.id for case in named_cases()][:2]
    ['named/infinite-weight-without-decay', 'named/every-variable-excluded']
    """
    made = tuple(case for group in GROUPS for case in group.cases())
    for case in made:
        refuse_degenerate(case)
    return made + tuple(case for group in DELIBERATE for case in group.cases())
