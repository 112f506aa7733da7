"""The steps around a finding, as a case of the kit and the trajectory that was seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.conformance.catalogue.case import Case, Record
from sgd_ref.conformance.catalogue.protection import protected
from sgd_ref.conformance.deviations import Basis
from sgd_ref.conformance.deviations.forms import WholeNorms
from sgd_ref.conformance.watching.judge import norms_beside, state_of
from sgd_ref.conformance.watching.steps import Group, Parameter, Step

FIRST = 8
"""The number of steps kept from the beginning of a loop, to name mistakes that begin there."""

BEFORE, AFTER = 4, 4
"""The numbers of steps kept before a later finding, and of steps that are seen after a finding."""


@dataclass(frozen=True)
class Seen:
    """The values that were seen in some steps, in the form of the kit.

    Attributes
    ----------
    case : Case
        The inputs of the steps.
    trajectory : list of dict
        The outputs of the steps.
    basis : Basis
        The rule, with the squares that enter its norms besides those of the case's elements.
    first : int
        The step that is call 0 of the case.
    """

    case: Case
    trajectory: list[Record]
    basis: Basis
    first: int

    @property
    def is_whole(self) -> bool:
        """Whether the norms need only elements of the case."""
        return not any(issubclass(form, WholeNorms) for form in self.basis.forms)


def around(
    steps: Sequence[Step], number: int, group: Group, parameters: Sequence[Parameter], basis: Basis
) -> Seen | None:
    """Return the steps around a finding, as far as they follow one another without a gap.

    Parameters
    ----------
    steps : sequence of Step
        The steps that were kept, in their order.
    number : int
        The number of the step with the finding.
    group : Group
        The settings of the parameter that is wrong.
    parameters : sequence of Parameter
        All parameters of the model.
    basis : Basis
        The rule.

    Returns
    -------
    Seen or None
        None if velocities are not seen and those before the first of these steps are not zeros.
    """
    positions = sorted(group.positions)
    chosen: list[Step] = []
    for step in steps:
        is_next = bool(chosen) and step.follows and step.number == chosen[-1].number + 1
        if not (is_next and group in step.groups):
            if step.number > number:
                break
            chosen = []
        if group in step.groups:
            chosen.append(step)
    start = chosen[0]
    seen = start.before.of(group, positions)
    if start.calls > 0 and group.config["momentum"] != 0 and start.before.velocities is None:
        return None
    has_state = start.calls > 0 or any(
        np.any(array) for quantity, arrays in seen.items() for array in arrays if quantity != "variables"
    )
    state = state_of(start.calls, seen) if has_state else None
    rates = tuple(step.rates[step.groups.index(group)] for step in chosen)
    is_constant = len(set(rates)) == 1
    case = Case(
        f"watched/step-{number}",
        {**group.config, "learning_rate": rates[0] if is_constant else None},
        tuple(parameters[position].name for position in positions),
        tuple(seen["variables"]),
        tuple(tuple(step.gradients[position] for position in positions) for step in chosen),
        state=state,
        excluded_from_weight_decay=group.excluded,
        learning_rate_calls=None if is_constant else rates,
        notes=f"steps {start.number} to {chosen[-1].number} of a training loop that was watched",
    )
    trajectory: list[Record] = [
        {**step.after.of(group, positions), "calls": step.calls + 1} for step in chosen
    ]
    # Some of the mistakes that are tried overwrite the gradients that they are given.
    case = protected(case)
    return Seen(case, trajectory, _with_norms(basis, chosen, positions, parameters), start.number)


def _with_norms(
    basis: Basis, steps: Sequence[Step], positions: Sequence[int], parameters: Sequence[Parameter]
) -> Basis:
    """Return the rule with the squares that its norms need besides those of a case's elements, if any."""
    rests: list[list[Array | None]] = []
    others: list[Array | None] = []
    left_out = 0
    for step in steps:
        if step.squares:
            rest, other, count = norms_beside(step, positions, parameters)
            rests.append(rest)
            others.append(other)
            left_out = max(left_out, count)
    if not left_out:
        return basis
    form = type("Beside", (WholeNorms,), {"rests": rests, "others": others, "left_out": left_out})
    return replace(basis, forms=(*basis.forms, form))
