"""An opcode without memory or control: the types of its operands and a function of arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sgd_ref.arithmetic.formats import Array

B16, B32, B64 = np.dtype(np.uint16), np.dtype(np.uint32), np.dtype(np.uint64)
S16, S32, S64 = np.dtype(np.int16), np.dtype(np.int32), np.dtype(np.int64)
F16, F32, F64 = np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)
PRED = np.dtype(bool)

DTYPES = {
    **{f"{kind}{dtype.itemsize * 8}": dtype for kind in "bu" for dtype in (B16, B32, B64)},
    **{f"s{dtype.itemsize * 8}": dtype for dtype in (S16, S32, S64)},
    "f16": F16,
    "f32": F32,
    "f64": F64,
    "pred": PRED,
}
"""The dtypes by the names of types in PTX."""


class Operation(NamedTuple):
    """One opcode.

    Attributes
    ----------
    result : dtype
        The dtype of the result.
    operands : tuple of dtype
        The dtypes of the operands.
    function : callable
        A function from arrays to an array; an array of one element stands for all threads.
    """

    result: np.dtype[Any]
    operands: tuple[np.dtype[Any], ...]
    function: Callable[..., Array]
