"""Steps in Python for backends whose arrays cannot be written: values go in, and new values come out."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from numba_kernels.cpu.alignment import LINE
from numba_kernels.cpu.default_mode import in_default_mode
from numba_kernels.keras.engine import Engines, Lists, lists_of
from sgd_ref.arithmetic.formats import Array
from sgd_ref.base.learning_rate import to_float32


class Compiled(NamedTuple):
    """The properties of an optimizer with which a step was compiled.

    Attributes
    ----------
    optimizer : SGD
        Its attributes are the settings, which are read in each step.
    learning_rate : object
        The rate of the optimizer when the step was compiled.
    sizes : list of int
        The numbers of variables, velocities, averages and accumulators.
    """

    optimizer: Any
    learning_rate: Any
    sizes: list[int]

    @classmethod
    def of(cls, optimizer: Any, lists: Lists) -> Compiled:
        """Return the present properties of an optimizer."""
        return cls(optimizer, optimizer._learning_rate, [len(of_kind) for of_kind in lists])

    def rate(self, calls: int, computed: Any) -> np.float32:
        """Return the rate of a call, for which the backend may have computed one.

        Raises
        ------
        RuntimeError
            If the backend has computed another rate than that of the optimizer.
        """
        on_host = self.optimizer.rate_on_host
        if on_host is not None:
            found: np.float32 = on_host.read(calls)
            return found
        if self.optimizer._learning_rate is not self.learning_rate:
            raise RuntimeError("learning_rate was replaced after the step was compiled; call compile again")
        return to_float32("learning_rate", float(np.asarray(computed)))


class HostStep:
    """The function that a backend calls in each step.

    Values are copied into arrays of its own, which the kernels update. These arrays are kept for the next
    call, since memory from the system costs more than a copy.

    Parameters
    ----------
    engines : Engines
        The source of the engine.
    """

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._buffers: list[Array] = []
        # For the backend, the function is pure, and may be called from several threads.
        self._lock = threading.Lock()

    def __call__(
        self,
        compiled: Compiled,
        calls: Any,
        rate: Any,
        gradients: list[Any],
        values: Sequence[Any],
        copy: bool,
    ) -> list[Array]:
        """Return the values after a step.

        Parameters
        ----------
        compiled : Compiled
            The optimizer, as the step was compiled.
        calls : array of one integer
            The number of calls made before.
        rate : array of one number
            The learning rate, if the backend computes it.
        gradients : list of ndarray, SparseRows or None
            One for each variable.
        values : sequence of arrays
            Variables, velocities, averages and accumulators. They are only read.
        copy : bool
            Whether to return arrays that the next call does not overwrite.

        Returns
        -------
        list of ndarray
            The new values, in the same order.
        """
        optimizer = compiled.optimizer
        # XLA and TensorFlow call Python on threads that flush subnormals.
        with self._lock, in_default_mode():
            if [(b.shape, b.dtype) for b in self._buffers] != [(v.shape, v.dtype) for v in values]:
                self._buffers = [_aligned(value.shape, value.dtype) for value in values]
            for buffer, value in zip(self._buffers, values, strict=True):
                np.copyto(buffer, value)
            engine = self._engines.current(
                optimizer,
                [buffer.ctypes.data for buffer in self._buffers],
                lambda: (self._lists(compiled.sizes), None),
                optimizer.threads or usable_processors(),
            )
            engine.step(gradients, compiled.rate(int(calls), rate), int(calls))
            return list(map(_copied, self._buffers)) if copy else list(self._buffers)

    def _lists(self, sizes: list[int]) -> list[list[Array]]:
        remaining = iter(self._buffers)
        return [[next(remaining) for _ in range(size)] for size in sizes]


def flat_lists(optimizer: Any) -> tuple[Compiled, list[Any]]:
    """Return the properties with which a step is compiled, and all variables that it reads and writes."""
    lists = lists_of(optimizer)
    return Compiled.of(optimizer, lists), list(chain.from_iterable(lists))


def usable_processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return an array that begins at a cache line, and has no values yet.

    TensorFlow takes over such memory without another copy.
    """
    size = int(np.prod(shape)) * dtype.itemsize
    memory = np.empty(size + LINE, np.uint8)
    first = -memory.ctypes.data % LINE
    return memory[first : first + size].view(dtype).reshape(shape)


def _copied(array: Array) -> Array:
    copy = _aligned(array.shape, array.dtype)
    np.copyto(copy, array)
    return copy
