"""Fetching memory into the cache ahead of its use, where the processor cannot guess the addresses."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from numba_kernels.cpu.alignment import LINE
from numba_kernels.shared.inlining import inlined

TO_READ, SECOND_LEVEL, DATA = 0, 2, 1
"""The arguments of LLVM's instruction: reading, the second level of the cache, and no code."""


@intrinsic
def _fetch(typing_context: Any, address: Any) -> Any:
    """Ask for the cache line at an address; an address without memory does no harm."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer, integer = ir.IntType(8).as_pointer(), ir.IntType(32)
        prefetch = builder.module.declare_intrinsic(
            "llvm.prefetch.p0i8", (), ir.FunctionType(ir.VoidType(), [pointer, integer, integer, integer])
        )
        hints = [ir.Constant(integer, hint) for hint in (TO_READ, SECOND_LEVEL, DATA)]
        builder.call(prefetch, [builder.inttoptr(arguments[0], pointer), *hints])
        return context.get_dummy_value()

    return types.void(types.int64), generate


@inlined
def fetch(address: int, length: int) -> None:
    """Ask for all cache lines of a stretch of memory, without waiting for them."""
    line = address - address % LINE
    while line < address + length:
        _fetch(line)
        line += LINE
