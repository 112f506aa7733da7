"""Layouts in memory: inside a larger buffer, with gaps, backwards, transposed, or misaligned."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.conformance.catalogue.case import Case, Record

PADDING = 32
"""The number of elements of the buffer before and after an array."""

FILLING = 0xA5
"""The value of every byte of a buffer that belongs to no variable."""

OFFSETS = range(16)


class WroteOutside(AssertionError):
    """Raised if a kernel changed memory outside of a variable."""


class Placed(NamedTuple):
    """An array, and all the memory around it as bytes."""

    array: Array
    memory: Array


Layout = Callable[[Array], Placed]


def at_offset(offset: int) -> Layout:
    """Return the layout in which an array starts some elements into a buffer.

    >>> at_offset(3)(np.ones(2)).array
    array([1., 1.])
    """

    def place(array: Array) -> Placed:
        start = (PADDING + offset) * array.itemsize
        memory = _filled(array.nbytes + 2 * start)
        inner = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        inner[...] = array
        return Placed(inner, memory)

    return place


def with_gaps(array: Array) -> Placed:
    """Use every second element of a buffer along each axis."""
    memory = _filled(array.itemsize * int(np.prod([2 * length for length in array.shape], dtype=np.int64)))
    wide = memory.view(array.dtype).reshape([2 * length for length in array.shape])
    inner = wide[tuple(slice(None, None, 2) for _ in array.shape) or ...]
    inner[...] = array
    return Placed(inner, memory)


def backwards(array: Array) -> Placed:
    """Use the elements of a buffer from its end."""
    memory = _filled(array.nbytes)
    inner = memory.view(array.dtype).reshape(array.shape)
    inner = inner[tuple(slice(None, None, -1) for _ in array.shape) or ...]
    inner[...] = array
    return Placed(inner, memory)


def transposed(array: Array) -> Placed:
    """Use a buffer with its axes in the opposite order."""
    memory = _filled(array.nbytes)
    inner = memory.view(array.dtype).reshape(array.shape[::-1]).T
    inner[...] = array
    return Placed(inner, memory)


def misaligned(array: Array) -> Placed:
    """Start at an odd address."""
    memory = _filled(array.nbytes + 1)
    # The allocator always returns aligned memory.
    inner = np.ndarray(array.shape, array.dtype, memory.data, 1)
    inner[...] = array
    return Placed(inner, memory)


LAYOUTS: dict[str, Layout] = {
    **{f"offset-{offset}": at_offset(offset) for offset in OFFSETS},
    "gaps": with_gaps,
    "backwards": backwards,
    "transposed": transposed,
    "misaligned": misaligned,
}


def run(case: Case, optimizer_class: Any, variables_in: Layout, gradients_in: Layout) -> list[Record]:
    """Return the trajectory of a case with its arrays in certain layouts.

    Parameters
    ----------
    case : Case
        A case without loss scaling and callable rates.
    optimizer_class : type
        The class of the optimizer.
    variables_in, gradients_in : callable
        The layouts of the variables, and of dense gradients.

    Raises
    ------
    WroteOutside
        If memory outside of a variable has changed.
    """
    placed = [variables_in(variable) for variable in case.variables]
    variables = [place.array for place in placed]
    optimizer = optimizer_class.from_config(case.config)
    optimizer.exclude_from_weight_decay(var_names=list(case.excluded_from_weight_decay))
    optimizer.build(variables, list(case.names))
    trajectory = []
    for gradients in case.gradients:
        given = [
            gradients_in(gradient).array if isinstance(gradient, np.ndarray) else gradient
            for gradient in gradients
        ]
        rate = optimizer.learning_rate
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            optimizer.apply(given)
        trajectory.append({**_record(optimizer, variables), "learning_rate": rate})
    if case.finalize:
        optimizer.finalize_variable_values(variables)
        trajectory.append(_record(optimizer, variables))
    for name, place in zip(case.names, placed, strict=True):
        place.array.view(f"u{place.array.itemsize}")[...] = int.from_bytes(
            bytes([FILLING] * place.array.itemsize)
        )
        if (place.memory != FILLING).any():
            raise WroteOutside(f"memory beside {name} has changed")
    return trajectory


def _filled(count: int) -> Array:
    return np.full(count, FILLING, np.uint8)


def _record(optimizer: Any, variables: list[Array]) -> Record:
    return {
        "variables": [np.array(variable) for variable in variables],
        "velocities": [np.array(array) for array in optimizer.velocities],
        "averages": [np.array(array) for array in optimizer.averages],
        "accumulators": [np.array(array) for array in optimizer.accumulators],
        "iterations": optimizer.iterations,
        "calls": optimizer.calls,
    }
