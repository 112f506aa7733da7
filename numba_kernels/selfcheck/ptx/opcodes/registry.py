"""All opcodes that only compute, by name."""

from __future__ import annotations

from numba_kernels.selfcheck.ptx.opcodes import comparisons, conversions, floats, integers
from numba_kernels.selfcheck.ptx.opcodes.operation import Operation


def _all() -> dict[str, Operation]:
    found: dict[str, Operation] = {}
    for group in (integers, comparisons, floats, conversions):
        for opcode, operation in group.operations():
            if opcode in found:
                raise ValueError(f"an opcode must have one meaning, got two of {opcode}")
            found[opcode] = operation
    return found


OPERATIONS = _all()
