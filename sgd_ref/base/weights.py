"""The state as a flat list of arrays in the order of Keras, to move it to Keras and back in mid-training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import Array, is_supported
from sgd_ref.arithmetic.rounded import convert, holds
from sgd_ref.base.learning_rate import to_float32
from sgd_ref.base.state import State
from sgd_ref.base.variables import check_writable
from sgd_ref.read_only import ReadOnlyList
from sgd_ref.validation import integer_at_least, ndarray, reject_type, reject_value

LARGEST_COUNT = 2**63 - 1


def variables(state: State, learning_rate: np.float32 | None) -> list[Array]:
    """Return the number of calls, the learning rate if it is a number, averages, accumulators and velocities.

    Raises
    ------
    ValueError
        If the number of calls is beyond int64.
    """
    calls = read_only(np.int64(counter("the number of calls", state.calls)))
    rate = [] if learning_rate is None else [read_only(learning_rate)]
    return ReadOnlyList([calls, *rate, *(array for _, array in state.slots())], "variables")


def read_only(number: np.generic) -> Array:
    """Return a number as a read-only array, since a value written into it would have no effect."""
    array = np.array(number)
    array.setflags(write=False)
    return array


def names(state: State, optimizer: str, has_constant_rate: bool) -> list[str]:
    """Return the name of each array of ``variables``, as Keras forms it."""
    flat = [name.replace("/", "_") for name in state.names]
    slots = [kind for kind, _ in state.slots()]
    return [
        f"{optimizer}/iteration",
        *([f"{optimizer}/learning_rate"] if has_constant_rate else []),
        *(f"{optimizer}/{flat[index % len(flat)]}_{kind}" for index, kind in enumerate(slots)),
    ]


def assign(state: State, values: Sequence[Any], learning_rate: np.float32 | None) -> np.float32 | None:
    """Set the state from `values`, in the order of ``variables``, all of it or nothing.

    Returns
    -------
    float32 or None
        The learning rate among the values, if there is one.

    Raises
    ------
    TypeError, ValueError
        If the number of values, a shape, a dtype or the number of calls does not fit.
    """
    if not isinstance(values, (list, tuple)):
        reject_type("values", values, "a list of arrays")
    slots = [array for _, array in state.slots()]
    leading = 1 if learning_rate is None else 2
    if len(values) != leading + len(slots):
        raise ValueError(f"values must hold {leading + len(slots)} arrays, got {len(values)}")
    calls = counter("values[0], the number of calls,", values[0])
    rate = None if learning_rate is None else to_float32("values[1], the learning rate,", values[1])
    arrays = [
        slot_value(f"values[{index}]", value, slot)
        for index, (value, slot) in enumerate(zip(values[leading:], slots, strict=True), leading)
    ]
    check_writable(state.named_arrays())
    for slot, array in zip(slots, arrays, strict=True):
        slot[...] = array
    state.calls = calls
    return rate


def counter(name: str, value: Any) -> int:
    """Return a counter that is given as an integer or as a 0-dimensional array of an integer."""
    zero_dimensional = isinstance(value, np.ndarray) and value.ndim == 0
    number = integer_at_least(name, value.item() if zero_dimensional else value, 0)
    if number > LARGEST_COUNT:
        reject_value(name, number, f"at most {LARGEST_COUNT}, the largest int64")
    return number


def slot_value(name: str, value: Any, slot: Array) -> Array:
    """Return a copy of `value` in the dtype of the array of state, which must hold the values exactly."""
    array = np.array(value if isinstance(value, np.generic) else ndarray(name, value))
    if array.shape != slot.shape:
        raise ValueError(f"{name} must have the shape {slot.shape}, got {array.shape}")
    if not is_supported(array.dtype) or not holds(slot.dtype, array.dtype):
        raise TypeError(f"{name} must have a dtype that {slot.dtype} holds exactly, got {array.dtype}")
    return convert(array, slot.dtype)
