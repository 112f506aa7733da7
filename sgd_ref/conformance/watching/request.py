"""A user's request to ``watch``. The framework of the loop supplies what the user left open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sgd_ref.conformance.dialects import Dialect
from sgd_ref.conformance.grading.velocities import Velocities
from sgd_ref.conformance.watching.settings import Rule, rule_of
from sgd_ref.validation import reject_type


@dataclass
class Request:
    """The arguments of ``watch`` that do not depend on the framework.

    Attributes
    ----------
    declared : dict
        The declared settings.
    rule : str or None
        Name of the rule; None for the usual rule of the framework.
    by_design : frozenset of str
        Names of deviations that are intended.
    velocities : Velocities or None
        The form in which the optimizer keeps velocities; None for the usual form of the framework.
    velocity_key : str or None
        The key of ``optimizer.state[p]`` under which a PyTorch optimizer keeps the velocity.
    """

    declared: Mapping[str, Any] = field(default_factory=dict)
    rule: str | None = None
    by_design: frozenset[str] = frozenset()
    velocities: Velocities | None = None
    velocity_key: str | None = None

    def __post_init__(self) -> None:
        """Check the names of settings, of the rule and of deviations."""
        Dialect.of(self.rule or "keras", self.by_design)
        if self.velocities is not None and not isinstance(self.velocities, Velocities):
            reject_type("velocities", self.velocities, "a conformance.Velocities")
        if self.velocity_key is not None and not isinstance(self.velocity_key, str):
            reject_type("velocity_key", self.velocity_key, "a key of the state of a parameter")

    def held_to(self, usual: str, by_design: frozenset[str] = frozenset()) -> Rule:
        """Return the rule, with the deviations that the optimizer declares to be by design.

        >>> Request().held_to("pytorch").dialect.rule
        'pytorch'
        """
        dialect = Dialect.of(self.rule or usual, self.by_design | by_design)
        return rule_of(dialect, self.velocities)
