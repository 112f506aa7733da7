"""The window of gradients since the last update, for implementations that do not show their accumulators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from sgd_ref.conformance.bounds.enclosure import Arithmetic, Enclosure, hull
from sgd_ref.conformance.bounds.step import Prepared, mean, running_mean
from sgd_ref.conformance.catalogue.case import Case


class Window:
    """The gradients of each variable since the last update.

    Parameters
    ----------
    case : Case
        It may resume in the middle of a window. Then only the sum of the earlier gradients is known.
    arithmetics : mapping
        For each dtype.
    """

    def __init__(self, case: Case, arithmetics: Mapping[np.dtype[Any], Arithmetic]) -> None:
        self._gradients: list[list[Prepared | None]] = [[] for _ in case.variables]
        self._calls_before = 0
        self._totals: list[Enclosure] = []
        if case.state is not None and case.state.accumulators:
            self._calls_before = case.state.calls % case.config["gradient_accumulation_steps"]
            self._totals = [
                arithmetics[array.dtype].point(array.reshape(-1)) for array in case.state.accumulators
            ]

    def add(self, position: int, gradient: Prepared | None) -> None:
        """Note the gradient of a variable in a call that accumulates; None if it is missing."""
        self._gradients[position].append(gradient)

    def mean(self, position: int, last: Prepared, steps: Enclosure) -> Prepared:
        """Return the mean of the window that ends with a gradient."""
        gradients = [*self._gradients[position], last]
        total = self._totals[position] if self._totals else None
        present = [gradient for gradient in gradients if gradient is not None]
        found = mean(present if total is None else [Prepared(total), *present], steps)
        zero = last.gradient.arithmetic.point(np.zeros(last.gradient.lower.shape))
        running = running_mean(zero if total is None else total, self._calls_before, gradients)
        return replace(found, gradient=hull(found.gradient, running))

    def clear(self) -> None:
        """Begin with a window that has nothing before it."""
        self._gradients = [[] for _ in self._gradients]
        self._calls_before, self._totals = 0, []
