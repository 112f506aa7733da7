"""The special values of variants, taken from the definition."""

from __future__ import annotations

from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import Array


def where_finite(result: Any, definition: Any, *operands: Array) -> Array:
    """Return the result for elements whose operands are all finite, and otherwise that of the definition.

    Formulas that are equal for real numbers need not be equal for infinities: ``w - w * d`` is NaN for an
    infinite w, while ``w * (1 - d)`` is infinite.

    >>> infinite = np.array([2.0, np.inf])
    >>> where_finite(infinite * 0.75, np.array([1.5, np.nan]), infinite)
    array([1.5, nan])
    """
    finite = np.isfinite(operands[0])
    for operand in operands[1:]:
        finite = finite & np.isfinite(operand)
    return np.asarray(np.where(finite, result, definition))
