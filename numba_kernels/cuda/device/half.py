"""float16 and bfloat16 on the device: the processor's own conversions.

A NaN that the device computes has all digits set, and the rounding by bits that works on the CPU would carry
into the sign: here only the instruction that handles NaN is right.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from llvmlite import ir

from numba_kernels.cuda.toolkit import IS_SIMULATED, intrinsic, types
from numba_kernels.shared import half


def _rounded_word(builder: Any, x: Any) -> Any:
    """Return the nearest bfloat16 in the upper half of a word, which are the bits of it as a float32.

    The upper one of two numbers, since the instruction for one becomes a conversion and a shift. It needs
    compute capability 8.0, rounds to nearest even and keeps NaN.
    """
    kind = ir.FunctionType(ir.IntType(32), [ir.FloatType(), ir.FloatType()])
    convert = ir.InlineAsm(kind, "cvt.rn.bf16x2.f32 $0, $1, $2;", "=r,f,f")
    return builder.call(convert, [x, ir.Constant(ir.FloatType(), 0.0)])


@intrinsic
def _round_to_bfloat16(typing_context: Any, x: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(_rounded_word(builder, arguments[0]), ir.FloatType())

    return types.float32(types.float32), generate


def _load_bfloat16(bits: Any) -> Any:
    return (np.uint32(bits) << 16).view(np.float32)


def _store_bfloat16(x: Any) -> Any:
    return np.uint16(np.float32(x).view(np.uint32) >> 16)


def _load_float16(bits: Any) -> Any:
    return np.float32(np.uint16(bits).view(np.float16))


def _store_float16(x: Any) -> Any:
    return np.float32(x).astype(np.float16).view(np.uint16)


def _on_host(dtype: Any, load: Any, store: Any) -> tuple[Any, Any, Any]:
    """Return load, store and rounding for the simulator.

    `store` refuses a number that it would change. Both `store` and the rounding refuse other types than
    float32, which Numba would convert silently on the device.
    """

    def check_single(name: str, x: Any) -> None:
        if type(x) is not np.float32:
            raise TypeError(f"{name} must be given float32, got {type(x).__name__}")

    def checked_store(x: Any) -> Any:
        check_single("store", x)
        bits = store(x)
        stored = load(bits)
        if stored != x and not (np.isnan(stored) and np.isnan(x)):
            raise ValueError(f"store must be given a number of {np.dtype(dtype)}, got {x!r}")
        return bits

    def rounded(x: Any) -> Any:
        check_single("rounding", x)
        return load(x.astype(dtype).view(np.uint16))

    return load, checked_store, rounded


load_float16, store_float16, round_to_float16 = (
    _on_host(np.float16, _load_float16, _store_float16)
    if IS_SIMULATED
    else (half.load_float16, half.store_float16, half.round_to_float16)
)

load_bfloat16, store_bfloat16, round_to_bfloat16 = (
    # As on the device, where storing cuts off the low half.
    _on_host(ml_dtypes.bfloat16, _load_bfloat16, _store_bfloat16)
    if IS_SIMULATED
    else (half.load_bfloat16, half.store_bfloat16, _round_to_bfloat16)
)
