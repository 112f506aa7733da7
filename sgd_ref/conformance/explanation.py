"""Explaining a divergence: which known deviations, replayed, give exactly the bits that were observed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from sgd_ref.arithmetic.rounded import FLOAT32, Array
from sgd_ref.base import Call
from sgd_ref.conformance import reference
from sgd_ref.conformance.case import Case, Record, State, Trajectory
from sgd_ref.conformance.comparison import COUNTERS, LISTS, Difference, compare, equal_bits, units_apart
from sgd_ref.conformance.deviations import DEVIATIONS, compose
from sgd_ref.conformance.deviations.schedules import WithReplacedSchedule
from sgd_ref.gradients import Gradient
from sgd_ref.loss_scale import LossScaleOptimizer
from sgd_ref.optimizer import SGD
from sgd_ref.schedules import LearningRateSchedule

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
        In the order of the candidates, as few as possible; none where the explanation is not complete.
    residual_units : float
        Units in the last place by which norms, or the learning rate of a schedule, are off beyond that.
    complete : bool
        Whether every bit is explained.
    left : Difference or None
        Where it is not, the first element that differs with all candidates at once, if they give any
        result from the state that was observed.
    """

    names: tuple[str, ...] = ()
    residual_units: float = 0.0
    complete: bool = True
    left: Difference | None = None


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
    Explanation(names=(), residual_units=0.0, complete=True, left=None)
    """
    compose(candidates)
    rates = _explain_rates(case, observed, candidates)
    replays = _Replays(_steps(case, observed))
    names = _fewest(candidates, replays.succeed)
    if not rates.complete:
        return rates
    if names is None:
        return Explanation(complete=False, left=replays.first_difference(candidates))
    return Explanation(
        tuple(name for name in candidates if name in rates.names or name in names),
        max(rates.residual_units, replays.residual_units),
    )


class _Step(NamedTuple):
    """Calls to replay from a state, and the records observed after them.

    Attributes
    ----------
    first : int
        The first call, counted from 0.
    case : Case
        One call, or all of them.
    observed : sequence of dict
        A record for each call.
    rate : float or None
        The learning rate to use; None for that of the case.
    frozen_rate : float or None
        For a callable learning rate, its value in the first call in which the same gradients were missing.
    """

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
    traced: dict[tuple[bool, ...], float] = {}
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
        frozen = None
        if rate is not None and case.learning_rate_calls is not None:
            frozen = traced.setdefault(tuple(gradient is None for gradient in case.gradients[call]), rate)
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
            expected = _replay(step, names, 0)
            if expected is not None and _norm_units(step, names) is None:
                difference = compare(step.case, expected, _without_rates(step.observed)).first
                return None if difference is None else replace(difference, call=step.first + difference.call)
        return None


class _GivenRate(SGD):
    """Uses what its callable learning rate returns as it is: float64, or NaN, too."""

    def _validated(self, gradients: Sequence[Gradient], variables: Sequence[Array] | None = None) -> Call:
        given: Any = self._learning_rate
        self._learning_rate = np.float32(0)
        try:
            return super()._validated(gradients, variables)._replace(learning_rate=given())
        finally:
            self._learning_rate = given


@cache
def _classes(names: frozenset[str], norm_units: int) -> tuple[type[SGD], type[LossScaleOptimizer]]:
    optimizer, wrapper = compose(names)
    return type("Replayed", (_GivenRate, optimizer), {"norm_units": norm_units}), wrapper


def _replay(step: _Step, names: Sequence[str], norm_units: int) -> list[Record] | None:
    """Return the records that the reference with these deviations gives; None where it refuses the state."""
    optimizer, wrapper = _classes(frozenset(names), norm_units)
    case = step.case
    if step.rate is None:
        optimizer = compose(names)[0]
    else:
        rate = step.frozen_rate if step.frozen_rate is not None and "rate-frozen" in names else step.rate
        is_wide = step.frozen_rate is not None or float(np.float32(rate)) != rate
        given: Any = np.float64(rate) if is_wide and "rate-not-rounded" in names else np.float32(rate)
        case = replace(case, learning_rate_calls=(given,))
    try:
        return reference.run(case, optimizer, wrapper)
    except ValueError:
        return None


def _norm_units(step: _Step, names: Sequence[str]) -> float | None:
    """Return by how many units norms must be off for the observed bits; None where there is no such number."""
    differing = _differing(step, _replay(step, names, 0))
    if not differing:
        return 0.0
    config = step.case.config
    if "norm-summed-in-another-order" not in names or (config["clipnorm"], config["global_clipnorm"]) == (
        None,
        None,
    ):
        return None
    for units in range(1, NORM_UNITS + 1):
        for signed in (units, -units):
            others = _differing(step, _replay(step, names, signed))
            # Every variable has a norm of its own, unless all share one.
            differing = others if config["clipnorm"] is None else differing & others
            if not differing:
                return float(units)
    return None


def _differing(step: _Step, expected: list[Record] | None) -> set[str]:
    """Return the names of the variables that differ, and of what differs besides."""
    if expected is None:
        return {"refused"}
    differing = set()
    for wanted, given in zip(expected, step.observed, strict=True):
        for quantity in LISTS:
            for name, want, got in zip(
                step.case.names, wanted[quantity], given.get(quantity) or (), strict=False
            ):
                if not equal_bits(want, np.asarray(got)).all():
                    differing.add(name)
        for quantity in (*COUNTERS, "loss_scale"):
            if (
                None not in (wanted.get(quantity), given.get(quantity))
                and wanted[quantity] != given[quantity]
            ):
                differing.add(quantity)
    return differing


def _without_rates(records: Trajectory) -> list[Record]:
    return [{key: value for key, value in record.items() if key != "learning_rate"} for record in records]


def _fewest(candidates: Sequence[str], succeed: Callable[[Sequence[str]], bool]) -> tuple[str, ...] | None:
    """Return no name, one name, or a set of names of which none can be left out; None if nothing succeeds."""
    for names in ((), *((name,) for name in candidates)):
        if succeed(names):
            return names
    for left_out in range(MOST_LEFT_OUT + 1):
        for absent in combinations(candidates, left_out):
            names = tuple(name for name in candidates if name not in absent)
            if succeed(names):
                return _reduced(names, succeed)
    return None


def _reduced(names: tuple[str, ...], succeed: Callable[[Sequence[str]], bool]) -> tuple[str, ...]:
    for name in names:
        fewer = tuple(other for other in names if other != name)
        if succeed(fewer):
            names = fewer
    succeed(names)
    return names


def _explain_rates(case: Case, observed: Trajectory, candidates: Sequence[str]) -> Explanation:
    """Explain the learning rate of each call: as that of the reference, or of one deviation."""
    names: tuple[str, ...] = ()
    units = 0.0
    calls = 0 if case.state is None else case.state.calls
    for call, record in enumerate(observed[: len(case.gradients)]):
        if record.get("learning_rate") is not None:
            found = _explain_rate(case, call, calls, np.asarray(record["learning_rate"], FLOAT32), candidates)
            if not found.complete:
                return found
            names += found.names
            units = max(units, found.residual_units)
        calls = int(record.get("calls", calls + 1))
    return Explanation(names, units)


def _explain_rate(
    case: Case, call: int, calls: int, observed: Array, candidates: Sequence[str]
) -> Explanation:
    expected = _rate(case, SGD, call, calls)
    if equal_bits(expected, observed):
        return Explanation()
    deviating = [name for name in candidates if issubclass(DEVIATIONS[name].optimizer, WithReplacedSchedule)]
    rates = {(): expected} | {
        (name,): _rate(case, DEVIATIONS[name].optimizer, call, calls) for name in deviating
    }
    for names, rate in rates.items():
        units = float(units_apart(rate, observed))
        if equal_bits(rate, observed):
            return Explanation(names)
        if units <= case.learning_rate_units and "schedule-in-float32" in candidates:
            return Explanation((*names, "schedule-in-float32"), units)
    difference = compare(case, [_only_rate(expected)], [_only_rate(observed)]).first
    assert difference is not None
    return Explanation(complete=False, left=replace(difference, call=call))


def _only_rate(rate: Array) -> Record:
    return {**dict.fromkeys(LISTS, ()), "learning_rate": rate}


def _rate(case: Case, optimizer_class: type[SGD], call: int, calls: int) -> Array:
    """Return the learning rate of a call, as an array without axes; NaN where the definition has none."""
    if case.learning_rate_calls is not None:
        return np.asarray(case.learning_rate_calls[call], FLOAT32)
    rate: Any = optimizer_class.from_config(case.config)._learning_rate
    try:
        return np.asarray(rate(calls) if isinstance(rate, LearningRateSchedule) else rate, FLOAT32)
    except ValueError:
        return np.asarray(np.nan, FLOAT32)
