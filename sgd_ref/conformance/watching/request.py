"""What a user asks of ``watch``, to which the framework of the loop adds what is usual there."""

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
    """What is asked.

    Attributes
    ----------
    declared : dict
        The settings that are declared.
    rule : str or None
        Name of the rule; None for that of the framework.
    by_design : frozenset of str
        Names of deviations that are meant.
    velocities : Velocities or None
        What the optimizer keeps; None for what is usual.
    velocity_key : str or None
        Where PyTorch has it.
    """

    declared: Mapping[str, Any] = field(default_factory=dict)
    rule: str | None = None
    by_design: frozenset[str] = frozenset()
    velocities: Velocities | None = None
    velocity_key: str | None = None

    def __post_init__(self) -> None:
        """Check the names."""
        Dialect.of(self.rule or "keras", self.by_design)
        if self.velocities is not None and not isinstance(self.velocities, Velocities):
            reject_type("velocities", self.velocities, "a conformance.Velocities")
        if self.velocity_key is not None and not isinstance(self.velocity_key, str):
            reject_type("velocity_key", self.velocity_key, "a key of the state of a parameter")

    def held_to(self, usual: str, by_design: frozenset[str] = frozenset()) -> Rule:
        """Return the rule, with what the optimizer states that it does by design.

        >>> Request().held_to("pytorch").dialect.rule
        'pytorch'
        """
        dialect = Dialect.of(self.rule or usual, self.by_design | by_design)
        return rule_of(dialect, self.velocities)
