"""The storage of each dtype in memory, and its arithmetic in kernels."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numba import types

from numba_kernels.cpu.target import converts_half_in_hardware
from numba_kernels.shared import half
from numba_kernels.shared.inlining import inlined
from numba_kernels.shared.operations import IN_THE_DTYPE, Operations, rounded_to
from numba_kernels.shared.pointers import array_reader
from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64


class Storage(NamedTuple):
    """The description of one dtype for kernels.

    Attributes
    ----------
    dtype : dtype
        The dtype that callers see.
    compute : dtype
        The dtype of computations: float32 for the half types.
    array_at : function of kernels
        The elements at an address; the half types as uint16.
    load, store : function of kernels
        Conversions from an element to a number and back; `store` takes only numbers of the dtype.
    number : function of kernels
        Converts a float64 that holds a number of `compute` to this dtype.
    operations : Operations
        The operations, each rounded once to `dtype`.
    """

    dtype: np.dtype[Any]
    compute: np.dtype[Any]
    array_at: Any
    load: Any
    store: Any
    number: Any
    operations: Operations


@inlined
def _same(x: Any) -> Any:
    return x


@inlined
def _float32(x: Any) -> Any:
    return np.float32(x)


@functools.cache
def storage(dtype: np.dtype[Any], in_hardware: bool | None = None) -> Storage:
    """Return the description of a dtype for kernels.

    Parameters
    ----------
    dtype : dtype
        float16, bfloat16, float32 or float64.
    in_hardware : bool, optional
        Whether the processor converts float16; by default, whether the processor that Numba compiles for can
        do so.
    """
    if in_hardware is None:
        in_hardware = converts_half_in_hardware()
    if dtype == FLOAT64:
        return Storage(dtype, dtype, array_reader(types.float64), _same, _same, _same, IN_THE_DTYPE)
    if dtype == FLOAT32:
        return Storage(dtype, dtype, array_reader(types.float32), _same, _same, _float32, IN_THE_DTYPE)
    if dtype == BFLOAT16:
        conversions = half.load_bfloat16, half.store_bfloat16, half.round_to_bfloat16
    elif in_hardware:
        conversions = half.load_float16, half.store_float16, half.round_to_float16
    else:
        conversions = (
            half.load_float16_by_bits,
            half.store_float16_by_bits,
            half.round_to_float16_by_bits,
        )
    load, store, rounded = conversions
    assert dtype in (FLOAT16, BFLOAT16)
    bits = array_reader(types.uint16)
    return Storage(dtype, FLOAT32, bits, load, store, _float32, rounded_to(rounded))
