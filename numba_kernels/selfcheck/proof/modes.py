"""The floating-point mode of a kernel: the default mode while it computes, then the caller's mode again."""

from __future__ import annotations

from typing import Any

from numba_kernels.cpu.addresses import DEFAULT_MODE, IS_ARM, IS_X86
from numba_kernels.selfcheck.proof.expressions import Expressions
from numba_kernels.selfcheck.proof.integers import Affine
from numba_kernels.selfcheck.proof.llvm.instructions import NotUnderstood
from numba_kernels.selfcheck.proof.memory import Memory

# On other processors, the kernels cannot change the mode.
FIRST_MODE, LAST_MODE = ("of the caller", "left") if IS_X86 or IS_ARM else ("default", "default")


def follow_mode(e: Expressions, memory: Memory, name: str, operands: list[Any]) -> bool:
    """Follow a call that reads or sets the mode.

    Parameters
    ----------
    e : Expressions
        The expressions of the proof.
    memory : Memory
        The memory, whose attribute `mode` is changed.
    name : str
        The name of the called function.
    operands : list of value
        On x86 the address of the mode in memory, on ARM the mode itself.

    Returns
    -------
    bool
        Whether the call reads or sets the mode.

    Raises
    ------
    NotUnderstood
        If the mode becomes anything other than first the default, and then the caller's mode.
    """
    if name == "llvm.x86.sse.stmxcsr":
        memory.local[str(operands[0])] = e.raw("mode", "i32", "mode")
    elif name in ("llvm.x86.sse.ldmxcsr", "llvm.aarch64.set.fpcr"):
        mode = memory.local[str(operands[0])] if "x86" in name else operands[0]
        bits = mode.offset if isinstance(mode, Affine) else mode.args[0]
        if bits == DEFAULT_MODE and memory.mode == "of the caller":
            memory.mode = "default"
        elif bits == "mode" and memory.mode == "default":
            memory.mode = "left"
        else:
            raise NotUnderstood(f"the floating-point mode becomes {mode} where it was {memory.mode}")
    elif name != "llvm.aarch64.get.fpcr":
        return False
    return True
