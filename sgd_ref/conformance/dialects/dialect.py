"""A dialect: the rule that an implementation is held to, with its deviations by design."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Self

from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.deviations import DEVIATIONS, Basis
from sgd_ref.conformance.deviations.registry import check_known
from sgd_ref.conformance.diagnosis.candidates import may_act
from sgd_ref.conformance.dialects.rules import RULES
from sgd_ref.loss_scale import LossScaleOptimizer
from sgd_ref.optimizer import SGD
from sgd_ref.validation import reject_type, reject_value, text


@dataclass(frozen=True)
class Dialect:
    """A documented rule, and known, intended deviations from it.

    Attributes
    ----------
    rule : str
        Name of one of `RULES`.
    by_design : frozenset of str
        Names of known deviations.

    Examples
    --------
    >>> Dialect("pytorch").names[:2]
    ('norm-of-half-norms', 'zero-decay-skipped')
    >>> print(Dialect(by_design=frozenset(["ascends"])))
    keras with ascends
    """

    rule: str = "keras"
    by_design: frozenset[str] = frozenset()

    @classmethod
    def of(cls, rule: str = "keras", by_design: Iterable[str] = ()) -> Self:
        """Return a dialect whose names are checked.

        Raises
        ------
        TypeError, ValueError
            If there is no such rule, or no such deviation; the message has the rules, or similar names.
        """
        if text("rule", rule) not in RULES:
            reject_value("rule", rule, f"one of {', '.join(RULES)}")
        if isinstance(by_design, str):
            reject_type("by_design", by_design, "several names of deviations")
        for name in (chosen := frozenset(by_design)):
            check_known("by_design", text("by_design", name))
        return cls(rule, chosen)

    @classmethod
    def read(cls, words: str) -> Self:
        """Return the dialect whose ``str`` is the given text.

        Raises
        ------
        ValueError
            If there is no such rule, or no such deviation.

        Examples
        --------
        >>> Dialect.read("keras with ascends") == Dialect("keras", frozenset(["ascends"]))
        True
        """
        rule, _, meant = words.partition(" with ")
        return cls.of(rule, meant.split(", ") if meant else ())

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all deviations in the dialect, in the order of the registry."""
        chosen = self.by_design.union(part.name for part in RULES[self.rule].parts)
        return tuple(name for name in DEVIATIONS if name in chosen)

    @property
    def sources(self) -> Mapping[str, str]:
        """For each deviation the address of the documentation that states it, or "by design"."""
        stated = {part.name: part.address for part in RULES[self.rule].parts}
        return {name: stated.get(name, "by design") for name in self.names}

    def basis(
        self, optimizer: type[SGD] = SGD, wrapper: type[LossScaleOptimizer] = LossScaleOptimizer
    ) -> Basis:
        """Return the rule as code.

        Parameters
        ----------
        optimizer : subclass of SGD
            The reference that gives some answers to open questions.
        wrapper : subclass of LossScaleOptimizer
            The same for dynamic loss scaling.
        """
        return Basis(self.names, _rounding(RULES[self.rule].roundings, optimizer), wrapper)

    def differs_in(self, case: Case) -> bool:
        """Whether the rule differs from the rule of Keras in a case, by more than roundings."""
        parts = RULES[self.rule].parts
        return any(part.concerns(case) for part in parts) or any(
            may_act(case, name) for name in self.by_design
        )

    def __str__(self) -> str:
        meant = ", ".join(name for name in DEVIATIONS if name in self.by_design)
        return f"{self.rule} with {meant}" if meant else self.rule


KERAS = Dialect()
"""The definition itself."""


@cache
def _rounding(roundings: tuple[type[SGD], ...], optimizer: type[SGD]) -> type[SGD]:
    return type("Rounding", (*roundings, optimizer), {}) if roundings else optimizer
