"""Conversions between widths of integers, between number formats, and between types with the same bits.

From "PTX ISA", the instruction ``cvt``. A NaN becomes the canonical NaN of the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from numba_kernels.selfcheck.ptx.opcodes.floats import with_nan
from numba_kernels.selfcheck.ptx.opcodes.operation import B32, DTYPES, F16, F32, F64, Operation
from sgd_ref.arithmetic.formats import Array

INTEGERS = ("u16", "u32", "u64", "s16", "s32", "s64")

NAN16 = np.uint16(0x7FFF)


def operations() -> Iterator[tuple[str, Operation]]:
    """Yield all conversions with their opcodes."""
    for source in INTEGERS:
        for target in INTEGERS:
            if source != target:
                wanted = DTYPES[target]
                yield f"cvt.{target}.{source}", Operation(wanted, (DTYPES[source],), _as_type(wanted))
        for suffix, wanted in (("f32", F32), ("f64", F64)):
            yield f"cvt.rn.{suffix}.{source}", Operation(wanted, (DTYPES[source],), _as_type(wanted))
            integer = DTYPES[source]
            yield f"cvt.rzi.{source}.{suffix}", Operation(integer, (wanted,), _truncated(integer))
    yield "cvt.f32.f16", Operation(F32, (F16,), _widened(F32))
    yield "cvt.f64.f16", Operation(F64, (F16,), _widened(F64))
    yield "cvt.f64.f32", Operation(F64, (F32,), _widened(F64))
    yield "cvt.rn.f16.f32", Operation(F16, (F32,), to_float16)
    yield "cvt.rn.f32.f64", Operation(F32, (F64,), lambda x: with_nan(x.astype(F32)))
    yield "cvt.rz.f32.f64", Operation(F32, (F64,), lambda x: _directed(x, np.abs, np.float32(0)))
    yield "cvt.rm.f32.f64", Operation(F32, (F64,), _downwards)
    yield "cvt.rp.f32.f64", Operation(F32, (F64,), _upwards)
    yield "cvt.rn.bf16x2.f32", Operation(B32, (F32, F32), to_bfloat16_pair)


def _as_type(dtype: np.dtype[Any]) -> Callable[[Array], Array]:
    return lambda x: x.astype(dtype)


def _widened(dtype: np.dtype[Any]) -> Callable[[Array], Array]:
    return lambda x: with_nan(x.astype(dtype))


def _truncated(dtype: np.dtype[Any]) -> Callable[[Array], Array]:
    """Return the conversion towards zero, saturating at the largest integers; NaN gives zero for 32 bits."""
    information = np.iinfo(dtype)

    def truncate(x: Array) -> Array:
        whole = np.trunc(x.astype(F64))
        # The largest 64-bit integer is not a float64, so the comparison is with the next power of two.
        above, below = whole >= float(information.max) + 1, whole <= float(information.min)
        if information.bits < 64:
            above = whole > information.max
        inside = ~(above | below | np.isnan(whole))
        result = np.where(inside, whole, 0).astype(dtype)
        result[above], result[below] = information.max, information.min
        if information.bits == 64:
            result[np.isnan(x)] = dtype.type(1 << 63) if dtype.kind == "u" else information.min
        return result

    return truncate


def to_float16(x: Array) -> Array:
    """Return the nearest float16, ties to even."""
    rounded = x.astype(F16)
    rounded[np.isnan(x)] = NAN16.view(F16)
    return rounded


def _directed(x: Array, size: Callable[[Array], Array], towards: Any) -> Array:
    nearest = x.astype(F32)
    beyond = size(nearest.astype(F64)) > size(x)
    return with_nan(np.where(beyond, np.nextafter(nearest, towards), nearest))


def _downwards(x: Array) -> Array:
    return _directed(x, _same, np.float32(-np.inf))


def _upwards(x: Array) -> Array:
    return _directed(x, np.negative, np.float32(np.inf))


def _same(x: Array) -> Array:
    return x


def to_bfloat16(x: Array) -> Array:
    """Return the bits of the nearest bfloat16, ties to even, in the lower half of a word."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    is_odd = (bits >> np.uint32(16)) & np.uint32(1)
    rounded = (bits + np.uint32(0x7FFF) + is_odd) >> np.uint32(16)
    return np.where(np.isnan(x), np.uint32(0x7FFF), rounded)


def to_bfloat16_pair(upper: Array, lower: Array) -> Array:
    """Return two numbers of bfloat16 in one word, the first in the upper half."""
    return (to_bfloat16(upper) << np.uint32(16)) | to_bfloat16(lower)
