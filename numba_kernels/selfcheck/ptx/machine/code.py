"""A kernel ready to be executed, with a count of how often each of its blocks was."""

from __future__ import annotations

import numpy as np

from numba_kernels.selfcheck.ptx.liveness import successors
from numba_kernels.selfcheck.ptx.machine.steps import Body
from numba_kernels.selfcheck.ptx.parsing import parse
from numba_kernels.selfcheck.ptx.program import Instruction


class Code:
    """The code of one kernel.

    Parameters
    ----------
    text : str
        In PTX.

    Attributes
    ----------
    kernel : Kernel
        What the text says.
    bodies : list of Body
        Its basic blocks.
    executed : ndarray of int64
        How many threads have executed each of them.

    Raises
    ------
    NotUnderstood
        If the text has anything in it that the interpreter does not know.
    """

    def __init__(self, text: str) -> None:
        self.kernel = parse(text)
        self.bodies = [Body(self.kernel, block) for block in self.kernel.blocks]
        self.following = [successors(self.kernel, block) for block in self.kernel.blocks]
        self.executed = np.zeros(len(self.bodies), np.int64)

    def coverage(self) -> tuple[int, int]:
        """Return how many instructions were executed by some thread, and how many there are."""
        lengths = np.array([len(block.instructions) for block in self.kernel.blocks])
        return int(lengths[self.executed > 0].sum()), int(lengths.sum())

    def not_executed(self) -> list[Instruction]:
        """Return the instructions that no thread executed."""
        return [
            instruction
            for block, count in zip(self.kernel.blocks, self.executed, strict=True)
            if not count
            for instruction in block.instructions
        ]
