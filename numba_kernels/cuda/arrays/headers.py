"""Headers that stand for the arrays of a call, for the checks of the reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from numba_kernels.cuda.arrays.arrays import UNKNOWN_DEVICE, Header, header, view
from sgd_ref.arithmetic.formats import Array
from sgd_ref.gradients import SparseRows, is_scipy


def headers_of(argument: str, arrays: Any, kept: Mapping[int, Array]) -> Any:
    """Return a header for each array; an argument that is no list is returned unchanged.

    Parameters
    ----------
    argument : str
        The name of the arrays in error messages.
    arrays : object
        Arrays on one device; an array that occurs more than once has one header.
    kept : mapping of int to ndarray
        Existing headers, by the identity of their arrays.

    Raises
    ------
    TypeError, ValueError
        If an array is not on a device, or not on the device of the others.
    """
    if not isinstance(arrays, (list, tuple)):
        return arrays
    headers = dict(kept)
    devices: dict[int, int] = {}
    for index, array in enumerate(arrays):
        if id(array) not in headers:
            found = view(f"{argument}[{index}]", array)
            headers[id(array)] = header(found)
            if found.device != UNKNOWN_DEVICE:
                devices.setdefault(found.device, index)
    if len(devices) > 1:
        (one, first), (other, second) = list(devices.items())[:2]
        raise ValueError(
            f"{argument} must be on one device, got {argument}[{first}] on device {one} "
            f"and {argument}[{second}] on device {other}"
        )
    return [headers[id(array)] for array in arrays]


def headers_of_gradients(gradients: Any, device: int) -> Any:
    """Return a header for each gradient that is on the device, and the other gradients unchanged.

    Raises
    ------
    TypeError, ValueError
        If a gradient is an array that is not on the device of the variables.
    """
    if not isinstance(gradients, (list, tuple)):
        return gradients
    return [
        gradient if gradient is None or is_sparse(gradient) else _header_of_gradient(index, gradient, device)
        for index, gradient in enumerate(gradients)
    ]


def is_sparse(gradient: Any) -> bool:
    """Whether a gradient is a sparse gradient on the host."""
    return isinstance(gradient, SparseRows) or is_scipy(gradient)


def refuse_arrays_on_device(arrays: Any) -> None:
    """Refuse arrays without a header, which the reference's wrapper has passed on unchanged."""
    if isinstance(arrays, (list, tuple)) and any(map(_is_on_device, arrays)):
        refuse_wrapper()


def refuse_wrapper() -> NoReturn:
    """Refuse to be wrapped by a wrapper that waits for the device in each step."""
    raise TypeError(
        "an optimizer on the device must be wrapped by numba_kernels.cuda.LossScaleOptimizer, "
        "got sgd_ref.LossScaleOptimizer"
    )


def _header_of_gradient(index: int, gradient: Any, device: int) -> Array:
    found = view(f"gradients[{index}]", gradient)
    if found.device != device and UNKNOWN_DEVICE not in (found.device, device):
        raise ValueError(
            f"gradients[{index}] must be on device {device}, as the variables are, "
            f"got an array on device {found.device}"
        )
    return header(found)


def _is_on_device(array: Any) -> bool:
    if array is None or isinstance(array, Header):
        return False
    try:
        view("array", array)
    except (TypeError, ValueError):
        return False
    return True
