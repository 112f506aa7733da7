"""Shared memory: each block has its own, whose content is random at first."""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_kernels.selfcheck.ptx.faults import Fault
from numba_kernels.selfcheck.ptx.machine.memory import WRITTEN
from sgd_ref.arithmetic.formats import Array

START = 16
"""The address of the first array, so that the address 0 is outside of all arrays."""


class SharedMemory:
    """The shared memory of the blocks of a launch.

    Parameters
    ----------
    blocks, size : int
        The number of blocks, and the bytes for each block.
    arrays : iterable of tuple
        The offset and the size of each array.
    generator : Generator
        Draws the initial content.
    """

    def __init__(self, blocks: int, size: int, arrays: Any, generator: np.random.Generator) -> None:
        self.stride = -(-(START + size) // 16) * 16
        self.bytes = generator.integers(0, 256, blocks * self.stride, np.uint8)
        state = np.zeros((blocks, self.stride), np.uint8)
        for offset, count in arrays:
            state[:, START + offset : START + offset + count] = 1
        self.state = state.reshape(-1)

    def places(self, addresses: Array, blocks: Array, size: int, needs: int, what: Any) -> Array:
        """Check accesses, and return their indices in an array of numbers of the size of the accesses."""
        if (addresses & np.uint64(size - 1)).any():
            bad = int(np.flatnonzero(addresses & np.uint64(size - 1))[0])
            raise Fault("alignment", f"{what(bad)}: {int(addresses[bad]):#x} is no multiple of {size}")
        outside = addresses + np.uint64(size) > np.uint64(self.stride)
        outside |= addresses > np.uint64(self.stride)
        if outside.any():
            bad = int(np.flatnonzero(outside)[0])
            raise Fault("bounds", f"{what(bad)}: {int(addresses[bad]):#x} is in no array of shared memory")
        places = (addresses.astype(np.int64) + blocks * self.stride) // size
        states = self.state.view(f"u{size}")[places]
        each = np.ascontiguousarray(states).view(np.uint8).reshape(-1, size)
        if (each < needs).any():
            bad = int(np.flatnonzero((each < needs).any(1))[0])
            kind = "bounds" if (each[bad] == 0).any() else "uninitialised"
            why = "is in no array of shared memory" if kind == "bounds" else "was never written"
            raise Fault(kind, f"{what(bad)}: {int(addresses[bad]):#x} {why}")
        return np.asarray(places)

    def read(self, places: Array, dtype: np.dtype[Any]) -> Array:
        """Return the numbers at some indices."""
        return np.asarray(self.bytes.view(dtype)[places])

    def write(self, places: Array, values: Array) -> None:
        """Write numbers at some indices."""
        size = values.dtype.itemsize
        self.bytes.view(values.dtype)[places] = values
        pattern = int.from_bytes(bytes([WRITTEN] * size), "little")
        self.state.view(f"u{size}")[places] = pattern
