"""A kernel in PTX as data: registers, parameters, shared memory, and basic blocks of instructions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

REGISTER_DTYPES = {
    "pred": np.dtype(bool),
    "b16": np.dtype(np.uint16),
    "b32": np.dtype(np.uint32),
    "b64": np.dtype(np.uint64),
    "f32": np.dtype(np.float32),
    "f64": np.dtype(np.float64),
}
"""The dtypes in which registers of each type are stored."""


class Instruction(NamedTuple):
    """One instruction.

    Attributes
    ----------
    opcode : str
        The opcode with its modifiers, such as ``add.rn.f32``.
    operands : tuple of str
        The operands as written, the result first; a vector such as ``{%f1, %f2}`` is one operand.
    guard : str
        The predicate under which it is executed, such as ``!%p1``; empty if it is always executed.
    line : int
        The line number in the text, from 1.
    """

    opcode: str
    operands: tuple[str, ...]
    guard: str
    line: int

    def __str__(self) -> str:
        guard = f"@{self.guard} " if self.guard else ""
        return f"{guard}{self.opcode} {', '.join(self.operands)};".replace(" ;", ";")


@dataclass
class Block:
    """A basic block: instructions that are executed one after the other.

    Attributes
    ----------
    index : int
        The index of the block in the order of the text.
    instructions : list of Instruction
        The instructions; a branch, a barrier or a return can only be the last one.
    inputs, outputs : tuple of str
        The registers that are read here before they are written, and those that are written here and read
        later.
    """

    index: int
    instructions: list[Instruction] = field(default_factory=list)
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


@dataclass
class Kernel:
    """A kernel.

    Attributes
    ----------
    entry : str
        The symbol of the kernel.
    parameters : dict of str to tuple
        For each parameter its offset and number of bytes.
    registers : dict of str to dtype
        The dtypes of registers, by the beginning of their names, such as ``%rd``.
    shared : dict of str to tuple
        For each array in shared memory its offset and number of bytes.
    shared_bytes : int
        The bytes of shared memory of a block.
    blocks : list of Block
        The basic blocks in the order of the text; execution begins at the first.
    labels : dict of str to int
        The index of the basic block after each label.
    """

    entry: str
    parameters: dict[str, tuple[int, int]] = field(default_factory=dict)
    registers: dict[str, np.dtype[Any]] = field(default_factory=dict)
    shared: dict[str, tuple[int, int]] = field(default_factory=dict)
    shared_bytes: int = 0
    blocks: list[Block] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)

    def dtype_of(self, register: str) -> np.dtype[Any]:
        """Return the dtype of a register.

        Raises
        ------
        KeyError
            If it was not declared.
        """
        return self.registers[register.rstrip("0123456789")]

    @property
    def instructions(self) -> int:
        """Number of instructions."""
        return sum(len(block.instructions) for block in self.blocks)
