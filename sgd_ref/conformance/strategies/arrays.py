"""Strategies for numbers, shapes, arrays and gradients."""

from __future__ import annotations

import math
from collections.abc import Collection
from functools import cache, partial
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import DTypeLike

from sgd_ref.arithmetic.rounded import FORMATS, Array, holds, setting
from sgd_ref.conformance.data import Numbers, readonly
from sgd_ref.gradients import SparseRows
from sgd_ref.validation import reject_value

DTYPES = tuple(dtype.name for dtype in FORMATS)
"""Names of the dtypes that are drawn unless others are asked for."""

LENGTHS = (0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129)
"""Numbers of elements on both sides of the sizes of vector registers."""


@cache
def numbers(dtype: DTypeLike, finite: bool = False) -> st.SearchStrategy[Any]:
    """Draw one number of a dtype.

    Parameters
    ----------
    dtype : dtype
        float16, bfloat16, float32 or float64.
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
    """Draw an array of numbers with full significands, among which a few special values may stand.

    Parameters
    ----------
    dtype : dtype
        float16, bfloat16, float32 or float64.
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
        return _array(known, shape, magnitude, finite)
    drawn_shapes = shapes() if shape is None else shape
    return drawn_shapes.flatmap(lambda drawn: _array(known, drawn, magnitude, finite))


def gradients(
    variable: Array,
    magnitude: float = 2.0,
    missing: bool = True,
    sparse: bool = True,
    finite: bool = False,
) -> st.SearchStrategy[Array | SparseRows | None]:
    """Draw what may be passed to ``apply`` for a variable.

    Parameters
    ----------
    variable : ndarray
        Of float16, bfloat16, float32 or float64; only its shape and dtype matter.
    magnitude : float, default 2.0
        Ordinary elements lie between -magnitude and magnitude.
    missing, sparse : bool, default True
        Whether to draw also None and also SparseRows, with rows that occur more than once.
    finite : bool, default False
        Whether to leave out infinities and NaN.

    Returns
    -------
    strategy of ndarray, SparseRows or None
        Of the dtype of the variable or, less often, of a narrower one. Arrays are read-only.

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
    return _gradient(known_dtype(variable.dtype), variable.shape, magnitude, missing, sparse, finite)


def known_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """Return one of the four dtypes, which may be given by name.

    >>> known_dtype("bfloat16")
    dtype(bfloat16)
    """
    by_name = {known.name: known for known in FORMATS}
    name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    if name not in by_name:
        reject_value("dtype", dtype, f"one of {', '.join(by_name)}")
    return by_name[name]


def known_dtypes(dtypes: Collection[DTypeLike]) -> list[np.dtype[Any]]:
    """Return some of the four dtypes, at least one.

    >>> known_dtypes(["float16"])
    [dtype('float16')]
    """
    if not dtypes:
        reject_value("dtypes", dtypes, f"some of {', '.join(DTYPES)}")
    return [known_dtype(dtype) for dtype in dtypes]


# A strategy is checked when it is first drawn from, which takes longer than drawing: each is made once.


@cache
def _array(
    dtype: np.dtype[Any], shape: tuple[int, ...], magnitude: float, finite: bool
) -> st.SearchStrategy[Array]:
    size = math.prod(shape)
    places = st.tuples(st.integers(0, max(size - 1, 0)), numbers(dtype, finite))
    return st.builds(
        partial(_filled, dtype, shape, magnitude),
        st.integers(0, 2**32 - 1),
        st.lists(places, max_size=3) if size else st.just([]),
    )


def _filled(
    dtype: np.dtype[Any], shape: tuple[int, ...], magnitude: float, seed: int, places: list[tuple[int, Any]]
) -> Array:
    array = Numbers(f"drawn {seed}").array(shape, dtype, magnitude)
    for position, number in places:
        array.reshape(-1)[position] = number
    return array


@cache
def _gradient(
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    magnitude: float,
    missing: bool,
    sparse: bool,
    finite: bool,
) -> st.SearchStrategy[Any]:
    dense = [
        _array(narrow, shape, magnitude, finite).map(readonly)
        for narrow in FORMATS
        if narrow != dtype and holds(dtype, narrow)
    ]
    kinds = [_array(dtype, shape, magnitude, finite).map(readonly)] * 3 + dense
    if missing:
        kinds.append(st.none())
    if sparse and shape:
        kinds.append(_sparse_rows(dtype, shape, magnitude, finite))
    # Unlike one_of, it does not flatten the choices, of which there would then be too many rare ones.
    return st.sampled_from(kinds).flatmap(lambda kind: kind)


def _sparse_rows(
    dtype: np.dtype[Any], shape: tuple[int, ...], magnitude: float, finite: bool
) -> st.SearchStrategy[SparseRows]:
    # An axis without elements has no rows to draw.
    rows = st.lists(st.integers(0, shape[0] - 1), max_size=4) if shape[0] else st.just([])
    return rows.flatmap(
        lambda indices: _array(dtype, (len(indices), *shape[1:]), magnitude, finite).map(
            lambda values: SparseRows(readonly(np.array(indices, np.int64)), readonly(values), shape)
        )
    )
