"""float16 and bfloat16 on the device: the processor's own conversions.

A NaN that the device computes has all digits set, and the rounding by bits that serves on the CPU would carry
them into the sign: here only the instruction that knows NaN will do.
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


def _on_host(dtype: Any) -> tuple[Any, Any, Any]:
    """Return load, store and rounding as NumPy has them, for the simulator."""

    def load(bits: Any) -> Any:
        return np.float32(np.uint16(bits).view(dtype))

    def store(x: Any) -> Any:
        return np.float32(x).astype(dtype).view(np.uint16)

    def rounded(x: Any) -> Any:
        return load(store(x))

    return load, store, rounded


load_float16, store_float16, round_to_float16 = (
    _on_host(np.float16) if IS_SIMULATED else (half.load_float16, half.store_float16, half.round_to_float16)
)

load_bfloat16, store_bfloat16, round_to_bfloat16 = (
    _on_host(ml_dtypes.bfloat16)
    if IS_SIMULATED
    else (half.load_bfloat16, half.store_bfloat16, _round_to_bfloat16)
)
