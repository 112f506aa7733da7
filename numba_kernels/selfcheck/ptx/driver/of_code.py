"""Functions of the driver for loading code and for launches."""

from __future__ import annotations

import ctypes
from typing import Any

from numba_kernels.selfcheck.ptx.driver.device import Device
from numba_kernels.selfcheck.ptx.driver.errors import INVALID_IMAGE, INVALID_VALUE, NOT_FOUND, Refused
from numba_kernels.selfcheck.ptx.driver.function import INT, POINTER, SIZE, UINT, driver_function, store
from numba_kernels.selfcheck.ptx.faults import NotUnderstood
from numba_kernels.selfcheck.ptx.machine.code import Code

MOST_THREADS = 1024

STARTS_LIKE_PTX = b"//", b".version"


class Configuration(ctypes.Structure):
    """``CUlaunchConfig``."""

    _fields_ = (
        ("grid_x", UINT),
        ("grid_y", UINT),
        ("grid_z", UINT),
        ("block_x", UINT),
        ("block_y", UINT),
        ("block_z", UINT),
        ("shared_bytes", UINT),
        ("stream", POINTER),
        ("attributes", POINTER),
        ("attribute_count", UINT),
    )


def _load(device: Device, place: Any, image: Any, *_: Any) -> None:
    device.refuse_in_capture()
    text = ctypes.string_at(image).strip()
    if not text.startswith(STARTS_LIKE_PTX):
        raise Refused(INVALID_IMAGE)
    try:
        code = device.load(text.decode())
    except NotUnderstood as problem:
        device.faults.append(problem)
        raise Refused(INVALID_IMAGE) from None
    store(place, ctypes.c_void_p, device.fresh_handle(code))


driver_function("cuLibraryLoadData", *[POINTER] * 4, UINT, POINTER, POINTER, UINT)(_load)
driver_function("cuModuleLoadData", POINTER, POINTER)(_load)
driver_function("cuModuleLoadDataEx", POINTER, POINTER, UINT, POINTER, POINTER)(_load)


def _kernel(device: Device, place: Any, library: Any, name: bytes) -> None:
    code = device.object(library, Code)
    if code.kernel.entry != name.decode():
        raise Refused(NOT_FOUND)
    store(place, ctypes.c_void_p, device.fresh_handle(code))


driver_function("cuLibraryGetKernel", POINTER, POINTER, ctypes.c_char_p)(_kernel)
driver_function("cuModuleGetFunction", POINTER, POINTER, ctypes.c_char_p)(_kernel)


@driver_function("cuKernelGetFunction", POINTER, POINTER)
def function_of(device: Device, place: Any, kernel: Any) -> None:
    """Answer with the function of a kernel, which is the kernel itself."""
    device.object(kernel, Code)
    store(place, ctypes.c_void_p, kernel)


def _forget(device: Device, library: Any) -> None:
    device.objects.pop(int(library or 0), None)


driver_function("cuLibraryUnload", POINTER)(_forget)
driver_function("cuModuleUnload", POINTER)(_forget)


def _attribute(device: Device, place: Any, *_: Any) -> None:
    store(place, INT, 0)


driver_function("cuFuncGetAttribute", POINTER, INT, POINTER)(_attribute)
driver_function("cuKernelGetAttribute", POINTER, INT, POINTER, INT)(_attribute)


@driver_function("cuKernelGetParamInfo", POINTER, SIZE, POINTER, POINTER)
def parameter(device: Device, kernel: Any, index: int, offset: Any, size: Any) -> None:
    """Answer with the offset and size of a parameter."""
    parameters = list(device.object(kernel, Code).kernel.parameters.values())
    if index >= len(parameters):
        raise Refused(INVALID_VALUE)
    store(offset, SIZE, parameters[index][0])
    store(size, SIZE, parameters[index][1])


@driver_function("cuLaunchKernelEx", POINTER, POINTER, POINTER, POINTER)
def launch_by_configuration(
    device: Device, configuration: Any, kernel: Any, parameters: Any, extra: Any
) -> None:
    """Launch a kernel."""
    found = Configuration.from_address(configuration)
    grid = found.grid_x, found.grid_y, found.grid_z
    block = found.block_x, found.block_y, found.block_z
    launch(device, kernel, *grid, *block, found.shared_bytes, found.stream, parameters, extra)


@driver_function("cuLaunchKernel", POINTER, *[UINT] * 7, POINTER, POINTER, POINTER)
def launch(device: Device, kernel: Any, *arguments: Any) -> None:
    """Launch a kernel: its arguments are read now, and it is executed later."""
    *grid, block_x, block_y, block_z, shared_bytes, stream, parameters, extra = arguments
    code = device.object(kernel, Code)
    # The kernels have one-dimensional grids and blocks, and no dynamic shared memory.
    if grid[1:] != [1, 1] or (block_y, block_z) != (1, 1) or shared_bytes or extra:
        raise Refused(INVALID_VALUE)
    if not 0 < block_x <= MOST_THREADS or not grid[0]:
        raise Refused(INVALID_VALUE)
    given = bytearray(max((offset + size for offset, size in code.kernel.parameters.values()), default=0))
    for index, (offset, size) in enumerate(code.kernel.parameters.values()):
        place = ctypes.c_void_p.from_address(parameters + 8 * index).value
        given[offset : offset + size] = ctypes.string_at(place or 0, size)
    device.put(stream, lambda: lambda: device.launch(code, grid[0], block_x, bytes(given)))
