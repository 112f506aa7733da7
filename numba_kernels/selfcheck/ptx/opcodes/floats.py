"""Floating-point arithmetic: each operation rounded once, to nearest even, with subnormal numbers kept.

From "PTX ISA", chapter "Floating Point Instructions". In float32, a NaN result has the bits that the device
gives it. In float64 these bits are not specified, so a NaN result gets the NaN with the sign set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from numba_kernels.selfcheck.ptx.opcodes.fused import fused
from numba_kernels.selfcheck.ptx.opcodes.operation import F32, F64, Operation
from sgd_ref.arithmetic.formats import Array

NAN32 = np.uint32(0x7FFFFFFF).view(np.float32)
NAN64 = np.uint64(0xFFF8000000000000).view(np.float64)


PLAIN: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
}


def with_nan(result: Array) -> Array:
    """Return a new result in which each NaN has the bits of the device."""
    is_nan = np.isnan(result)
    if is_nan.any():
        result[is_nan] = NAN32 if result.dtype == F32 else NAN64
    return result


def operations() -> Iterator[tuple[str, Operation]]:
    """Yield all operations with their opcodes."""
    # Without a rounding modifier, the assembler may fuse a product and a sum. Only bounds on errors are
    # computed like this, in float64; here they are not fused. In float32 a missing modifier would be a
    # mistake.
    for name in ("add", "sub", "mul"):
        yield f"{name}.f64", Operation(F64, (F64, F64), _rounded(PLAIN[name]))
    for dtype, suffix in ((F32, "f32"), (F64, "f64")):
        pair = (dtype, dtype)
        for name, function in PLAIN.items():
            yield f"{name}.rn.{suffix}", Operation(dtype, pair, _rounded(function))
        yield f"fma.rn.{suffix}", Operation(dtype, (dtype, dtype, dtype), _rounded(fused))
        yield f"sqrt.rn.{suffix}", Operation(dtype, (dtype,), _rounded(np.sqrt))
        yield f"rcp.rn.{suffix}", Operation(dtype, (dtype,), _rounded(np.reciprocal))
        yield f"neg.{suffix}", Operation(dtype, (dtype,), np.negative)
        yield f"abs.{suffix}", Operation(dtype, (dtype,), np.abs)
        yield f"mov.{suffix}", Operation(dtype, (dtype,), _same)
        yield f"min.{suffix}", Operation(dtype, pair, _extreme(smallest=True))
        yield f"max.{suffix}", Operation(dtype, pair, _extreme(smallest=False))


def _rounded(function: Callable[..., Any]) -> Callable[..., Array]:
    return lambda *numbers: with_nan(function(*numbers))


def _same(x: Array) -> Array:
    return x


def _extreme(smallest: bool) -> Callable[[Array, Array], Array]:
    """Return the smaller or larger operand: a number rather than NaN, with -0 smaller than +0."""

    def chosen(a: Array, b: Array) -> Array:
        first = (a < b) | ((a == b) & np.signbit(a)) if smallest else (a > b) | ((a == b) & ~np.signbit(a))
        return with_nan(np.where(np.isnan(b) | (first & ~np.isnan(a)), a, b))

    return chosen
