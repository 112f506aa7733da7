"""Device memory in the simulator: memory of the host, in which every access is checked.

The simulator of Numba checks indices into arrays. These kernels take addresses, so this module checks them.
"""

from __future__ import annotations

import bisect
import ctypes
import threading
from collections.abc import Iterable
from typing import Any

import numpy as np

_lock = threading.Lock()
_starts: list[int] = []
_ends: list[int] = []


def allow(regions: Iterable[tuple[int, int]]) -> None:
    """Let kernels access only these regions of memory, each given by its address and number of bytes."""
    ordered = sorted((start, start + size) for start, size in regions if size)
    _starts[:] = [start for start, _ in ordered]
    _ends[:] = [end for _, end in ordered]


def _check(address: int, size: int) -> None:
    place = bisect.bisect_right(_starts, address) - 1
    if place < 0 or address + size > _ends[place]:
        raise IndexError(
            f"a kernel must touch only memory that it was given, got {size} bytes at {address:#x}"
        )


def access(dtype: np.dtype[Any], packet_bytes: int) -> tuple[Any, Any, Any, Any]:
    """Return the functions that read and write one number, and those for as many as a packet holds."""
    width = packet_bytes // dtype.itemsize

    def read(address: int) -> Any:
        _check(address, dtype.itemsize)
        return np.frombuffer(ctypes.string_at(int(address), dtype.itemsize), dtype)[0]

    def write(address: int, value: Any) -> None:
        _check(address, dtype.itemsize)
        if dtype.kind == "f" and not isinstance(value, dtype.type):
            raise TypeError(f"a kernel must write {dtype}, got {type(value).__name__}")
        ctypes.memmove(int(address), dtype.type(value).tobytes(), dtype.itemsize)

    def read_packet(address: int) -> tuple[Any, ...]:
        _check_aligned(address)
        return tuple(read(address + lane * dtype.itemsize) for lane in range(width))

    def write_packet(address: int, values: tuple[Any, ...]) -> None:
        _check_aligned(address)
        for lane, value in enumerate(values):
            write(address + lane * dtype.itemsize, value)

    def _check_aligned(address: int) -> None:
        if address % packet_bytes:
            raise ValueError(f"a packet must lie at a multiple of {packet_bytes} bytes, got {address:#x}")

    return read, write, read_packet, write_packet


def add_to_word(address: int, value: int) -> int:
    """Add to eight bytes and return their value before the addition."""
    _check(address, 8)
    word = ctypes.c_int64.from_address(int(address))
    with _lock:
        before = word.value
        word.value = before + int(value)
    return before


def fence() -> None:
    """Do nothing: the host's threads see each other's writes in order."""
