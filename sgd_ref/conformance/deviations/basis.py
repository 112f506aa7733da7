"""A basis: the rule that an answer is held to, to which further deviations can be added."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from sgd_ref.conformance.catalogue.case import Case, Record
from sgd_ref.conformance.deviations.registry import DEVIATIONS, compose
from sgd_ref.conformance.trajectories import reference
from sgd_ref.loss_scale import LossScaleOptimizer
from sgd_ref.optimizer import SGD


@dataclass(frozen=True)
class Basis:
    """Intended deviations, and the variant of the reference that they deviate from.

    Attributes
    ----------
    names : tuple of str
        Names of deviations.
    optimizer : subclass of SGD
        The optimizer that they deviate from: the reference, perhaps with other roundings, or with other
        answers to open questions.
    wrapper : subclass of LossScaleOptimizer
        The same for dynamic loss scaling.
    forms : tuple of subclass of SGD
        Classes around all deviations: they set the form in which state is kept, or supply data that a case
        does not have.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> from sgd_ref.conformance.trajectories.comparison import compare
    >>> case = conformance.cases("smoke")[0]
    >>> compare(case, DEFINITION.run(case), Basis(("ascends",)).run(case)).equal
    False
    """

    names: tuple[str, ...] = ()
    optimizer: type[SGD] = SGD
    wrapper: type[LossScaleOptimizer] = LossScaleOptimizer
    forms: tuple[type[SGD], ...] = ()

    def composed(self, more: Iterable[str] = ()) -> tuple[type[SGD], type[LossScaleOptimizer]]:
        """Return the optimizer and the wrapper that have the deviations of the basis, and further ones.

        Raises
        ------
        ValueError
            If there is no deviation of one of the names.
        """
        optimizer, wrapper = compose((*self.names, *more), self.optimizer, self.wrapper)
        return in_forms(self.forms, optimizer), wrapper

    def has(self, name: str) -> bool:
        """Whether a deviation is a part of the rule already, by its name or as an answer to a question.

        >>> Basis(("ascends",)).has("ascends"), DEFINITION.has("ascends")
        (True, False)
        """
        known = DEVIATIONS[name]
        return (
            name in self.names
            or (known.optimizer is not SGD and issubclass(self.optimizer, known.optimizer))
            or (known.wrapper is not LossScaleOptimizer and issubclass(self.wrapper, known.wrapper))
        )

    def run(self, case: Case, more: Iterable[str] = ()) -> list[Record]:
        """Return the trajectory of a case.

        Raises
        ------
        ValueError
            If there is no deviation of one of the names.
        """
        if not (self.names or more or self.forms):
            return reference.run(case, self.optimizer, self.wrapper)
        return reference.run(case, *self.composed(more))


@cache
def in_forms(forms: tuple[type[SGD], ...], optimizer: type[SGD]) -> type[SGD]:
    """Return an optimizer with the forms of a basis around it; without forms, the optimizer itself.

    >>> in_forms((), SGD) is SGD
    True
    """
    return type("Formed", (*forms, optimizer), {}) if forms else optimizer


DEFINITION = Basis()
"""The rule of Keras, as the reference computes it."""
