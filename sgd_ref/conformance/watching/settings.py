"""The settings of a loop: those that the user declares, and those that its optimizer states."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from sgd_ref.conformance.deviations import Basis
from sgd_ref.conformance.deviations.forms import SumsKept
from sgd_ref.conformance.dialects import Dialect
from sgd_ref.conformance.grading.velocities import DOCUMENTED, Velocities
from sgd_ref.optimizer import SGD
from sgd_ref.validation import reject_type, reject_value

DECLARABLE = (
    "learning_rate",
    "momentum",
    "nesterov",
    "weight_decay",
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
)
"""The settings that a user may declare, since some optimizers do not state them."""

RATE_OUTSIDE = "rate-outside-velocity"

SUMS = Velocities(sign=-1, without_rate=True)
"""PyTorch and Optax keep sums of gradients for velocities."""

Rate = float | Callable[[int], float]


@dataclass(frozen=True)
class Rule:
    """The rule that a loop is held to, and how its velocities are read.

    Attributes
    ----------
    dialect : Dialect
        The rule.
    basis : Basis
        The rule as code, for the form in which the optimizer keeps velocities.
    sign : int
        The factor by which the velocities that are seen are multiplied; 0 if their form cannot be read.
    """

    dialect: Dialect
    basis: Basis
    sign: int


def rule_of(dialect: Dialect, velocities: Velocities | None) -> Rule:
    """Return a rule in the form that the judge needs.

    Parameters
    ----------
    dialect : Dialect
        The rule.
    velocities : Velocities or None
        The form in which the optimizer keeps velocities; None for the usual form under the rule.

    Examples
    --------
    >>> rule_of(Dialect("pytorch"), None).sign, rule_of(Dialect("keras"), SUMS).sign
    (1, 0)
    """
    basis = dialect.basis()
    is_outside = RATE_OUTSIDE in dialect.names
    kept = velocities or (SUMS if is_outside else DOCUMENTED)
    if is_outside:
        names = tuple(name for name in basis.names if name != RATE_OUTSIDE)
        basis = replace(basis, names=names, forms=(SumsKept,))
    is_read = kept.without_rate == is_outside
    # A sum of gradients is subtracted from the variable, and a documented velocity is added to it.
    sign = -kept.sign if is_outside else kept.sign
    return Rule(dialect, basis, sign if is_read else 0)


def checked_declarations(declared: Mapping[str, Any]) -> dict[str, Any]:
    """Return the declared settings, after a check.

    Raises
    ------
    TypeError, ValueError
        If a setting cannot be declared, or ``sgd_ref.SGD`` does not accept its value.
    """
    for name in declared:
        if name not in DECLARABLE:
            raise TypeError(f"a setting must be one of {', '.join(DECLARABLE)}, got {name!r}")
    rate = declared.get("learning_rate")
    if rate is not None and not callable(rate):
        SGD(learning_rate=rate)
    config_of({name: value for name, value in declared.items() if name != "learning_rate"})
    return dict(declared)


def config_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the complete config for some settings.

    Raises
    ------
    TypeError, ValueError
        If ``sgd_ref.SGD`` does not accept a value.

    Examples
    --------
    >>> config_of({"momentum": 0.5})["nesterov"]
    False
    """
    return dict(_config_of(tuple(sorted(settings.items()))))


@cache
def _config_of(settings: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    return SGD(**dict(settings)).get_config()


def rate_at(rate: Rate, step: int) -> float:
    """Return the declared learning rate of a step.

    >>> rate_at(0.5, 3), rate_at(lambda step: 1 / (step + 1), 3)
    (0.5, 0.25)
    """
    return float(rate(step)) if callable(rate) else float(rate)


def checked_sample(sample: Any) -> int | None:
    """Return the number of elements to sample.

    Raises
    ------
    TypeError, ValueError
        If the argument is neither a positive integer nor None.
    """
    if sample is None:
        return None
    if isinstance(sample, bool) or not isinstance(sample, int):
        reject_type("sample", sample, "a number of elements, or None for all")
    if sample < 1:
        reject_value("sample", sample, "at least 1, or None for all elements")
    return sample
