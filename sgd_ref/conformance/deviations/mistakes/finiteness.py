"""Mistakes in the test whether a call is finite: what is looked at, and what counts as finite."""

from __future__ import annotations

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT32, FORMATS, Array
from sgd_ref.arithmetic.rounded import convert, promoted
from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.mistakes.mistake import mistake
from sgd_ref.conformance.deviations.mistakes.skipping import OtherSkipping


class FinitenessOfSums(OtherSkipping):
    """A gradient counts as finite if its sum does, which overflows where some elements are large.

    The documentation of the wrapper: "if a nonfinite gradient is encountered". Evidence: a test for NaN by a
    sum, https://github.com/tracel-ai/burn/issues/4109.
    """

    def is_finite(self, call: Call) -> bool:
        """Add up each gradient, in the dtype that it has."""
        return all(gradient is None or _has_finite_sum(gradient) for gradient in call.gradients)


class FinitenessByLargest(OtherSkipping):
    """The largest number of a dtype counts as infinite.

    The documentation of the wrapper: "if a nonfinite gradient is encountered". Evidence: no report is known.
    """

    def is_finite(self, call: Call) -> bool:
        """Look for numbers below the largest one."""
        return all(
            gradient is None or bool(np.all(np.abs(gradient) < float(FORMATS[gradient.dtype].largest)))
            for gradient in call.gradients
        )


class FinitenessOfFirstGradient(OtherSkipping):
    """Only the first gradient of a call is tested.

    Evidence: https://github.com/facebookresearch/fairscale/pull/890.
    """

    def is_finite(self, call: Call) -> bool:
        """Look at the first gradient that is there."""
        present = [gradient for gradient in call.gradients if gradient is not None]
        return bool(np.isfinite(present[0]).all())


class FinitenessOfLastGradient(OtherSkipping):
    """The test of each gradient replaces the result of the one before, so that the last one decides.

    Evidence: no report is known.
    """

    def is_finite(self, call: Call) -> bool:
        """Look at the last gradient that is there."""
        present = [gradient for gradient in call.gradients if gradient is not None]
        return bool(np.isfinite(present[-1]).all())


class ScalarsNotTested(OtherSkipping):
    """Gradients without axes are not tested.

    Evidence: no report is known.
    """

    def is_finite(self, call: Call) -> bool:
        """Look at gradients with axes."""
        return all(
            gradient is None or gradient.ndim == 0 or bool(np.isfinite(gradient).all())
            for gradient in call.gradients
        )


class TestedInUpdatesOnly(OtherSkipping):
    """Under accumulation only the gradients of calls that update are tested.

    The core code tests the gradients of every call. Evidence: no report is known.
    """

    def is_finite(self, call: Call) -> bool:
        """Look where the window ends."""
        inner = self.inner_optimizer
        steps = inner.settings.gradient_accumulation_steps or 1
        accumulates = (call.state.calls + 1) % steps != 0
        return accumulates or inner.all_finite(call, self._scale)


def _has_finite_sum(gradient: Array) -> bool:
    wide = promoted([gradient.dtype, FLOAT32])
    total = np.sum(np.asarray(convert(gradient, wide)), dtype=wide)
    return bool(np.isfinite(convert(np.asarray(total), gradient.dtype)))


FINITENESS = (
    mistake("finiteness-of-sums", wrapper=FinitenessOfSums),
    mistake("largest-counts-as-infinite", wrapper=FinitenessByLargest),
    mistake("first-gradient-alone-tested", wrapper=FinitenessOfFirstGradient),
    mistake("last-gradient-alone-tested", wrapper=FinitenessOfLastGradient),
    mistake("scalars-not-tested", wrapper=ScalarsNotTested),
    mistake("tested-in-updates-only", wrapper=TestedInUpdatesOnly),
)
