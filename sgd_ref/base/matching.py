"""Find variables by their names, and check that they fit a saved state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sgd_ref.arithmetic.formats import Array
from sgd_ref.base.variables import check_names


def order_of_names(names: Sequence[str], known: Sequence[str]) -> list[int]:
    """Return the position of each name among the known names.

    Raises
    ------
    TypeError
        If `names` is not a list of strings.
    ValueError
        If a name is given twice or is not known, or if a known name is missing.

    Examples
    --------
    >>> order_of_names(["bias", "kernel"], ["kernel", "bias"])
    [1, 0]
    """
    # The error lists the names themselves, which also shows their number.
    given = check_names(names, len(names) if isinstance(names, (list, tuple)) else 0)
    place = {name: index for index, name in enumerate(check_names(known, len(known)))}
    unknown = [name for name in given if name not in place]
    missing = [name for name in known if name not in set(given)]
    if unknown or missing:
        raise ValueError(
            f"names must be {list(known)} in any order, got {given}: unknown are {unknown}, missing {missing}"
        )
    return [place[name] for name in given]


def check_forms(names: Sequence[str], forms: Sequence[tuple[Any, str]], variables: Sequence[Array]) -> None:
    """Check that variables have the shapes and dtypes of a saved state.

    Parameters
    ----------
    names : sequence of str
        The names of the variables in error messages.
    forms : sequence of (shape, name of the dtype)
        One for each name.
    variables : sequence of ndarray
        The variables to check.

    Raises
    ------
    ValueError
        If a variable has another shape or dtype.
    """
    for index, (name, (shape, dtype), variable) in enumerate(zip(names, forms, variables, strict=True)):
        if dtype != variable.dtype.name or tuple(shape) != variable.shape:
            raise ValueError(
                f"{name!r} is {dtype} of shape {tuple(shape)}, "
                f"while variables[{index}] is {variable.dtype} of shape {variable.shape}"
            )
