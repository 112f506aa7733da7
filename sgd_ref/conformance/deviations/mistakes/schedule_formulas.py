"""Mistakes of the formulas of schedules: a factor, a limit or an exponent that is another one."""

from __future__ import annotations

import math

from sgd_ref.conformance.deviations.mistakes.mistake import mistake
from sgd_ref.conformance.deviations.mistakes.schedules import MOST_STEPS, OtherSchedule
from sgd_ref.conformance.deviations.observed.schedules import Replaced
from sgd_ref.schedules import (
    CosineDecay,
    ExponentialDecay,
    InverseTimeDecay,
    LearningRateSchedule,
    PolynomialDecay,
)


class OtherCosine(OtherSchedule):
    """The common base of mistakes in the decay of a cosine; ``fraction`` returns its height."""

    @classmethod
    def deviating(cls, schedule: LearningRateSchedule) -> LearningRateSchedule:
        """Replace the decay, and leave a warmup as it is."""
        if not isinstance(schedule, CosineDecay):
            return schedule
        settings = schedule.get_config()
        highest, warmup = settings["initial_learning_rate"], 0
        if settings["warmup_target"] is not None:
            highest, warmup = settings["warmup_target"], settings["warmup_steps"]

        def value(step: int) -> float:
            if step < warmup:
                return float(schedule(step))
            progress = min(step - warmup, settings["decay_steps"]) / settings["decay_steps"]
            return float(highest * cls.fraction(progress, settings["alpha"]))

        return Replaced(value)

    @staticmethod
    def fraction(progress: float, alpha: float) -> float:
        """Return the fraction of the highest rate at a progress from 0 to 1."""
        return (1 - alpha) * 0.5 * (1 + math.cos(math.pi * progress)) + alpha


class CosineOfHalfAngle(OtherCosine):
    """A cosine decays along a quarter of its period: ``cos(pi / 2 * progress)``.

    The documentation: ``0.5 * (1 + cos(pi * progress))``. Evidence:
    https://github.com/goodfire-ai/spd/issues/311.
    """

    @staticmethod
    def fraction(progress: float, alpha: float) -> float:
        """Take the cosine of half the angle."""
        return (1 - alpha) * math.cos(math.pi / 2 * progress) + alpha


class AlphaAdded(OtherCosine):
    """`alpha` is added to the cosine, which is not made lower: the rate begins above the highest one.

    The documentation: ``(1 - alpha) * cosine_decay + alpha``. Evidence: no report is known.
    """

    @staticmethod
    def fraction(progress: float, alpha: float) -> float:
        """Leave ``1 - alpha`` out."""
        return 0.5 * (1 + math.cos(math.pi * progress)) + alpha


class CosineCutAtAlpha(OtherCosine):
    """A cosine decays towards 0, and stays at `alpha` once it is below.

    The documentation: ``(1 - alpha) * cosine_decay + alpha``. Evidence: a maximum with the least rate,
    https://github.com/EleutherAI/gpt-neox/pull/1008.
    """

    @staticmethod
    def fraction(progress: float, alpha: float) -> float:
        """Take the larger one of the cosine and `alpha`."""
        return max(0.5 * (1 + math.cos(math.pi * progress)), alpha)


class CosineStartsAgain(OtherSchedule):
    """After its end a cosine begins again at the highest rate.

    The documentation: ``min(step, decay_steps)``. Evidence: a count modulo the length,
    https://github.com/tracel-ai/burn/pull/5191.
    """

    @classmethod
    def deviating(cls, schedule: LearningRateSchedule) -> LearningRateSchedule:
        """Take the step modulo the length of the decay and one."""
        if not isinstance(schedule, CosineDecay):
            return schedule
        settings = schedule.get_config()
        warmup = 0 if settings["warmup_target"] is None else settings["warmup_steps"]
        length = math.floor(settings["decay_steps"]) + 1

        def value(step: int) -> float:
            return float(schedule(step if step < warmup else int(warmup + (step - warmup) % length)))

        return Replaced(value)


class PowerIsEndRate(OtherSchedule):
    """The power of a polynomial is `end_learning_rate`.

    The documentation: ``... ^ power``. Evidence: an argument in the place of another one,
    https://github.com/ThilinaRajapakse/simpletransformers/issues/997.
    """

    @classmethod
    def deviating(cls, schedule: LearningRateSchedule) -> LearningRateSchedule:
        """Replace the power."""
        if not isinstance(schedule, PolynomialDecay):
            return schedule
        settings = schedule.get_config()
        return PolynomialDecay.from_config({**settings, "power": settings["end_learning_rate"]})


class InverseCompounds(OtherSchedule):
    """Each step of an inverse decay divides the rate of the step before, not the initial one.

    The documentation: ``initial_learning_rate / (1 + decay_rate * step / decay_steps)``. Evidence:
    https://github.com/deeplearning4j/deeplearning4j/issues/3678.
    """

    @classmethod
    def deviating(cls, schedule: LearningRateSchedule) -> LearningRateSchedule:
        """Divide by the divisors of all steps so far."""
        if not isinstance(schedule, InverseTimeDecay):
            return schedule
        settings = schedule.get_config()

        def value(step: int) -> float:
            rate = settings["initial_learning_rate"]
            for past in range(1, min(step, MOST_STEPS) + 1):
                quotient = past / settings["decay_steps"]
                divisor = 1 + settings["decay_rate"] * (
                    math.floor(quotient) if settings["staircase"] else quotient
                )
                rate = rate / divisor if divisor else math.copysign(math.inf, rate)
            return float(rate)

        return Replaced(value)


class DecayStepsIgnored(OtherSchedule):
    """Exponential and inverse decay count steps, whatever `decay_steps` is.

    The documentation: ``step / decay_steps``. Evidence: no report is known.
    """

    @classmethod
    def deviating(cls, schedule: LearningRateSchedule) -> LearningRateSchedule:
        """Replace the length by 1."""
        if not isinstance(schedule, (ExponentialDecay, InverseTimeDecay)):
            return schedule
        return type(schedule).from_config({**schedule.get_config(), "decay_steps": 1})


SCHEDULE_FORMULAS = (
    mistake("cosine-of-half-the-angle", CosineOfHalfAngle),
    mistake("alpha-added-to-cosine", AlphaAdded),
    mistake("cosine-cut-at-alpha", CosineCutAtAlpha),
    mistake("cosine-starts-again", CosineStartsAgain),
    mistake("power-is-end-rate", PowerIsEndRate),
    mistake("inverse-decay-compounds", InverseCompounds),
    mistake("decay-steps-ignored", DecayStepsIgnored),
)
