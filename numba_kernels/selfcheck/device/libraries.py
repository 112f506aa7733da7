"""Arrays of every library, with every layout in device memory, made from arrays of the host."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from numba_kernels.cuda.arrays.allocation import fresh_like, from_host
from numba_kernels.cuda.toolkit import cuda
from numba_kernels.selfcheck.device.on_device import Move, OnDevice, by_numba
from sgd_ref.arithmetic.formats import BFLOAT16, Array


def at_offset(offset: int) -> Move:
    """Return a function that copies to an array of Numba some elements past a multiple of 256 bytes."""

    def move(array: Array) -> Any:
        memory = cuda.device_array(array.size + offset + 8, array.dtype)
        if not array.size:
            return by_numba(array)
        part = memory[offset : offset + array.size]
        from_host(part, array.reshape(-1))
        return part.reshape(array.shape)

    return move


def with_gaps(array: Array) -> Any:
    """Copy to every second element of an array of Numba."""
    if array.ndim == 0:
        return by_numba(array)
    spread = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    spread[..., ::2] = array
    # Numba's arrays on a device do not support an Ellipsis before the last axis.
    return by_numba(spread)[(*[slice(None)] * (array.ndim - 1), slice(None, None, 2))]


def by_torch(array: Array) -> Any:
    """Copy to a tensor of PyTorch."""
    torch = importlib.import_module("torch")
    moved = fresh_like(torch.zeros(0, device="cuda"), array.shape, array.dtype)
    from_host(moved, array)
    return moved


def by_torch_transposed(array: Array) -> Any:
    """Copy to a tensor of PyTorch whose last axis is the slowest in memory."""
    return by_torch(array.T.copy()).T if array.ndim else by_torch(array)


def by_torch_parameter(array: Array) -> Any:
    """Copy to a parameter of PyTorch, which requires a gradient."""
    torch = importlib.import_module("torch")
    return torch.nn.Parameter(by_torch(array))


def by_cupy(array: Array) -> Any:
    """Copy to an array of CuPy; bfloat16, which CuPy lacks, is copied to an array of Numba."""
    cupy = importlib.import_module("cupy")
    return by_numba(array) if array.dtype == BFLOAT16 else cupy.asarray(np.array(array, order="C"))


MOVES: dict[str, tuple[str | None, Move]] = {
    "numba": (None, by_numba),
    **{f"offset-{offset}": (None, at_offset(offset)) for offset in (1, 2, 3, 4, 7)},
    "gaps": (None, with_gaps),
    "torch": ("torch", by_torch),
    "torch-transposed": ("torch", by_torch_transposed),
    "torch-parameter": ("torch", by_torch_parameter),
    "cupy": ("cupy", by_cupy),
}
"""By name, the library that is needed besides Numba, and the function that copies to its arrays."""


def why_not(library: str | None) -> str | None:
    """Return the reason why a library cannot be used here; None if it can."""
    if library is None:
        return None
    if importlib.util.find_spec(library) is None:
        return f"{library} is not installed"
    is_available: Callable[[], bool] = importlib.import_module(f"{library}.cuda").is_available
    return None if is_available() else f"{library} finds no device"


def optimizer_class(variables: Move, gradients: Move) -> Any:
    """Return an optimizer for arrays of the host that makes their copies on the device in certain ways."""

    class Moved(OnDevice):
        move = staticmethod(variables)
        move_gradient = staticmethod(gradients)

    return Moved
