"""Functions of the driver for allocations and copies; copies happen as late as allowed."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from numba_kernels.selfcheck.ptx.driver.device import Device
from numba_kernels.selfcheck.ptx.driver.errors import INVALID_VALUE, OUT_OF_MEMORY, Refused
from numba_kernels.selfcheck.ptx.driver.function import INT, POINTER, SIZE, UINT, driver_function, store
from numba_kernels.selfcheck.ptx.driver.of_devices import CONTEXT
from numba_kernels.selfcheck.ptx.driver.queue import LEGACY
from numba_kernels.selfcheck.ptx.faults import Fault

ADDRESS = ctypes.c_uint64

OF_CONTEXT, OF_MEMORY_TYPE, OF_DEVICE_POINTER, OF_HOST_POINTER, IS_MANAGED, OF_DEVICE = 1, 2, 3, 4, 8, 9
"""The attributes of a pointer."""

HOST, DEVICE = 1, 2


@driver_function("cuMemAlloc", POINTER, SIZE)
def allocate(device: Device, place: Any, size: int) -> None:
    """Allocate memory with random content."""
    device.refuse_in_capture()
    if not size:
        raise Refused(INVALID_VALUE)
    try:
        store(place, ADDRESS, device.memory.allocate(size))
    except MemoryError:
        raise Refused(OUT_OF_MEMORY) from None


@driver_function("cuMemFree", ADDRESS)
def free(device: Device, address: int) -> None:
    """Free memory after all work has finished, as the driver does."""
    device.refuse_in_capture()
    if device.queue.is_busy:
        device.queue.postpone(lambda: device.memory.free(address))
        return
    _finish(device)
    if address:
        device.memory.free(address)


def _finish(device: Device) -> None:
    """Finish all work before memory is freed; its errors are reported later, and do not prevent this."""
    while True:
        try:
            device.queue.finish_all()
        except Fault as fault:
            device.faults.append(fault)
        else:
            return


def _allocate_host(device: Device, place: Any, size: int, flags: int = 0) -> None:
    device.refuse_in_capture()
    memory = ctypes.create_string_buffer(max(size, 1))
    address = ctypes.addressof(memory)
    device.pinned[address] = (size, memory)
    store(place, ctypes.c_void_p, address)


driver_function("cuMemAllocHost", POINTER, SIZE)(_allocate_host)
driver_function("cuMemHostAlloc", POINTER, SIZE, UINT)(_allocate_host)


@driver_function("cuMemFreeHost", POINTER)
def free_host(device: Device, address: Any) -> None:
    """Free page-locked memory after all work has finished."""
    device.refuse_in_capture()
    if device.queue.is_busy:
        device.queue.postpone(lambda: free_host(device, address))
        return
    _finish(device)
    if device.pinned.pop(int(address or 0), None) is None:
        raise Refused(INVALID_VALUE)


@driver_function("cuMemHostGetDevicePointer", POINTER, POINTER, UINT)
def pointer_of_host(device: Device, place: Any, address: Any, flags: int) -> None:
    """Refuse: kernels can access only memory of the device."""
    raise Refused(INVALID_VALUE)


@driver_function("cuMemGetAddressRange", POINTER, POINTER, ADDRESS)
def address_range(device: Device, base: Any, size: Any, address: int) -> None:
    """Answer with the allocation in which an address lies."""
    found = device.memory.allocation_of(address)
    if found is None:
        raise Refused(INVALID_VALUE)
    store(base, ADDRESS, found[0])
    store(size, SIZE, found[1])


@driver_function("cuPointerGetAttribute", POINTER, INT, ADDRESS)
def attribute(device: Device, place: Any, which: int, address: int) -> None:
    """Answer with a property of an address."""
    is_there = device.is_on_device(address)
    if not is_there and not device.is_pinned(address):
        raise Refused(INVALID_VALUE)
    if which == OF_CONTEXT:
        store(place, ctypes.c_void_p, CONTEXT)
    elif which == OF_MEMORY_TYPE:
        store(place, UINT, DEVICE if is_there else HOST)
    elif which == OF_DEVICE_POINTER and is_there:
        store(place, ADDRESS, address)
    elif which in (OF_DEVICE, IS_MANAGED):
        store(place, INT, 0)
    else:
        raise Refused(INVALID_VALUE)


@driver_function("cuPointerGetAttributes", UINT, POINTER, POINTER, ADDRESS)
def attributes(device: Device, count: int, kinds: Any, places: Any, address: int) -> None:
    """Answer with several properties; a missing property is zero."""
    for index in range(count):
        which = INT.from_address(kinds + 4 * index).value
        place = ctypes.c_void_p.from_address(places + 8 * index).value
        size = 4 if which in (OF_MEMORY_TYPE, OF_DEVICE, IS_MANAGED) else 8
        ctypes.memset(place or 0, 0, size)
        try:
            attribute(device, place, which, address)
        except Refused:
            continue


def _from_host(device: Device, target: int, source: int, size: int) -> Callable[[], Callable[[], None]]:
    """Return a function that makes a copy: page-locked memory is read at that time, other memory now."""
    device.memory.region(target, size, "a copy to the device")

    def late() -> Callable[[], None]:
        return lambda: device.copy_in(target, ctypes.string_at(source, size))

    if device.is_pinned(source):
        return late
    staged = ctypes.string_at(source, size)
    return lambda: lambda: device.copy_in(target, staged)


@driver_function("cuMemcpyHtoD", ADDRESS, POINTER, SIZE)
def to_device(device: Device, target: int, source: Any, size: int) -> None:
    """Copy on the legacy stream: page-locked memory now, other memory from a staged copy, perhaps later."""
    device.refuse_in_capture()
    work = device.put(LEGACY, _from_host(device, target, source, size))
    if device.is_pinned(source) and work is not None:
        device.queue.finish([work])


@driver_function("cuMemcpyHtoDAsync", ADDRESS, POINTER, SIZE, POINTER)
def to_device_later(device: Device, target: int, source: Any, size: int, stream: Any) -> None:
    """Copy on a stream."""
    device.put(stream, _from_host(device, target, source, size))


@driver_function("cuMemcpyDtoH", POINTER, ADDRESS, SIZE)
def to_host(device: Device, target: Any, source: int, size: int) -> None:
    """Copy on the legacy stream, and wait."""
    device.refuse_in_capture()
    work = device.put(LEGACY, lambda: lambda: device.copy_out(target, source, size))
    if work is not None:
        device.queue.finish([work])


@driver_function("cuMemcpyDtoHAsync", POINTER, ADDRESS, SIZE, POINTER)
def to_host_later(device: Device, target: Any, source: int, size: int, stream: Any) -> None:
    """Copy on a stream; wait if the memory is not page-locked."""
    work = device.put(stream, lambda: lambda: device.copy_out(target, source, size))
    if work is not None and not device.is_pinned(target):
        device.queue.finish([work])


def _within(device: Device, target: int, source: int, size: int, stream: Any = LEGACY) -> None:
    device.put(stream, lambda: lambda: device.copy_within(target, source, size))


driver_function("cuMemcpyDtoD", ADDRESS, ADDRESS, SIZE)(_within)
driver_function("cuMemcpyDtoDAsync", ADDRESS, ADDRESS, SIZE, POINTER)(_within)


def _fill(device: Device, target: int, value: int, size: int, stream: Any = LEGACY) -> None:
    device.put(stream, lambda: lambda: device.fill(target, value, size))


driver_function("cuMemsetD8", ADDRESS, ctypes.c_ubyte, SIZE)(_fill)
driver_function("cuMemsetD8Async", ADDRESS, ctypes.c_ubyte, SIZE, POINTER)(_fill)
