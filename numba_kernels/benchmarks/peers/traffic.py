"""The arrays of a roof, and functions that work on parts of arrays in several threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from numba_kernels.benchmarks.peers import NotOffered, Step
from numba_kernels.benchmarks.workload import NORM, Array, Workload

ALIGNMENT = 4096
"""The number of elements of which each part is a multiple, so that parts begin at whole pages."""


@dataclass(frozen=True)
class Moved:
    """Flat arrays with as many bytes as a step has to move.

    Attributes
    ----------
    written : list of ndarray
        Arrays that are read and written once.
    added : ndarray
        An array that is also read once.
    reread : ndarray or None
        An array that is read once before the others, if the step needs a norm. Every library adds its dtype
        fast.
    """

    written: list[Array]
    added: Array
    reread: Array | None


def moved_arrays(workload: Workload) -> Moved:
    """Return the arrays of a roof. Arrays of 16 bits are integers, which every library adds at full speed.

    Raises
    ------
    NotOffered
        If a step writes nothing, or its work is not in proportion to the size of the model.
    """
    if workload.has_sparse_gradients or workload.settings == NORM:
        raise NotOffered("no roof of this traffic")
    dtype = np.dtype(np.int16 if workload.dtype == "bfloat16" else workload.dtype)
    # The arrays are written, since untouched pages of zeros all share one physical page.
    added = np.full(workload.elements, 0, dtype)
    written = [np.full(workload.elements, 1, dtype) for _ in range(workload.arrays_written)]
    if workload.arrays_read == len(written) + 1:
        return Moved(written, added, None)
    pairs = added[: added.size // 2 * 2]
    return Moved(written, added, pairs.view(np.float32) if dtype.itemsize == 2 else added)


def in_parts(function: Callable[..., Any], arrays: Sequence[Array], threads: int) -> Step:
    """Return a step that applies a function to equal parts of arrays; the function must release the GIL.

    >>> numbers = np.arange(8.0)
    >>> in_parts(lambda part: np.add(part, 1, out=part), [numbers], 2)() is not None
    True
    >>> numbers
    array([1., 2., 3., 4., 5., 6., 7., 8.])
    """
    size = arrays[0].size
    width = -(-size // threads)
    width = -(-width // ALIGNMENT) * ALIGNMENT
    parts = [tuple(array[start : start + width] for array in arrays) for start in range(0, size, width)]
    if len(parts) == 1:
        return lambda: function(*parts[0])
    pool = ThreadPoolExecutor(threads)
    return lambda: [future.result() for future in [pool.submit(function, *part) for part in parts]]
