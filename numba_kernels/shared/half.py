"""float16 and bfloat16 in kernels: stored as bits, computed in float32, rounded after each operation.

NumPy and ml_dtypes do the same, so the bits agree. Rounding is written in LLVM instructions without branches:
in Numba, 32-bit integers would become 64 bits wide, and halve the number of elements in a vector.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

I16, I32, FLOAT, HALF = ir.IntType(16), ir.IntType(32), ir.FloatType(), ir.HalfType()
Value = Any
Generator = Callable[[Any, Value], Value]


def _intrinsic(argument: types.Type, result: types.Type, generate: Generator) -> Any:
    @intrinsic
    def function(typing_context: Any, x: Any) -> Any:
        def generated(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return generate(builder, arguments[0])

        return result(argument), generated

    return function


def _word(number: int) -> Value:
    return ir.Constant(I32, number)


def _bits(builder: Any, x: Value) -> Value:
    return builder.bitcast(x, I32)


def _is_nan(builder: Any, x: Value) -> Value:
    return builder.icmp_unsigned(">", builder.and_(_bits(builder, x), _word(0x7FFFFFFF)), _word(0x7F800000))


def _quiet(builder: Any, bits: Value) -> Value:
    """Set a bit so that a NaN remains a NaN when its low half is cut off."""
    return builder.or_(bits, _word(0x00400000))


def _rounded_to_even(builder: Any, bits: Value, dropped: int) -> Value:
    """Round the bits of a float32 so that the `dropped` lowest bits become zero, ties to even.

    A carry out of the fraction raises the exponent, as rounding up to a power of two should.
    """
    last = builder.and_(builder.lshr(bits, _word(dropped)), _word(1))
    half = builder.add(last, _word((1 << (dropped - 1)) - 1))
    return builder.and_(builder.add(bits, half), _word(~((1 << dropped) - 1) & 0xFFFFFFFF))


def _load_bfloat16(builder: Any, x: Value) -> Value:
    return builder.bitcast(builder.shl(builder.zext(x, I32), _word(16)), FLOAT)


def _round_to_bfloat16(builder: Any, x: Value) -> Value:
    """Round without a check for NaN, which nearly halves the number of instructions.

    In a kernel the low half of every NaN is zero: of loaded NaNs, of the processor's own NaN, and of the
    results of operations on them. So rounding adds at most 0x8000 to a NaN, and nothing is carried into the
    upper half.
    """
    return builder.bitcast(_rounded_to_even(builder, _bits(builder, x), 16), FLOAT)


def _store_bfloat16(builder: Any, x: Value) -> Value:
    return builder.trunc(builder.lshr(_bits(builder, x), _word(16)), I16)


def _load_float16(builder: Any, x: Value) -> Value:
    return builder.fpext(builder.bitcast(x, HALF), FLOAT)


def _round_to_float16(builder: Any, x: Value) -> Value:
    return builder.fpext(builder.fptrunc(x, HALF), FLOAT)


def _store_float16(builder: Any, x: Value) -> Value:
    return builder.bitcast(builder.fptrunc(x, HALF), I16)


def _scale(power: int) -> Value:
    return ir.Constant(FLOAT, 2.0**power)


def _load_float16_by_bits(builder: Any, x: Value) -> Value:
    """Shift the fields into place; a product with a power of two then moves the exponent, exactly."""
    wide = builder.zext(x, I32)
    sign = builder.shl(builder.and_(wide, _word(0x8000)), _word(16))
    shifted = builder.shl(builder.and_(wide, _word(0x7FFF)), _word(13))
    finite = _bits(builder, builder.fmul(builder.bitcast(shifted, FLOAT), _scale(112)))
    special = builder.icmp_unsigned(">=", shifted, _word(0x0F800000))
    magnitude = builder.select(special, builder.or_(shifted, _word(0x7F800000)), finite)
    return builder.bitcast(builder.or_(sign, magnitude), FLOAT)


def _round_to_float16_by_bits(builder: Any, x: Value) -> Value:
    bits = _bits(builder, x)
    sign = builder.and_(bits, _word(0x80000000))
    magnitude = builder.and_(bits, _word(0x7FFFFFFF))
    rounded = _rounded_to_even(builder, magnitude, 13)
    # 65536, the first number of float32 past the largest one of float16.
    overflows = builder.icmp_unsigned(">=", rounded, _word(0x47800000))
    normal = builder.select(overflows, _word(0x7F800000), rounded)
    # Numbers in [1/2, 1) are 2**-24 apart, like the subnormals of float16: adding 1/2 rounds to them.
    half = ir.Constant(FLOAT, 0.5)
    tiny = builder.fsub(builder.fadd(builder.bitcast(magnitude, FLOAT), half), half)
    is_tiny = builder.icmp_unsigned("<", magnitude, _word(0x38800000))
    result = builder.or_(sign, builder.select(is_tiny, _bits(builder, tiny), normal))
    return builder.bitcast(builder.select(_is_nan(builder, x), _quiet(builder, bits), result), FLOAT)


def _store_float16_by_bits(builder: Any, x: Value) -> Value:
    bits = _bits(builder, x)
    sign = builder.lshr(builder.and_(bits, _word(0x80000000)), _word(16))
    magnitude = builder.and_(bits, _word(0x7FFFFFFF))
    moved = _bits(builder, builder.fmul(builder.bitcast(magnitude, FLOAT), _scale(-112)))
    finite = builder.lshr(moved, _word(13))
    fraction = builder.and_(builder.lshr(bits, _word(13)), _word(0x3FF))
    special = builder.or_(fraction, _word(0x7C00))
    is_special = builder.icmp_unsigned(">=", magnitude, _word(0x7F800000))
    return builder.trunc(builder.or_(sign, builder.select(is_special, special, finite)), I16)


load_bfloat16 = _intrinsic(types.uint16, types.float32, _load_bfloat16)
round_to_bfloat16 = _intrinsic(types.float32, types.float32, _round_to_bfloat16)
store_bfloat16 = _intrinsic(types.float32, types.uint16, _store_bfloat16)
load_float16 = _intrinsic(types.uint16, types.float32, _load_float16)
round_to_float16 = _intrinsic(types.float32, types.float32, _round_to_float16)
store_float16 = _intrinsic(types.float32, types.uint16, _store_float16)
load_float16_by_bits = _intrinsic(types.uint16, types.float32, _load_float16_by_bits)
round_to_float16_by_bits = _intrinsic(types.float32, types.float32, _round_to_float16_by_bits)
store_float16_by_bits = _intrinsic(types.float32, types.uint16, _store_float16_by_bits)
