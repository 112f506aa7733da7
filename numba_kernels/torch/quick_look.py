"""The gradients of an ordinary call: hundreds of them are checked in microseconds, without an array for each.

``map`` calls PyTorch's own methods, since a Python loop would take twice as long. A kernel does the rest.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from itertools import repeat
from typing import Any

import numpy as np
import torch

from numba_kernels.cpu.address_specs import address_check
from numba_kernels.shared.regions import regions
from numba_kernels.torch.memory import fills_its_memory
from sgd_ref.arithmetic.formats import Array

ORDINARY = {torch.Tensor, torch.nn.Parameter}
"""Classes of gradients that have their elements in their own memory."""

grad_of, dtype_of = operator.attrgetter("grad"), operator.attrgetter("dtype")
address_of, size_of = torch.Tensor.data_ptr, torch.Tensor.numel
is_contiguous, is_negated = torch.Tensor.is_contiguous, torch.Tensor.is_neg


def gradients_of(parameters: Sequence[Any]) -> list[Any]:
    """Return the gradient of each parameter, or None."""
    return list(map(grad_of, parameters))


def addresses_of(tensors: Sequence[Any]) -> list[int]:
    """Return the address of the first element of each tensor."""
    return list(map(address_of, tensors))


def are_all_there(gradients: Sequence[Any]) -> bool:
    """Whether each parameter has a gradient."""
    return all(map(operator.is_not, gradients, repeat(None)))


class QuickLook:
    """The expected properties of the gradients of some parameters.

    Parameters
    ----------
    parameters : sequence of Tensor
        All parameters of an optimizer, which are dense.
    written : sequence of ndarray
        The arrays that a step writes, and that no gradient may overlap.
    """

    def __init__(self, parameters: Sequence[Any], written: Sequence[Array]) -> None:
        self._dtypes = [parameter.dtype for parameter in parameters]
        self._sizes = [parameter.numel() for parameter in parameters]
        self._itemsizes = np.array([parameter.itemsize for parameter in parameters], np.int64)
        self._lengths = np.array(self._sizes, np.int64) * self._itemsizes
        # The kernels copy tensors with gaps, and need arrays for this.
        self._have_gaps = not all(map(fills_its_memory, parameters))
        # Other tensors have strides of their own.
        self._permuted = {i: p.stride() for i, p in enumerate(parameters) if not p.is_contiguous()}
        # A single number may be an imaginary part, for which PyTorch only notes that its sign is reversed.
        self._single = [i for i, size in enumerate(self._sizes) if size == 1]
        self._occupied = regions(written)
        # The kernel is compiled here, so that no later step has to wait for the compiler.
        address_check()

    def addresses(self, gradients: list[Any]) -> Array | None:
        """Return the addresses of gradients, one for each parameter, or None if they need the full check.

        The address of a missing gradient is 0.
        """
        if self._have_gaps:
            return None
        if are_all_there(gradients):
            return self._addresses(gradients, None)
        rows = [row for row, gradient in enumerate(gradients) if gradient is not None]
        found = self._addresses([gradients[row] for row in rows], rows)
        if found is None:
            return None
        addresses = np.zeros(len(gradients), np.int64)
        addresses[rows] = found
        return addresses

    def _addresses(self, gradients: list[Any], rows: list[int] | None) -> Array | None:
        dtypes, sizes, lengths, itemsizes = self._dtypes, self._sizes, self._lengths, self._itemsizes
        if rows is not None:
            dtypes, sizes = [dtypes[row] for row in rows], [sizes[row] for row in rows]
            lengths, itemsizes = lengths[rows], itemsizes[rows]
        if not set(map(type, gradients)) <= ORDINARY:
            return None
        # A sparse tensor is never contiguous, and has no address.
        if list(map(dtype_of, gradients)) != dtypes or not self._lie_as_expected(gradients, rows):
            return None
        if list(map(size_of, gradients)) != sizes:
            return None
        addresses = np.array(list(map(address_of, gradients)), np.int64)
        return addresses if address_check()(addresses, lengths, itemsizes, self._occupied) else None

    def _lie_as_expected(self, gradients: list[Any], rows: list[int] | None) -> bool:
        if not self._permuted and rows is None:
            return all(map(is_contiguous, gradients)) and not any(
                is_negated(gradients[i]) for i in self._single
            )
        for row, gradient in zip(range(len(gradients)) if rows is None else rows, gradients, strict=True):
            strides = self._permuted.get(row)
            if gradient.layout != torch.strided or gradient.is_neg():
                return False
            if not gradient.is_contiguous() if strides is None else gradient.stride() != strides:
                return False
        return True
