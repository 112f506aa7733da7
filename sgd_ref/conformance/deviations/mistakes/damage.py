"""Mistakes that damage the arguments of a call, although the result of the call is right.

Gradients in memory that cannot be written are not damaged. Otherwise, the damage shows if the gradients
before and after a call are compared, or if the gradients are passed in again.
"""

from __future__ import annotations

import numpy as np

from sgd_ref.arithmetic.rounded import setting
from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.mistakes.mistake import mistake
from sgd_ref.optimizer import SGD, Gradients, Values


class UnscaledInPlace(SGD):
    """Unscaled gradients are written over the scaled ones that were given.

    The definition changes variables and state only. Evidence: found after skipped steps,
    https://github.com/pytorch/pytorch/pull/98772.
    """

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Unscale, and write."""
        unscaled = super().unscale(gradients, loss_scale)
        _write(gradients, unscaled)
        return unscaled


class ClippedInPlace(SGD):
    """Clipped gradients are written over those that were given.

    The definition changes variables and state only. Evidence: no report is known.
    """

    def clip(self, gradients: Gradients) -> Gradients:
        """Clip, and write."""
        clipped = super().clip(gradients)
        _write(gradients, clipped)
        return [None if gradient is None else np.array(gradient) for gradient in clipped]


class SummedInPlace(SGD):
    """Sums of gradients are written over the gradients that were given.

    The definition changes variables and state only. Evidence: no report is known.
    """

    def accumulate(self, values: Values, gradients: Gradients) -> Values:
        """Accumulate, and write."""
        accumulated = super().accumulate(values, gradients)
        _write(gradients, list(accumulated.accumulators))
        return accumulated


class DecayedInPlace(SGD):
    """The decay term ``weight_decay * w`` is added to the very gradients that were given.

    The definition changes variables and state only. Evidence: ``+=`` on arrays of the caller,
    https://github.com/ml-explore/mlx/pull/4426.
    """

    def overwrite(self, values: Values, call: Call) -> Values:
        """Finish the call, and write."""
        weight_decay = self.settings.weight_decay
        if weight_decay is not None:
            coupled: Gradients = [
                None if g is None else g + setting(weight_decay, g.dtype) * w
                for g, w in zip(call.gradients, call.state.variables, strict=True)
            ]
            _write(call.gradients, coupled)
        return super().overwrite(values, call)


def _write(given: Gradients, results: Gradients) -> None:
    for array, result in zip(given, results, strict=True):
        if array is not None and result is not None and array.flags.writeable:
            array[...] = result


DAMAGE = (
    mistake("unscaled-in-place", UnscaledInPlace),
    mistake("clipped-in-place", ClippedInPlace),
    mistake("summed-in-place", SummedInPlace),
    mistake("decayed-in-place", DecayedInPlace),
)
