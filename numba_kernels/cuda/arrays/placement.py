"""The placement of the arrays of a call: in place, or in other memory into which they are copied."""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_kernels.cuda.arrays.allocation import fresh_like
from numba_kernels.cuda.arrays.arrays import View, view
from numba_kernels.cuda.device.gather import THREADS, gather_kernel, scatter_kernel
from numba_kernels.cuda.host.buffers import Buffer, words
from numba_kernels.cuda.host.program import Launch
from numba_kernels.cuda.toolkit import IS_SIMULATED

MOST_BLOCKS = 3 if IS_SIMULATED else 1024


class Copy:
    """An array on the device that kernels cannot read, and memory with a copy that they can read.

    Parameters
    ----------
    like : object
        A device array, whose library allocates the memory.
    found : View
        The array.
    dtype : dtype
        The dtype of the memory.
    memory : object, optional
        A contiguous device array of that shape and dtype that serves as memory.

    Attributes
    ----------
    memory : object
        The device array with the copy.
    address : int
        Its address.
    """

    def __init__(self, like: Any, found: View, dtype: np.dtype[Any], memory: Any = None) -> None:
        self.found, self.dtype = found, dtype
        self.memory = fresh_like(like, found.shape, dtype) if memory is None else memory
        self.address = view("memory", self.memory).address
        self._layout = Buffer(words(found.shape, found.strides))

    def regions(self) -> list[tuple[int, int]]:
        """Return address and size of all memory that the launches access, except the array itself."""
        return [(self.address, self._count * self.dtype.itemsize), self._layout.region]

    @property
    def _count(self) -> int:
        return int(np.prod(self.found.shape, dtype=np.int64))

    def gather(self) -> Launch:
        """Return the launch that copies from the array."""
        return self._launch(gather_kernel(self.found.dtype, self.dtype))

    def scatter(self) -> Launch:
        """Return the launch that copies back to it."""
        return self._launch(scatter_kernel(self.dtype))

    def _launch(self, kernel: Any) -> Launch:
        blocks = max(1, min(-(-self._count // THREADS), MOST_BLOCKS))
        arguments = (
            self.found.address,
            self.address,
            self._layout.address,
            len(self.found.shape),
            self._count,
        )
        return kernel, blocks, THREADS, arguments


def is_in_place(found: View, dtype: np.dtype[Any]) -> bool:
    """Whether kernels can read an array where it is."""
    if found.dtype != dtype or found.address % dtype.itemsize:
        return False
    step = dtype.itemsize
    for length, stride in zip(reversed(found.shape), reversed(found.strides), strict=True):
        # The stride of an axis of length 1 is never used.
        if length > 1 and stride != step:
            return 0 in found.shape
        step *= length
    return True
