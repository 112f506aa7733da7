"""Variables of more than 2**31 and 2**32 elements, compared in windows around these places and the end."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from numba_kernels import cuda
from numba_kernels.cuda.device.access import HALVES
from numba_kernels.cuda.toolkit import IS_SIMULATED, Kernel, kernel
from numba_kernels.cuda.toolkit import cuda as toolkit_cuda
from numba_kernels.selfcheck.comparison import timed
from numba_kernels.selfcheck.extent import QUICK, Extent
from numba_kernels.selfcheck.result import Result
from sgd_ref.arithmetic.formats import HALF_FORMATS, Array
from sgd_ref.optimizer import SGD

NAME = "beyond 2^32 elements"
START = "far"

ELEMENTS = 2**32 + 12345
WINDOW = 4096
CALLS = 2
SEED_OF_VARIABLE, SEED_OF_GRADIENT = 1, 2

FACTOR, STEP = 0x1E3779B97F4A7C15, 0xCA6D
"""Constants of the hash: odd numbers without a pattern in their bits."""

SETTINGS: dict[str, Any] = {
    "learning_rate": 0.1,
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 0.05,
    "clipvalue": 0.5,
}


def check(extent: Extent) -> Result:
    """Check one variable of each half type, with all numbers of the type as elements."""
    result = Result(NAME)
    with timed(result):
        for dtype in HALF_FORMATS:
            identifier = f"{START}/{dtype.name}"
            if not extent.wants(identifier):
                continue
            reason = _why_not(extent)
            if reason is None:
                _check(result, dtype, identifier, extent)
            else:
                result.skips(reason)
    return result


def _why_not(extent: Extent) -> str | None:
    if IS_SIMULATED:
        return "the simulator would take days"
    if extent.tier == QUICK:
        return "not in the quick tier"
    free, _ = toolkit_cuda.current_context().get_memory_info()
    needed = 3 * 2 * ELEMENTS + 2**30
    return None if free >= needed else f"{needed / 2**30:.0f} GiB of the device's memory must be free"


def bits_at(indices: Any, seed: int) -> Array:
    """Return the bits of the elements at some indices: a hash of the index, the same as on the device.

    >>> bits_at(np.arange(3), 1)
    array([    0, 49061, 32586], dtype=uint16)
    """
    places = np.asarray(indices).astype(np.uint64)
    hashed = (
        places * np.uint64(0x9E3779B97F4A7C15 & 0x7FFFFFFFFFFFFFFF) + np.uint64(seed * 0xCA6D)
    ) >> np.uint64(17)
    return (hashed & np.uint64(0xFFFF)).astype(np.uint16)


@functools.cache
def _filling() -> Kernel:
    write = HALVES.write

    @kernel("fill")
    def fill(address: int, count: int, seed: int) -> None:
        index = toolkit_cuda.grid(1)
        while index < count:
            hashed = np.uint64(index) * np.uint64(FACTOR) + np.uint64(seed * STEP)
            write(address + 2 * index, np.uint16((hashed >> np.uint64(17)) & np.uint64(0xFFFF)))
            index += toolkit_cuda.gridsize(1)

    return fill


def _check(result: Result, dtype: np.dtype[Any], identifier: str, extent: Extent) -> None:
    variable = toolkit_cuda.device_array(ELEMENTS, dtype)
    gradient = toolkit_cuda.device_array(ELEMENTS, dtype)
    for array, seed in ((variable, SEED_OF_VARIABLE), (gradient, SEED_OF_GRADIENT)):
        _filling().launch(4096, 256, 0, array.__cuda_array_interface__["data"][0], ELEMENTS, seed)
    optimizer = cuda.SGD(**SETTINGS)
    for _ in range(CALLS):
        optimizer.apply([gradient], [variable])
    result.cases += 1
    for start in (0, 2**31 - WINDOW // 2, 2**32 - WINDOW // 2, ELEMENTS - WINDOW):
        places = np.arange(start, start + WINDOW)
        expected = bits_at(places, SEED_OF_VARIABLE).view(dtype)
        given = bits_at(places, SEED_OF_GRADIENT).view(dtype)
        reference = SGD(**SETTINGS)
        for _ in range(CALLS):
            reference.apply([given], [expected])
        for wanted, array in ((expected, variable), (reference.velocities[0], optimizer.velocities[0])):
            found = np.asarray(array[start : start + WINDOW].copy_to_host())
            same = (found.view(np.uint16) == wanted.view(np.uint16)) | (np.isnan(found) & np.isnan(wanted))
            result.compared += WINDOW
            if not same.all():
                place = start + int(np.flatnonzero(~same)[0])
                result.differs(
                    f"{identifier}\n  element {place} differs\n  again: {extent.command(identifier)}",
                    int((~same).sum()),
                )
