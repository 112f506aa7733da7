"""Mistakes that begin after many calls, or with a restore, so that a short run does not show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.mistakes.mistake import each, mistake
from sgd_ref.conformance.deviations.mistakes.structure_of_state import first_alike, form
from sgd_ref.gradients import Gradient
from sgd_ref.optimizer import SGD, Gradients, Values

RESET_EVERY = 12
AVERAGE_ANEW_EVERY = 64
LOST_EVERY = 100
LARGEST_COUNT = 100
EIGHT_BITS = 256
LAST_UPDATE = 1000
LAST_RATE = 16


class VelocityResetEveryTwelve(SGD):
    """After each twelve updates all velocities are 0.

    The documentation keeps them. Evidence: no report is known.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Reset the velocities when it is time."""
        if self.updates_before(call) % RESET_EVERY == 0:
            values = replace(values, velocities=[np.zeros_like(velocity) for velocity in values.velocities])
        return super().update(values, gradients, call)


class VelocityAnewAfterEightBits(SGD):
    """The updates are counted in 8 bits, and in an update that seems the first one the velocity is 0.

    Evidence: no report is known.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Start from 0 when the count seems to be 0."""
        if self.updates_before(call) % EIGHT_BITS == 0:
            values = replace(values, velocities=[np.zeros_like(velocity) for velocity in values.velocities])
        return super().update(values, gradients, call)


class AverageAnewEvery64(SGD):
    """In every 64th update the average is the variable itself, as in the first one.

    The documentation averages in all updates after the first. Evidence: no report is known.
    """

    def average(self, values: Values, call: Call) -> Values:
        """Store the variables when it is time."""
        if self.settings.use_ema and self.updates_before(call) % AVERAGE_ANEW_EVERY == 0:
            return replace(values, averages=list(values.variables))
        return super().average(values, call)


class EveryHundredthLost(SGD):
    """Every hundredth update changes nothing.

    Evidence: no report is known.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Skip every hundredth update."""
        is_lost = (self.updates_before(call) + 1) % LOST_EVERY == 0
        return super().update(values, each(gradients, lambda g: None) if is_lost else gradients, call)


class CountStays(SGD):
    """The count of calls stays at 100, and schedules and windows of accumulation with it.

    Evidence: no report is known.
    """

    def perform(self, call: Call, loss_scale: float | np.float32 | None) -> None:
        """Count to the largest number."""
        before = call.state.calls
        super().perform(call, loss_scale)
        # A run that resumes with a larger count continues from that count.
        call.state.calls = min(call.state.calls, max(before, LARGEST_COUNT))


class UpdatesEnd(SGD):
    """After a thousand updates nothing changes any more.

    Evidence: no report is known.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update up to the thousandth update."""
        has_ended = self.updates_before(call) >= LAST_UPDATE
        return super().update(values, each(gradients, lambda g: None) if has_ended else gradients, call)


class RateStays(SGD):
    """After sixteen calls the learning rate stays what it is, whatever a callable or a schedule returns.

    Evidence: no report is known.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._last_rate: np.float32 | None = None

    def validated(self, gradients: Sequence[Gradient], variables: Sequence[Array] | None = None) -> Call:
        """Keep the last rate of the first calls."""
        call = super().validated(gradients, variables)
        if self._last_rate is None or call.state.calls < LAST_RATE:
            self._last_rate = call.learning_rate
        return call._replace(learning_rate=self._last_rate)


class Resuming(SGD):
    """The common base of mistakes that depend on whether a restore happened since the last call."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._is_resumed = False

    def set_weights(self, values: Sequence[Any]) -> None:
        """Set the state, and remember that it was restored."""
        super().set_weights(values)
        self._is_resumed = True


class AveragesAnewOnRestore(Resuming):
    """The first update after a restore stores the variables as averages, as if it were the first one.

    Evidence: no report is known.
    """

    def average(self, values: Values, call: Call) -> Values:
        """Store the variables as averages once."""
        if not self.settings.use_ema or not self._is_resumed:
            return super().average(values, call)
        self._is_resumed = False
        return replace(values, averages=list(values.variables))


class WindowAnewOnRestore(Resuming):
    """A restore in the middle of a window begins a window: its accumulators are 0, and it has all its calls.

    Evidence: no report is known.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._shift = 0

    def set_weights(self, values: Sequence[Any]) -> None:
        """Set the state, then begin a new window."""
        super().set_weights(values)
        self._shift = self.calls % (self.settings.gradient_accumulation_steps or 1)
        for accumulator in self.accumulators:
            accumulator[...] = 0

    def accumulates(self, call: Call) -> bool:
        """Count the calls of a window from the restore."""
        steps = self.settings.gradient_accumulation_steps
        return steps is not None and (call.state.calls - self._shift + 1) % steps != 0


class RestoredInOrderOfNames(SGD):
    """Velocities are kept in the order of the variables and restored in that of their names.

    So `variable_10` comes before `variable_2`. If a velocity has another shape or dtype than its variable, it
    is not used. Evidence: a list of state that is restored by position,
    https://github.com/tensorflow/tensorflow/issues/34182.
    """

    def set_weights(self, values: Sequence[Any]) -> None:
        """Set the state, then sort the velocities."""
        super().set_weights(values)
        names, kept = self.built_state().names, [np.array(velocity) for velocity in self.velocities]
        order = sorted(range(len(names)), key=names.__getitem__)
        for position, velocity in zip(order, kept, strict=False):
            if form(self.velocities[position]) == form(velocity):
                self.velocities[position][...] = velocity


class RestoredByShape(SGD):
    """All variables of one shape and dtype are restored with the velocity of the first of them.

    Evidence: no report is known.
    """

    def set_weights(self, values: Sequence[Any]) -> None:
        """Set the state, then give all of a shape the first velocity."""
        super().set_weights(values)
        for velocity, owner in zip(self.velocities, first_alike(self.velocities, form), strict=True):
            velocity[...] = self.velocities[owner]


class OnlyFirstRestored(SGD):
    """Only the velocity of the first variable is restored.

    Evidence: no report is known.
    """

    def set_weights(self, values: Sequence[Any]) -> None:
        """Set the state, then reset the other velocities."""
        super().set_weights(values)
        for velocity in self.velocities[1:]:
            velocity[...] = 0


LONG_RUNS = (
    mistake("velocity-reset-every-twelve-updates", VelocityResetEveryTwelve),
    mistake("velocity-starts-anew-after-eight-bits", VelocityAnewAfterEightBits),
    mistake("average-starts-anew-every-64-updates", AverageAnewEvery64),
    mistake("every-hundredth-update-lost", EveryHundredthLost),
    mistake("count-stays-at-hundred", CountStays),
    mistake("updates-end-after-a-thousand", UpdatesEnd),
    mistake("rate-stays-after-sixteen-calls", RateStays),
    mistake("averages-start-anew-on-restore", AveragesAnewOnRestore),
    mistake("window-starts-anew-on-restore", WindowAnewOnRestore),
    mistake("restored-in-order-of-names", RestoredInOrderOfNames),
    mistake("restored-by-shape", RestoredByShape),
    mistake("only-first-restored", OnlyFirstRestored),
)
