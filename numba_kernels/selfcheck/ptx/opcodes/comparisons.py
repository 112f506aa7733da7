"""Comparisons: of integers, and of floating-point numbers with a rule for NaN.

From "PTX ISA", chapter "Comparison and Selection Instructions".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from numba_kernels.selfcheck.ptx.opcodes.operation import DTYPES, F16, F32, F64, PRED, Operation
from sgd_ref.arithmetic.formats import Array

PLAIN = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}

OPPOSITE = {"eq": "ne", "ne": "eq", "lt": "ge", "le": "gt", "gt": "le", "ge": "lt"}

UNSIGNED = {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}


def operations() -> Iterator[tuple[str, Operation]]:
    """Yield all comparisons with their opcodes."""
    for width in (16, 32, 64):
        for name, function in PLAIN.items():
            for kind in "su":
                dtype = DTYPES[f"{kind}{width}"]
                yield f"setp.{name}.{kind}{width}", Operation(PRED, (dtype, dtype), function)
        for name, plain in UNSIGNED.items():
            dtype = DTYPES[f"u{width}"]
            yield f"setp.{name}.u{width}", Operation(PRED, (dtype, dtype), PLAIN[plain])
        for name in ("eq", "ne"):
            dtype = DTYPES[f"b{width}"]
            yield f"setp.{name}.b{width}", Operation(PRED, (dtype, dtype), PLAIN[name])
    for dtype, suffix in ((F16, "f16"), (F32, "f32"), (F64, "f64")):
        pair = (dtype, dtype)
        for name in PLAIN:
            yield f"setp.{name}.{suffix}", Operation(PRED, pair, _ordered(name))
            yield f"setp.{name}u.{suffix}", Operation(PRED, pair, _unordered(name))
        yield f"setp.num.{suffix}", Operation(PRED, pair, _are_numbers)
        yield f"setp.nan.{suffix}", Operation(PRED, pair, _are_not_numbers)


def _ordered(name: str) -> Any:
    """Return a comparison that is false for NaN; of NumPy's comparisons, only "not equal" is true for NaN."""
    if name == "ne":
        return lambda a, b: (a < b) | (a > b)
    return PLAIN[name]


def _unordered(name: str) -> Any:
    """Return a comparison that is true if a number is NaN."""
    if name == "ne":
        return np.not_equal
    opposite = _ordered(OPPOSITE[name])
    return lambda a, b: ~opposite(a, b)


def _are_numbers(a: Array, b: Array) -> Array:
    return ~(np.isnan(a) | np.isnan(b))


def _are_not_numbers(a: Array, b: Array) -> Array:
    return np.isnan(a) | np.isnan(b)
