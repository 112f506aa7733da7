"""Device memory that an optimizer owns: tables that the host writes by copies without waiting."""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_kernels.cuda.arrays.arrays import view
from numba_kernels.cuda.arrays.streams import DEFAULT, numba_stream
from numba_kernels.cuda.toolkit import IS_SIMULATED, cuda
from sgd_ref.arithmetic.formats import Array

SLOTS = 8
"""The number of pending copies of one buffer before the host waits for the first of them."""


def copying_stream(handle: int) -> Any:
    """Return a stream in the form that Numba takes for copies; its default would make the host wait."""
    if IS_SIMULATED:
        return 0
    return cuda.legacy_default_stream() if handle == DEFAULT else numba_stream(handle)


class Buffer:
    """An array of the host and its copy on the device.

    Parameters
    ----------
    array : ndarray
        The first content of the copy; not empty, and C-contiguous.

    Attributes
    ----------
    host : ndarray
        The array of the host, to be written before `upload`.
    address : int
        The address of the copy.
    """

    def __init__(self, array: Array) -> None:
        self.host = array
        self._device = cuda.to_device(array)
        self.address = view("buffer", self._device).address
        self._slots: list[tuple[Array, Any]] = []
        self._uploads = 0
        self._spare: Array | None = None
        self._captured: list[Array] = []

    @property
    def region(self) -> tuple[int, int]:
        """Address and number of bytes of the copy."""
        return self.address, self.host.nbytes

    def on_device(self) -> Any:
        """Return the copy, an array of Numba."""
        return self._device

    def upload(self, handle: int, is_captured: bool = False) -> None:
        """Copy to the device, on a stream and without waiting.

        Parameters
        ----------
        handle : int
            The handle of the stream.
        is_captured : bool
            Whether the copy becomes part of a graph, which repeats it from the same memory of the host.
        """
        if IS_SIMULATED:
            self._device.copy_to_device(self.host)
            return
        stream = copying_stream(handle)
        if is_captured:
            self._device.copy_to_device(self._memory_of_graph(), stream=stream)
            return
        if self._spare is None:
            # No memory can be allocated while a graph is captured.
            self._spare = cuda.pinned_array(self.host.shape, self.host.dtype)
        place = self._uploads % SLOTS
        if place == len(self._slots):
            memory = cuda.pinned_array(self.host.shape, self.host.dtype)
            self._slots.append((memory, cuda.event(timing=False)))
        memory, copied = self._slots[place]
        if self._uploads >= SLOTS:
            copied.synchronize()
        memory[...] = self.host
        self._device.copy_to_device(memory, stream=stream)
        copied.record(stream)
        self._uploads += 1

    def _memory_of_graph(self) -> Array:
        """Return memory of the host for a copy, with the data to copy; nothing else writes into it."""
        if self._spare is None:
            raise RuntimeError("make a call of apply outside of a graph before the next graph is captured")
        memory, self._spare = self._spare, None
        memory[...] = self.host
        self._captured.append(memory)
        return memory

    def download(self) -> Array:
        """Copy to the host, and wait for all work launched before on any stream."""
        cuda.synchronize()
        self.host[...] = self._device.copy_to_host()
        return self.host


def words(*values: Any) -> Array:
    """Return integers as the words of a table; at least one, so that there is an address."""
    flat = [np.asarray(value, np.int64).ravel() for value in values]
    array = np.concatenate(flat) if flat else np.zeros(0, np.int64)
    return array if array.size else np.zeros(1, np.int64)
