"""On which stream the work goes, with libraries and a driver made up: no real stream was used here."""

from __future__ import annotations

import inspect
import sys
import types
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba_kernels.cuda needs numba-cuda")

from numba_kernels.cuda.arrays import streams
from numba_kernels.cuda.arrays.streams import is_capturing, numba_stream, stream_of


class Tensor:
    """One of PyTorch."""

    def __init__(self, device: int = 0) -> None:
        self.device = device


class Parameter(Tensor):
    """Its other type."""


class Ndarray:
    """One of CuPy."""

    def __init__(self, device: int = 0) -> None:
        self.data = types.SimpleNamespace(device_id=device)


class NumbaArray:
    """One of Numba."""

    __cuda_ndarray__ = True


class Libraries:
    """PyTorch and CuPy, with the streams on which they work on each device."""

    def __init__(self) -> None:
        self.of_torch: dict[int, int] = {0: 0}
        self.of_cupy: dict[int, int] = {0: 0}

    def current_of_torch(self, device: int) -> Any:
        return types.SimpleNamespace(cuda_stream=self.of_torch[device])

    def current_of_cupy(self, device: int) -> Any:
        return types.SimpleNamespace(ptr=self.of_cupy[device])


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> Libraries:
    made = Libraries()
    torch, cupy = types.ModuleType("torch"), types.ModuleType("cupy")
    torch.Tensor = Tensor  # type: ignore[attr-defined]
    torch.cuda = types.SimpleNamespace(current_stream=made.current_of_torch)  # type: ignore[attr-defined]
    cupy.ndarray = Ndarray  # type: ignore[attr-defined]
    cupy.cuda = types.SimpleNamespace(get_current_stream=made.current_of_cupy)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    return made


def test_each_library_has_its_stream(libraries: Libraries) -> None:
    libraries.of_torch, libraries.of_cupy = {0: 0xA0, 1: 0xA1}, {0: 0xC0, 1: 0xC1}
    assert stream_of([Tensor(0)]) == 0xA0
    assert stream_of([Tensor(1), Parameter(1), None]) == 0xA1
    assert stream_of([Ndarray(0), Ndarray(0)]) == 0xC0
    assert stream_of([Ndarray(1)]) == 0xC1
    assert stream_of([NumbaArray()]) == 0
    assert stream_of([None, np.zeros(3)]) == 0
    assert stream_of([]) == 0


def test_libraries_on_one_stream_go_together(libraries: Libraries) -> None:
    together = [Tensor(), None, NumbaArray(), Ndarray(), Parameter()]
    assert stream_of(together) == 0
    # 1 is another name of the legacy default stream.
    libraries.of_cupy = {0: 1}
    assert stream_of(together) == 0
    assert stream_of([Ndarray()]) == 0
    libraries.of_torch = libraries.of_cupy = {0: 0xA0}
    assert stream_of([Tensor(), Ndarray()]) == 0xA0


@pytest.mark.parametrize(
    ("of_torch", "of_cupy", "arrays", "message"),
    [
        (0xA0, 0xC0, [Tensor(), Ndarray()], "CuPy on stream 0xc0 and PyTorch on stream 0xa0"),
        (0xA0, 0, [Tensor(), NumbaArray()], "Numba on the legacy default stream and PyTorch on stream 0xa0"),
        (
            0,
            2,
            [NumbaArray(), Ndarray()],
            "CuPy on the default stream of this thread and Numba on the legacy",
        ),
        (
            0,
            0xC0,
            [Tensor(), None, Ndarray()],
            "CuPy on stream 0xc0 and PyTorch on the legacy default stream",
        ),
    ],
)
def test_libraries_on_two_streams_are_refused(
    libraries: Libraries, of_torch: int, of_cupy: int, arrays: list[Any], message: str
) -> None:
    libraries.of_torch, libraries.of_cupy = {0: of_torch}, {0: of_cupy}
    with pytest.raises(ValueError, match=f"arrays of one call must be .*, got {message}"):
        stream_of(arrays)


def test_without_the_libraries_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "cupy"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert stream_of([NumbaArray(), object()]) == 0
    assert "torch" not in sys.modules
    assert "cupy" not in sys.modules


def test_numba_gets_one_object_for_each_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def external_stream(handle: int) -> Any:
        made.append(handle)
        return types.SimpleNamespace(handle=handle)

    monkeypatch.setattr(streams, "IS_SIMULATED", False)
    monkeypatch.setattr(streams, "cuda", types.SimpleNamespace(external_stream=external_stream))
    streams._external.cache_clear()
    try:
        assert numba_stream(0) == 0
        assert numba_stream(0xA0).handle == 0xA0
        assert numba_stream(0xA0) is numba_stream(0xA0)
        assert numba_stream(2).handle == 2
        assert made == [0xA0, 2]
    finally:
        streams._external.cache_clear()


def test_the_simulator_has_one_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "IS_SIMULATED", True)
    monkeypatch.setattr(streams, "cuda", None)
    assert numba_stream(0xA0) == 0
    assert is_capturing(0xA0) is False


class Driver:
    """The CUDA driver, which says of a stream what the test wants."""

    class CUresult:
        CUDA_SUCCESS = types.SimpleNamespace(name="CUDA_SUCCESS")
        CUDA_ERROR_INVALID_HANDLE = types.SimpleNamespace(name="CUDA_ERROR_INVALID_HANDLE")
        CUDA_ERROR_STREAM_CAPTURE_IMPLICIT = types.SimpleNamespace(name="CUDA_ERROR_STREAM_CAPTURE_IMPLICIT")

    class CUstreamCaptureStatus:
        CU_STREAM_CAPTURE_STATUS_NONE, CU_STREAM_CAPTURE_STATUS_ACTIVE = 0, 1
        CU_STREAM_CAPTURE_STATUS_INVALIDATED = 2

    def __init__(self, error: Any, status: int | None) -> None:
        self.answer = error, status
        self.asked: list[Any] = []

    def CUstream(self, handle: int) -> Any:  # noqa: N802
        return ("stream", handle)

    def cuStreamIsCapturing(self, stream: Any) -> Any:  # noqa: N802
        self.asked.append(stream)
        return self.answer


@pytest.mark.parametrize(("status", "expected"), [(0, False), (1, True), (2, True)])
def test_whether_a_stream_is_captured(status: int, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(Driver.CUresult.CUDA_SUCCESS, status)
    monkeypatch.setattr(streams, "IS_SIMULATED", False)
    monkeypatch.setattr(streams, "_driver", lambda: driver)
    assert is_capturing(0xA0) is expected
    assert driver.asked == [("stream", 0xA0)]


@pytest.mark.parametrize(
    ("error", "handle", "message"),
    [
        (
            Driver.CUresult.CUDA_ERROR_STREAM_CAPTURE_IMPLICIT,
            0,
            "the legacy default stream cannot be used while another stream is being captured",
        ),
        (Driver.CUresult.CUDA_ERROR_INVALID_HANDLE, 0xA0, "about stream 0xa0: CUDA_ERROR_INVALID_HANDLE"),
    ],
)
def test_what_the_driver_cannot_say(
    error: Any, handle: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "IS_SIMULATED", False)
    monkeypatch.setattr(streams, "_driver", lambda: Driver(error, None))
    with pytest.raises(RuntimeError, match=message):
        is_capturing(handle)


def test_the_driver_has_what_is_asked_of_it() -> None:
    driver = streams._driver()
    assert {name for name in vars(Driver.CUresult) if name.startswith("CUDA")} <= set(
        driver.CUresult.__members__
    )
    assert driver.CUstreamCaptureStatus.CU_STREAM_CAPTURE_STATUS_NONE == 0
    assert driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL == 9
    assert callable(driver.cuStreamIsCapturing)
    assert callable(driver.cuPointerGetAttribute)
    assert int(driver.CUstream(2)) == 2


def test_pytorch_has_what_is_asked_of_it() -> None:
    torch = pytest.importorskip("torch")
    assert list(inspect.signature(torch.cuda.current_stream).parameters) == ["device"]
    # A build for the host has no streams, but what is written around them.
    assert "self.cuda_stream" in inspect.getsource(torch.cuda.streams)


def test_cupy_has_what_is_asked_of_it() -> None:
    cupy = pytest.importorskip("cupy")
    assert cupy.cuda.get_current_stream.__doc__.startswith("get_current_stream(int device_id=-1)")
    assert (cupy.cuda.Stream.null.ptr, cupy.cuda.Stream.ptds.ptr) == (0, streams.PER_THREAD)


def test_numba_has_what_is_asked_of_it() -> None:
    if streams.IS_SIMULATED:
        pytest.skip("the simulator has one stream")
    from numba.cuda.cudadrv.driver import Stream, _to_core_stream, binding  # noqa: PLC0415

    # 0, and whatever is not a stream of its own, has to be told from a handle.
    assert int(_to_core_stream(0).handle) == 0
    assert int(_to_core_stream(Stream(binding.CUstream(0xA0), external=True)).handle) == 0xA0
    with pytest.raises(TypeError):
        _to_core_stream(0xA0)
