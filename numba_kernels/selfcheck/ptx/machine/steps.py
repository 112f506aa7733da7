"""Steps: functions that execute one instruction for the threads of a frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numba_kernels.selfcheck.ptx.faults import NotUnderstood
from numba_kernels.selfcheck.ptx.machine import operands
from numba_kernels.selfcheck.ptx.machine.access_steps import ACCESSES
from numba_kernels.selfcheck.ptx.machine.frame import Frame
from numba_kernels.selfcheck.ptx.machine.operands import SPECIAL, Operand, vector
from numba_kernels.selfcheck.ptx.opcodes.operation import Operation
from numba_kernels.selfcheck.ptx.opcodes.registry import OPERATIONS
from numba_kernels.selfcheck.ptx.program import Block, Instruction, Kernel
from sgd_ref.arithmetic.formats import Array

Step = Callable[[Frame], None]

CONTROL = ("bra", "bra.uni", "ret", "bar.sync")


class Body:
    """The instructions of a basic block, ready to be executed.

    Attributes
    ----------
    steps : list of callable
        The steps, without the branch, barrier or return at the end.
    constants : dict of str to ndarray
        The numbers that are written in its instructions.
    specials : tuple of str
        The special registers that its instructions read.
    last : Instruction or None
        The branch, barrier or return.
    """

    def __init__(self, kernel: Kernel, block: Block) -> None:
        self.constants: dict[str, Array] = {}
        found: set[str] = set()
        self.steps: list[Step] = []
        self.last: Instruction | None = None
        for instruction in block.instructions:
            if instruction.opcode in CONTROL:
                self.last = instruction
                continue
            self.steps.append(self._step(kernel, instruction, found))
        if self.last is not None and self.last.opcode == "bar.sync" and self.last.operands != ("0",):
            raise NotUnderstood(
                f"line {self.last.line}: a barrier must be number 0 of all threads: {self.last}"
            )
        self.specials = tuple(sorted(found))
        self.inputs, self.outputs = block.inputs, block.outputs

    def _step(self, kernel: Kernel, instruction: Instruction, found: set[str]) -> Step:
        opcode = instruction.opcode
        for start, make in ACCESSES.items():
            if opcode.startswith(start):
                return make(kernel, instruction, self._keep)
        if opcode == "mov.b32" and any(text.startswith("{") for text in instruction.operands):
            return _packing(kernel, instruction)
        if opcode not in OPERATIONS:
            raise NotUnderstood(f"line {instruction.line}: the opcode {opcode} is not known: {instruction}")
        operation = OPERATIONS[opcode]
        if len(instruction.operands) != 1 + len(operation.operands):
            raise NotUnderstood(
                f"line {instruction.line}: {opcode} takes {len(operation.operands)} operands: {instruction}"
            )
        sources = [
            operands.operand(kernel, instruction, text, dtype)
            for text, dtype in zip(instruction.operands[1:], operation.operands, strict=True)
        ]
        found.update(source.key for source in sources if source.key in SPECIAL)
        return _computing(kernel, instruction, operation, [self._keep(source) for source in sources])

    def _keep(self, source: Operand) -> Operand:
        """Store a constant under a key with its dtype, and return the operand with that key."""
        if source.constant is None:
            return source
        key = f"{source.constant.dtype.str} {source.key}"
        self.constants[key] = source.constant
        return source._replace(key=key)


def _computing(
    kernel: Kernel, instruction: Instruction, operation: Operation, sources: list[Operand]
) -> Step:
    target = instruction.operands[0]
    kept = kernel.dtype_of(target)
    if kept.itemsize != operation.result.itemsize or (kept.kind == "b") != (operation.result.kind == "b"):
        raise NotUnderstood(f"line {instruction.line}: {target} must be {operation.result}: {instruction}")
    function, result = operation.function, None if kept == operation.result else kept
    keys = [source.key for source in sources]
    views = [source.dtype for source in sources]
    if result is None and not any(views):
        if len(keys) == 1:
            return _unary(function, target, keys[0])
        if len(keys) == 2:
            return _binary(function, target, keys[0], keys[1])
    return _any(function, target, list(zip(keys, views, strict=True)), result)


def _unary(function: Any, target: str, key: str) -> Step:
    def step(frame: Frame) -> None:
        values = frame.values
        values[target] = function(values[key])

    return step


def _binary(function: Any, target: str, first: str, second: str) -> Step:
    def step(frame: Frame) -> None:
        values = frame.values
        values[target] = function(values[first], values[second])

    return step


def _any(function: Any, target: str, sources: list[tuple[str, Any]], result: Any) -> Step:
    def step(frame: Frame) -> None:
        values = frame.values
        answer = function(*[values[key] if view is None else values[key].view(view) for key, view in sources])
        values[target] = answer if result is None else answer.view(result)

    return step


def _packing(kernel: Kernel, instruction: Instruction) -> Step:
    """Return the step that packs two halves into one register, or unpacks a register into two halves."""
    target, source = instruction.operands
    halves = vector(target if target.startswith("{") else source)
    whole = source if target.startswith("{") else target
    if len(halves) != 2 or [kernel.dtype_of(half).itemsize for half in halves] != [2, 2]:
        raise NotUnderstood(f"line {instruction.line}: two halves must be given: {instruction}")
    if kernel.dtype_of(whole).itemsize != 4:
        raise NotUnderstood(f"line {instruction.line}: {whole} must have 32 bits: {instruction}")
    lower, upper = halves
    kept = kernel.dtype_of(whole)

    def pack(frame: Frame) -> None:
        low, high = (frame.values[half].view(np.uint16).astype(np.uint32) for half in (lower, upper))
        frame.values[whole] = (low | high << np.uint32(16)).view(kept)

    def unpack(frame: Frame) -> None:
        bits = frame.values[whole].view(np.uint32)
        frame.values[lower] = (bits & np.uint32(0xFFFF)).astype(np.uint16)
        frame.values[upper] = (bits >> np.uint32(16)).astype(np.uint16)

    return unpack if target.startswith("{") else pack
