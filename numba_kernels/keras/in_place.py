"""Steps on the backend PyTorch: the kernels read and write the memory of the tensors."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from keras.src.backend.common.stateless_scope import in_stateless_scope

from numba_kernels.keras.engine import Lists, lists_of
from numba_kernels.keras.gradients import as_narrow
from numba_kernels.keras.stepper import DTYPES, Stepper
from sgd_ref.arithmetic.formats import BFLOAT16, Array
from sgd_ref.base.learning_rate import to_float32
from sgd_ref.gradients import SparseRows

_value, _address = operator.attrgetter("_value"), torch.Tensor.data_ptr


class InPlace(Stepper):
    """Steps that update tensors of PyTorch on the CPU without a copy."""

    def device_of(self, variable: Any) -> str | None:
        """Return the name of the device of a variable, None for the CPU."""
        device = variable._value.device
        return None if device.type == "cpu" else str(device)

    def copies(self, tensors: Sequence[Any]) -> list[Any]:
        """Return copies of tensors, since a step changes tensors in place."""
        return [getattr(tensor, "value", tensor).detach().clone() for tensor in tensors]

    # Another compiler could make nothing in a step faster.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def step(self, optimizer: Any, gradients: list[Any]) -> None:
        """Make one call in place, and count it."""
        lists = lists_of(optimizer)
        tensors = [_tensors(variables) for variables in lists]
        (counter,) = _tensors([optimizer._iterations])
        arrays = [
            None if gradient is None else _gradient(variable, gradient)
            for variable, gradient in zip(lists[0], gradients, strict=True)
        ]
        calls = int(counter)
        rate = _rate(optimizer, calls)
        engine = self.engines.current(
            optimizer,
            [*map(_address, chain.from_iterable(tensors)), _address(counter)],
            lambda: (_arrays(lists, tensors), _array(counter)),
            optimizer.threads or torch.get_num_threads(),
        )
        engine.step(arrays, rate, calls)
        # Autograd has to know that values which it may have saved have changed.
        torch.autograd.graph.increment_version(tensors[0])


def _tensors(variables: list[Any]) -> list[Any]:
    # The property `value` of a variable takes a microsecond and a half.
    return (
        [variable.value for variable in variables] if in_stateless_scope() else list(map(_value, variables))
    )


def _arrays(lists: Lists, tensors: list[list[Any]]) -> list[list[Array]]:
    for variable, tensor in zip(chain.from_iterable(lists), chain.from_iterable(tensors), strict=True):
        if tensor.dtype != variable._value.dtype or tensor.device.type != "cpu":
            raise ValueError(
                f"{variable.path} must stay {variable.dtype} on the CPU, "
                f"got {tensor.dtype} on {tensor.device}"
            )
    return [[_array(tensor) for tensor in of_kind] for of_kind in tensors]


def _array(tensor: Any) -> Array:
    """Return an array in the memory of a tensor."""
    plain = tensor.detach()
    if plain.dtype == torch.bfloat16:
        return np.asarray(plain.view(torch.int16).numpy().view(BFLOAT16))
    return np.asarray(plain.numpy())


def _gradient(variable: Any, gradient: Any) -> Any:
    name = f"the gradient of {variable.path}"
    if not isinstance(gradient, torch.Tensor):
        raise TypeError(f"{name} must be a tensor of PyTorch, got a {type(gradient).__name__}")
    if gradient.device.type != "cpu":
        raise ValueError(f"{name} must be on the CPU, got one on {gradient.device}")
    if gradient.layout == torch.sparse_coo and gradient.sparse_dim() == 1:
        values = _array(gradient._values())
        return SparseRows(gradient._indices()[0].numpy(), values, tuple(gradient.shape))
    if gradient.layout != torch.strided:
        raise TypeError(f"{name} must be dense, or sparse in rows, got a tensor of layout {gradient.layout}")
    return as_narrow(_array(gradient.resolve_neg()), DTYPES[variable.dtype])


def _rate(optimizer: Any, calls: int) -> np.float32:
    found = optimizer.rate_on_host
    if found is not None:
        rate: np.float32 = found.read(calls, None)
        return rate
    value = optimizer._learning_rate
    value = value.value if hasattr(value, "value") else value(optimizer._iterations)
    return to_float32("learning_rate", value.item() if isinstance(value, torch.Tensor) else value)
