"""Access to device memory by address: single numbers, 16 bytes at a time, and atomic additions.

A kernel takes only addresses. An array as an argument costs 6.5 microseconds of Python for each launch, and
the compiler reads its elements one by one; a vector of 16 bytes is read by one instruction.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from numba_kernels.cuda import simulated
from numba_kernels.cuda.toolkit import IS_SIMULATED, intrinsic, types

PACKET_BYTES = 16
GLOBAL_MEMORY = 1


class Access(NamedTuple):
    """The access of kernels to numbers of one type in device memory.

    Attributes
    ----------
    read, write : function of kernels
        One number at an address.
    read_packet, write_packet : function of kernels
        A tuple of as many numbers as 16 bytes hold, at an address that is a multiple of 16.
    """

    read: Any
    write: Any
    read_packet: Any
    write_packet: Any


def _on_device(element: Any) -> Access:
    number = {
        types.uint16: ir.IntType(16),
        types.int64: ir.IntType(64),
        types.float32: ir.FloatType(),
        types.float64: ir.DoubleType(),
    }[element]

    @intrinsic
    def read(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.load(_pointer(builder, arguments[0], number))

        return element(types.int64), generate

    @intrinsic
    def write(typing_context: Any, address: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            builder.store(arguments[1], _pointer(builder, arguments[0], number))
            return context.get_dummy_value()

        return types.void(types.int64, element), generate

    return Access(read, write, *_packets(element, number))


def _pointer(builder: Any, address: Any, pointee: Any) -> Any:
    return builder.inttoptr(address, ir.PointerType(pointee, addrspace=GLOBAL_MEMORY))


def _place(lane: int) -> Any:
    return ir.Constant(ir.IntType(32), lane)


def _packets(element: Any, number: Any) -> tuple[Any, Any]:
    """Return the functions of kernels that read and write packets of numbers."""
    width = PACKET_BYTES * 8 // element.bitwidth
    packet = types.UniTuple(element, width)
    is_half = element.bitwidth == 16
    kind = ir.VectorType(ir.IntType(32) if is_half else number, 4 if is_half else width)

    @intrinsic
    def read_packet(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            loaded = builder.load(_pointer(builder, arguments[0], kind), align=PACKET_BYTES)
            lanes = [builder.extract_element(loaded, _place(lane)) for lane in range(kind.count)]
            if is_half:
                lanes = [half for word in lanes for half in _halves(builder, word)]
            return context.make_tuple(builder, packet, lanes)

        return packet(types.int64), generate

    @intrinsic
    def write_packet(typing_context: Any, address: Any, values: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            lanes = [builder.extract_value(arguments[1], lane) for lane in range(width)]
            if is_half:
                lanes = [_word(builder, *lanes[lane : lane + 2]) for lane in range(0, width, 2)]
            stored = ir.Constant(kind, ir.Undefined)
            for lane, value in enumerate(lanes):
                stored = builder.insert_element(stored, value, _place(lane))
            builder.store(stored, _pointer(builder, arguments[0], kind), align=PACKET_BYTES)
            return context.get_dummy_value()

        return types.void(types.int64, packet), generate

    return read_packet, write_packet


def _halves(builder: Any, word: Any) -> list[Any]:
    """Split a word in two: eight halves read as such would take two instructions instead of one."""
    upper = builder.lshr(word, ir.Constant(ir.IntType(32), 16))
    return [builder.trunc(part, ir.IntType(16)) for part in (word, upper)]


def _word(builder: Any, lower: Any, upper: Any) -> Any:
    raised = builder.shl(builder.zext(upper, ir.IntType(32)), ir.Constant(ir.IntType(32), 16))
    return builder.or_(raised, builder.zext(lower, ir.IntType(32)))


def _access(name: str) -> Access:
    if IS_SIMULATED:
        return Access(*simulated.access(np.dtype(name), PACKET_BYTES))
    return _on_device(getattr(types, name))


HALVES, WORDS, SINGLES, DOUBLES = map(_access, ("uint16", "int64", "float32", "float64"))


def _adding_words() -> Any:
    @intrinsic
    def add(typing_context: Any, address: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            where = builder.inttoptr(arguments[0], ir.PointerType(ir.IntType(64), addrspace=GLOBAL_MEMORY))
            return builder.atomic_rmw("add", where, arguments[1], "monotonic")

        return types.int64(types.int64, types.int64), generate

    return add


def _fencing() -> Any:
    @intrinsic
    def wait(typing_context: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(ir.InlineAsm(kind, "membar.gl;", "~{memory}", side_effect=True), [])
            return context.get_dummy_value()

        return types.void(), generate

    return wait


add_to_word = simulated.add_to_word if IS_SIMULATED else _adding_words()
"""Add to the eight bytes at an address atomically, and return their value before the addition."""

fence = simulated.fence if IS_SIMULATED else _fencing()
"""Let all other threads of the device see the writes of this thread so far before its later writes."""
