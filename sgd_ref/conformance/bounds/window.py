"""The window of gradients since the last update, for implementations that report no accumulators."""

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
        The arithmetic of each dtype.
    """

    def __init__(self, case: Case, arithmetics: Mapping[np.dtype[Any], Arithmetic]) -> None:
        self._gradients: list[list[Prepared | None]] = [[] for _ in case.variables]
        self._calls_before = [0] * len(case.variables)
        self._totals: list[Enclosure | None] = [None] * len(case.variables)
        self._steps = case.config["gradient_accumulation_steps"]
        if case.state is not None and case.state.accumulators:
            self._calls_before = [case.state.calls % self._steps] * len(case.variables)
            self._totals = [
                arithmetics[array.dtype].point(array.reshape(-1)) for array in case.state.accumulators
            ]

    def add(self, position: int, gradient: Prepared | None) -> None:
        """Note the gradient of a variable in a call that accumulates; None if it is missing."""
        self._gradients[position].append(gradient)

    def has_some(self, position: int) -> bool:
        """Whether any gradient of a variable was accumulated."""
        has_gradient = any(gradient is not None for gradient in self._gradients[position])
        return has_gradient or self._totals[position] is not None

    def mean(self, position: int, last: Prepared | None, steps: Enclosure) -> Prepared:
        """Return the mean of the window that ends with a gradient, or with None after other gradients."""
        gradients = [*self._gradients[position], last]
        total = self._totals[position]
        present = [gradient for gradient in gradients if gradient is not None]
        found = mean(present if total is None else [Prepared(total), *present], steps)
        calls_before = self._calls_before[position]
        if calls_before + len(gradients) != self._steps:
            # A running mean over one window cannot include gradients that were kept from an earlier window.
            return found
        some = present[0].gradient if total is None else total
        zero = some.arithmetic.point(np.zeros(some.lower.shape))
        running = running_mean(zero if total is None else total, calls_before, gradients)
        # A running mean subtracts infinity from itself if the sum is infinite; then only the definition
        # counts.
        running = replace(running, nan=running.nan & found.gradient.nan)
        return replace(found, gradient=hull(found.gradient, running))

    def clear(self, position: int) -> None:
        """Begin an empty window of a variable."""
        self._gradients[position] = []
        self._calls_before[position], self._totals[position] = 0, None
