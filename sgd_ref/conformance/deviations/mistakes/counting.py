"""Mistakes of counting calls and updates."""

from __future__ import annotations

import numpy as np

from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.mistakes.mistake import mistake
from sgd_ref.loss_scale import LossScaleOptimizer
from sgd_ref.optimizer import SGD


class IterationsCountCalls(SGD):
    """`iterations` is the number of calls, also under accumulation.

    The core code divides by the number of steps. Evidence: steps of training that counted micro-batches,
    https://github.com/google-deepmind/jax_privacy/pull/372.
    """

    @property
    def iterations(self) -> int:
        """Number of calls made."""
        return self.calls


class IterationsLostInWrapper(LossScaleOptimizer):
    """Under dynamic loss scaling `iterations` stays 0.

    Evidence: https://github.com/keras-team/keras/issues/20878.
    """

    @property
    def iterations(self) -> int:
        """Return 0 instead of the number of updates."""
        return 0


class MissingNotCounted(SGD):
    """A call in which a gradient is missing is made and not counted.

    The core code counts every call. Evidence: no report is known.
    """

    def perform(self, call: Call, loss_scale: float | np.float32 | None) -> None:
        """Take the count back where a gradient is missing."""
        super().perform(call, loss_scale)
        if any(gradient is None for gradient in call.gradients):
            call.state.calls -= 1


class UpdatesCountedFromOne(SGD):
    """The first update counts as the second one: nothing is stored as average, and overwriting comes early.

    The core code counts from 0. Evidence: no report is known.
    """

    def updates_before(self, call: Call) -> int:
        """Return one too many."""
        return super().updates_before(call) + 1


class CountsUpdatesTwice(SGD):
    """A call that updates is counted twice.

    The core code counts each call once. Evidence: no report is known.
    """

    def perform(self, call: Call, loss_scale: float | np.float32 | None) -> None:
        """Count once more where the call updates."""
        updates = not self.accumulates(call)
        super().perform(call, loss_scale)
        call.state.calls += updates


class CountSaturates(SGD):
    """The count of calls stays at 2**31 - 1 once it is there.

    The definition counts with integers of any size. Evidence: `safe_increment` of Optax, so that nothing
    wraps, https://github.com/google-deepmind/optax/pull/596.
    """

    def perform(self, call: Call, loss_scale: float | np.float32 | None) -> None:
        """Cut the count off."""
        super().perform(call, loss_scale)
        call.state.calls = min(call.state.calls, 2**31 - 1)


class CountInFloat32(SGD):
    """Calls are counted in float32, where 2**24 + 1 is 2**24.

    The definition counts with integers of any size. Evidence: the same in bfloat16,
    https://github.com/pytorch/ao/pull/4915.
    """

    def perform(self, call: Call, loss_scale: float | np.float32 | None) -> None:
        """Round the count."""
        super().perform(call, loss_scale)
        call.state.calls = int(np.float32(call.state.calls))


COUNTING = (
    mistake("iterations-count-calls", IterationsCountCalls),
    mistake("iterations-lost-in-wrapper", wrapper=IterationsLostInWrapper),
    mistake("call-with-missing-gradient-not-counted", MissingNotCounted),
    mistake("updates-counted-from-one", UpdatesCountedFromOne),
    mistake("updates-counted-twice", CountsUpdatesTwice),
    mistake("count-saturates", CountSaturates),
    mistake("count-in-float32", CountInFloat32),
)
