"""The sample of elements that are judged: the same in every step, so that their state can be followed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.conformance.watching.steps import Parameter


def chosen_elements(parameters: Sequence[Parameter], most: int | None, seed: int) -> list[Array | None]:
    """Return for each parameter the indices of its sampled elements, in C order.

    Parameters of one shape get the same indices. Otherwise the judge could not see that two parameters
    wrongly share their state. The first and the last element of each parameter are always included.

    Parameters
    ----------
    parameters : sequence of Parameter
        All parameters of the model.
    most : int or None
        The size of the sample over all parameters; None for all elements. Each parameter has at least two
        elements in it.
    seed : int
        The seed for choosing the elements.

    Returns
    -------
    list of ndarray or None
        The indices; None for a parameter that is judged as a whole, in its own shape.

    Examples
    --------
    >>> large = Parameter("a", (1000, 1000), np.dtype("float32"))
    >>> [len(found) for found in chosen_elements([large, large], 1000, seed=0)]
    [500, 500]
    >>> chosen_elements([large], None, seed=0)
    [None]
    """
    total = sum(parameter.size for parameter in parameters)
    if most is None or total <= most:
        return [None] * len(parameters)
    return [
        _chosen(parameter, max(2, parameter.size * most // total), seed) if parameter.size else None
        for parameter in parameters
    ]


def _chosen(parameter: Parameter, count: int, seed: int) -> Array | None:
    if count >= parameter.size:
        return None
    generator = np.random.default_rng([seed, *parameter.shape])
    between = 1 + generator.choice(parameter.size - 2, count - 2, replace=False)
    return np.sort(np.array([0, *between, parameter.size - 1]))


def original_index(parameter: Parameter, elements: Array | None, element: tuple[int, ...]) -> tuple[int, ...]:
    """Return the index in the parameter of an element of the sample.

    >>> parameter = Parameter("a", (4, 5), np.dtype("float32"))
    >>> original_index(parameter, np.array([0, 7, 19]), (1,))
    (1, 2)
    """
    if elements is None:
        return element
    index = np.unravel_index(int(elements[element[0]]), parameter.shape)
    return tuple(int(place) for place in index)
