"""Liveness: the registers that a basic block reads from earlier blocks, and leaves for later blocks."""

from __future__ import annotations

import re

from numba_kernels.selfcheck.ptx.faults import NotUnderstood
from numba_kernels.selfcheck.ptx.program import Block, Instruction, Kernel

REGISTER = re.compile(r"%[a-z]+\d+")

WRITES_NOTHING = ("st", "bra", "bar", "ret", "membar", "red")
"""The first words of opcodes without a result."""


def registers_of(instruction: Instruction) -> tuple[list[str], list[str]]:
    """Return the registers that an instruction reads, and the registers that it writes.

    Examples
    --------
    >>> registers_of(Instruction("ld.global.v2.f64", ("{%fd1, %fd2}", "[%rd1+8]"), "", 1))
    (['%rd1'], ['%fd1', '%fd2'])
    """
    writes_nothing = instruction.opcode.partition(".")[0] in WRITES_NOTHING
    results = [] if writes_nothing else REGISTER.findall(instruction.operands[0])
    sources = instruction.operands if writes_nothing else instruction.operands[1:]
    return REGISTER.findall(" ".join((instruction.guard, *sources))), results


def successors(kernel: Kernel, block: Block) -> list[int]:
    """Return the blocks that can come after a block.

    Raises
    ------
    NotUnderstood
        If a label does not exist.
    """
    last = block.instructions[-1]
    if last.opcode == "ret":
        return []
    following = (
        [] if last.opcode == "bra.uni" or (last.opcode == "bra" and not last.guard) else [block.index + 1]
    )
    if last.opcode.startswith("bra"):
        if last.operands[0] not in kernel.labels:
            raise NotUnderstood(f"line {last.line}: a label must be in the kernel, got {last.operands[0]}")
        following.insert(0, kernel.labels[last.operands[0]])
    return following


def find_inputs_and_outputs(kernel: Kernel) -> None:
    """Write the inputs and outputs of all blocks of a kernel."""
    reads: list[set[str]] = []
    writes: list[set[str]] = []
    for block in kernel.blocks:
        read: set[str] = set()
        written: set[str] = set()
        for instruction in block.instructions:
            sources, results = registers_of(instruction)
            read.update(register for register in sources if register not in written)
            written.update(results)
        reads.append(read)
        writes.append(written)
    following = [successors(kernel, block) for block in kernel.blocks]
    live = [set(read) for read in reads]
    changed = True
    while changed:
        changed = False
        for index in reversed(range(len(kernel.blocks))):
            after: set[str] = set().union(*(live[other] for other in following[index]))
            before = reads[index] | (after - writes[index])
            if before != live[index]:
                live[index] = before
                changed = True
    for index, block in enumerate(kernel.blocks):
        after = set().union(*(live[other] for other in following[index]))
        block.inputs = tuple(sorted(reads[index]))
        block.outputs = tuple(sorted(writes[index] & after))
