"""A basis: the rule that an answer is held to, to which further deviations can be added."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sgd_ref.conformance.catalogue.case import Case, Record
from sgd_ref.conformance.deviations.registry import DEVIATIONS, compose
from sgd_ref.conformance.trajectories import reference
from sgd_ref.loss_scale import LossScaleOptimizer
from sgd_ref.optimizer import SGD


@dataclass(frozen=True)
class Basis:
    """Deviations that are meant, and the variant of the reference that they deviate from.

    Attributes
    ----------
    names : tuple of str
        Names of deviations.
    optimizer : subclass of SGD
        What they deviate from: the reference, in other roundings, or with answers to open questions.
    wrapper : subclass of LossScaleOptimizer
        The same for dynamic loss scaling.

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

    def composed(self, more: Iterable[str] = ()) -> tuple[type[SGD], type[LossScaleOptimizer]]:
        """Return the optimizer and the wrapper that have its deviations, and more.

        Raises
        ------
        ValueError
            If there is no deviation of one of the names.
        """
        return compose((*self.names, *more), self.optimizer, self.wrapper)

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
        if not self.names and not more:
            return reference.run(case, self.optimizer, self.wrapper)
        return reference.run(case, *self.composed(more))


DEFINITION = Basis()
"""The rule of Keras, as the reference has it."""
