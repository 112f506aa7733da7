"""Addresses of many arrays by DLPack: a library's C function describes each, and machine code compares.

The structures are those of ``dlpack.h``, version 1.3 (https://github.com/dmlc/dlpack). Nothing here waits
for a device or looks at an element.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from numba_kernels.shared.array_object import ITEMS, TYPE
from numba_kernels.shared.dlpack import Tensor
from numba_kernels.shared.inlining import inlined
from numba_kernels.shared.pointers import int64_at
from sgd_ref.arithmetic.formats import Array

DATA_WORD, DEVICE_WORD, TYPE_WORD, LENGTHS_WORD, STRIDES_WORD, OFFSET_WORD = range(6)
"""A `Tensor` as words of eight bytes."""

WORDS = ctypes.sizeof(Tensor) // 8

ANY_STRIDE = np.iinfo(np.int64).min

DEVICE_COLUMN, TYPE_COLUMN, AXES_COLUMN = range(3)
"""The columns of `forms`."""


def forms(
    shapes: Sequence[tuple[int, ...]],
    strides: Sequence[tuple[int, ...]],
    dtypes: Sequence[np.dtype[Any]],
    device_type: int,
    device: int,
) -> tuple[Array, Array]:
    """Return the expected dtype, shape, strides and device of each of many arrays, as `fits` takes them.

    Parameters
    ----------
    shapes, strides : sequence of tuple of int
        The shape of each array, and its strides in elements.
    dtypes : sequence of dtype
        The dtype of each array: float16, bfloat16, float32 or float64.
    device_type, device : int
        The kind of memory and the device of all arrays.

    Returns
    -------
    forms : ndarray of int64, shape (n, 3)
        The device, the type and the number of axes, as DLPack has them, and the first place in `axes`.
    axes : ndarray of int64
        The lengths and strides of all axes of all arrays.
    """
    found = np.zeros((len(shapes), 3), np.int64)
    axes: list[int] = []
    for row, shape, steps, dtype in zip(found, shapes, strides, dtypes, strict=True):
        expected = Tensor(device_type=device_type, device=device, axes=len(shape), lanes=1)
        expected.code = 4 if dtype.name == "bfloat16" else 2
        expected.bits = dtype.itemsize * 8
        words = np.frombuffer(bytes(expected), np.int64)
        row[:] = words[DEVICE_WORD], words[TYPE_WORD], len(axes)
        # The stride of an axis of length 1 does not matter, nor do any strides of an array without elements.
        is_empty = 0 in shape
        for length, step in zip(shape, steps, strict=True):
            axes += [length, ANY_STRIDE if is_empty or length == 1 else step]
    return found, np.array([*axes, 0], np.int64)


class ArraySpecs:
    """The expected dtype, shape, strides and device of each of many arrays, compared by machine code.

    Parameters
    ----------
    shapes, strides, dtypes, device_type, device
        As for `forms`.
    """

    def __init__(
        self,
        shapes: Sequence[tuple[int, ...]],
        strides: Sequence[tuple[int, ...]],
        dtypes: Sequence[np.dtype[Any]],
        device_type: int,
        device: int,
    ) -> None:
        self._specs, self._axes = forms(shapes, strides, dtypes, device_type, device)
        self._found = np.zeros(WORDS, np.int64)
        self._scan = scan()

    def addresses(self, describe: int, arrays: list[Any], array_types: tuple[type, type]) -> Array | None:
        """Return the addresses of the arrays, if each is of one of the types and matches its spec.

        Parameters
        ----------
        describe : int
            The address of the function that describes both types.
        arrays : list
            As many arrays as specs. No other thread may change the list during the call.
        array_types : tuple of two types
            The accepted types; derived types are not accepted.
        """
        addresses = np.empty(len(self._specs), np.int64)
        first, second = map(id, array_types)
        if self._scan(describe, id(arrays), first, second, self._specs, self._axes, self._found, addresses):
            return addresses
        return None


SIGNATURE = "boolean(int64, int64, int64, int64, int64[:, ::1], int64[::1], int64[::1], int64[::1])"
"""The library's function, identity of the list, the two types, specs, their axes, room, and the addresses."""


@intrinsic
def _describe(typing_context: Any, describe: Any, item: Any, tensor: Any) -> Any:
    """Call a library's function, and clear the exception that it may have set."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer, status = ir.IntType(8).as_pointer(), ir.IntType(32)
        function = builder.inttoptr(arguments[0], ir.FunctionType(status, [pointer, pointer]).as_pointer())
        result = builder.call(function, [builder.inttoptr(word, pointer) for word in arguments[1:]])
        failed = builder.icmp_signed("!=", result, ir.Constant(status, 0))
        with builder.if_then(failed, likely=False):
            context.get_python_api(builder).err_clear()
        return builder.not_(failed)

    return types.boolean(types.int64, types.int64, types.int64), generate


@inlined
def _axes_fit(found: Any, axes: Any, first: int) -> Any:
    """Whether an array has the expected lengths and strides."""
    for axis in range(found[TYPE_WORD] & 0xFFFFFFFF):
        length, step = axes[first + 2 * axis], axes[first + 2 * axis + 1]
        if int64_at(found[LENGTHS_WORD] + 8 * axis) != length:
            return False
        # A library may leave out the strides of a contiguous array; then the full check is needed.
        if step != ANY_STRIDE and (
            found[STRIDES_WORD] == 0 or int64_at(found[STRIDES_WORD] + 8 * axis) != step
        ):
            return False
    return True


@inlined
def fits(describe: int, item: int, specs: Any, index: int, axes: Any, found: Any) -> Any:
    """Whether a library describes an object in the expected form; the description is left in `found`."""
    if not _describe(describe, item, found.ctypes.data):
        return False
    if found[DEVICE_WORD] != specs[index, DEVICE_COLUMN] or found[TYPE_WORD] != specs[index, TYPE_COLUMN]:
        return False
    return _axes_fit(found, axes, specs[index, AXES_COLUMN])


@functools.cache
def scan() -> Any:
    """Return the compiled function; it holds the global lock, which the functions of libraries need."""

    def all_fit(
        describe: int,
        objects: int,
        first_type: int,
        second_type: int,
        specs: Any,
        axes: Any,
        found: Any,
        addresses: Any,
    ) -> Any:
        items = int64_at(objects + ITEMS)
        for index in range(specs.shape[0]):
            item = int64_at(items + 8 * index)
            item_type = int64_at(item + TYPE)
            is_of_type = item_type == first_type or item_type == second_type  # noqa: PLR1714
            if not is_of_type or not fits(describe, item, specs, index, axes, found):
                return False
            addresses[index] = found[DATA_WORD] + found[OFFSET_WORD]
        return True

    return numba.njit(SIGNATURE, nogil=False)(all_fit)
