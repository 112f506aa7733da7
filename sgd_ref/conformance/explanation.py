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
from sgd_ref.conformance.comparison import COUNTERS, LISTS, Difference, compare, equal_bits, units_apart
from sgd_ref.conformance.deviations import DEVIATIONS, compose
from sgd_ref.gradients import Gradient
from sgd_ref.optimizer import SGD

NORM_UNITS = 4
"""Units in the last place by which a norm that is summed in another order may be off.

A sum of n squares, rounded after each addition, can be off by n/2 units and its root by half of that. The
standard cases have n = 109 at most, and sums that are not contrived are off by some sqrt(n)/4."""

MOST_LEFT_OUT = 2
"""Some candidates can exclude each other; this many are left out at most."""


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
    observed in it, and must give every observed bit. The learning rates are explained apart. Where the
    state is not reported, the whole case is replayed from the beginning instead.

    Parameters
    ----------
    case : Case
        The case.
    observed : trajectory
        What an implementation answered; of the form that ``check_form`` checks.
    candidates : sequence of str
        Names of deviations. Of several that explain everything alone, the first one is taken.

    Returns
    -------
    Explanation
        Without names where the trajectory is that of the reference.

    Raises
    ------
    ValueError
        If there is no deviation of one of the names.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> case = conformance.cases("smoke")[0]
    >>> explain(case, reference.run(case), ["averages-on-every-call"])
    Explanation(names=(), residual_units=0.0, left=None)
    """
    compose(candidates)
    rates = _explain_rates(case, observed, candidates)
    replays = _Replays(_steps(case, observed))
    names = _fewest(candidates, replays.succeed)
    if names is None or rates.left is not None:
        return replace(rates, left=rates.left or replays.first_difference(candidates))
    return Explanation(
        tuple(name for name in candidates if name in rates.names or name in names),
        max(rates.residual_units, replays.residual_units),
    )


class _Step(NamedTuple):
    """Calls to replay from a state, and the records observed after them; `first` counts from 0."""

    first: int
    case: Case
    observed: Trajectory
    rate: float | None
    frozen_rate: float | None


def _steps(case: Case, observed: Trajectory) -> list[_Step]:
    """Return a case of one call for every record, or the whole case where the state is not reported."""
    if not all(_is_complete(case, record) for record in observed):
        return [_Step(0, case, observed, None, None)]
    steps = []
    state = case.state
    variables = case.variables
    called = case.learning_rate_calls is not None
    for call, record in enumerate(observed):
        final = call == len(case.gradients)
        single = replace(
            case,
            # The rate of the call is put in its place.
            config={**case.config, "learning_rate": 0.5},
            learning_rate_calls=None,
            variables=variables,
            gradients=() if final else (case.gradients[call],),
            state=state,
            finalize=final,
        )
        rate = None if final else float(record["learning_rate"])
        frozen = float(observed[0]["learning_rate"]) if called and not final else None
        steps.append(_Step(call, single, (record,), rate, frozen))
        state = State(
            calls=int(record["calls"]),
            velocities=tuple(record.get("velocities") or ()),
            averages=tuple(record.get("averages") or ()),
            accumulators=tuple(record.get("accumulators") or ()),
            loss_scale=record.get("loss_scale"),
            growth_counter=record.get("growth_counter"),
        )
        variables = tuple(record["variables"])
    return steps


def _is_complete(case: Case, record: Record) -> bool:
    needed = {
        "calls": True,
        "velocities": case.config["momentum"] != 0,
        "averages": case.config["use_ema"],
        "accumulators": case.config["gradient_accumulation_steps"] is not None,
        "loss_scale": case.loss_scaling is not None,
        "growth_counter": case.loss_scaling is not None,
    }
    return all(record.get(key) is not None for key, is_needed in needed.items() if is_needed)


class _Replays:
    """The steps of one trajectory, to be replayed with many sets of deviations."""

    def __init__(self, steps: list[_Step]) -> None:
        self._steps = steps
        self.residual_units = 0.0

    def succeed(self, names: Sequence[str]) -> bool:
        """Whether every step, with these deviations, gives the observed bits."""
        residual = 0.0
        for step in self._steps:
            units = _norm_units(step, names)
            if units is None:
                # The step that one set of deviations fails at is likely to refute the next one, too.
                self._steps.remove(step)
                self._steps.insert(0, step)
                return False
            residual = max(residual, units)
        self.residual_units = residual
        return True

    def first_difference(self, names: Sequence[str]) -> Difference | None:
        """Return the first element that these deviations do not explain."""
        for step in sorted(self._steps, key=lambda step: step.first):
            if _norm_units(step, names) is None:
                expected = _replay(step, names, 0)
                comparison = compare(step.case, expected, _without_rates(step.observed))
                difference = comparison.first
                return None if difference is None else replace(difference, call=step.first + difference.call)
        return None
