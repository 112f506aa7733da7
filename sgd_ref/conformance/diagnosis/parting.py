"""The place where an implementation departs from the reference: the first call, and the first stage in it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from sgd_ref.conformance.catalogue.case import Case, Record, Trajectory
from sgd_ref.conformance.deviations import DEFINITION, Basis
from sgd_ref.conformance.diagnosis.replay import Step, steps
from sgd_ref.conformance.trajectories.comparison import LISTS, Difference, compare
from sgd_ref.conformance.trajectories.stages import (
    ACCUMULATOR,
    AVERAGE,
    CLIPPED,
    DECAYED,
    GRADIENT,
    LEARNING_RATE,
    MEAN,
    NORM,
    NORM_OF_ALL,
    OVERWRITTEN,
    UNSCALED,
    UPDATED,
    VELOCITY,
    Stage,
    stages,
)
from sgd_ref.gradients import SparseRows

FINALIZATION, COUNTING, GROWTH = "finalization", "counting", "growth of the loss scale"
GRADIENTS = (GRADIENT, UNSCALED, MEAN, NORM, NORM_OF_ALL, CLIPPED)

Group = tuple[tuple[str, ...], tuple[str, ...]]
"""Reported quantities, and the stages that compute them from the quantities of the group before."""


@dataclass(frozen=True)
class Parting:
    """The first difference of a call.

    Attributes
    ----------
    difference : Difference
        The difference in the first quantity that differs, in the order of the rule.
    stages : tuple of str
        The stages that can have made the difference: the stages of this call that come after the last
        quantity that is equal. Empty if this call should leave the element unchanged.
    """

    difference: Difference
    stages: tuple[str, ...]

    @property
    def where(self) -> str:
        """The stages in words."""
        return ", or ".join(self.stages) or "this call is to leave it alone"


def parting(case: Case, observed: Trajectory, basis: Basis = DEFINITION) -> Parting | None:
    """Return where a trajectory departs from that of the rule, or None if it has the same bits.

    The result is for the first call that differs, and in this call for the first quantity that differs, in
    the order of the rule: learning rate, accumulators, velocities, variables, averages, variables that
    averages overwrite; then the loss scale and the counters.

    Parameters
    ----------
    case : Case
        The case.
    observed : trajectory
        Of the form that ``check_form`` checks.
    basis : Basis, optional
        The rule, by default that of the reference.

    Examples
    --------
    >>> import numpy as np
    >>> config = {"learning_rate": 0.5, "momentum": 0.5, "clipnorm": 2.0}
    >>> case = Case("a", config, ("w",), (np.ones(1),), ((np.array([4.0]),),))
    >>> wrong = [{"variables": [np.array([0.5])], "velocities": [np.array([-0.5])]}]
    >>> found = parting(case, wrong)
    >>> found.difference.quantity, found.where
    ('velocities', 'norm, or clipped gradient, or velocity')
    """
    expected = basis.run(case)
    first = compare(case, expected, observed).first
    if first is None:
        return None
    call = first.call
    if call == len(case.gradients):
        return Parting(first, (FINALIZATION,))
    taken = stages(case, *basis.composed())[call]
    for quantities, leading_to_it in _groups(case, call, taken):
        wanted, given = (_only(quantities, trajectory[call]) for trajectory in (expected, observed))
        difference = compare(case, [wanted], [given]).first
        if difference is not None:
            is_left_alone = _is_left_alone(case, difference, taken)
            return Parting(replace(difference, call=call), () if is_left_alone else leading_to_it)
    raise AssertionError(f"{first} is in none of the quantities that are reported")


def partings(case: Case, observed: Trajectory, basis: Basis = DEFINITION) -> list[Parting | None]:
    """Return where each call by itself departs from the rule, starting from the state observed before it.

    Parameters
    ----------
    case : Case
        The case.
    observed : trajectory
        Of the form that ``check_form`` checks.
    basis : Basis, optional
        The rule, by default that of the reference.

    Returns
    -------
    list of Parting or None
        One for each record; None if a call has the bits of the reference, or starts from a state that the
        reference refuses. If the state is not reported, there is only one, for the whole case.

    Examples
    --------
    >>> import numpy as np, sgd_ref
    >>> case = Case("a", sgd_ref.SGD(0.5).get_config(), ("w",), (np.ones(1),), ((np.array([4.0]),),) * 3)
    >>> records = DEFINITION.run(case)
    >>> records[0]["variables"] = [np.array([9.0])]
    >>> [found is None for found in partings(case, records)]
    [False, False, True]
    """
    return [_of_one(step) for step in steps(case, observed, basis)]


def seeded(step: Step) -> Case:
    """Return the case of a step, with the learning rate of the definition at the observed count."""
    if step.rates is None:
        return step.case
    return replace(step.case, learning_rate_calls=(float(step.rates.documented),))


def _of_one(step: Step) -> Parting | None:
    case = step.case
    if step.rates is not None:
        documented, reported = step.rates.documented, step.rates.reported
        wrong_rate = compare(case, [_only_rate(documented)], [_only_rate(reported)]).first
        if wrong_rate is not None:
            return Parting(replace(wrong_rate, call=step.first), (LEARNING_RATE,))
    try:
        found = parting(seeded(step), step.observed, step.basis)
    except (TypeError, ValueError):
        return None
    if found is None:
        return None
    return replace(found, difference=replace(found.difference, call=step.first + found.difference.call))


def _only_rate(rate: object) -> Record:
    return {**dict.fromkeys(LISTS, ()), "learning_rate": rate}


def _only(quantities: tuple[str, ...], record: Record) -> Record:
    return {**dict.fromkeys(LISTS, ()), **{quantity: record.get(quantity) for quantity in quantities}}


def _groups(case: Case, call: int, taken: Collection[str]) -> Iterator[Group]:
    """Yield the quantities reported after a call, in the order in which the rule computes them."""

    def of_this_call(*names: str) -> tuple[str, ...]:
        return tuple(name for name in names if name in taken)

    # A dense gradient in the dtype of its variable is used as it is given.
    given = zip(case.gradients[call], case.variables, strict=True)
    is_formed = any(isinstance(g, SparseRows) or (g is not None and g.dtype != w.dtype) for g, w in given)
    of_gradients = of_this_call(*GRADIENTS[0 if is_formed else 1 :])
    yield ("learning_rate",), (LEARNING_RATE,)
    yield ("accumulators",), of_this_call(ACCUMULATOR) if MEAN in taken else (*of_gradients, ACCUMULATOR)
    if VELOCITY in taken:
        yield ("velocities",), (*of_gradients, VELOCITY)
        of_gradients = ()
    of_variables = (*of_gradients, *of_this_call(DECAYED, UPDATED))
    if OVERWRITTEN in taken:
        # The overwritten variables are never reported, so the averages come first; the stage of overwriting
        # may have changed them, too.
        yield ("averages",), (*of_variables, AVERAGE, OVERWRITTEN)
        yield ("variables",), (OVERWRITTEN,)
    else:
        # An implementation may overwrite variables by averages even if no overwrite is due.
        may_overwrite = UPDATED in taken and case.config.get("ema_overwrite_frequency") is not None
        yield ("variables",), (*of_variables, OVERWRITTEN) if may_overwrite else of_variables
        yield ("averages",), of_this_call(AVERAGE)
    yield ("velocities",), ()
    yield ("loss_scale", "growth_counter"), (GROWTH,)
    yield ("iterations", "calls"), (COUNTING,)


def _is_left_alone(case: Case, difference: Difference, taken: Mapping[str, Stage]) -> bool:
    """Whether the variable has no gradient in this call, and nothing but a gradient changes the quantity."""
    if not difference.variable or (difference.quantity == "variables" and OVERWRITTEN in taken):
        return False
    gradient = taken[GRADIENT][case.names.index(difference.variable)]
    if difference.quantity == "accumulators":
        return gradient is None and MEAN not in taken
    return difference.quantity != "averages" and (gradient is None or UPDATED not in taken)
