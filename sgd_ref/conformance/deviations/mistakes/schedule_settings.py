"""Mistakes of learning-rate schedules: settings that are taken in another meaning."""

from __future__ import annotations

from sgd_ref.conformance.deviations.mistakes.mistake import mistake
from sgd_ref.conformance.deviations.mistakes.schedules import OtherSchedule
from sgd_ref.conformance.deviations.observed.schedules import Replaced
from sgd_ref.schedules import CosineDecay, CosineDecayRestarts, LearningRateSchedule

DEFAULTS = {"end_learning_rate": 0.0001, "power": 1.0, "m_mul": 1.0}
"""The defaults that are not 0 of settings that may be 0."""


class WarmupOneLonger(OtherSchedule):
    """A warmup takes one step more than `warmup_steps`, and the decay begins one step later.

    The documentation: `warmup_steps` is the number of steps to warm up over. Evidence: no report is known.
    """

    @classmethod
    def deviating(cls, schedule: LearningRateSchedule) -> LearningRateSchedule:
        """Warm up for one more step."""
        if not isinstance(schedule, CosineDecay):
            return schedule
        settings = schedule.get_config()
        if settings["warmup_target"] is None:
            return schedule
        return CosineDecay.from_config({**settings, "warmup_steps": settings["warmup_steps"] + 1})


class AlphaIsARate(OtherSchedule):
    """`alpha` is the least learning rate, not the least fraction of the rate that a cosine begins at.

    The documentation: "Minimum learning rate value for decay as a fraction of `initial_learning_rate`".
    `eta_min` of PyTorch's cosine is a rate. Evidence: no report is known.
    """

    @classmethod
    def deviating(cls, schedule: LearningRateSchedule) -> LearningRateSchedule:
        """Decay to `alpha` itself."""
        if not isinstance(schedule, (CosineDecay, CosineDecayRestarts)):
            return schedule
        settings = schedule.get_config()
        alpha, warmup = settings["alpha"], 0
        highest = settings["initial_learning_rate"]
        if settings.get("warmup_target") is not None:
            highest, warmup = settings["warmup_target"], settings["warmup_steps"]
        to_zero = type(schedule).from_config({**settings, "alpha": 0.0})

        def rate(step: int) -> float:
            if alpha == 0 or highest == 0 or step < warmup:
                return float(schedule(step))
            return float(alpha + (highest - alpha) * (float(to_zero(step)) / highest))

        return Replaced(rate)


class ScheduleAdvancedTwice(OtherSchedule):
    """The schedule goes on by two steps in each call.

    The core code counts a call once. Evidence: a scheduler that several processes advance,
    https://github.com/huggingface/accelerate/issues/2142.
    """

    @classmethod
    def deviating(cls, schedule: LearningRateSchedule) -> LearningRateSchedule:
        """Read every other step."""
        return Replaced(lambda step: float(schedule(2 * step)))


class ZeroSettingsTakeDefaults(OtherSchedule):
    """A setting of a schedule that is 0 counts as not given, and has its default.

    The documentation has defaults for settings that are not given. Evidence: a learning rate of 0 that was
    tested for its truth, https://github.com/modelscope/ms-swift/pull/9948.
    """

    @classmethod
    def deviating(cls, schedule: LearningRateSchedule) -> LearningRateSchedule:
        """Replace zeros by defaults."""
        if isinstance(schedule, Replaced):
            return schedule
        settings = schedule.get_config()
        defaults = {name: value for name, value in DEFAULTS.items() if settings.get(name) == 0}
        return type(schedule).from_config({**settings, **defaults}) if defaults else schedule


SCHEDULE_SETTINGS = (
    mistake("warmup-one-step-longer", WarmupOneLonger),
    mistake("alpha-is-a-rate", AlphaIsARate),
    mistake("schedule-advanced-twice", ScheduleAdvancedTwice),
    mistake("zero-settings-take-defaults", ZeroSettingsTakeDefaults),
)
