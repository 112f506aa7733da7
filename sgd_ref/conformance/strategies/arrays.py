"""Strategies for numbers, shapes, arrays and gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from functools import cache, partial
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import DTypeLike

from sgd_ref.arithmetic.formats import BY_NAME, FORMATS, Array
from sgd_ref.arithmetic.rounded import holds, setting
from sgd_ref.conformance.catalogue.numbers import NumberStream
from sgd_ref.gradients import SparseRows
from sgd_ref.validation import reject_value

DTYPES = tuple(dtype.name for dtype in FORMATS)
"""Names of the dtypes that are drawn unless others are asked for."""

LENGTHS = (0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129)
"""Numbers of elements on both sides of the sizes of vector registers."""

Recipe = Callable[[NumberStream], Any]
"""How to make an array or a gradient from a stream of numbers.

With one stream for a whole case, instead of one for each array, cases shrink in seconds, not minutes.
"""


@cache
def numbers(dtype: DTypeLike, finite: bool = False) -> st.SearchStrategy[Any]:
    """Draw one number of a dtype.

    Parameters
    ----------
    dtype : dtype
        One of ``FORMATS``, or its name.
    finite : bool, default False
        Whether to leave out infinities and NaN.

    Returns
    -------
    strategy of numpy scalar
        Of `dtype`. Signed zeros, subnormal numbers and the ends of the range are frequent.

    Raises
    ------
    ValueError
        If the dtype is not one of the four.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(numbers("float16"), np.isinf)
    np.float16(inf)
    """
    dtype = known_dtype(dtype)
    form = FORMATS[dtype]
    largest, normal = float(form.largest), float(form.smallest_normal)
    subnormal = float(form.smallest_normal * 2 / 2**form.precision)
    limits = [0.0, 1.0, subnormal, normal - subnormal, normal, largest]
    if not finite:
        limits += [math.inf, math.nan]
    signed = [sign * limit for limit in limits for sign in (1.0, -1.0)]
    ranges = [st.floats(-bound, bound) for bound in (4.0, normal, largest)]
    return st.one_of(st.sampled_from(signed), *ranges).map(lambda value: setting(value, dtype))


def shapes() -> st.SearchStrategy[tuple[int, ...]]:
    """Draw the shape of a small array: up to three axes, also without elements.

    Returns
    -------
    strategy of tuple of int
        The last length is near the size of a vector register; at most 165 elements.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(shapes(), lambda shape: 0 in shape)
    (0,)
    """
    return st.one_of(
        st.just(()),
        st.tuples(st.sampled_from(LENGTHS)),
        st.tuples(st.integers(0, 5), st.sampled_from(LENGTHS[:14])),
        st.tuples(st.integers(0, 2), st.integers(0, 3), st.sampled_from(LENGTHS[:11])),
    )


def arrays(
    dtype: DTypeLike,
    shape: tuple[int, ...] | st.SearchStrategy[tuple[int, ...]] | None = None,
    magnitude: float = 2.0,
    finite: bool = False,
) -> st.SearchStrategy[Array]:
    """Draw an array of numbers with full significands, and perhaps a few special values.

    Parameters
    ----------
    dtype : dtype
        One of ``FORMATS``, or its name.
    shape : tuple of int or strategy of tuple of int, optional
        ``shapes()`` by default.
    magnitude : float, default 2.0
        Ordinary elements lie between -magnitude and magnitude.
    finite : bool, default False
        Whether to leave out infinities and NaN.

    Returns
    -------
    strategy of ndarray
        Shrinks to arrays without special values.

    Raises
    ------
    ValueError
        If the dtype is not one of the four.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(arrays("float32", (3,)), lambda array: np.isnan(array).any()).shape
    (3,)
    """
    known = known_dtype(dtype)
    if isinstance(shape, tuple):
        return made(array_recipes(known, shape, magnitude, finite))
    drawn_shapes = shapes() if shape is None else shape
    return drawn_shapes.flatmap(lambda drawn: made(array_recipes(known, drawn, magnitude, finite)))


def gradients(
    variable: Array,
    magnitude: float = 2.0,
    missing: bool = True,
    sparse: bool = True,
    finite: bool = False,
) -> st.SearchStrategy[Array | SparseRows | None]:
    """Draw a gradient that may be passed to ``apply`` for a variable.

    Parameters
    ----------
    variable : ndarray
        Of a dtype in ``FORMATS``; only its shape and dtype matter.
    magnitude : float, default 2.0
        Ordinary elements lie between -magnitude and magnitude.
    missing, sparse : bool, default True
        Whether to draw also None and also SparseRows, with rows that occur more than once.
    finite : bool, default False
        Whether to leave out infinities and NaN.

    Returns
    -------
    strategy of ndarray, SparseRows or None
        Of the dtype of the variable or, less often, of a narrower one.

    Raises
    ------
    ValueError
        If the dtype of the variable is not one of the four.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(gradients(np.zeros((4, 2), "float32")), lambda gradient: gradient is None)
    >>> find(gradients(np.zeros((4, 2), "float32")), lambda gradient: isinstance(gradient, SparseRows)).shape
    (4, 2)
    """
    dtype = known_dtype(variable.dtype)
    return made(gradient_recipes(dtype, variable.shape, magnitude, missing, sparse, finite))


def known_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """Return one of the four dtypes, which may be given by name.

    >>> known_dtype("bfloat16")
    dtype(bfloat16)
    """
    name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    if name not in BY_NAME:
        reject_value("dtype", dtype, f"one of {', '.join(BY_NAME)}")
    return BY_NAME[name]


def known_dtypes(dtypes: Collection[DTypeLike]) -> list[np.dtype[Any]]:
    """Return some of the four dtypes, at least one.

    >>> known_dtypes(["float16"])
    [dtype('float16')]
    """
    if not dtypes:
        reject_value("dtypes", dtypes, f"some of {', '.join(DTYPES)}")
    return [known_dtype(dtype) for dtype in dtypes]


def made(recipes: st.SearchStrategy[Recipe]) -> st.SearchStrategy[Any]:
    """Draw a recipe and a stream of numbers, and return the result of the recipe on the stream."""
    return st.builds(
        lambda recipe, seed: recipe(NumberStream(f"drawn {seed}")), recipes, st.integers(0, 2**32 - 1)
    )


# A strategy is checked when it is first drawn from, which takes longer than drawing: each is made once.
@cache
def array_recipes(
    dtype: np.dtype[Any], shape: tuple[int, ...], magnitude: float, finite: bool
) -> st.SearchStrategy[Recipe]:
    """Draw how to make an array."""
    size = math.prod(shape)
    if not size:
        return st.just(partial(_filled, dtype, shape, magnitude, []))
    places = st.lists(st.tuples(st.integers(0, size - 1), numbers(dtype, finite)), max_size=3)
    return places.map(lambda drawn: partial(_filled, dtype, shape, magnitude, drawn))


@cache
def gradient_recipes(
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    magnitude: float,
    missing: bool,
    sparse: bool,
    finite: bool,
) -> st.SearchStrategy[Recipe]:
    """Draw how to make a gradient."""
    narrower = [narrow for narrow in FORMATS if narrow != dtype and holds(dtype, narrow)]
    kinds = [array_recipes(dtype, shape, magnitude, finite)] * 3
    kinds += [array_recipes(narrow, shape, magnitude, finite) for narrow in narrower]
    if missing:
        kinds.append(st.just(lambda stream: None))
    if sparse and shape:
        rows = [_sparse_recipes(each, shape, magnitude, finite) for each in (dtype, dtype, *narrower)]
        kinds.append(st.sampled_from(rows).flatmap(lambda kind: kind))
    # one_of would take a choice that is there three times for one.
    return st.sampled_from(kinds).flatmap(lambda kind: kind)


def _sparse_recipes(
    dtype: np.dtype[Any], shape: tuple[int, ...], magnitude: float, finite: bool
) -> st.SearchStrategy[Recipe]:
    # An axis without elements has no rows to draw.
    rows = st.lists(st.integers(0, shape[0] - 1), max_size=4) if shape[0] else st.just([])
    return rows.flatmap(
        lambda indices: array_recipes(dtype, (len(indices), *shape[1:]), magnitude, finite).map(
            lambda recipe: partial(_sparse_rows, shape, indices, recipe)
        )
    )


def _filled(
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    magnitude: float,
    places: list[tuple[int, Any]],
    stream: NumberStream,
) -> Array:
    array = stream.array(shape, dtype, magnitude)
    for position, number in places:
        array.reshape(-1)[position] = number
    return array


def _sparse_rows(
    shape: tuple[int, ...], indices: list[int], recipe: Recipe, stream: NumberStream
) -> SparseRows:
    return SparseRows(np.array(indices, np.int64), recipe(stream), shape)
