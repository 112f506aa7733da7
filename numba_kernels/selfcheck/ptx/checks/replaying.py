"""Steps on a stream of the caller, and steps replayed from a graph, with arrays like CuPy's.

No library but Numba runs on this stand-in for a driver. So a few lines stand for CuPy: arrays that have
``__cuda_array_interface__``, and a current stream that does not wait for the default stream.
"""

from __future__ import annotations

import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest import mock

import numpy as np

from numba_kernels.cuda.arrays.allocation import from_host, to_host, to_numba, wait_for_device
from numba_kernels.selfcheck.device.graphs import Model
from sgd_ref.arithmetic.formats import Array
from sgd_ref.conformance.catalogue.case import Case, Record

NON_BLOCKING = 1

GLOBAL_MODE = 0


class ArrayOnStream:
    """An array of the device like one of CuPy's."""

    def __init__(self, values: Array) -> None:
        values = np.array(values, order="C")
        self._array = to_numba(values)
        self.dtype, self.shape, self.size = values.dtype, values.shape, values.size
        self.ndim, self.strides = values.ndim, values.strides
        self.data = types.SimpleNamespace(device_id=0, ptr=self.__cuda_array_interface__["data"][0])
        self.device = nullcontext()

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return dict(self._array.__cuda_array_interface__)

    def get(self) -> Array:
        """Return a copy on the host, after the work on the stream, as CuPy does."""
        wait_for_device()
        return to_host(self._array)

    def set(self, values: Array) -> None:
        """Write values of the host, after the work on the stream, as CuPy does."""
        wait_for_device()
        from_host(self._array, values)


def on_stream(case: Case) -> list[Record]:
    """Run a case on a stream that does not wait for the default stream."""
    with _stream():
        model = Model(case, ArrayOnStream)
        for gradients in case.gradients:
            model.step(gradients)
        return [model.record()]


def by_graph(case: Case) -> list[Record]:
    """Make the first call of a case outside of a graph, and all other calls by replaying a captured graph."""
    driver: Any = __import__("cuda.bindings.driver", fromlist=["driver"])
    with _stream() as stream:
        model = Model(case, ArrayOnStream)
        model.step(case.gradients[0])
        _done(driver.cuStreamSynchronize(stream))
        _done(driver.cuStreamBeginCapture(stream, driver.CUstreamCaptureMode(GLOBAL_MODE)))
        model.apply()
        graph = _done(driver.cuStreamEndCapture(stream))
        ready = _done(driver.cuGraphInstantiate(graph, 0))
        model.optimizer.prepare_replays(len(case.gradients) - 1)
        for gradients in case.gradients[1:]:
            model.set_gradients(gradients)
            _done(driver.cuGraphLaunch(ready, stream))
            _done(driver.cuStreamSynchronize(stream))
        return [model.record()]


def _done(answer: Any) -> Any:
    if int(answer[0]):
        raise RuntimeError(f"the driver answered with {answer[0].name}")
    return answer[1] if len(answer) > 1 else None


@contextmanager
def _stream() -> Iterator[Any]:
    driver: Any = __import__("cuda.bindings.driver", fromlist=["driver"])
    stream = _done(driver.cuStreamCreate(NON_BLOCKING))
    module = types.ModuleType("cupy")
    module.ndarray = ArrayOnStream  # type: ignore[attr-defined]
    module.cuda = types.SimpleNamespace(  # type: ignore[attr-defined]
        get_current_stream=lambda device: types.SimpleNamespace(ptr=int(stream))
    )
    module.zeros = lambda shape, dtype: ArrayOnStream(np.zeros(shape, dtype))  # type: ignore[attr-defined]
    with mock.patch.dict(sys.modules, {"cupy": module}), warnings.catch_warnings():
        yield stream
