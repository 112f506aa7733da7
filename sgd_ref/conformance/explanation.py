"""Explaining a divergence: which known deviations, replayed, give exactly the bits that were observed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from sgd_ref.arithmetic.rounded import FLOAT32
from sgd_ref.base import Call
from sgd_ref.conformance import reference
from sgd_ref.conformance.case import Case, Record, State, Trajectory
from sgd_ref.conformance.comparison import (
    COUNTERS,
    LISTS,
    Difference,
    compare,
    equal_bits,
    units_apart,
)
from sgd_ref.conformance.deviations import DEVIATIONS, compose
from sgd_ref.gradients import Gradient
from sgd_ref.loss_scale import LossScaleOptimizer
from sgd_ref.optimizer import SGD

NORM_IN_ANOTHER_ORDER = "norm-summed-in-another-order"
RATE_NOT_ROUNDED = "rate-not-rounded"
RATE_FROZEN = "rate-frozen"
SCHEDULE_IN_FLOAT32 = "schedule-in-float32"

NORM_UNITS = 4
"""Units in the last place by which a norm that is summed in another order may be off.

A sum of n squares, rounded after each addition, can be off by n/2 units and its root by half of that. The
standard cases have n = 109 at most, and sums that are not contrived are off by some sqrt(n)/4."""

MOST_LEFT_OUT = 2
"""Among the candidates may be some that exclude each other; this many are left out at most."""


@dataclass(frozen=True)
class Explanation:
    """The known deviations that a trajectory has.

    Attributes
    ----------
    names : tuple of str
        In the order of the candidates, as few as possible; of no meaning where something is left.
    residual_units : float
        Units in the last place by which norms, or the learning rate of a schedule, are off beyond that.
    left : Difference or None
        The first element that no deviation explains.
    """

    names: tuple[str, ...] = ()
    residual_units: float = 0.0
    left: Difference | None = None

    @property
    def complete(self) -> bool:
        """Whether every bit is explained."""
        return self.left is None


@dataclass(frozen=True)
class KnownFailure:
    """An error that an implementation is known to raise.

    Attributes
    ----------
    name : str
        What fails.
    pattern : str
        A regular expression that its message contains.
    concerns : callable
        Whether it is to be expected in a case.
    evidence : str
        Where it comes from.
    """

    name: str
    pattern: str
    concerns: Callable[[Case], bool]
    evidence: str


def known_failure(case: Case, message: str, failures: Sequence[KnownFailure]) -> str | None:
    """Return the name of the first known failure that the message of an error shows, if there is one.

    >>> out_of_memory = KnownFailure("out-of-memory", "memory", lambda case: True, "seen")
    >>> case = Case("a", {}, (), (), ())
    >>> known_failure(case, "MemoryError: no memory left", [out_of_memory])
    'out-of-memory'
    >>> known_failure(case, "ValueError", [out_of_memory])
    """
    for failure in failures:
        if failure.concerns(case) and re.search(failure.pattern, message):
            return failure.name
    return None


def explain(case: Case, observed: Trajectory, candidates: Sequence[str]) -> Explanation:
    """Find the known deviations that turn the reference into what was observed.

    Every call is replayed by itself, from the state observed before it and with the learning rate
    observed in it, and must give every observed bit. The learning rates are explained apart. An
    implementation that does not report its state is replayed from the beginning instead.

    Parameters
    ----------
    case : Case
        The case.
    observed : trajectory
        What an implementation answered; of the form that ``check_form`` checks.
    candidates : sequence of str
        Names of deviations. The first one of several that explain everything alone is preferred.

    Returns
    -------
    Explanation
        With no names where the trajectory is that of the reference.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> case = conformance.cases("smoke")[0]
    >>> explain(case, reference.run(case), ["averages-on-every-call"])
    Explanation(names=(), residual_units=0.0, left=None)
    """
    rates = _explain_rates(case, observed, candidates)
    if not rates.complete:
        return rates
    replay = _Replay(case, observed)
    names = _fewest([name for name in candidates if name in DEVIATIONS], replay.succeeds)
    if names is None:
        return Explanation(rates.names, rates.residual_units, replay.first_difference(candidates))
    units = max(rates.residual_units, replay.residual_units(names))
    return Explanation((*rates.names, *names), units)
