"""Copies of arrays that the other kernels cannot read in place: with gaps between elements, or narrower ones.

They are copied on the device to other memory, in the dtype of the variable; variables are copied back.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from numba_kernels.cuda.device.layout import word
from numba_kernels.cuda.device.storage import storage
from numba_kernels.cuda.toolkit import IS_SIMULATED, Kernel, cuda, kernel
from numba_kernels.shared.inlining import inlined
from sgd_ref.arithmetic.formats import FLOAT64

THREADS = 8 if IS_SIMULATED else 256


@inlined
def _offset(layout: int, axes: int, index: int) -> int:
    """Return the offset of an element, counted in row-major order, for some lengths and strides."""
    offset = 0
    axis = axes - 1
    while axis >= 0:
        length = word(layout, axis)
        offset += index % length * word(layout, axes + axis)
        index //= length
        axis -= 1
    return offset


@functools.cache
def gather_kernel(source: np.dtype[Any], target: np.dtype[Any]) -> Kernel:
    """Return the kernel that copies an array of any strides to one piece of memory of a dtype not narrower.

    Its arguments are the two addresses, that of the lengths and strides, the numbers of axes and elements.
    """
    given, wanted = storage(source), storage(target)
    read, load, store, write = given.access.read, given.load, wanted.store, wanted.access.write
    target_bytes, is_same = target.itemsize, source == target
    # Numbers narrower than float32 are widened to float32 for computing.
    widens = target == FLOAT64
    double = given.double

    @kernel(f"gather_{source.name}_{target.name}")
    def gathered(array: int, memory: int, layout: int, axes: int, count: int) -> None:
        index = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        while index < count:
            bits = read(array + _offset(layout, axes, index))
            if is_same:
                write(memory + target_bytes * index, bits)
            elif widens:
                write(memory + target_bytes * index, double(load(bits)))
            else:
                write(memory + target_bytes * index, store(load(bits)))
            index += cuda.gridDim.x * cuda.blockDim.x

    return gathered


@functools.cache
def scatter_kernel(dtype: np.dtype[Any]) -> Kernel:
    """Return the kernel that copies one piece of memory back to an array of any strides."""
    stored = storage(dtype)
    read, write, itemsize = stored.access.read, stored.access.write, dtype.itemsize

    @kernel(f"scatter_{dtype.name}")
    def scattered(array: int, memory: int, layout: int, axes: int, count: int) -> None:
        index = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        while index < count:
            write(array + _offset(layout, axes, index), read(memory + itemsize * index))
            index += cuda.gridDim.x * cuda.blockDim.x

    return scattered
