"""Arrays on the device that the library of the caller's arrays allocates, and copies from and to the host."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from numba_kernels.cuda.toolkit import cuda
from sgd_ref.arithmetic.formats import BFLOAT16, Array


def fresh_like(like: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """Return an array of zeros, of the library and on the device of another array; see `wait_for_device`."""
    torch, cupy = sys.modules.get("torch"), sys.modules.get("cupy")
    if torch is not None and isinstance(like, torch.Tensor):
        return torch.zeros(shape, dtype=getattr(torch, dtype.name), device=like.device)
    if cupy is not None and isinstance(like, cupy.ndarray) and dtype != BFLOAT16:
        with like.device:
            return cupy.zeros(shape, dtype)
    return to_numba(np.zeros(shape, dtype))


def to_numba(values: Array) -> Any:
    """Return a copy of an array of the host in the memory of the device, an array of Numba."""
    copy = cuda.to_device(_as_buffer(values))
    return _viewed(copy, BFLOAT16) if values.dtype == BFLOAT16 else copy


def wait_for_device() -> None:
    """Wait for all streams, so that kernels on any stream find the new arrays complete.

    A library writes zeros on its own stream. A copy from ordinary memory runs on the legacy default stream,
    perhaps after the host has gone on. Other streams do not wait for these two.
    """
    cuda.synchronize()


def _as_buffer(array: Any) -> Any:
    """Return an array in a form that Numba can copy: a buffer, whose protocol does not support bfloat16."""
    return _viewed(array, np.uint16) if array.dtype == BFLOAT16 else array


def _viewed(array: Any, dtype: Any) -> Any:
    """Return a view as a dtype of the same size; Numba lacks such views of arrays without axes."""
    return array.view(dtype) if array.ndim else array.reshape(1).view(dtype).reshape(())


def to_host(array: Any) -> Array:
    """Return a copy of an array of `fresh_like` in the memory of the host; waits for it."""
    torch, cupy = sys.modules.get("torch"), sys.modules.get("cupy")
    if torch is not None and isinstance(array, torch.Tensor):
        name = str(array.dtype).removeprefix("torch.")
        # PyTorch cannot convert bfloat16 to a NumPy array, but it can convert the bits.
        host = array.detach().cpu()
        bits = host.view(torch.int16).numpy().view(BFLOAT16) if name == "bfloat16" else host.numpy()
        return np.asarray(bits)
    if cupy is not None and isinstance(array, cupy.ndarray):
        return np.asarray(array.get())
    return np.asarray(array.copy_to_host())


def from_host(array: Any, values: Array) -> None:
    """Write values of the host into an array of `fresh_like`, of the same shape and dtype; waits for it."""
    torch, cupy = sys.modules.get("torch"), sys.modules.get("cupy")
    if torch is not None and isinstance(array, torch.Tensor):
        source = np.array(values, order="C")
        if source.dtype == BFLOAT16:
            array.copy_(torch.from_numpy(source.view(np.int16)).view(torch.bfloat16))
        else:
            array.copy_(torch.from_numpy(source))
    elif cupy is not None and isinstance(array, cupy.ndarray):
        array.set(np.array(values, order="C"))
    elif values.size:
        _as_buffer(array).copy_to_device(_as_buffer(np.array(values, order="C")))
    wait_for_device()
