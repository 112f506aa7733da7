"""The registers of all threads, with random bits until they are written."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from numba_kernels.selfcheck.ptx.program import Kernel
from sgd_ref.arithmetic.formats import Array


class Registers:
    """The registers of a launch, kept between basic blocks.

    Parameters
    ----------
    kernel : Kernel
        The kernel, which declares the registers.
    count : int
        The number of threads.
    generator : Generator
        Draws their initial bits.
    """

    def __init__(self, kernel: Kernel, count: int, generator: np.random.Generator) -> None:
        self._kernel, self._count, self._generator = kernel, count, generator
        # One number for all threads, or one for each.
        self._kept: dict[str, Array] = {}
        # The registers that do not share their array with another register, so that parts of it can be
        # written.
        self._own: set[str] = set()

    def read(self, names: Iterable[str], threads: Array | None, values: dict[str, Array]) -> None:
        """Read the registers of some threads into a dict of values."""
        for name in names:
            kept = self._kept.get(name)
            if kept is None:
                kept = self._kept[name] = self._random(name)
            if threads is None or len(kept) == 1:
                self._own.discard(name)
                values[name] = kept
            else:
                values[name] = kept[threads]

    def write(self, names: Iterable[str], threads: Array | None, values: dict[str, Array]) -> None:
        """Store the registers of some threads from a dict of values."""
        for name in names:
            if threads is None:
                self._own.discard(name)
                self._kept[name] = values[name]
                continue
            kept = self._kept.get(name)
            if kept is None:
                kept = self._random(name)
            elif len(kept) == 1 and self._count > 1:
                kept = np.repeat(kept, self._count)
            elif name not in self._own:
                kept = kept.copy()
            kept[threads] = values[name]
            self._kept[name] = kept
            self._own.add(name)

    def _random(self, name: str) -> Array:
        dtype = self._kernel.dtype_of(name)
        if dtype.kind == "b":
            return self._generator.integers(0, 2, self._count).astype(bool)
        bits = self._generator.integers(0, 256, self._count * dtype.itemsize, np.uint8)
        return bits.view(dtype)
