"""The regions of memory that arrays occupy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sgd_ref.arithmetic.formats import Array


def regions(arrays: Sequence[Array]) -> Array:
    """Return start and end of each region that arrays occupy, in order; adjacent regions are joined."""
    ends = sorted(np.lib.array_utils.byte_bounds(array) for array in arrays if array.size)
    merged: list[int] = []
    for start, end in ends:
        if merged and start <= merged[-1]:
            merged[-1] = max(merged[-1], end)
        else:
            merged += [start, end]
    return np.array(merged, np.int64)
