"""The tensors of an ordinary call, checked in microseconds: known parameters and state, expected gradients.

Where PyTorch has no function in C that describes tensors, gradients take the full check in every call.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from numba_kernels.cpu.tensor_specs import REFUSED, TensorSpecs
from numba_kernels.shared.dlpack import describing_function
from numba_kernels.shared.regions import regions
from numba_kernels.torch.memory import DTYPES, fills_its_memory
from numba_kernels.torch.shards import is_spread, parts_of
from sgd_ref.arithmetic.formats import Array

KINDS = (torch.Tensor, torch.nn.Parameter)
"""Classes of gradients that have their elements in their own memory."""

grad_of = operator.attrgetter("grad")


@functools.cache
def describing() -> int:
    """Return the address of PyTorch's function that describes a tensor, or 0 if it has none."""
    return describing_function(torch.Tensor)


def gradients_of(parameters: Sequence[Any]) -> list[Any]:
    """Return the gradient of each parameter, or None."""
    return list(map(grad_of, parameters))


def identities_of(objects: Sequence[Any]) -> Array:
    """Return the identities of objects."""
    return np.array(list(map(id, objects)), np.int64)


def specs_of(describe: int, tensors: Sequence[Any]) -> TensorSpecs:
    """Return the forms of dense tensors in the host's memory, for the kernels that compare them."""
    return TensorSpecs(
        describe,
        [tuple(tensor.shape) for tensor in tensors],
        [tensor.stride() for tensor in tensors],
        [DTYPES[tensor.dtype] for tensor in tensors],
    )


class KnownTensors:
    """Tensors whose addresses a plan has, with their forms.

    Parameters
    ----------
    tensors : list of Tensor
        Dense tensors, or DTensors; they are kept alive.

    Examples
    --------
    >>> w, v = torch.ones(3), torch.ones(3)
    >>> known = KnownTensors([w])
    >>> known.are_unchanged([w]), known.are_unchanged([v])
    (True, False)
    >>> w.data = torch.ones(3)
    >>> known.are_unchanged([w])
    False
    """

    def __init__(self, tensors: list[Any]) -> None:
        self._tensors, self._is_spread = tensors, any(map(is_spread, tensors))
        self._parts = parts_of(tensors)
        self._identities = identities_of(self._parts)
        self._addresses = np.array([part.data_ptr() for part in self._parts], np.int64)
        self._describe = describing()
        self._specs = specs_of(self._describe, self._parts)
        self._forms = list(map(_form_of, self._parts))

    def are_unchanged(self, tensors: list[Any]) -> bool:
        """Whether these are the same tensors, in the same memory and form."""
        if self._is_spread or not self._describe:
            own = self._tensors
            if len(tensors) != len(own) or not all(map(operator.is_, tensors, own)):
                return False
            tensors = parts_of(tensors)
        if not self._describe:
            return list(map(_form_of, tensors)) == self._forms
        return self._specs.are_unchanged(tensors, self._identities, self._addresses)


class ExpectedGradients:
    """The expected properties of the gradients of some parameters.

    Parameters
    ----------
    parameters : sequence of Tensor
        All parameters of an optimizer, which are dense.
    written : sequence of ndarray
        The arrays that a step writes, and that no gradient may overlap.

    Attributes
    ----------
    addresses : ndarray of int64
        After `find`, the address of each gradient, and ``MISSING`` for a missing one.
    """

    def __init__(self, parameters: Sequence[Any], written: Sequence[Array]) -> None:
        # The kernels copy tensors with gaps, and need arrays for this.
        fills = all(map(fills_its_memory, parameters))
        self._specs = specs_of(describing() if fills else 0, parameters)
        # PyTorch negates an imaginary part only when it is used. Two of its elements are two apart.
        self._perhaps_negated = [
            index
            for index, parameter in enumerate(parameters)
            if parameter.numel() == 1 or not parameter.is_contiguous()
        ]
        self._occupied = regions(written)
        self.addresses = np.zeros(len(parameters), np.int64)

    def find(self, gradients: list[Any]) -> int:
        """Find the addresses of gradients, one for each parameter.

        Returns
        -------
        int
            `REFUSED` if they need the full check; otherwise `COMPLETE` or `INCOMPLETE`.
        """
        found = self._specs.find(gradients, KINDS, self._occupied, self.addresses)
        if found != REFUSED and self._perhaps_negated:
            given = [gradients[index] for index in self._perhaps_negated]
            if any(gradient is not None and gradient.is_neg() for gradient in given):
                return REFUSED
        return found


def _form_of(tensor: Any) -> tuple[Any, ...]:
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype
