"""How each dtype lies in memory and how kernels compute with it."""

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
    """One dtype, for kernels.

    Attributes
    ----------
    dtype : dtype
        What callers see.
    compute : dtype
        What numbers are while they are computed with: float32 for the half types.
    array_at : function of kernels
        The elements at an address; the half types as uint16.
    load, store : function of kernels
        From an element to a number and back; `store` takes numbers of the dtype only.
    number : function of kernels
        A float64 that is a number of `compute`, as such.
    operations : Operations
        Each rounded once to `dtype`.
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
    """Return how kernels handle a dtype.

    Parameters
    ----------
    dtype : dtype
        float16, bfloat16, float32 or float64.
    in_hardware : bool, optional
        Whether float16 is converted by the processor; by default if the one that is compiled for can.
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
