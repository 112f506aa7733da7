"""Mistakes about several missing gradients in a call, and missing ones in the first call after a restore."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.mistakes.long_runs import Resuming
from sgd_ref.conformance.deviations.mistakes.mistake import mistake
from sgd_ref.optimizer import SGD, Gradients, Values


class OnlyFirstMissing(SGD):
    """The common base: only the first missing gradient is noticed, and ``instead`` replaces the others."""

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update with the replacements of the missing gradients."""
        missing = [position for position, gradient in enumerate(gradients) if gradient is None]
        filled = list(gradients)
        for position in missing[1:]:
            filled[position] = self.instead(position, values.variables[position])
        self.note(gradients)
        return super().update(values, filled, call)

    def instead(self, position: int, variable: Array) -> Array | None:
        """Return the replacement of a missing gradient."""
        return None

    def note(self, gradients: Gradients) -> None:
        """Keep the gradients that are needed later."""


class SecondMissingAsZeros(OnlyFirstMissing):
    """All missing gradients of a call but the first one count as zeros, so that velocities go on.

    The core code leaves such variables alone. Evidence: no report is known.
    """

    def instead(self, position: int, variable: Array) -> Array | None:
        """Return zeros."""
        return np.zeros_like(variable)


class SecondMissingAsLast(OnlyFirstMissing):
    """Every missing gradient of a call but the first is replaced by the last gradient of its variable.

    The core code leaves such variables alone. Evidence: no report is known.
    """

    def __init__(self, *arguments: object, **settings: object) -> None:
        super().__init__(*arguments, **settings)  # type: ignore[arg-type]
        self._last: dict[int, Array] = {}

    def instead(self, position: int, variable: Array) -> Array | None:
        """Return the last gradient of the variable, if there was one."""
        return self._last.get(position)

    def note(self, gradients: Gradients) -> None:
        """Keep the gradients that are present."""
        self._last |= {position: g for position, g in enumerate(gradients) if g is not None}


class MissingAfterRestoreAsZeros(Resuming):
    """In the first update after a restore, missing gradients count as zeros, so that velocities go on.

    The core code leaves such variables alone. Evidence: no report is known.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Replace missing gradients by zeros once."""
        if not self._is_resumed:
            return super().update(values, gradients, call)
        self._is_resumed = False
        return super().update(values, _with_zeros(values.variables, gradients), call)


def _with_zeros(variables: Sequence[Array], gradients: Gradients) -> Gradients:
    return [np.zeros_like(w) if g is None else g for w, g in zip(variables, gradients, strict=True)]


SEVERAL_MISSING = (
    mistake("second-missing-counts-as-zeros", SecondMissingAsZeros),
    mistake("second-missing-takes-the-last-gradient", SecondMissingAsLast),
    mistake("missing-after-restore-counts-as-zeros", MissingAfterRestoreAsZeros),
)
