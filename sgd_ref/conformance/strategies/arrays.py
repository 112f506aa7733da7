"""Strategies for numbers, shapes, arrays and gradients."""

from __future__ import annotations

import math
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
    dtype = dtype_named(dtype)
    form = FORMATS[dtype]
    largest, normal = float(form.largest), float(form.smallest_normal)
    subnormal = float(form.smallest_normal * 2 / 2**form.precision)
    limits = [0.0, subnormal, normal - subnormal, normal, 1.0, largest]
    if not finite:
        limits += [float("inf"), float("nan")]
    signed = [sign * limit for limit in limits for sign in (1.0, -1.0)]
    return st.one_of(
        st.sampled_from(signed),
        st.floats(-4.0, 4.0),
        st.floats(-largest, largest),
        st.floats(-normal, normal),
    ).map(lambda value: setting(value, dtype))


def shapes() -> st.SearchStrategy[tuple[int, ...]]:
    """Draw the shape of a small array: up to three axes, also without elements.

    >>> from hypothesis import find
    >>> find(shapes(), lambda shape: 0 in shape)
    (0,)
    """
    return st.one_of(
        st.just(()),
        st.tuples(st.sampled_from(LENGTHS)),
        st.tuples(st.integers(0, 4), st.sampled_from(LENGTHS[:14])),
        st.tuples(st.integers(0, 2), st.integers(0, 3), st.sampled_from(LENGTHS[:11])),
    )


@st.composite
def arrays(
    draw: st.DrawFn,
    dtype: DTypeLike,
    shape: tuple[int, ...] | st.SearchStrategy[tuple[int, ...]] | None = None,
    magnitude: float = 2.0,
    finite: bool = False,
) -> Array:
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
    if shape is None:
        shape = shapes()
    drawn = shape if isinstance(shape, tuple) else draw(shape)
    return draw_array(draw, draw(streams()), drawn, dtype_named(dtype), magnitude, finite)


@st.composite
def gradients(
    draw: st.DrawFn,
    variable: Array,
    magnitude: float = 2.0,
    missing: bool = True,
    sparse: bool = True,
    finite: bool = False,
) -> Array | SparseRows | None:
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
        Of the dtype of the variable or, less often, of a narrower one.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(gradients(np.zeros((4, 2), "float32")), lambda gradient: gradient is None)
    >>> find(gradients(np.zeros((4, 2), "float32")), lambda gradient: isinstance(gradient, SparseRows)).shape
    (4, 2)
    """
    return draw_gradient(
        draw, draw(streams()), variable, magnitude, missing=missing, sparse=sparse, finite=finite
    )


def dtype_named(dtype: DTypeLike) -> np.dtype[Any]:
    by_name = {known.name: known for known in FORMATS}
    name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    if name not in by_name:
        reject_value("dtype", dtype, f"one of {', '.join(by_name)}")
    return by_name[name]


def _stream(draw: st.DrawFn) -> Numbers:
    return Numbers(f"drawn {draw(st.integers(0, 2**32 - 1))}")


def draw_array(
    draw: st.DrawFn,
    stream: Numbers,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    magnitude: float,
    finite: bool,
) -> Array:
    array = stream.array(shape, dtype, magnitude)
    if array.size:
        place = st.tuples(st.integers(0, array.size - 1), numbers(dtype, finite))
        for position, number in draw(st.lists(place, max_size=3)):
            array.reshape(-1)[position] = number
    return array


def draw_gradient(
    draw: st.DrawFn,
    stream: Numbers,
    variable: Array,
    magnitude: float,
    *,
    missing: bool,
    sparse: bool,
    finite: bool,
) -> Array | SparseRows | None:
    kinds = ["dense"] * 4 + ["missing"] * missing + ["sparse"] * (sparse and variable.ndim > 0)
    kind = draw(st.sampled_from(kinds))
    if kind == "missing":
        return None
    narrower = [dtype for dtype in FORMATS if dtype != variable.dtype and holds(variable.dtype, dtype)]
    dtype = draw(st.sampled_from([variable.dtype] * 3 + narrower))
    if kind == "dense":
        return readonly(draw_array(draw, stream, variable.shape, dtype, magnitude, finite))
    rows = st.integers(0, variable.shape[0] - 1) if variable.shape[0] else st.nothing()
    indices = draw(st.lists(rows, max_size=4))
    values = draw_array(draw, stream, (len(indices), *variable.shape[1:]), dtype, magnitude, finite)
    return SparseRows(readonly(np.array(indices, np.int64)), readonly(values), variable.shape)
