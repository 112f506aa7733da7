"""Tensors as arrays in the same memory, with a single axis if the kernels can read them in this form."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from numba_kernels.cpu.alignment import zeros_beside
from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Array
from sgd_ref.validation import reject_type

DTYPES: dict[Any, np.dtype[Any]] = {
    torch.float16: FLOAT16,
    torch.bfloat16: BFLOAT16,
    torch.float32: FLOAT32,
    torch.float64: FLOAT64,
}
"""The dtypes that the kernels compute in."""

ACCEPTED = "a dense tensor of float16, bfloat16, float32 or float64 on the CPU"


def check_parameter(name: str, parameter: Any) -> None:
    """Check the properties of a parameter that do not depend on its memory.

    Raises
    ------
    TypeError
        If it is no tensor of a class of PyTorch itself, or its dtype is not one of the four.
    ValueError
        If it is on another device or sparse.
    """
    check_plain(name, parameter)
    if parameter.dtype not in DTYPES:
        raise TypeError(f"{name} must be {ACCEPTED}, got {parameter.dtype}")
    if parameter.device.type != "cpu":
        is_cuda = parameter.device.type == "cuda"
        hint = "; numba_kernels.cuda.SGD takes tensors on NVIDIA devices" if is_cuda else ""
        raise ValueError(f"{name} must be {ACCEPTED}, got one on {parameter.device}{hint}")
    if parameter.layout != torch.strided:
        raise ValueError(f"{name} must be {ACCEPTED}, got one of layout {parameter.layout}")


def check_plain(name: str, tensor: Any) -> None:
    """Check that a tensor has its elements in its own memory, unlike a wrapper such as a DTensor.

    Raises
    ------
    TypeError
        If it is no tensor, or of a class with its own arithmetic.
    """
    if not isinstance(tensor, torch.Tensor):
        reject_type(name, tensor, ACCEPTED)
    kind: Any = type(tensor)
    if kind.__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        raise TypeError(f"{name} must be {ACCEPTED}, got a {kind.__name__}, whose elements lie elsewhere")


def array_of(tensor: Any) -> Array:
    """Return an array of the shape, strides and memory of a dense tensor.

    >>> array_of(torch.ones(2, dtype=torch.bfloat16))
    array([1, 1], dtype=bfloat16)
    """
    # For an imaginary part, PyTorch may only note that its sign is reversed, and leave the memory unchanged.
    plain = tensor.detach().resolve_neg()
    if plain.dtype == torch.bfloat16:
        return np.asarray(plain.view(torch.int16).numpy().view(BFLOAT16))
    return np.asarray(plain.numpy())


def tensor_of(array: Array) -> Any:
    """Return a tensor with one axis, in the memory of an array.

    >>> tensor_of(np.ones(2, BFLOAT16))
    tensor([1., 1.], dtype=torch.bfloat16)
    """
    if array.dtype == BFLOAT16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def fills_its_memory(tensor: Any) -> bool:
    """Whether the elements lie in one piece of memory, in any order of the axes.

    >>> images = torch.ones(2, 3, 4, 4)
    >>> fills_its_memory(images.to(memory_format=torch.channels_last)), fills_its_memory(images[:, :, ::2])
    (True, False)
    """
    expected = 1
    if not tensor.numel():
        return True
    for stride, length in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if length > 1:
            if stride != expected:
                return False
            expected *= length
    return True


def elements_of(tensor: Any) -> Array:
    """Return the elements in the order of memory if they fill it, otherwise in the shape of the tensor."""
    if fills_its_memory(tensor):
        tensor = tensor.detach().as_strided((tensor.numel(),), (1,))
    return array_of(tensor)


def zeros_like(tensor: Any) -> Any:
    """Return a tensor of zeros with the shape of another tensor.

    If the other tensor fills its memory, the zeros have the same order of axes. They begin at the same offset
    in a cache line as the other tensor. The system provides memory at the first write, so that the zeros of
    frozen parameters cost no memory.
    """
    zeros = tensor_of(zeros_beside(elements_of(tensor)).reshape(-1))
    if fills_its_memory(tensor):
        return zeros.as_strided(tensor.shape, tensor.stride())
    return zeros.view(tensor.shape)


def as_laid_out(tensor: Any, other: Any) -> Any:
    """Return a tensor whose elements have the order in memory of another tensor; a copy if necessary.

    Axes of length 1 do not matter for the order.
    """
    if fills_its_memory(other):
        if _order(tensor) == _order(other) and fills_its_memory(tensor):
            return tensor
        # The device is given, since PyTorch may have another default.
        laid_out = torch.empty_strided(other.shape, other.stride(), dtype=tensor.dtype, device=other.device)
        return laid_out.copy_(tensor.detach())
    return tensor


def _order(tensor: Any) -> list[int]:
    return [s for s, length in zip(tensor.stride(), tensor.shape, strict=True) if length > 1]
