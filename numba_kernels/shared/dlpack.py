"""Arrays of other libraries by DLPack: what a capsule says of one, and the C function that describes any.

The structures are those of ``dlpack.h``, version 1.3 (https://github.com/dmlc/dlpack). Nothing here waits
for a device or looks at an element.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from numba_kernels.shared.array_object import layout_is_known

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
