"""Elements of tensors as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Array

DTYPES = {
    torch.float16: FLOAT16,
    torch.bfloat16: BFLOAT16,
    torch.float32: FLOAT32,
    torch.float64: FLOAT64,
}
"""The dtype of the kit for each dtype of PyTorch."""


def gathered(tensors: Sequence[Any], indices: Sequence[Any]) -> list[Array]:
    """Return copies of elements of tensors as arrays.

    Parameters
    ----------
    tensors : sequence of Tensor
        The tensors, dense or sparse, on any device.
    indices : sequence of Tensor or None
        For each tensor the indices of its elements in C order; None for all elements, in the tensor's shape.
    """
    pieces = [
        (tensor.reshape(-1) if index is None else torch.take(tensor, index))
        for tensor, index in zip(map(_plain, tensors), indices, strict=True)
    ]
    found: list[Any] = [None] * len(pieces)
    # There is one copy for each device and dtype, since each copy may wait for the device.
    for kind in dict.fromkeys((piece.device, piece.dtype) for piece in pieces):
        places = [place for place, piece in enumerate(pieces) if (piece.device, piece.dtype) == kind]
        joined = array_of(torch.cat([pieces[place] for place in places]))
        start = 0
        for place in places:
            end = start + pieces[place].numel()
            shape = tensors[place].shape if indices[place] is None else (-1,)
            found[place] = joined[start:end].reshape(shape)
            start = end
    return found


def array_of(tensor: Any) -> Array:
    """Return a tensor as an array in host memory.

    >>> array_of(torch.tensor([1.5], dtype=torch.bfloat16)).dtype
    dtype(bfloat16)
    """
    host = tensor.detach().cpu()
    if host.dtype == torch.bfloat16:
        return np.asarray(host.view(torch.int16).numpy().view(BFLOAT16))
    return np.asarray(host.numpy())


def square_of(tensor: Any) -> float:
    """Return the sum of the squares of all elements, in float64.

    >>> square_of(torch.tensor([3.0, 4.0]))
    25.0
    """
    norm = float(torch.linalg.vector_norm(_plain(tensor), dtype=torch.float64))
    return norm * norm


def _plain(tensor: Any) -> Any:
    plain = tensor.detach()
    return plain.coalesce().to_dense() if plain.is_sparse else plain
