"""The numbers of the cases: the same on every machine and with every version of NumPy."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FORMATS, Array
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.gradients import SparseRows


class NumberStream:
    """A stream of numbers that depends only on a text, such as the id of a case.

    Python documents that ``random.Random.random`` gives the same numbers for the same seed in every version.
    NumPy makes no such promise for its generators.

    >>> NumberStream("a").array((2,), np.dtype("float32"), 1.0).dtype
    dtype('float32')
    """

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any], magnitude: float) -> Array:
        """Return numbers between -magnitude and magnitude with full significands."""
        count = math.prod(shape)
        values = [(2 * self._random.random() - 1) * magnitude for _ in range(count)]
        return convert(np.array(values, np.float64).reshape(shape), dtype)

    def rows(self, shape: tuple[int, ...], dtype: np.dtype[Any], magnitude: float) -> SparseRows:
        """Return half as many rows as the first axis is long; every third row repeats an earlier one."""
        count = max(shape[0] // 2, 2)
        indices = [int(self._random.random() * shape[0]) for _ in range(count)]
        indices[2::3] = indices[: len(indices[2::3])]
        return SparseRows(indices, self.array((count, *shape[1:]), dtype, magnitude), shape)


def with_special_weights(weights: Array) -> Array:
    """Return the weights with infinities, NaN and both zeros in their first elements."""
    return _placed(weights, (math.inf, -0.0, 0.0, math.nan, -math.inf))


def with_special_gradient(gradient: Array, call: int, calls: int) -> Array:
    """Return the gradient with signed zeros, and in the last calls also NaN and infinities.

    Earlier calls have none, since one NaN in a clipped gradient hides everything afterwards.
    """
    if call < calls - 3:
        return _placed(gradient, (0.0, -0.0))
    return _placed(gradient, (0.0, -0.0, math.inf, math.nan, -math.inf)[: 2 + call - (calls - 4)])


def with_subnormals(array: Array) -> Array:
    """Return the array with subnormal numbers in its first elements, down to the smallest one."""
    form = FORMATS[array.dtype]
    smallest = form.smallest_normal * Fraction(2) ** (1 - form.precision)
    normal = float(form.smallest_normal)
    return _placed(array, (normal * 0.75, -normal * 0.375, float(smallest), -float(smallest), normal))


def readonly(array: Array) -> Array:
    """Return the array, made read-only."""
    array.flags.writeable = False
    return array


def readonly_gradient(gradient: Array | SparseRows | None) -> Array | SparseRows | None:
    """Return the gradient (dense, sparse or missing), made read-only."""
    if isinstance(gradient, SparseRows):
        readonly(gradient.indices)
        readonly(gradient.values)
    elif gradient is not None:
        readonly(gradient)
    return gradient


def _placed(array: Array, values: Sequence[float]) -> Array:
    placed = np.array(array)
    # One element of a small array stays ordinary.
    count = min(len(values), max(array.size - 1, 0))
    placed.reshape(-1)[:count] = convert(np.array(values[:count], np.float64), array.dtype)
    return placed
