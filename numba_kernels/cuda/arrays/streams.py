"""Streams: find the stream on which the libraries of the caller's arrays work, and whether it is captured.

A step goes to the stream of the caller's own work. There it comes after the work that made the gradients and
before the work that uses the variables, and nothing has to wait.

A stream is known here by its handle, an integer. 0 and 1 are the legacy default stream, 2 is the default
stream of a thread (``CU_STREAM_LEGACY``, ``CU_STREAM_PER_THREAD``).
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Sequence
from typing import Any

from numba_kernels.cuda.toolkit import IS_SIMULATED, cuda

DEFAULT = 0

LEGACY, PER_THREAD = 1, 2
"""Handles of the default streams; ``LEGACY`` is another handle for ``DEFAULT``."""


def stream_of(arrays: Sequence[Any]) -> int:
    """Return the handle of the stream on which the libraries of all these arrays work now.

    That is PyTorch's current stream on the device of the tensors, CuPy's current stream on that of its
    arrays, and for everything else the legacy default stream. Numba has no current stream, and its default
    stream waits for all streams that Numba makes.

    Parameters
    ----------
    arrays : sequence
        All arrays of a call; items of no such library, such as None, are ignored.

    Raises
    ------
    ValueError
        If two libraries work on different streams, or one library on different streams of two devices.
    """
    # One array of each type stands for all of them: the caller has checked that they share a device.
    chosen: dict[str, int] = {}
    for array in dict(zip(map(type, arrays), arrays, strict=True)).values():
        found = _current(array)
        if found is not None:
            library, handle = found
            chosen[library] = handle
    handles = set(chosen.values())
    if len(handles) > 1:
        named = " and ".join(f"{library} on {_named(handle)}" for library, handle in sorted(chosen.items()))
        raise ValueError(f"arrays of one call must be of libraries that work on one stream, got {named}")
    return handles.pop() if handles else DEFAULT


def numba_stream(handle: int) -> Any:
    """Return the stream of a handle, in the form that Numba takes to launch a kernel.

    The same handle gives the same object every time, since Numba caches its preparations by the identity of
    the stream. The simulator knows one stream.
    """
    return 0 if IS_SIMULATED or handle == DEFAULT else _external(handle)


def is_capturing(handle: int) -> bool:
    """Return whether a stream is being captured, so that launches on it become part of a graph.

    Raises
    ------
    RuntimeError
        If the driver cannot say: the stream is the legacy default stream, which cannot be captured, and
        another stream of this device is captured.
    """
    if IS_SIMULATED:
        return False
    driver = _driver()
    error, status = driver.cuStreamIsCapturing(driver.CUstream(handle))
    if error == driver.CUresult.CUDA_ERROR_STREAM_CAPTURE_IMPLICIT:
        raise RuntimeError(
            f"{_named(handle)} cannot be used while another stream is being captured; "
            "make the captured one the current stream of PyTorch or CuPy"
        )
    if error != driver.CUresult.CUDA_SUCCESS:
        raise RuntimeError(f"the CUDA driver could not be asked about {_named(handle)}: {error.name}")
    return bool(status != driver.CUstreamCaptureStatus.CU_STREAM_CAPTURE_STATUS_NONE)


def refuse_capture(arrays: Sequence[Any], got: str) -> None:
    """Refuse to allocate or wait if that would invalidate a capture on the stream of arrays.

    Parameters
    ----------
    arrays : sequence
        As for `stream_of`.
    got : str
        A description of the call for the error message.

    Raises
    ------
    RuntimeError
        If the stream of the arrays is being captured.
    """
    # The driver answers only within a context, and arrays without elements do not need one.
    cuda.current_context()
    if is_capturing(stream_of(arrays)):
        raise RuntimeError(
            "a call must be like one that was made before, outside of a graph, while a graph is captured, "
            f"since no memory can be had and no kernel be loaded then, got {got}; make such a call of apply "
            "before the capture"
        )


def _current(array: Any) -> tuple[str, int] | None:
    """Return the library of an array and the stream on which it works; None if it is no array."""
    torch, cupy = sys.modules.get("torch"), sys.modules.get("cupy")
    if torch is not None and isinstance(array, torch.Tensor):
        return "PyTorch", _canonical(torch.cuda.current_stream(array.device).cuda_stream)
    if cupy is not None and isinstance(array, cupy.ndarray):
        return "CuPy", _canonical(cupy.cuda.get_current_stream(array.data.device_id).ptr)
    if getattr(type(array), "__cuda_ndarray__", False):
        return "Numba", DEFAULT
    return None


def _canonical(handle: int) -> int:
    return DEFAULT if handle == LEGACY else handle


def _named(handle: int) -> str:
    if handle in (DEFAULT, LEGACY):
        return "the legacy default stream"
    return "the default stream of this thread" if handle == PER_THREAD else f"stream {handle:#x}"


@functools.lru_cache(maxsize=256)
def _external(handle: int) -> Any:
    return cuda.external_stream(handle)


@functools.cache
def _driver() -> Any:
    return importlib.import_module("cuda.bindings.driver")
