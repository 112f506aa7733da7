"""The judge of a loop: it follows the parameters, and finds the first value that the rule cannot give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import HALF_FORMATS, Array
from sgd_ref.conformance.bounds.running_error.following import Follower
from sgd_ref.conformance.bounds.violation import Violation
from sgd_ref.conformance.catalogue.case import Case, State
from sgd_ref.conformance.deviations import Basis
from sgd_ref.conformance.deviations.forms import WholeNorms, folded
from sgd_ref.conformance.trajectories.comparison import LISTS
from sgd_ref.conformance.watching.steps import Group, Parameter, Step, Values


@dataclass(frozen=True)
class Verdict:
    """The verdict of the judge on one step.

    Attributes
    ----------
    violation : Violation or None
        The first value that no evaluation of the rule gives. Its element is an index into the sample.
    position : int
        The position of the parameter that has the violation.
    group : Group or None
        The settings of that parameter.
    is_exact : bool
        Whether all bits are those of the rule, each operation rounded once.
    """

    violation: Violation | None = None
    position: int = 0
    group: Group | None = None
    is_exact: bool = True


class Judge:
    """A judge that follows all parameters of a model.

    Parameters
    ----------
    parameters : sequence of Parameter
        All parameters of the model.
    basis : Basis
        The rule.

    Notes
    -----
    The rule treats all elements alike. So the elements of a group are joined in one array, which takes a
    tenth of the time. They are joined unless something tells the parameters apart: a norm for each parameter,
    names that are excluded from decay, or a missing gradient.
    """

    def __init__(self, parameters: Sequence[Parameter], basis: Basis) -> None:
        self._parameters, self._basis = parameters, basis
        self._blocks: dict[tuple[int, Any], _Block] = {}

    def judge(self, step: Step) -> Verdict:
        """Judge one step, after all those before it."""
        is_exact = True
        for index, group in enumerate(step.groups):
            dtypes = dict.fromkeys(self._parameters[position].dtype for position in group.positions)
            for dtype in dtypes:
                block = self._block(index, group, dtype, step)
                violation, position, equal = block.follow(step, step.rates[index])
                if violation is not None:
                    return Verdict(violation, position, group, False)
                is_exact &= equal
        return Verdict(is_exact=is_exact)

    def _block(self, index: int, group: Group, dtype: Any, step: Step) -> _Block:
        block = self._blocks.get((index, dtype))
        if block is None or block.group != group or (block.is_flat and not block.may_be_flat(step)):
            positions = [p for p in group.positions if self._parameters[p].dtype == dtype]
            block = self._blocks[index, dtype] = _Block(self._parameters, positions, group, self._basis, step)
        return block


class _Block:
    """The parameters of one group that have one dtype."""

    def __init__(
        self,
        parameters: Sequence[Parameter],
        positions: Sequence[int],
        group: Group,
        basis: Basis,
        step: Step,
    ) -> None:
        self.group, self._parameters, self._positions = group, parameters, positions
        self.is_flat = self.may_be_flat(step)
        self._sizes = [step.before.variables[position].size for position in positions]
        seen = self._laid(step.before)
        state = state_of(step.calls, seen)
        names = ("all",) if self.is_flat else tuple(parameters[position].name for position in positions)
        case = Case(
            "step",
            {**group.config, "learning_rate": 0.5},
            names,
            tuple(seen["variables"]),
            (),
            state=state,
            excluded_from_weight_decay=group.excluded,
        )
        if step.squares:
            basis = replace(basis, forms=(*basis.forms, WholeNorms))
        self._follower = Follower(case, basis)

    def may_be_flat(self, step: Step) -> bool:
        """Whether nothing in a step tells the parameters apart."""
        has_norms = self.group.config["clipnorm"] is not None
        clips_halves = self.group.config["global_clipnorm"] is not None and any(
            self._parameters[position].dtype in HALF_FORMATS for position in self._positions
        )
        is_missing = any(step.gradients[position] is None for position in self._positions)
        is_hidden = self.group.config["momentum"] != 0 and step.before.velocities is None
        return not (has_norms or clips_halves or self.group.excluded or is_missing or is_hidden)

    def follow(self, step: Step, rate: float) -> tuple[Violation | None, int, bool]:
        if step.squares:
            self._tell_norms(step)
        gradients = [step.gradients[position] for position in self._positions]
        laid = (
            [np.concatenate([g.reshape(-1) for g in gradients if g is not None])]
            if self.is_flat
            else gradients
        )
        violation, is_exact = self._follower.follow(
            self._laid(step.before), laid, rate, self._laid(step.after)
        )
        if violation is None:
            return None, 0, is_exact
        return *self._placed(violation, step), False

    def _laid(self, values: Values) -> dict[str, list[Array]]:
        """Return the values that were seen, in the form that the follower takes."""
        seen = values.of(self.group, self._positions)
        if not self.is_flat:
            return seen
        return {
            quantity: [np.concatenate([array.reshape(-1) for array in arrays])]
            for quantity, arrays in seen.items()
        }

    def _placed(self, violation: Violation, step: Step) -> tuple[Violation, int]:
        """Return a violation with its parameter's name and the index in that parameter, and the parameter."""
        if not violation.variable:
            return violation, self._positions[0]
        if not self.is_flat:
            names = [self._parameters[position].name for position in self._positions]
            return violation, self._positions[names.index(violation.variable)]
        element = violation.element[0]
        ends = np.cumsum(self._sizes)
        place = int(np.searchsorted(ends, element, side="right"))
        position, element = self._positions[place], element - int(ends[place]) + self._sizes[place]
        index = np.unravel_index(element, step.before.variables[position].shape)
        placed = tuple(int(number) for number in index)
        return replace(violation, variable=self._parameters[position].name, element=placed), position

    def _tell_norms(self, step: Step) -> None:
        """Tell the follower which squares enter the norms besides those of the sampled elements."""
        rests, others, left_out = norms_beside(step, self._positions, self._parameters)
        if self.is_flat:
            inside = [rest for rest in rests if rest is not None]
            every = [*inside, *([] if others is None else [others])]
            rests, others = [], np.concatenate(every) if every else None
        for optimizer in self._follower.optimizers:
            optimizer._made, optimizer.left_out = -1, left_out
            optimizer.rests, optimizer.others = [rests] if rests else (), [others]


def state_of(calls: int, seen: Mapping[str, Sequence[Array]]) -> State:
    """Return the seen part of a state, by quantities, as a state from which a case resumes.

    >>> state_of(3, {"velocities": [np.ones(1)]}).velocities
    (array([1.]),)
    """
    velocities, averages, accumulators = (tuple(seen.get(quantity, ())) for quantity in LISTS[1:])
    return State(calls, velocities, averages, accumulators)


def norms_beside(
    step: Step, positions: Sequence[int], parameters: Sequence[Parameter]
) -> tuple[list[Array | None], Array | None, int]:
    """Return the parts of the norms of a step that come from elements outside of the sample.

    Returns
    -------
    list of ndarray or None
        For each of these parameters, a few numbers whose squares have the same sum as those of the gradient's
        elements that are not sampled; None if all are sampled.
    ndarray or None
        The same for all other parameters together.
    int
        The number of elements that these numbers stand for.
    """
    rests: list[Array | None] = []
    others: list[Array] = []
    left_out = 0
    for position, parameter in enumerate(parameters):
        gradient, square = step.gradients[position], step.squares[position]
        is_inside = position in positions
        rest = None
        if gradient is not None and square is not None:
            seen = sum_of_squares(gradient) if is_inside else 0.0
            missing = parameter.size - (gradient.size if is_inside else 0)
            if missing:
                # A sum of squares that is not finite stays as it is: nothing is subtracted.
                rest = folded(max(square - seen, 0.0) if np.isfinite(square) else square, gradient.dtype)
                left_out += missing
        if is_inside:
            rests.append(rest)
        elif rest is not None:
            others.append(rest)
    return rests, np.concatenate(others) if others else None, left_out


def sum_of_squares(array: Array) -> float:
    """Return the sum of the squares of all elements, in float64.

    >>> sum_of_squares(np.array([3.0, 4.0], "float32"))
    25.0
    """
    wide = array.astype(np.float64).reshape(-1)
    with np.errstate(all="ignore"):
        return float(wide @ wide)
