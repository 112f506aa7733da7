"""The formulas of schedules after their end, where the documentation keeps the last value."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from sgd_ref.schedules import LearningRateSchedule


def or_after_the_end(
    schedule: LearningRateSchedule, begin: float, formula: Callable[[Mapping[str, Any], float], float]
) -> Callable[[int], float]:
    """Return the value of the schedule; after its end, that of a formula of the elapsed fraction.

    >>> from sgd_ref.schedules import PolynomialDecay
    >>> rate = or_after_the_end(PolynomialDecay(1.0, 4, 0.0), 0, polynomial)
    >>> rate(4), rate(6)
    (0.0, -0.5)
    """
    settings = schedule.get_config()
    length = settings["decay_steps"]

    def value(step: int) -> float:
        over = (step - begin) / length
        return formula(settings, over) if over > 1 else float(schedule(step))

    return value


def polynomial(settings: Mapping[str, Any], over: float) -> float:
    """Return a polynomial rate; NaN where a power of a negative number is no real number."""
    initial, end, power = (settings[name] for name in ("initial_learning_rate", "end_learning_rate", "power"))
    if not float(power).is_integer():
        return math.nan
    return float((initial - end) * (1 - over) ** power + end)


def cosine(settings: Mapping[str, Any], over: float) -> float:
    """Return a cosine rate."""
    target, alpha = settings["warmup_target"], settings["alpha"]
    initial = settings["initial_learning_rate"] if target is None else target
    return float(initial * ((1 - alpha) * 0.5 * (1 + math.cos(math.pi * over)) + alpha))
