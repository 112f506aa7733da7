"""The rules that the optimizer for PyTorch offers, as a setting of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from numba_kernels.shared import element
from sgd_ref.base.settings import Settings
from sgd_ref.validation import reject_value, text


class Rule(NamedTuple):
    """A rule.

    Attributes
    ----------
    kernels : int
        The field `rule` of the variants of its kernels.
    velocity : str
        The name of its velocity in the state of a parameter.
    decays_by_zero : bool
        Whether a decay of 0.0 is a decay: it makes a NaN of an infinite weight.
    """

    kernels: int
    velocity: str
    decays_by_zero: bool


RULES = {
    "keras": Rule(element.KERAS, "velocity", decays_by_zero=True),
    "pytorch": Rule(element.PYTORCH, "momentum_buffer", decays_by_zero=False),
}
"""By name; "keras" is the default."""

VELOCITIES = {rule.velocity: name for name, rule in RULES.items()}
"""The name of the rule of each velocity."""


def rule_name(name: str, value: Any) -> str:
    """Return the name of a rule, checked.

    Raises
    ------
    TypeError, ValueError
        If there is no rule of this name.

    Examples
    --------
    >>> rule_name("rule", "pytorch")
    'pytorch'
    """
    if text(name, value) not in RULES:
        reject_value(name, value, f"one of {', '.join(map(repr, RULES))}")
    return str(value)


@dataclass(frozen=True)
class RuledSettings(Settings):
    """The settings of an optimizer, with the name of its rule among them.

    >>> RuledSettings.checked(rule="pytorch").of_rule.velocity
    'momentum_buffer'
    """

    rule: str = field(default="keras", metadata={"check": rule_name})

    @property
    def of_rule(self) -> Rule:
        """The properties of the rule for the kernels and the state."""
        return RULES[self.rule]
