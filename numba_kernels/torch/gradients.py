"""Gradients in the forms that PyTorch produces, checked and converted to a form that the kernels take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from numba_kernels.shared.rows import Rows, from_sparse
from numba_kernels.torch.memory import (
    DTYPES,
    array_of,
    as_laid_out,
    check_plain,
    elements_of,
    fills_its_memory,
    tensor_of,
)
from sgd_ref.arithmetic.formats import Array
from sgd_ref.arithmetic.rounded import holds
from sgd_ref.base.aliasing import OccupiedMemory
from sgd_ref.gradients import SparseRows

ACCEPTED = "a dense tensor, or a sparse one in coordinates (COO)"


class Place(NamedTuple):
    """A parameter with its name in error messages."""

    name: str
    parameter: Any


def accepted(place: Place, gradient: Any, written: OccupiedMemory) -> Array | Rows | None:
    """Return the gradient of a parameter in the form in which the kernels take it.

    Parameters
    ----------
    place : Place
        The parameter.
    gradient : Tensor or None
        Its gradient.
    written : OccupiedMemory
        The memory that a step writes.

    Raises
    ------
    TypeError, ValueError
        If the gradient has another shape, a dtype that the parameter's does not hold, or a layout that is not
        accepted, or if it lies in memory that a step writes.
    """
    if gradient is None:
        return None
    name, parameter = f"the gradient of {place.name}", place.parameter
    check_plain(name, gradient)
    narrow = DTYPES.get(gradient.dtype)
    if narrow is None or not holds(DTYPES[parameter.dtype], narrow):
        raise TypeError(
            f"{name} must have a dtype that {parameter.dtype} holds exactly, got {gradient.dtype}"
        )
    if gradient.shape != parameter.shape:
        raise ValueError(f"{name} must have the shape {tuple(parameter.shape)}, got {tuple(gradient.shape)}")
    if gradient.layout == torch.sparse_coo:
        return _sparse(parameter, gradient)
    if gradient.layout != torch.strided:
        raise TypeError(f"{name} must be {ACCEPTED}, got one of layout {gradient.layout}")
    owner = written.owner(array_of(gradient))
    if owner is not None:
        raise ValueError(f"{name} must not share memory with what a step writes, got a tensor in {owner}")
    if not fills_its_memory(parameter):
        return array_of(gradient)
    return elements_of(as_laid_out(gradient, parameter))


def _sparse(parameter: Any, gradient: Any) -> Array | Rows:
    indices, values = gradient._indices(), gradient._values()
    lengths = tuple(parameter.shape[: indices.shape[0]])
    count = int(np.prod(lengths, dtype=np.int64))
    rest = tuple(parameter.shape[indices.shape[0] :])
    # Several sparse axes are merged into one.
    flat = np.zeros(indices.shape[1], np.int64)
    for index, length in zip(indices.numpy(), lengths, strict=True):
        flat = flat * length + index
    rows = SparseRows(flat, np.ascontiguousarray(array_of(values)), (count, *rest))
    variable = np.empty((0,), DTYPES[parameter.dtype])
    found = from_sparse(rows, variable)
    if parameter.is_contiguous() or not fills_its_memory(parameter):
        return found
    dense = tensor_of(found.dense(0, parameter.numel())).view(parameter.shape)
    return elements_of(as_laid_out(dense, parameter))


def all_accepted(
    places: Sequence[Place], gradients: Sequence[Any], written: OccupiedMemory
) -> list[Array | Rows | None]:
    """Return all gradients of a call, each in the form of `accepted`."""
    return [accepted(place, g, written) for place, g in zip(places, gradients, strict=True)]
