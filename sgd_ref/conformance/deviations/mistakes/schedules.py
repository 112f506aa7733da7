"""Mistakes of learning-rate schedules: the step at which they are read, their ends, and their settings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from sgd_ref.arithmetic.formats import BFLOAT16, Array
from sgd_ref.arithmetic.rounded import setting
from sgd_ref.base.call import Call
from sgd_ref.base.learning_rate import LearningRate
from sgd_ref.conformance.deviations.mistakes.mistake import mistake
from sgd_ref.conformance.deviations.mistakes.past_the_end import cosine, or_after_the_end, polynomial
from sgd_ref.conformance.deviations.observed.schedules import Replaced, WithReplacedSchedule
from sgd_ref.gradients import Gradient
from sgd_ref.optimizer import SGD
from sgd_ref.schedules import (
    CosineDecay,
    CosineDecayRestarts,
    ExponentialDecay,
    InverseTimeDecay,
    LearningRateSchedule,
    PiecewiseConstantDecay,
    PolynomialDecay,
)


class OtherSchedule(WithReplacedSchedule):
    """The common base of mistakes that replace the schedule of the config by another one."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any], learning_rate: LearningRate | None = None) -> Self:
        """Replace the schedule, if there is one.

        Several mistakes replace it one after the other: those about its settings first, and those about the
        step at which it is read last.
        """
        optimizer = super().from_config(config, learning_rate)
        schedule = optimizer.rate_source
        if isinstance(schedule, LearningRateSchedule):
            for base in reversed(cls.__mro__):
                if "deviating" in vars(base):
                    schedule = vars(base)["deviating"].__func__(cls, schedule)
            optimizer.rate_source = schedule
        return optimizer

    @classmethod
    def deviating(cls, schedule: LearningRateSchedule) -> LearningRateSchedule:
        """Return the schedule that is used."""
        return schedule


class ScheduleOneAhead(OtherSchedule):
    """The schedule is read once the call is counted, one step ahead.

    The core code counts last. Evidence: no report is known.
    """

    @classmethod
    def deviating(cls, schedule: LearningRateSchedule) -> LearningRateSchedule:
        """Read the next step."""
        return Replaced(lambda step: float(schedule(step + 1)))


class ScheduleOneBehind(OtherSchedule):
    """The schedule is read at the step before; the first step is read twice.

    Evidence: no report is known.
    """

    @classmethod
    def deviating(cls, schedule: LearningRateSchedule) -> LearningRateSchedule:
        """Read the step before."""
        return Replaced(lambda step: float(schedule(max(step - 1, 0))))


class ScheduleCountsUpdates(WithReplacedSchedule):
    """Under accumulation the schedule is read at the number of updates.

    The documentation: schedules look at "real" iterations. Evidence: a debate on which of the two is a bug,
    https://github.com/tensorflow/addons/pull/2525.
    """

    @classmethod
    def from_config(cls, config: Mapping[str, Any], learning_rate: LearningRate | None = None) -> Self:
        """Read the schedule at the number of full windows."""
        optimizer = super().from_config(config, learning_rate)
        schedule = optimizer.rate_source
        if isinstance(schedule, LearningRateSchedule):
            steps = optimizer.settings.gradient_accumulation_steps or 1
            optimizer.rate_source = Replaced(lambda step: float(schedule(step // steps)))
        return optimizer


class CountInBfloat(OtherSchedule):
    """Steps are counted in bfloat16, where 256 + 1 is 256; here each count is rounded to it.

    The definition counts with integers. Evidence: https://github.com/pytorch/ao/pull/4915.
    """

    @classmethod
    def deviating(cls, schedule: LearningRateSchedule) -> LearningRateSchedule:
        """Round the step."""
        return Replaced(lambda step: float(schedule(int(setting(float(step), BFLOAT16)))))


class BoundaryExcluded(OtherSchedule):
    """A piecewise constant rate changes at a boundary, not after it.

    The documentation: "learning rate that's 1.0 for the first 100001 steps" for a boundary of 100000.
    Evidence: no report is known.
    """

    @classmethod
    def deviating(cls, schedule: LearningRateSchedule) -> LearningRateSchedule:
        """Take the next piece at the boundary."""
        if not isinstance(schedule, PiecewiseConstantDecay):
            return schedule
        settings = schedule.get_config()
        values, boundaries = settings["values"], settings["boundaries"]
        return Replaced(lambda step: values[sum(step >= boundary for boundary in boundaries)])


class OtherStaircase(OtherSchedule):
    """The common base of mistakes in which exponential and inverse decay have another `staircase`."""

    staircase = True

    @classmethod
    def deviating(cls, schedule: LearningRateSchedule) -> LearningRateSchedule:
        """Change `staircase`."""
        if not isinstance(schedule, (ExponentialDecay, InverseTimeDecay)):
            return schedule
        return _with(schedule, staircase=cls.staircase)


class StaircaseAlways(OtherStaircase):
    """Exponential and inverse decay proceed in steps though `staircase` is False.

    Evidence: no report is known.
    """


class StaircaseIgnored(OtherStaircase):
    """`staircase` is accepted and does nothing.

    Evidence: no report is known.
    """

    staircase = False


class NaturalExponential(OtherSchedule):
    """Exponential decay is ``exp(-decay_rate * p)`` instead of ``decay_rate ** p``.

    The documentation has the power. Evidence: no report is known.
    """

    @classmethod
    def deviating(cls, schedule: LearningRateSchedule) -> LearningRateSchedule:
        """Take a rate whose logarithm is the negative rate."""
        if not isinstance(schedule, ExponentialDecay):
            return schedule
        return _with(schedule, decay_rate=math.exp(-schedule.get_config()["decay_rate"]))


class RunsPastTheEnd(OtherSchedule):
    """Polynomial and cosine decay go on after `decay_steps`, where they are to stay.

    A polynomial of power 2 and a cosine rise again. The documentation: ``min(step, decay_steps)``.
    Evidence: no report is known.
    """

    @classmethod
    def deviating(cls, schedule: LearningRateSchedule) -> LearningRateSchedule:
        """Leave the minimum out."""
        if isinstance(schedule, PolynomialDecay) and not schedule.get_config()["cycle"]:
            return Replaced(or_after_the_end(schedule, 0, polynomial))
        if isinstance(schedule, CosineDecay):
            target = schedule.get_config()["warmup_target"]
            warmup = 0 if target is None else schedule.get_config()["warmup_steps"]
            return Replaced(or_after_the_end(schedule, warmup, cosine))
        return schedule


class EndsOneEarly(OtherSchedule):
    """Polynomial and cosine decay reach their ends one step early, in ``decay_steps - 1`` steps.

    Evidence: a denominator that was one less, https://github.com/goodfire-ai/spd/issues/642.
    """

    @classmethod
    def deviating(cls, schedule: LearningRateSchedule) -> LearningRateSchedule:
        """Shorten the decay."""
        if not isinstance(schedule, (PolynomialDecay, CosineDecay)):
            return schedule
        return _with(schedule, decay_steps=schedule.get_config()["decay_steps"] - 1)


MOST_STEPS = 4096
"""The largest number of steps that are computed one by one, since counts of calls go up to 2**50."""


class PolynomialCompounds(OtherSchedule):
    """Each step of a polynomial begins at the rate of the step before, not at the initial one.

    Evidence: https://github.com/LBANN/lbann/pull/1984.
    """

    @classmethod
    def deviating(cls, schedule: LearningRateSchedule) -> LearningRateSchedule:
        """Multiply the factors of all steps so far."""
        if not isinstance(schedule, PolynomialDecay) or schedule.get_config()["cycle"]:
            return schedule
        settings = schedule.get_config()
        length, power, end = settings["decay_steps"], settings["power"], settings["end_learning_rate"]

        def value(step: int) -> float:
            left = settings["initial_learning_rate"] - end
            for past in range(1, min(step, MOST_STEPS) + 1):
                left *= (1 - min(past, length) / length) ** power
            return float(left + end)

        return Replaced(value)


class WarmupIgnored(OtherSchedule):
    """A cosine decays from `warmup_target` at once, without the warmup.

    The documentation: "the learning rate is linearly increased". Evidence: no report is known.
    """

    @classmethod
    def deviating(cls, schedule: LearningRateSchedule) -> LearningRateSchedule:
        """Skip the warmup."""
        if not isinstance(schedule, CosineDecay) or schedule.get_config()["warmup_target"] is None:
            return schedule
        return _with(schedule, warmup_steps=0)


class WarmupFromZero(OtherSchedule):
    """A warmup begins at 0, not at `initial_learning_rate`.

    The documentation: from `initial_learning_rate` to `warmup_target`. Evidence: no report is known.
    """

    @classmethod
    def deviating(cls, schedule: LearningRateSchedule) -> LearningRateSchedule:
        """Begin at 0."""
        if not isinstance(schedule, CosineDecay) or schedule.get_config()["warmup_target"] is None:
            return schedule
        return _with(schedule, initial_learning_rate=0.0)


class WarmupIsPartOfDecay(OtherSchedule):
    """The steps of the warmup count as steps of the decay that follows it.

    The documentation: `decay_steps` is the length of the decay alone. Evidence: no report is known.
    """

    @classmethod
    def deviating(cls, schedule: LearningRateSchedule) -> LearningRateSchedule:
        """Read the decay at the count of all steps, including those of the warmup."""
        if not isinstance(schedule, CosineDecay) or schedule.get_config()["warmup_target"] is None:
            return schedule
        warmup = schedule.get_config()["warmup_steps"]
        return Replaced(lambda step: float(schedule(step if step < warmup else step + int(warmup))))


class PeriodsEquallyLong(OtherSchedule):
    """All periods of a cosine with restarts are as long as the first: `t_mul` does nothing.

    The documentation: each is `t_mul` times as long as the one before. Evidence: no report is known.
    """

    @classmethod
    def deviating(cls, schedule: LearningRateSchedule) -> LearningRateSchedule:
        """Leave the factor out."""
        return _with(schedule, t_mul=1.0) if isinstance(schedule, CosineDecayRestarts) else schedule


class RestartsEquallyHigh(OtherSchedule):
    """All periods of a cosine with restarts begin at the initial rate: `m_mul` does nothing.

    The documentation: each begins at `m_mul` times the rate of the one before. Evidence: no report is known.
    """

    @classmethod
    def deviating(cls, schedule: LearningRateSchedule) -> LearningRateSchedule:
        """Leave the factor out."""
        return _with(schedule, m_mul=1.0) if isinstance(schedule, CosineDecayRestarts) else schedule


class NeverRestarts(OtherSchedule):
    """A cosine with restarts stays at its minimum after the first period.

    The documentation: "Then, a warm restart is performed." Evidence: no report is known.
    """

    @classmethod
    def deviating(cls, schedule: LearningRateSchedule) -> LearningRateSchedule:
        """Stay where the first period ends."""
        if not isinstance(schedule, CosineDecayRestarts):
            return schedule
        settings = schedule.get_config()
        initial, alpha = settings["initial_learning_rate"], settings["alpha"]
        return CosineDecay(initial, settings["first_decay_steps"], alpha)


class ScheduleFrozen(SGD):
    """The schedule is read in the first call only.

    Evidence: a captured graph that was replayed with the rate of its capture,
    https://github.com/tracel-ai/burn/issues/5779.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._captured: np.float32 | None = None

    def validated(self, gradients: Sequence[Gradient], variables: Sequence[Array] | None = None) -> Call:
        """Keep the first rate of a schedule."""
        call = super().validated(gradients, variables)
        if not isinstance(self.rate_source, LearningRateSchedule):
            return call
        self._captured = call.learning_rate if self._captured is None else self._captured
        return call._replace(learning_rate=self._captured)


class CallableOneLate(SGD):
    """What a callable learning rate returns is used in the call that follows.

    The documentation: it "returns the actual value to use". Evidence: no report is known.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._returned: np.float32 | None = None

    def validated(self, gradients: Sequence[Gradient], variables: Sequence[Array] | None = None) -> Call:
        """Use the value that was returned in the call before."""
        call = super().validated(gradients, variables)
        if isinstance(self.rate_source, (np.float32, LearningRateSchedule)):
            return call
        before = call.learning_rate if self._returned is None else self._returned
        self._returned = call.learning_rate
        return call._replace(learning_rate=before)


def _with(schedule: LearningRateSchedule, **changed: Any) -> LearningRateSchedule:
    """Return the same schedule with some settings changed."""
    return type(schedule).from_config({**schedule.get_config(), **changed})


SCHEDULES = (
    mistake("schedule-one-ahead", ScheduleOneAhead),
    mistake("schedule-one-behind", ScheduleOneBehind),
    mistake("schedule-counts-updates", ScheduleCountsUpdates),
    mistake("count-in-bfloat16", CountInBfloat),
    mistake("boundary-excluded", BoundaryExcluded),
    mistake("staircase-always", StaircaseAlways),
    mistake("staircase-ignored", StaircaseIgnored),
    mistake("natural-exponential", NaturalExponential),
    mistake("schedule-runs-past-the-end", RunsPastTheEnd),
    mistake("schedule-ends-one-early", EndsOneEarly),
    mistake("polynomial-compounds", PolynomialCompounds),
    mistake("warmup-ignored", WarmupIgnored),
    mistake("warmup-from-zero", WarmupFromZero),
    mistake("warmup-is-part-of-decay", WarmupIsPartOfDecay),
    mistake("periods-equally-long", PeriodsEquallyLong),
    mistake("restarts-equally-high", RestartsEquallyHigh),
    mistake("cosine-never-restarts", NeverRestarts),
    mistake("schedule-frozen", ScheduleFrozen),
    mistake("callable-one-call-late", CallableOneLate),
)
