"""Mistakes that mix up the state of variables: it is looked up by a property that several variables share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sgd_ref.arithmetic.formats import Array
from sgd_ref.arithmetic.rounded import setting
from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.mistakes.mistake import mistake
from sgd_ref.conformance.deviations.moments import ShowsEarlier
from sgd_ref.optimizer import SGD, Gradients, Values

Owners = Callable[[list[Array]], list[int]]
"""A function that returns for each array the position of the array whose state is used for it."""


def first_alike(arrays: list[Array], kind: Callable[[Array], Any]) -> list[int]:
    """Return for each array the position of the first one of its kind.

    >>> import numpy as np
    >>> first_alike([np.zeros(2), np.zeros(3), np.ones(2)], lambda array: array.shape)
    [0, 1, 0]
    """
    first: dict[Any, int] = {}
    return [first.setdefault(kind(array), position) for position, array in enumerate(arrays)]


def form(array: Array) -> Any:
    """Return the shape and the dtype of an array."""
    return array.shape, array.dtype


class VelocityOfAnother(SGD):
    """The common base of mistakes that use the velocity of another variable, chosen by ``owners``."""

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update one variable after the other."""
        if self.settings.momentum == 0:
            return super().update(values, gradients, call)
        owners = self.owners(values.velocities, gradients)
        variables, velocities = list(values.variables), list(values.velocities)
        for position, g in enumerate(gradients):
            if g is None:
                continue
            owner = owners[position]
            taken = list(velocities)
            taken[position] = velocities[owner].reshape(g.shape)
            alone: Gradients = [None] * len(gradients)
            alone[position] = g
            updated = super().update(replace(values, variables=variables, velocities=taken), alone, call)
            variables[position] = updated.variables[position]
            velocities[owner] = updated.velocities[position].reshape(velocities[owner].shape)
            self.used(position, owner, updated.velocities[position])
        return replace(values, variables=variables, velocities=self.reported(velocities, owners))

    def owners(self, velocities: list[Array], gradients: Gradients) -> list[int]:
        """Return for each variable the position of the velocity that is used for it."""
        return list(range(len(velocities)))

    def used(self, position: int, owner: int, velocity: Array) -> None:
        """Take note of the velocity of a variable, which has just been updated."""

    def reported(self, velocities: list[Array], owners: list[int]) -> list[Array]:
        """Return the velocity that each variable used."""
        return [
            velocities[owner].reshape(velocity.shape)
            for velocity, owner in zip(velocities, owners, strict=True)
        ]


class SharedVelocity(VelocityOfAnother, ShowsEarlier):
    """The common base of mistakes in which several variables have one velocity."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._updated_last: dict[int, int] = {}

    def used(self, position: int, owner: int, velocity: Array) -> None:
        """Keep the velocity, which later variables change."""
        self.earlier[position] = velocity
        self._updated_last[owner] = position

    def go_on(self) -> None:
        """Take each velocity from the variable that was updated last with it."""
        for owner, position in self._updated_last.items():
            velocity = self.velocities[owner]
            velocity[...] = self.velocities[position].reshape(velocity.shape)


class VelocityByShape(SharedVelocity):
    """All variables of one shape and dtype have one velocity, which each of them changes in turn.

    The documentation has a velocity of each variable. Evidence: velocities in a dictionary by what two
    parameters can share, https://github.com/ddbourgin/numpy-ml/pull/96.
    """

    def owners(self, velocities: list[Array], gradients: Gradients) -> list[int]:
        """Take that of the first one."""
        return first_alike(velocities, form)


class VelocityBySize(SharedVelocity):
    """All variables of one size and dtype have one velocity, which each of them changes in turn.

    The documentation has a velocity of each variable. Evidence: no report is known.
    """

    def owners(self, velocities: list[Array], gradients: Gradients) -> list[int]:
        """Take that of the first one."""
        return first_alike(velocities, lambda array: (array.size, array.dtype))


class ScalarsShareVelocity(SharedVelocity):
    """All variables without axes have one velocity, which each of them changes in turn.

    The documentation has a velocity of each variable. Evidence: no report is known.
    """

    def owners(self, velocities: list[Array], gradients: Gradients) -> list[int]:
        """Use the velocity of the first variable without axes."""
        alike = first_alike(velocities, form)
        return [alike[i] if velocity.ndim == 0 else i for i, velocity in enumerate(velocities)]


class VelocityByPlace(VelocityOfAnother):
    """Velocities are counted along the gradients that are there, so that a missing one shifts the others.

    If a velocity has another shape than the variable, it is not used. The core code has a velocity of each
    variable, whichever gradients are missing. Evidence: sums of gradients by the order of the keys of the
    gradients, https://github.com/tensorflow/tfjs/issues/8379.
    """

    def owners(self, velocities: list[Array], gradients: Gradients) -> list[int]:
        """Use the velocity at the position among the gradients that are present."""
        return _shifted(velocities, [gradient is not None for gradient in gradients])

    def reported(self, velocities: list[Array], owners: list[int]) -> list[Array]:
        """Return the list that the velocities are counted in."""
        return velocities


class EmptyShiftsVelocities(VelocityOfAnother):
    """Velocities are counted along the variables that have elements, so that an empty one shifts the others.

    If a velocity has another shape than the variable, it is not used. The documentation has a velocity of
    each variable. Evidence: no report is known.
    """

    def owners(self, velocities: list[Array], gradients: Gradients) -> list[int]:
        """Count the variables that have elements."""
        return _shifted(velocities, [velocity.size > 0 for velocity in velocities])

    def reported(self, velocities: list[Array], owners: list[int]) -> list[Array]:
        """Return the list that the velocities are counted in."""
        return velocities


class AverageByShape(SGD):
    """All variables of one shape and dtype have one average, that of the first of them.

    The documentation has an average of each variable. Evidence: no report is known.
    """

    def average(self, values: Values, call: Call) -> Values:
        """Average, and give all variables of a shape the average of the first of them."""
        averaged = super().average(values, call)
        alike = first_alike(averaged.averages, form)
        return replace(averaged, averages=[averaged.averages[owner] for owner in alike])


class AccumulatorByShape(SGD):
    """All variables of one shape and dtype have one accumulator, to which the gradients of all are added.

    The documentation has an accumulator of each variable. Evidence: no report is known.
    """

    def accumulate(self, values: Values, gradients: Gradients) -> Values:
        """Add everything to the accumulator of the first one."""
        accumulators = list(values.accumulators)
        alike = first_alike(accumulators, form)
        for g, owner in zip(gradients, alike, strict=True):
            if g is not None:
                accumulators[owner] = g + accumulators[owner]
        return replace(values, accumulators=[accumulators[owner] for owner in alike])


class AccumulatorByPlace(SGD):
    """Accumulators are counted along the gradients that are there, so that a missing one shifts the others.

    If an accumulator has another shape than the variable, it is not used. The documentation has an
    accumulator of each variable. Evidence: sums of gradients by the order of the keys of the gradients,
    https://github.com/tensorflow/tfjs/issues/8379.
    """

    def accumulate(self, values: Values, gradients: Gradients) -> Values:
        """Add each gradient to the accumulator at its place."""
        accumulators = list(values.accumulators)
        for g, owner in zip(gradients, _shifted_by_missing(accumulators, gradients), strict=True):
            if g is not None:
                accumulators[owner] = g + accumulators[owner]
        return replace(values, accumulators=accumulators)

    def mean(self, values: Values, gradients: Gradients) -> tuple[Gradients, Values]:
        """Take each mean with the accumulator at the place of the gradient."""
        if self.settings.gradient_accumulation_steps is None:
            return super().mean(values, gradients)
        owners = _shifted_by_missing(values.accumulators, gradients)
        return super().mean(replace(values, accumulators=[values.accumulators[i] for i in owners]), gradients)


class MissingShiftsGradients(SGD):
    """Missing gradients are left out of the list, so that variables get the gradients of those after them.

    If a gradient has another shape than the variable, it is not used. The core code leaves out the variable
    with its gradient. Evidence: https://github.com/mead-ml/mead-baseline/pull/368.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update the first variables with all gradients that are there."""
        present = [g for g in gradients if g is not None]
        padded = [*present, *[None] * (len(gradients) - len(present))]
        shifted: Gradients = [
            g if g is not None and form(g) == form(w) else None
            for g, w in zip(padded, values.variables, strict=True)
        ]
        return super().update(values, shifted, call)


class NormByShape(SGD):
    """Under `clipnorm` all gradients of one shape and dtype are clipped by the norm of the first of them.

    The documentation: "the gradient of each weight is individually clipped". Evidence: no report is known.
    """

    def clip_by_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Keep the norm of each shape."""
        norms: dict[Any, Any] = {}
        clipped: Gradients = []
        for g in gradients:
            if g is not None and form(g) not in norms:
                norms[form(g)] = self.norm([g])
            clipped.append(None if g is None else self.clipped(g, norms[form(g)], setting(clipnorm, g.dtype)))
        return clipped


class LastGradientOfShape(SGD):
    """All variables of one shape and dtype get the last gradient of that shape, as if it lay in one buffer.

    The documentation has a gradient of each variable. Evidence: no report is known.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update with the last gradient of each shape."""
        last = {form(g): g for g in gradients if g is not None}
        return super().update(values, [None if g is None else last[form(g)] for g in gradients], call)


class GradientsInOrderOfNames(SGD):
    """Gradients are sorted by the names of their variables, and variables are not.

    So `variable_10` comes before `variable_2`. A gradient of another shape or dtype is not taken. Evidence:
    no report is known.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update with the sorted gradients."""
        names = call.state.names
        order = sorted(range(len(names)), key=names.__getitem__)
        return super().update(values, _taken(gradients, order), call)


class EqualValuesTakenForOne(SGD):
    """A variable whose first values equal those of one before it is taken for the same, and not updated.

    Evidence: no report is known.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._alike: list[int] | None = None

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update only the first of the variables that begin with equal values."""
        if self._alike is None:
            self._alike = first_alike(call.state.variables, lambda w: (form(w), w.tobytes()))
        first = [owner == position for position, owner in enumerate(self._alike)]
        once: Gradients = [g if mine else None for g, mine in zip(gradients, first, strict=True)]
        return super().update(values, once, call)


def _shifted(velocities: list[Array], counts: list[bool]) -> list[int]:
    """Return for each variable the position of its velocity, shifted; its own if the shapes differ."""
    owners, place = [], 0
    for position, velocity in enumerate(velocities):
        owners.append(place if form(velocities[place]) == form(velocity) else position)
        place += counts[position]
    return owners


def _shifted_by_missing(arrays: list[Array], gradients: Gradients) -> list[int]:
    return _shifted(arrays, [gradient is not None for gradient in gradients])


def _taken(gradients: Gradients, order: list[int]) -> Gradients:
    taken: Gradients = []
    for position, g in enumerate(gradients):
        other = gradients[order[position]]
        fits = g is not None and other is not None and form(other) == form(g)
        taken.append(other if fits else g)
    return taken


STRUCTURE_OF_STATE = (
    mistake("velocity-by-shape", VelocityByShape),
    mistake("velocity-by-size", VelocityBySize),
    mistake("scalars-share-a-velocity", ScalarsShareVelocity),
    mistake("velocity-by-place-among-gradients", VelocityByPlace),
    mistake("empty-shifts-velocities", EmptyShiftsVelocities),
    mistake("average-by-shape", AverageByShape),
    mistake("accumulator-by-shape", AccumulatorByShape),
    mistake("accumulator-by-place-among-gradients", AccumulatorByPlace),
    mistake("missing-shifts-gradients", MissingShiftsGradients),
    mistake("norm-by-shape", NormByShape),
    mistake("last-gradient-of-each-shape", LastGradientOfShape),
    mistake("gradients-in-order-of-names", GradientsInOrderOfNames),
    mistake("equal-values-taken-for-one", EqualValuesTakenForOne),
)
