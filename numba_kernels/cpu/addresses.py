"""The floating-point mode of a thread that runs a kernel: rounding, and flushing of subnormals."""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from numba_kernels.shared.inlining import inlined

MACHINE = platform.machine().lower()
IS_X86 = MACHINE in ("x86_64", "amd64")
IS_ARM = MACHINE in ("aarch64", "arm64")

# Round to nearest, no flush to zero, no traps: the state in which a process starts.
DEFAULT_MODE = 0x1F80 if IS_X86 else 0
# Flush results to zero (bit 15) and read operands as zero (bit 6); on ARM bit 24 is both.
FLUSH_BITS = 0x8040 if IS_X86 else 1 << 24


@intrinsic
def _mode_of_rounding(typing_context: Any) -> Any:
    """Return the control register of floating-point arithmetic; 0 on processors without access to it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if IS_X86:
            word = builder.alloca(ir.IntType(32))
            store = builder.module.declare_intrinsic(
                "llvm.x86.sse.stmxcsr", (), ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer()])
            )
            builder.call(store, [builder.bitcast(word, ir.IntType(8).as_pointer())])
            return builder.zext(builder.load(word), ir.IntType(64))
        if IS_ARM:
            read = builder.module.declare_intrinsic(
                "llvm.aarch64.get.fpcr", (), ir.FunctionType(ir.IntType(64), [])
            )
            return builder.call(read, [])
        return ir.Constant(ir.IntType(64), 0)

    return types.int64(), generate


@intrinsic
def _set_mode_of_rounding(typing_context: Any, mode: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if IS_X86:
            word = builder.alloca(ir.IntType(32))
            builder.store(builder.trunc(arguments[0], ir.IntType(32)), word)
            load = builder.module.declare_intrinsic(
                "llvm.x86.sse.ldmxcsr", (), ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer()])
            )
            builder.call(load, [builder.bitcast(word, ir.IntType(8).as_pointer())])
        elif IS_ARM:
            write = builder.module.declare_intrinsic(
                "llvm.aarch64.set.fpcr", (), ir.FunctionType(ir.VoidType(), [ir.IntType(64)])
            )
            builder.call(write, [arguments[0]])
        return context.get_dummy_value()

    return types.void(types.int64), generate


@inlined
def enter_default_mode() -> Any:
    """Make this thread round to nearest without flushing subnormals; return the previous mode.

    A thread inherits the mode of the thread that started it, and some libraries set flush-to-zero for the
    whole process.
    """
    mode = _mode_of_rounding()
    _set_mode_of_rounding(DEFAULT_MODE)
    return mode


@inlined
def leave_default_mode(mode: int) -> None:
    """Give the thread back the mode that it had."""
    _set_mode_of_rounding(mode)


@inlined
def thread_flushes_subnormals() -> Any:
    """Whether this thread replaces subnormal numbers by zero."""
    return (_mode_of_rounding() & FLUSH_BITS) != 0
