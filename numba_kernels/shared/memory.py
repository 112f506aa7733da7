"""Parts of memory that arrays share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sgd_ref.arithmetic.formats import Array


def stretches(arrays: Sequence[Array]) -> Array:
    """Return the first address, and the first one after it, of each array, those that touch as one."""
    ends = sorted(np.lib.array_utils.byte_bounds(array) for array in arrays if array.size)
    merged: list[int] = []
    for start, end in ends:
        if merged and start <= merged[-1]:
            merged[-1] = max(merged[-1], end)
        else:
            merged += [start, end]
    return np.array(merged, np.int64)
