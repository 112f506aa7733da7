"""Barriers of blocks: which threads wait at which barrier, and which have ended."""

from __future__ import annotations

import numpy as np

from numba_kernels.selfcheck.ptx.faults import Fault
from numba_kernels.selfcheck.ptx.machine.frame import Frame
from numba_kernels.selfcheck.ptx.program import Instruction
from sgd_ref.arithmetic.formats import Array

NOWHERE = -1


class Barriers:
    """The barriers of the blocks of a launch.

    Parameters
    ----------
    blocks, threads : int
        The number of blocks, and of threads in each block.
    """

    def __init__(self, blocks: int, threads: int) -> None:
        self._threads = threads
        self._place = np.full(blocks, NOWHERE)
        self._arrived = np.zeros(blocks, np.int64)
        self._gone = np.zeros(blocks, np.int64)
        self._waiting: list[list[Array]] = [[] for _ in range(blocks)]

    def arrive(self, frame: Frame, place: int, instruction: Instruction) -> Array | None:
        """Let threads wait at a barrier, and return the threads that need not wait any longer.

        Raises
        ------
        Fault
            If other threads of a block wait at another barrier, or have ended.
        """
        if frame.chosen is None and not self._gone.any() and not self._arrived.any():
            return frame.threads
        at = f"{frame.launch.name} line {instruction.line}"
        threads = frame.threads
        blocks = threads // self._threads
        released: list[Array] = []
        for block in np.unique(blocks):
            if self._place[block] not in (NOWHERE, place):
                raise Fault(
                    "barrier",
                    f"{at}: threads of block {block} wait at another barrier",
                )
            self._place[block] = place
            self._waiting[block].append(threads[blocks == block])
            self._arrived[block] += len(self._waiting[block][-1])
            if self._gone[block]:
                raise Fault(
                    "barrier",
                    f"{at}: {self._gone[block]} threads of block {block} have ended, others wait",
                )
            if self._arrived[block] == self._threads:
                released += self._waiting[block]
                self._waiting[block], self._arrived[block], self._place[block] = [], 0, NOWHERE
        return np.concatenate(released) if released else None

    def leave(self, frame: Frame) -> None:
        """Note that threads have ended.

        Raises
        ------
        Fault
            If other threads of their block wait for them.
        """
        blocks, counts = np.unique(frame.threads // self._threads, return_counts=True)
        self._gone[blocks] += counts
        waiting = blocks[self._arrived[blocks] > 0]
        if len(waiting):
            raise Fault("barrier", f"{frame.launch.name}: threads of block {waiting[0]} end, and others wait")

    def require_nobody_waits(self) -> None:
        """Raise `Fault` if threads wait and no other thread is left that could arrive."""
        waiting = np.flatnonzero(self._arrived)
        if len(waiting):
            raise Fault(
                "deadlock",
                f"{self._arrived[waiting[0]]} threads of block {waiting[0]} wait at a barrier for ever",
            )
