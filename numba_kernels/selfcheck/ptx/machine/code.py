"""A kernel that is ready for execution, with counts of the executions of its blocks."""

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
        The PTX text.

    Attributes
    ----------
    text : str
        The PTX text.
    kernel : Kernel
        The parsed text.
    bodies : list of Body
        The basic blocks of the kernel.
    executed : ndarray of int64
        The number of threads that have executed each basic block.

    Raises
    ------
    NotUnderstood
        If the text contains anything that the interpreter does not know.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.kernel = parse(text)
        self.bodies = [Body(self.kernel, block) for block in self.kernel.blocks]
        self.following = [successors(self.kernel, block) for block in self.kernel.blocks]
        self.executed = np.zeros(len(self.bodies), np.int64)

    def coverage(self) -> tuple[int, int]:
        """Return the number of instructions that some thread executed, and the number of all instructions."""
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
