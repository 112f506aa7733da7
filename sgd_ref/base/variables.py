"""The variables of an optimizer and the gradients of a call, checked before anything changes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from sgd_ref.arithmetic.formats import BY_NAME, Array, is_supported
from sgd_ref.arithmetic.rounded import convert, holds
from sgd_ref.base.aliasing import OccupiedMemory, is_same_memory, overlaps_itself
from sgd_ref.base.losses import level_of_user
from sgd_ref.gradients import SparseRows, from_scipy, is_scipy
from sgd_ref.validation import ndarray, reject_type, reject_value, text

FLOATS = ", ".join(BY_NAME)


def check_variables(variables: Any, argument: str = "variables") -> list[Array]:
    """Return the variables as a list; each must be a writable float array with memory of its own.

    Raises
    ------
    TypeError
        If `variables` is not a list or tuple of ndarrays of the dtypes in ``FORMATS``.
    ValueError
        If the list is empty, or if an array is read-only, is given twice or shares memory with another one.
    """
    if not isinstance(variables, (list, tuple)):
        reject_type(argument, variables, "a list of ndarrays")
    if not variables:
        reject_value(argument, variables, "a list with at least one array")
    for index, variable in enumerate(variables):
        name = f"{argument}[{index}]"
        ndarray(name, variable)
        if not is_supported(variable.dtype):
            raise TypeError(f"{name} must have one of the dtypes {FLOATS}, got {variable.dtype}")
        check_writable([(name, variable)])
        if overlaps_itself(variable):
            raise ValueError(f"{name} must not overlap itself, got strides {variable.strides}")
    positions(variables, variables, argument)
    memory = OccupiedMemory((f"{argument}[{index}]", variable) for index, variable in enumerate(variables))
    for index, variable in enumerate(variables):
        owner = memory.owner(variable, among=index)
        if owner is not None:
            raise ValueError(
                f"{argument}[{index}] must not share memory with another variable, "
                f"got an array that overlaps {owner}"
            )
    return list(variables)


def check_writable(named_arrays: Iterable[tuple[str, Array]]) -> None:
    """Check that a step can write to arrays.

    Raises
    ------
    ValueError
        If an array is read-only.
    """
    for name, array in named_arrays:
        if not array.flags.writeable:
            raise ValueError(f"{name} must be writable, since it is updated in place, got a read-only array")


def check_names(names: Any, count: int) -> list[str]:
    """Return one name for each variable: the given names, or variable_0, variable_1, ...

    Raises
    ------
    TypeError
        If `names` is not a list of strings.
    ValueError
        If there are too few or too many names, or if two names would give arrays of state the same name.
    """
    if names is None:
        return [f"variable_{index}" for index in range(count)]
    if not isinstance(names, (list, tuple)):
        reject_type("names", names, "a list of strings")
    if len(names) != count:
        raise ValueError(f"names must have one entry for each of the {count} variables, got {len(names)}")
    checked = [text(f"names[{index}]", name) for index, name in enumerate(names)]
    first_use: dict[str, str] = {}
    for name in checked:
        flat = name.replace("/", "_")
        if flat in first_use:
            raise ValueError(
                f"names must differ, also with '/' read as '_', got {first_use[flat]!r} and {name!r}"
            )
        first_use[flat] = name
    return checked


def check_rebuilt(
    built: Sequence[Array], built_names: list[str], variables: Any, names: Sequence[str] | None
) -> None:
    """Check that a second build has the same variables and names as the first one.

    Raises
    ------
    TypeError, ValueError
        If the variables or the names are others.
    """
    if positions(variables, built) != list(range(len(built))):
        raise ValueError(
            f"variables must be the {len(built)} arrays that the optimizer was built with, in that order, "
            "got some of them or another order"
        )
    if names is not None and check_names(names, len(built)) != built_names:
        raise ValueError(f"names must be those that the optimizer was built with, {built_names}, got {names}")


def positions(chosen: Any, known: Sequence[Array], argument: str = "variables") -> list[int]:
    """Return the position of each of the `chosen` variables among the `known` variables.

    Raises
    ------
    TypeError
        If `chosen` is not a list of ndarrays.
    ValueError
        If a variable is not known or is given twice.
    """
    if not isinstance(chosen, (list, tuple)):
        reject_type(argument, chosen, "a list of ndarrays")
    by_identity = {id(variable): position for position, variable in reversed(list(enumerate(known)))}
    found: dict[int, int] = {}
    for index, variable in enumerate(chosen):
        ndarray(f"{argument}[{index}]", variable)
        position = by_identity.get(id(variable))
        if position is None:
            # A caller may hold another view of the same elements.
            position = _position(variable, known)
        if position is None:
            raise ValueError(
                f"{argument}[{index}] must be one of the {len(known)} arrays that the optimizer was built "
                f"with, got another one of shape {variable.shape} and dtype {variable.dtype}"
            )
        if position in found:
            raise ValueError(
                f"{argument} must hold each array once, got the same one as {argument}[{found[position]}] "
                f"and {argument}[{index}]"
            )
        found[position] = index
    return list(found)


class Target(NamedTuple):
    """The properties of a variable that a gradient must fit."""

    name: str
    variable: Array


def check_gradients(gradients: Any, targets: Sequence[Target]) -> None:
    """Check a list of gradients against the variables they are for, in the same order.

    Raises
    ------
    TypeError
        If `gradients` is not a list of ndarray, SparseRows, arrays of scipy.sparse or None, or a dtype
        is not a float or is wider than that of the variable.
    ValueError
        If the number or a shape is wrong, or every gradient is None.
    """
    if not isinstance(gradients, (list, tuple)):
        reject_type("gradients", gradients, "a list of ndarray, SparseRows, scipy.sparse arrays or None")
    if len(gradients) != len(targets):
        raise ValueError(
            f"gradients must have one entry for each of the {len(targets)} variables, got {len(gradients)}"
        )
    if all(gradient is None for gradient in gradients):
        raise ValueError("gradients must hold at least one gradient, got None for every variable")
    for index, (gradient, (name, variable)) in enumerate(zip(gradients, targets, strict=True)):
        if gradient is None:
            continue
        argument = f"gradients[{index}]"
        sparse = isinstance(gradient, SparseRows) or is_scipy(gradient)
        dense = isinstance(gradient, (np.ndarray, np.generic)) and not isinstance(gradient, np.ma.MaskedArray)
        if not sparse and not dense:
            reject_type(argument, gradient, "an ndarray, SparseRows, a scipy.sparse array or None")
        if not is_supported(gradient.dtype):
            raise TypeError(f"{argument} must have one of the dtypes {FLOATS}, got {gradient.dtype}")
        if not holds(variable.dtype, gradient.dtype):
            raise TypeError(
                f"{argument} must have a dtype that {variable.dtype}, the dtype of {name}, "
                f"holds exactly, got {gradient.dtype}"
            )
        if tuple(gradient.shape) != variable.shape:
            raise ValueError(
                f"{argument} must have the shape {variable.shape} of {name}, got {tuple(gradient.shape)}"
            )
        if is_scipy(gradient) and gradient.ndim != 2:
            reject_value(f"{argument}.ndim", gradient.ndim, "2 for an array of scipy.sparse")


def check_no_alias(gradients: Sequence[Any], memory: OccupiedMemory) -> None:
    """Check that no gradient lies in memory that the step will write.

    Raises
    ------
    ValueError
        If a gradient shares memory with a variable or with the state of the optimizer.
    """
    for index, gradient in enumerate(gradients):
        array = gradient
        if isinstance(gradient, SparseRows):
            array = gradient.values
        elif is_scipy(gradient):
            array = getattr(gradient, "data", None)
        if isinstance(array, np.ndarray):
            owner = memory.owner(array)
            if owner is not None:
                raise ValueError(
                    f"gradients[{index}] must not share memory with what is updated in place, "
                    f"got an array that overlaps {owner}"
                )


def to_dense(gradient: Any, variable: Array) -> Array | None:
    """Return the gradient as a dense array of the dtype of its variable, widened exactly."""
    if gradient is None:
        return None
    if is_scipy(gradient):
        return from_scipy(gradient.astype(variable.dtype)).to_dense()
    if isinstance(gradient, SparseRows):
        widened = convert(gradient.values, variable.dtype)
        return SparseRows(gradient.indices, widened, gradient.shape).to_dense()
    return convert(np.asarray(gradient), variable.dtype)


def warn_of_missing(gradients: Sequence[Any], targets: Sequence[Target]) -> None:
    """Warn of the variables that have no gradient in this call."""
    missing = [name for gradient, (name, _) in zip(gradients, targets, strict=True) if gradient is None]
    if missing:
        warnings.warn(f"no gradient was given for the variables {missing}", stacklevel=level_of_user())


def _position(variable: Array, known: Sequence[Array]) -> int | None:
    for position, candidate in enumerate(known):
        if is_same_memory(candidate, variable):
            return position
    return None
