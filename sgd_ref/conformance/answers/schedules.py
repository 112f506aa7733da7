"""Schedules in their other reading, where the documentation allows two."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Self, TypeVar

from sgd_ref.base.learning_rate import LearningRate
from sgd_ref.optimizer import SGD
from sgd_ref.schedules import CosineDecayRestarts, PolynomialDecay
from sgd_ref.schedules.base import Arithmetic, FormulaSchedule
from sgd_ref.schedules.cosine import period

Optimizer = TypeVar("Optimizer", bound=SGD)


class NextCycleAtMultiple(PolynomialDecay):
    """At an exact multiple of `decay_steps` the cycle that ends there is over, and the next one begins."""

    def formula(self, step: int, settings: SimpleNamespace, arithmetic: Arithmetic) -> Any:
        """Take the number of cycles that have begun."""
        if not self.config["cycle"]:
            return super().formula(step, settings, arithmetic)
        length = self.exact_settings.decay_steps
        p = arithmetic.number(step / (length * (math.floor(step / length) + 1)))
        difference = settings.initial_learning_rate - settings.end_learning_rate
        return difference * arithmetic.power(1 - p, settings.power) + settings.end_learning_rate


class MinimumLowered(CosineDecayRestarts):
    """Each period is `m_mul` times the one before, its minimum `alpha` included."""

    def formula(self, step: int, settings: SimpleNamespace, arithmetic: Arithmetic) -> Any:
        """Multiply the whole period."""
        exactly = self.exact_settings
        restarts, completed = period(step / exactly.first_decay_steps, exactly.t_mul)
        cosine = (1 + arithmetic.cosine_of_pi_times(arithmetic.number(completed))) / 2
        height = settings.initial_learning_rate * arithmetic.power(
            settings.m_mul, arithmetic.number(restarts)
        )
        return height * ((1 - settings.alpha) * cosine + settings.alpha)


class BeginsNextCycle(SGD):
    """Reads a cyclic polynomial as one that begins anew at each multiple of its period."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any], learning_rate: LearningRate | None = None) -> Self:
        """Replace a polynomial."""
        return _reading(super().from_config(config, learning_rate), PolynomialDecay, NextCycleAtMultiple)


class LowersMinimum(SGD):
    """Reads `m_mul` as a factor of whole periods."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any], learning_rate: LearningRate | None = None) -> Self:
        """Replace a cosine with restarts."""
        return _reading(super().from_config(config, learning_rate), CosineDecayRestarts, MinimumLowered)


def _reading(
    optimizer: Optimizer, documented: type[FormulaSchedule], otherwise: type[FormulaSchedule]
) -> Optimizer:
    """Return an optimizer that reads its schedule differently, if the schedule is of the documented kind."""
    schedule = optimizer.rate_source
    if isinstance(schedule, documented):
        optimizer.rate_source = otherwise.from_config(schedule.get_config())
    return optimizer
