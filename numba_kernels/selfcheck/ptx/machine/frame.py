"""The frame that instructions work on: the values of the registers of some threads of a launch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sgd_ref.arithmetic.formats import Array

if TYPE_CHECKING:
    from numba_kernels.selfcheck.ptx.machine.launch import Launch


class Frame:
    """The state of some threads while they execute one basic block.

    Parameters
    ----------
    launch : Launch
        The launch of the threads.
    chosen : ndarray or None
        The threads; None for all.

    Attributes
    ----------
    values : dict of str to ndarray
        The values of registers and constants: one for each thread, or one for all threads.
    """

    __slots__ = ("chosen", "count", "launch", "values")

    def __init__(self, launch: Launch, chosen: Array | None) -> None:
        self.launch, self.chosen = launch, chosen
        self.count = launch.count if chosen is None else len(chosen)
        self.values: dict[str, Array] = {}

    @property
    def threads(self) -> Array:
        """The numbers of the threads."""
        return self.launch.all_threads if self.chosen is None else self.chosen

    @property
    def blocks(self) -> Array:
        """The number of the block of each thread."""
        return self.threads // self.launch.threads

    def special(self, name: str) -> Array:
        """Return the value of a special register."""
        launch = self.launch
        if name == "%tid.x":
            return (self.threads % launch.threads).astype(np.uint32)
        if name == "%ctaid.x":
            return self.blocks.astype(np.uint32)
        return np.array([launch.threads if name == "%ntid.x" else launch.blocks], np.uint32)

    def spread(self, values: Any) -> Array:
        """Return the value of a register as an array with one value for each thread."""
        return np.broadcast_to(values, (self.count,))
