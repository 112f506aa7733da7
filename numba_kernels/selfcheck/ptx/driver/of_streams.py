"""Functions of the driver for streams, events, captures and graphs."""

from __future__ import annotations

import ctypes
from typing import Any

from numba_kernels.selfcheck.ptx.driver.device import Capture, Device
from numba_kernels.selfcheck.ptx.driver.errors import (
    CAPTURE_IMPLICIT,
    CAPTURE_INVALIDATED,
    CAPTURE_UNSUPPORTED,
    INVALID_HANDLE,
    INVALID_VALUE,
    NOT_READY,
    Refused,
)
from numba_kernels.selfcheck.ptx.driver.function import INT, POINTER, UINT, driver_function, store
from numba_kernels.selfcheck.ptx.driver.queue import LEGACY, Work

NON_BLOCKING = 1

FREE_OF_CAPTURE, CAPTURING, LOST = 0, 1, 2


@driver_function("cuStreamCreate", POINTER, UINT)
def create(device: Device, place: Any, flags: int) -> None:
    """Make a stream."""
    handle = device.fresh_handle()
    device.queue.add_stream(handle, is_blocking=flags != NON_BLOCKING)
    store(place, ctypes.c_void_p, handle)


@driver_function("cuStreamCreateWithPriority", POINTER, UINT, INT)
def create_with_priority(device: Device, place: Any, flags: int, priority: int) -> None:
    """Make a stream; priorities make no difference."""
    create(device, place, flags)


@driver_function("cuStreamDestroy", POINTER)
def destroy(device: Device, handle: Any) -> None:
    """Destroy a stream; its work goes on."""
    device.queue.remove_stream(device.stream(handle))


@driver_function("cuStreamSynchronize", POINTER)
def synchronize(device: Device, handle: Any) -> None:
    """Finish all work of a stream."""
    device.refuse_in_capture()
    device.queue.finish_stream(device.stream(handle))


@driver_function("cuStreamQuery", POINTER)
def query(device: Device, handle: Any) -> None:
    """Answer whether all work of a stream is done."""
    device.refuse_in_capture()


@driver_function("cuStreamWaitEvent", POINTER, POINTER, UINT)
def wait(device: Device, handle: Any, event: Any, flags: int) -> None:
    """Let a stream wait for an event."""
    stream = device.stream(handle)
    device.is_captured(stream)
    work = device.events.get(int(event or 0))
    if work is not None:
        device.queue.wait_for(stream, [work])


@driver_function("cuEventCreate", POINTER, UINT)
def create_event(device: Device, place: Any, flags: int) -> None:
    """Make an event."""
    handle = device.fresh_handle()
    device.events[handle] = None
    store(place, ctypes.c_void_p, handle)


@driver_function("cuEventDestroy", POINTER)
def destroy_event(device: Device, event: Any) -> None:
    """Destroy an event."""
    if device.events.pop(int(event or 0), INVALID_HANDLE) is INVALID_HANDLE:
        raise Refused(INVALID_HANDLE)


@driver_function("cuEventRecord", POINTER, POINTER)
def record(device: Device, event: Any, handle: Any) -> None:
    """Record an event in a stream."""
    if int(event or 0) not in device.events:
        raise Refused(INVALID_HANDLE)
    device.events[int(event)] = device.put(handle, lambda: lambda: None)


@driver_function("cuEventSynchronize", POINTER)
def synchronize_event(device: Device, event: Any) -> None:
    """Finish all work before a recorded event."""
    device.refuse_in_capture()
    work = device.events.get(int(event or 0))
    if isinstance(work, Work):
        device.queue.finish([work])


@driver_function("cuEventQuery", POINTER)
def query_event(device: Device, event: Any) -> None:
    """Answer whether a recorded event was reached."""
    device.refuse_in_capture()
    work = device.events.get(int(event or 0))
    if isinstance(work, Work) and not work.is_done:
        raise Refused(NOT_READY)


@driver_function("cuStreamIsCapturing", POINTER, POINTER)
def is_capturing(device: Device, handle: Any, place: Any) -> None:
    """Answer whether a stream is captured."""
    stream = device.stream(handle)
    if stream == LEGACY and device.captures:
        raise Refused(CAPTURE_IMPLICIT)
    capture = device.captures.get(stream)
    store(place, INT, FREE_OF_CAPTURE if capture is None else LOST if capture.is_lost else CAPTURING)


@driver_function("cuStreamBeginCapture", POINTER, INT)
def begin(device: Device, handle: Any, mode: int) -> None:
    """Begin to capture a stream, always in the global mode, which is the strictest."""
    stream = device.stream(handle)
    if stream == LEGACY or stream in device.captures:
        raise Refused(CAPTURE_UNSUPPORTED)
    device.captures[stream] = Capture()


@driver_function("cuStreamEndCapture", POINTER, POINTER)
def end(device: Device, handle: Any, place: Any) -> None:
    """End a capture, and answer with the graph."""
    capture = device.captures.pop(device.stream(handle), None)
    store(place, ctypes.c_void_p, None)
    if capture is None:
        raise Refused(INVALID_VALUE)
    if capture.is_lost:
        raise Refused(CAPTURE_INVALIDATED)
    store(place, ctypes.c_void_p, device.fresh_handle(capture))


def _instantiate(device: Device, place: Any, graph: Any, *_: Any) -> None:
    device.refuse_in_capture()
    store(place, ctypes.c_void_p, device.fresh_handle(device.object(graph, Capture)))


driver_function("cuGraphInstantiate", POINTER, POINTER, ctypes.c_ulonglong)(_instantiate)
driver_function("cuGraphInstantiateWithFlags", POINTER, POINTER, ctypes.c_ulonglong)(_instantiate)
driver_function("cuGraphInstantiateWithParams", POINTER, POINTER, POINTER)(_instantiate)


@driver_function("cuGraphLaunch", POINTER, POINTER)
def launch(device: Device, graph: Any, handle: Any) -> None:
    """Put all that was captured on a stream."""
    for make in device.object(graph, Capture).steps:
        device.put(handle, make)


def _forget(device: Device, graph: Any) -> None:
    device.objects.pop(int(graph or 0), None)


driver_function("cuGraphDestroy", POINTER)(_forget)
driver_function("cuGraphExecDestroy", POINTER)(_forget)
