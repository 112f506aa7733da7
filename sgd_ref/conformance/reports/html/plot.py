"""The plot of a divergence: one element over the calls, with its reported and its right values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from sgd_ref.conformance.bounds.violation import Violation
from sgd_ref.conformance.catalogue.case import Trajectory
from sgd_ref.conformance.protocol.digest import Digest
from sgd_ref.conformance.trajectories.comparison import LISTS

WIDTH, HEIGHT, MARGIN = 300, 100, 8

HALF_DASH = 6
"""The length of the short line that stands for a value without neighbours."""

AROUND = 12
"""How many calls are shown before and after the first violation."""

LEAST_SHARE = 0.02
"""A share of the height: if answer and reference are closer to each other than this, their difference is
plotted."""


@dataclass(frozen=True)
class Plot:
    """The shapes and texts of a plot, in the units of the picture.

    Attributes
    ----------
    answer, reference : str
        Paths of SVG, with a gap where a value is not finite.
    bounds : tuple of float, or None
        Top and bottom of the possible values at the first violation; None if no number is possible.
    x, y : float
        The first violation; `y` is the middle of the picture where its value is not finite.
    call, first, last : int
        The call of the first violation, and the first and the last call that are drawn.
    low, high : str
        The values at the bottom and at the top.
    is_difference : bool
        Whether values are drawn as their distance from the reference.
    """

    answer: str
    reference: str
    bounds: tuple[float, float] | None
    x: float
    y: float
    call: int
    first: int
    last: int
    low: str
    high: str
    is_difference: bool


def plot(
    names: Sequence[str], expected: Trajectory, observed: Trajectory, violation: Violation
) -> Plot | None:
    """Return the plot of the element in which a divergence begins, or None where it has no numbers.

    Parameters
    ----------
    names : sequence of str
        The names of the variables.
    expected, observed : sequence of dict
        The trajectory of the reference, and that of the implementation.
    violation : Violation
        The first value that is not possible.

    Examples
    --------
    >>> expected = [{"learning_rate": rate} for rate in (1.0, 1.0, 0.5)]
    >>> observed = [{"learning_rate": rate} for rate in (1.0, 1.0, 1.0)]
    >>> found = plot((), expected, observed, Violation(2, "learning_rate", "", (), 1.0, 0.5, 0.5))
    >>> found.answer, found.reference
    ('M8 8L150 8L292 8', 'M8 8L150 8L292 92')
    """
    first = max(violation.call - AROUND, 0)
    last = min(violation.call + AROUND, len(observed) - 1)
    right = [_element(record, names, violation) for record in expected[first : last + 1]]
    given = [_element(record, names, violation) for record in observed[first : last + 1]]
    ends = (violation.lower, violation.upper)
    if all(value is None for value in given) or all(value is None for value in right):
        return None
    is_difference = _are_near(right, given, ends)
    at = right[violation.call - first]
    if is_difference:
        assert at is not None
        given = [None if a is None or b is None else a - b for a, b in zip(given, right, strict=True)]
        right, ends = [None if value is None else 0.0 for value in right], (ends[0] - at, ends[1] - at)
    finite = [v for v in (*right, *given, *ends) if v is not None and math.isfinite(v)]
    if not finite:
        return None
    low, high = min(finite), max(finite)
    scale = _Scale(low, high, len(given))
    index = violation.call - first
    value = given[index]
    bounds = (
        (scale.y(ends[1]), scale.y(ends[0])) if ends[0] <= ends[1] and all(map(math.isfinite, ends)) else None
    )
    middle = HEIGHT / 2
    return Plot(
        scale.path(given),
        scale.path(right),
        bounds,
        scale.x(index),
        middle if value is None or not math.isfinite(value) else scale.y(value),
        violation.call,
        first,
        last,
        f"{low:.6g}",
        f"{high:.6g}",
        is_difference,
    )


def _element(record: Any, names: Sequence[str], violation: Violation) -> float | None:
    value = record.get(violation.quantity)
    if violation.quantity in LISTS:
        if not value or violation.variable not in names:
            return None
        array = value[list(names).index(violation.variable)]
        if isinstance(array, Digest):
            return None
        value = np.asarray(array)[violation.element]
    return None if value is None else float(value)


def _are_near(
    right: Sequence[float | None], given: Sequence[float | None], ends: tuple[float, float]
) -> bool:
    """Whether the lines of answer and reference could not be told apart."""
    pairs = [(a, b) for a, b in zip(right, given, strict=True) if a is not None and b is not None]
    values = [value for pair in pairs for value in pair]
    if not pairs or not all(map(math.isfinite, (*values, *ends))):
        return False
    apart = max(abs(a - b) for a, b in pairs)
    return 0 < apart < LEAST_SHARE * (max(values) - min(values))


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float
    count: int

    def x(self, index: int) -> float:
        return MARGIN + (WIDTH - 2 * MARGIN) * (index / (self.count - 1) if self.count > 1 else 0.5)

    def y(self, value: float) -> float:
        # Halves, since the distance of two large numbers may be infinite.
        height = self.high / 2 - self.low / 2
        share = (value / 2 - self.low / 2) / height if height > 0 else 0.5
        return HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * share

    def path(self, values: Sequence[float | None]) -> str:
        parts = []
        points = [
            None if value is None or not math.isfinite(value) else f"{self.x(index):.3g} {self.y(value):.3g}"
            for index, value in enumerate(values)
        ]
        for is_gap, run in groupby(points, key=lambda point: point is None):
            drawn = [point for point in run if point is not None]
            if is_gap:
                continue
            parts.append(f"M{'L'.join(drawn)}")
            if len(drawn) == 1:
                # A point has no line to its neighbours, and would not be seen.
                parts.append(f"m-{HALF_DASH} 0h{2 * HALF_DASH}")
        return "".join(parts)
