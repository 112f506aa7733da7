"""Mistakes about calls with gradients that are not finite: in the test, and in the skipped calls."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.arithmetic.rounded import setting
from sgd_ref.base.call import Call
from sgd_ref.base.optimizer import BaseSGD
from sgd_ref.conformance.deviations.mistakes.mistake import each, mistake
from sgd_ref.conformance.deviations.observed.schedules import Replaced
from sgd_ref.gradients import Gradient
from sgd_ref.loss_scale import LossScaleOptimizer
from sgd_ref.optimizer import SGD, Gradients, Values
from sgd_ref.schedules import LearningRateSchedule


class OtherSkipping(LossScaleOptimizer):
    """The common base: a call with a method for the test, and a method for calls that fail the test."""

    def apply(self, gradients: Sequence[Gradient], variables: Sequence[Array] | None = None) -> None:
        """Make one call."""
        call = self.inner_optimizer.validated(gradients, variables)
        with np.errstate(all="ignore"):
            finite = self.is_finite(call)
        if finite:
            self.inner_optimizer.perform(call, self._scale)
            self.grow()
        else:
            self.inner_optimizer._state = call.state
            self.skip(call)
            self.shrink()

    def is_finite(self, call: Call) -> bool:
        """Whether the call is made."""
        return all(_is_finite(gradient) for gradient in call.gradients)

    def skip(self, call: Call) -> None:
        """Handle a call that fails the test: do nothing more."""


class FinitenessNotTested(OtherSkipping):
    """Every call counts as finite.

    Evidence: no report is known.
    """

    def is_finite(self, call: Call) -> bool:
        """Make every call."""
        return True


class OnlyNaNTested(OtherSkipping):
    """Calls are skipped for NaN, and not for infinity.

    The documentation of the wrapper: "if a nonfinite gradient is encountered". Evidence: no report is known.
    """

    def is_finite(self, call: Call) -> bool:
        """Look for NaN."""
        return not any(np.isnan(g).any() for g in call.gradients if g is not None)


class OnlyInfinityTested(OtherSkipping):
    """Calls are skipped for infinity, and not for NaN, which compares with nothing.

    The documentation of the wrapper: "if a nonfinite gradient is encountered". Evidence: no report is known.
    """

    def is_finite(self, call: Call) -> bool:
        """Look for infinity."""
        return not any(np.isinf(g).any() for g in call.gradients if g is not None)


class TestedAfterUnscaling(OtherSkipping):
    """Finiteness is tested on the unscaled gradients.

    A scale below 1 can make finite gradients overflow. The core code tests the scaled ones. Evidence: no
    report is known.
    """

    def is_finite(self, call: Call) -> bool:
        """Unscale, then look."""
        return all(_is_finite(g) for g in _inner(self).unscale(call.gradients, self._scale))


class NonFiniteApplied(OtherSkipping):
    """A call that is not finite halves the scale, but is made all the same.

    Evidence: after several such calls in a row, the update is made,
    https://github.com/google-deepmind/optax/pull/1746.
    """

    def skip(self, call: Call) -> None:
        """Make the call."""
        self.inner_optimizer.perform(call, self._scale)


class SkippedCallCounted(OtherSkipping):
    """A skipped call is counted, so that schedules and windows go on.

    Evidence: https://github.com/pytorch/pytorch/issues/55585.
    """

    def skip(self, call: Call) -> None:
        """Count the call."""
        call.state.calls += 1


class ScheduleCountsSkippedCalls(OtherSkipping):
    """A schedule goes on by one step in a skipped call, though nothing else counts it.

    The core code reads the schedule at the number of finite calls. Evidence:
    https://github.com/Lightning-AI/pytorch-lightning/issues/18828.
    """

    def skip(self, call: Call) -> None:
        """Read the schedule one step later from now on."""
        inner = self.inner_optimizer
        schedule = inner.rate_source
        if isinstance(schedule, LearningRateSchedule):
            inner.rate_source = Replaced(lambda step: float(schedule(step + 1)))


class SkippedCallAverages(OtherSkipping):
    """A skipped call averages the variables once more.

    The definition touches nothing but the scale. Evidence: no report is known.
    """

    def skip(self, call: Call) -> None:
        """Average."""
        state = call.state
        values = Values(state.variables, state.velocities, state.averages, state.accumulators)
        with np.errstate(all="ignore"):
            averaged = _inner(self).average(values, call)
        for average, result in zip(state.averages, averaged.averages, strict=True):
            average[...] = result


class SkippedCallWithZeros(OtherSkipping):
    """A call that is not finite is made with gradients of 0: weights decay, velocities go on, it is counted.

    Evidence: https://github.com/mlnomadpy/flaxchat/issues/6.
    """

    def skip(self, call: Call) -> None:
        """Make the call with zeros."""
        zeros = each(call.gradients, np.zeros_like)
        self.inner_optimizer.perform(call._replace(gradients=zeros), self._scale)


class NonFiniteElementsZeroed(OtherSkipping):
    """Elements that are not finite become 0, and the call is made with the others.

    The documentation of the wrapper skips the whole call. Evidence: no report is known.
    """

    def skip(self, call: Call) -> None:
        """Make the call with zeros in some places."""
        finite = each(call.gradients, lambda g: np.where(np.isfinite(g), g, np.zeros_like(g)))
        self.inner_optimizer.perform(call._replace(gradients=finite), self._scale)


class SkipsVariablesOnly(OtherSkipping):
    """Only variables whose own gradient is not finite are skipped; the others are updated.

    The documentation of the wrapper: "if a nonfinite gradient is encountered". Evidence: no report is known.
    """

    def skip(self, call: Call) -> None:
        """Make the call without some gradients."""
        finite: Gradients = [gradient if _is_finite(gradient) else None for gradient in call.gradients]
        self.inner_optimizer.perform(call._replace(gradients=finite), self._scale)


class SkippedCallMovesVelocities(OtherSkipping):
    """A skipped call leaves the variables alone, but updates the velocities, with what is not finite.

    The variables are right after this call, and NaN after the next. Evidence:
    https://github.com/LibreYOLO/libreyolo/pull/771.
    """

    def skip(self, call: Call) -> None:
        """Make the call, then undo everything except the change of the velocities."""
        state = call.state
        kept = [*state.variables, *state.averages, *state.accumulators]
        before = [np.array(array) for array in kept]
        self.inner_optimizer.perform(call, self._scale)
        state.calls -= 1
        for array, old in zip(kept, before, strict=True):
            array[...] = old


class SkippedCallDecaysVelocities(OtherSkipping):
    """A skipped call multiplies the velocities by the momentum.

    The definition touches nothing but the scale. Evidence: no report is known.
    """

    def skip(self, call: Call) -> None:
        """Multiply the velocities by the momentum."""
        for velocity in call.state.velocities:
            velocity[...] = velocity * setting(self.inner_optimizer.momentum, velocity.dtype)


class SkippedCallResetsAccumulators(OtherSkipping):
    """A skipped call resets what was accumulated, and the window goes on without it.

    The definition touches nothing but the scale. Evidence: no report is known.
    """

    def skip(self, call: Call) -> None:
        """Reset the accumulators."""
        for accumulator in call.state.accumulators:
            accumulator[...] = 0


class SkippedCallResetsVelocities(OtherSkipping):
    """A skipped call sets the velocities to 0.

    The definition touches nothing but the scale. Evidence: no report is known.
    """

    def skip(self, call: Call) -> None:
        """Reset the velocities."""
        for velocity in call.state.velocities:
            velocity[...] = 0


class NaNGradientsZeroed(SGD):
    """Elements of gradients that are NaN become 0 before anything is computed with them.

    The definition keeps NaN. Evidence: no report is known.
    """

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Replace NaN by zeros."""
        unscaled = super().unscale(gradients, loss_scale)
        return each(unscaled, lambda g: np.where(np.isnan(g), np.zeros_like(g), g))


def _is_finite(gradient: Array | None) -> bool:
    return gradient is None or bool(np.isfinite(gradient).all())


def _inner(wrapper: LossScaleOptimizer) -> SGD:
    inner: BaseSGD = wrapper.inner_optimizer
    assert isinstance(inner, SGD)
    return inner


SKIPPING = (
    mistake("finiteness-not-tested", wrapper=FinitenessNotTested),
    mistake("only-nan-tested", wrapper=OnlyNaNTested),
    mistake("only-infinity-tested", wrapper=OnlyInfinityTested),
    mistake("finiteness-tested-after-unscaling", wrapper=TestedAfterUnscaling),
    mistake("non-finite-applied", wrapper=NonFiniteApplied),
    mistake("skipped-call-counted", wrapper=SkippedCallCounted),
    mistake("schedule-counts-skipped-calls", wrapper=ScheduleCountsSkippedCalls),
    mistake("skipped-call-averages", wrapper=SkippedCallAverages),
    mistake("skipped-call-with-zeros", wrapper=SkippedCallWithZeros),
    mistake("non-finite-elements-zeroed", wrapper=NonFiniteElementsZeroed),
    mistake("non-finite-variables-alone-skipped", wrapper=SkipsVariablesOnly),
    mistake("skipped-call-moves-velocities", wrapper=SkippedCallMovesVelocities),
    mistake("skipped-call-decays-velocities", wrapper=SkippedCallDecaysVelocities),
    mistake("skipped-call-resets-accumulators", wrapper=SkippedCallResetsAccumulators),
    mistake("skipped-call-resets-velocities", wrapper=SkippedCallResetsVelocities),
    mistake("nan-in-gradients-zeroed", NaNGradientsZeroed),
)
