"""Functions of the driver: versions, devices and contexts."""

from __future__ import annotations

import ctypes
from typing import Any

from numba_kernels.selfcheck.ptx.driver.device import COMPUTE_CAPABILITY, PROCESSORS, Device
from numba_kernels.selfcheck.ptx.driver.errors import INVALID_VALUE, Refused
from numba_kernels.selfcheck.ptx.driver.function import INT, POINTER, SIZE, UINT, driver_function, store

VERSION = 13000

NAME = b"executed PTX, no device"

CONTEXT = 0xC0DE_0001

MEMORY_BYTES = 1 << 30

ATTRIBUTES = {
    1: 1024,  # threads of a block
    2: 1024,
    3: 1024,
    4: 64,
    5: 2**31 - 1,  # blocks of a grid
    6: 65535,
    7: 65535,
    8: 49152,  # bytes of shared memory of a block
    9: 65536,
    10: 32,  # threads of a warp
    12: 65536,  # registers of a block
    13: 1_000_000,
    14: 512,
    16: PROCESSORS,
    31: 1,
    32: 1,
    39: 2048,  # threads of a multiprocessor
    41: 1,  # unified addressing
    75: COMPUTE_CAPABILITY[0],
    76: COMPUTE_CAPABILITY[1],
    81: 233472,
    82: 65536,
    83: 0,  # managed memory
    106: 32,  # blocks of a multiprocessor
}
"""The attributes of the device by number; all others are 0."""


@driver_function("cuInit", UINT)
def init(device: Device, flags: int) -> None:
    """Begin."""


@driver_function("cuDriverGetVersion", POINTER)
def version(device: Device, place: Any) -> None:
    """Answer with the version of CUDA."""
    store(place, INT, VERSION)


@driver_function("cuDeviceGet", POINTER, INT)
def get(device: Device, place: Any, ordinal: int) -> None:
    """Answer with the only device."""
    if ordinal != 0:
        raise Refused(101)
    store(place, INT, 0)


@driver_function("cuDeviceGetCount", POINTER)
def count(device: Device, place: Any) -> None:
    """Answer that there is one device."""
    store(place, INT, 1)


@driver_function("cuDeviceGetName", POINTER, INT, INT)
def name(device: Device, place: Any, length: int, number: int) -> None:
    """Answer with a name that says that the device is simulated."""
    ctypes.memmove(place, (NAME + b"\0")[:length], min(length, len(NAME) + 1))


@driver_function("cuDeviceGetUuid", POINTER, INT)
def uuid(device: Device, place: Any, number: int) -> None:
    """Answer with zeros."""
    ctypes.memset(place, 0, 16)


@driver_function("cuDeviceGetAttribute", POINTER, INT, INT)
def attribute(device: Device, place: Any, which: int, number: int) -> None:
    """Answer with a property of the device."""
    store(place, INT, ATTRIBUTES.get(which, 0))


@driver_function("cuDeviceTotalMem", POINTER, INT)
def total(device: Device, place: Any, number: int) -> None:
    """Answer with the size of the memory."""
    store(place, SIZE, MEMORY_BYTES)


@driver_function("cuMemGetInfo", POINTER, POINTER)
def information(device: Device, free: Any, whole: Any) -> None:
    """Answer with the free memory and all memory."""
    store(free, SIZE, MEMORY_BYTES - device.memory.allocated)
    store(whole, SIZE, MEMORY_BYTES)


def _context(*types: Any) -> Any:
    def answer(device: Device, place: Any, *_: Any) -> None:
        store(place, ctypes.c_void_p, CONTEXT)

    return types, answer


for _name, _types in {
    "cuDevicePrimaryCtxRetain": (POINTER, INT),
    "cuCtxGetCurrent": (POINTER,),
    "cuCtxPopCurrent": (POINTER,),
    "cuStreamGetCtx": (POINTER, POINTER),
}.items():
    driver_function(_name, *_types)(_context(*_types)[1])


@driver_function("cuStreamGetCtx", POINTER, POINTER)
def of_stream(device: Device, stream: Any, place: Any) -> None:
    """Answer with the only context."""
    store(place, ctypes.c_void_p, CONTEXT)


@driver_function("cuCtxPushCurrent", POINTER)
def push(device: Device, context: Any) -> None:
    """Accept the only context."""
    if context != CONTEXT:
        raise Refused(INVALID_VALUE)


@driver_function("cuCtxSetCurrent", POINTER)
def set_current(device: Device, context: Any) -> None:
    """Accept the only context, or none."""


@driver_function("cuCtxGetDevice", POINTER)
def of_context(device: Device, place: Any) -> None:
    """Answer with the only device."""
    store(place, INT, 0)


@driver_function("cuDevicePrimaryCtxRelease", INT)
def release(device: Device, number: int) -> None:
    """Keep the context nevertheless."""


@driver_function("cuCtxGetStreamPriorityRange", POINTER, POINTER)
def priorities(device: Device, least: Any, greatest: Any) -> None:
    """Answer that there is one priority."""
    store(least, INT, 0)
    store(greatest, INT, 0)


@driver_function("cuCtxSynchronize")
def synchronize(device: Device) -> None:
    """Finish all work."""
    device.refuse_in_capture()
    device.queue.finish_all()


def _text_of_error(device: Device, number: int, place: Any) -> None:
    first = " ".join(str(device.faults[0]).split()) if device.faults else f"CUDA error {number}"
    device.last_message = ctypes.create_string_buffer(first.encode())
    store(place, ctypes.c_void_p, ctypes.addressof(device.last_message))


driver_function("cuGetErrorName", INT, POINTER)(_text_of_error)
driver_function("cuGetErrorString", INT, POINTER)(_text_of_error)
