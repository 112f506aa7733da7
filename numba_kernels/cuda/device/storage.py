"""The storage of each dtype in device memory, and its arithmetic in kernels."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from numba_kernels.cuda.device import half
from numba_kernels.cuda.device.access import DOUBLES, HALVES, PACKET_BYTES, SINGLES, Access
from numba_kernels.cuda.device.exact_numbers import rounded_to_odd
from numba_kernels.cuda.device.operations import IN_THE_DTYPE
from numba_kernels.shared.inlining import inlined
from numba_kernels.shared.operations import Operations, rounded_to
from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64


class Storage(NamedTuple):
    """The description of one dtype for kernels on the device.

    Attributes
    ----------
    dtype : dtype
        The dtype that callers see.
    compute : dtype
        The dtype of computations: float32 for the half types.
    access : Access
        Access to elements at an address; those of half types are uint16.
    settings : Access
        Access to numbers of `compute` at an address.
    load, store : function of kernels
        Conversions from an element to a number and back. `store` takes only numbers of the dtype: it does not
        round, and refuses other numbers in the simulator.
    rounded : function of kernels
        From a float32 to the nearest number of the dtype.
    widened : function of kernels
        From a float32 to a number of `compute`.
    double : function of kernels
        From a number of `compute` to a float64.
    narrowed : function of kernels
        From a float64 to the nearest number of the dtype.
    operations : Operations
        The operations, each rounded once to `dtype`.
    """

    dtype: np.dtype[Any]
    compute: np.dtype[Any]
    access: Access
    settings: Access
    load: Any
    store: Any
    rounded: Any
    widened: Any
    double: Any
    narrowed: Any
    operations: Operations

    @property
    def width(self) -> int:
        """The number of elements in a packet of 16 bytes."""
        return PACKET_BYTES // self.dtype.itemsize


@inlined
def _same(x: Any) -> Any:
    return x


@inlined
def _float64(x: Any) -> Any:
    return np.float64(x)


@inlined
def _float32(x: Any) -> Any:
    return np.float32(x)


@functools.cache
def storage(dtype: np.dtype[Any]) -> Storage:
    """Return the description of float16, bfloat16, float32 or float64 for kernels."""
    if dtype == FLOAT64:
        return Storage(
            dtype, dtype, DOUBLES, DOUBLES, _same, _same, _float64, _float64, _same, _same, IN_THE_DTYPE
        )
    if dtype == FLOAT32:
        return Storage(
            dtype, dtype, SINGLES, SINGLES, _same, _same, _same, _same, _float64, _float32, IN_THE_DTYPE
        )
    assert dtype in (FLOAT16, BFLOAT16)
    if dtype == BFLOAT16:
        load, store, rounded = half.load_bfloat16, half.store_bfloat16, half.round_to_bfloat16
    else:
        load, store, rounded = half.load_float16, half.store_float16, half.round_to_float16

    @inlined
    def narrowed(x: Any) -> Any:
        return rounded(rounded_to_odd(x))

    operations = rounded_to(rounded, IN_THE_DTYPE)
    return Storage(
        dtype, FLOAT32, HALVES, SINGLES, load, store, rounded, _same, _float64, narrowed, operations
    )
