"""float64 on the device beyond the four operations: bits, roots, errors of products, roundings to narrower.

In the simulator, Python computes each of them from the exact number.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from llvmlite import ir

from numba_kernels.cuda.toolkit import IS_SIMULATED, intrinsic, libdevice, types
from numba_kernels.shared.inlining import inlined

if IS_SIMULATED:

    def bits_of(x: Any) -> Any:
        """Return the bits of a float64."""
        return np.float64(x).view(np.int64)

    def from_bits(bits: Any) -> Any:
        """Return the float64 of these bits."""
        return np.int64(bits).view(np.float64)

    def square_root(x: Any) -> Any:
        """Return the root, rounded to nearest."""
        return np.sqrt(np.float64(x))

    def error_of_square(x: Any, square: Any) -> Any:
        """Return the exact square minus the rounded one, where no digit is below the least float64."""
        if not math.isfinite(x):
            return np.float64(math.nan)
        if not math.isfinite(square):
            return -square
        return np.float64(float(Fraction(float(x)) ** 2 - Fraction(float(square))))

    def rounded_down(x: Any) -> Any:
        """Return the float32 at or next below."""
        nearest = np.float32(x)
        return np.nextafter(nearest, np.float32(-np.inf)) if nearest > x else nearest

    def rounded_up(x: Any) -> Any:
        """Return the float32 at or next above."""
        nearest = np.float32(x)
        return np.nextafter(nearest, np.float32(np.inf)) if nearest < x else nearest

    def rounded_to_odd(x: Any) -> Any:
        """Return a float32 that rounds on to a half type as the float64 would."""
        down, up = rounded_down(x), rounded_up(x)
        if not down < up:
            return np.float32(x)
        return down if down.view(np.uint32) & 1 else up

else:

    def _cast(source: Any, target: Any, kind: Any) -> Any:
        @intrinsic
        def cast(typing_context: Any, x: Any) -> Any:
            def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                return builder.bitcast(arguments[0], kind)

            return target(source), generate

        return cast

    bits_of = _cast(types.float64, types.int64, ir.IntType(64))
    from_bits = _cast(types.int64, types.float64, ir.DoubleType())
    _word_of_single = _cast(types.float32, types.int32, ir.IntType(32))
    _single_of_word = _cast(types.int32, types.float32, ir.FloatType())

    @inlined
    def square_root(x: Any) -> Any:
        """Return the root, rounded to nearest."""
        return libdevice.dsqrt_rn(x)

    @inlined
    def error_of_square(x: Any, square: Any) -> Any:
        """Return the exact square minus the rounded one, where no digit is below the least float64."""
        return libdevice.fma_rn(x, x, -square)

    @inlined
    def rounded_down(x: Any) -> Any:
        """Return the float32 at or next below."""
        return libdevice.double2float_rd(x)

    @inlined
    def rounded_up(x: Any) -> Any:
        """Return the float32 at or next above."""
        return libdevice.double2float_ru(x)

    @inlined
    def rounded_to_odd(x: Any) -> Any:
        """Return a float32 that rounds on to a half type as the float64 would."""
        down, up = rounded_down(x), rounded_up(x)
        # A neighbour with an odd last digit lies on no tie of a narrower type, and on the right side of it.
        return down if _word_of_single(down) & 1 or not down < up else up
