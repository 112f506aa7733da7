"""Addresses of arrays by DLPack: of one from its capsule, or of many by a C function of their library.

The structures are those of ``dlpack.h``, version 1.3 (https://github.com/dmlc/dlpack). Nothing here waits
for a device or looks at an element.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import ml_dtypes
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from numba_kernels.shared.array_object import ITEMS, TYPE, layout_is_known
from numba_kernels.shared.inlining import inlined
from numba_kernels.shared.pointers import int64_at
from sgd_ref.arithmetic.formats import Array

HOST, CUDA, CUDA_MANAGED = 1, 2, 13
"""Kinds of memory: the host's, a CUDA device's, and managed memory, which CUDA moves between the two."""

READ_ONLY, IS_COPY = 1, 2
"""Bits of the flags of a capsule."""

MAJOR_VERSION = 1

NO_SYNCHRONIZATION = -1
"""A value for the stream on which the array will be used: no synchronisation is needed."""

CAPSULE, USED_CAPSULE = b"dltensor", b"used_dltensor"
VERSIONED_CAPSULE, USED_VERSIONED_CAPSULE = b"dltensor_versioned", b"used_dltensor_versioned"
EXCHANGE_CAPSULE = b"dlpack_exchange_api"

NUMBERS = {0: "int", 1: "uint", 2: "float", 5: "complex"}
"""The meaning of the codes of types that exist in several sizes."""

SMALL_FLOATS = (
    "float8_e3m4",
    "float8_e4m3",
    "float8_e4m3b11fnuz",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e5m2",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
)
"""The meaning of the codes from 7 on, for types of one byte."""


class Tensor(ctypes.Structure):
    """DLPack's description of an array."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device", ctypes.c_int32),
        ("axes", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("lengths", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class Managed(ctypes.Structure):
    """The content of a capsule of DLPack 0."""

    _fields_ = (("tensor", Tensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p))


class VersionedManaged(ctypes.Structure):
    """The content of a capsule of DLPack 1."""

    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", Tensor),
    )


class Exchange(ctypes.Structure):
    """The C functions that a library offers to others; those that are not called here are addresses."""

    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("older", ctypes.c_void_p),
        ("allocate", ctypes.c_void_p),
        ("managed_from_object", ctypes.c_void_p),
        ("object_from_managed", ctypes.c_void_p),
        ("describe", ctypes.c_void_p),
        ("current_stream", ctypes.c_void_p),
    )


_is_capsule = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_IsValid", ctypes.pythonapi)
)
_content = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)
_rename = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_SetName", ctypes.pythonapi)
)
# The global lock stays held, since some deleters release Python objects without taking it.
_Deleter = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)


class Export(NamedTuple):
    """An array as its library exports it.

    Attributes
    ----------
    address : int
        The address of its first element.
    shape : tuple of int
        The lengths of the axes.
    strides : tuple of int
        The strides in bytes.
    dtype : dtype
        The dtype of the elements.
    device_type, device : int
        The kind of memory, as in ``DLDeviceType``, and the number of the device.
    is_read_only : bool
        Whether the array is read-only; False if the library does not say.
    """

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]
    device_type: int
    device: int
    is_read_only: bool


def exported(array: Any) -> Export:
    """Return the export of an array by ``__dlpack__``; this consumes the capsule, but not the array's memory.

    Raises
    ------
    BufferError
        If it exports a copy, a type that NumPy and ml_dtypes do not have, or a later version of DLPack.
    """
    try:
        capsule = array.__dlpack__(stream=NO_SYNCHRONIZATION, max_version=(MAJOR_VERSION, 0))
    except TypeError:
        # Before DLPack 1 there was one argument.
        capsule = array.__dlpack__(stream=NO_SYNCHRONIZATION)
    if _is_capsule(capsule, VERSIONED_CAPSULE):
        versioned = VersionedManaged.from_address(_content(capsule, VERSIONED_CAPSULE))
        _rename(capsule, USED_VERSIONED_CAPSULE)
        try:
            if versioned.major != MAJOR_VERSION:
                raise BufferError(f"an array by version {versioned.major}.{versioned.minor} of DLPack")
            if versioned.flags & IS_COPY:
                raise BufferError("a copy of its elements")
            return _described(versioned.tensor, bool(versioned.flags & READ_ONLY))
        finally:
            _delete(versioned)
    if not _is_capsule(capsule, CAPSULE):
        raise BufferError("a capsule that is not DLPack's")
    managed = Managed.from_address(_content(capsule, CAPSULE))
    _rename(capsule, USED_CAPSULE)
    try:
        return _described(managed.tensor, False)
    finally:
        _delete(managed)


def contiguous_strides(shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """Return the strides of contiguous elements, with the last axis fastest.

    >>> contiguous_strides((2, 3), 4)
    (12, 4)
    """
    strides = [itemsize]
    for length in reversed(shape[1:]):
        strides.append(strides[-1] * max(length, 1))
    return tuple(reversed(strides[: len(shape)]))


def dtype_named(name: str) -> np.dtype[Any] | None:
    """Return the dtype of NumPy or ml_dtypes of this name, if there is one.

    >>> dtype_named("float16"), dtype_named("bfloat16"), dtype_named("float4_e2m1fn_x2")
    (dtype('float16'), dtype(bfloat16), None)
    """
    try:
        return np.dtype(getattr(ml_dtypes, name, name))
    except TypeError:
        return None


def _described(tensor: Tensor, is_read_only: bool) -> Export:
    dtype = _dtype(tensor)
    shape = tuple(tensor.lengths[: tensor.axes])
    if tensor.strides:
        strides = tuple(stride * dtype.itemsize for stride in tensor.strides[: tensor.axes])
    else:
        strides = contiguous_strides(shape, dtype.itemsize)
    address = (tensor.data or 0) + tensor.byte_offset
    return Export(address, shape, strides, dtype, tensor.device_type, tensor.device, is_read_only)


def _dtype(tensor: Tensor) -> np.dtype[Any]:
    code, bits = tensor.code, tensor.bits
    name = "unknown"
    if code in NUMBERS:
        name = f"{NUMBERS[code]}{bits}"
    elif code == 4:
        name = "bfloat16"
    elif code == 6:
        name = "bool"
    elif 7 <= code < 7 + len(SMALL_FLOATS):
        name = SMALL_FLOATS[code - 7]
    dtype = dtype_named(name)
    if dtype is None or dtype.itemsize * 8 != bits or tensor.lanes != 1:
        raise BufferError(f"elements of DLPack's type {code} of {tensor.lanes} times {bits} bits")
    return dtype


def _delete(managed: Managed | VersionedManaged) -> None:
    if managed.deleter:
        _Deleter(managed.deleter)(ctypes.addressof(managed))


def describing_function(array_type: type) -> int:
    """Return the address of a library's function that describes an object of this type as a `Tensor`.

    It is 0 if the library has no such function, if its version differs, or if lists do not have the layout
    that the calling kernel expects.
    """
    capsule = getattr(array_type, "__dlpack_c_exchange_api__", None)
    if capsule is None or not _is_capsule(capsule, EXCHANGE_CAPSULE) or not layout_is_known():
        return 0
    exchange = Exchange.from_address(_content(capsule, EXCHANGE_CAPSULE))
    return (exchange.describe or 0) if exchange.major == MAJOR_VERSION else 0


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
