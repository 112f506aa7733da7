"""Strategies for combinations of features and for whole cases."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import DTypeLike

from sgd_ref.conformance.catalogue.axes import AXES
from sgd_ref.conformance.catalogue.case import Case, LossScaling
from sgd_ref.conformance.catalogue.degenerate import FEWEST_CALLS
from sgd_ref.conformance.catalogue.numbers import NumberStream, readonly, readonly_gradient
from sgd_ref.conformance.protocol.encoding import case_to_json, to_line
from sgd_ref.conformance.strategies.arrays import (
    DTYPES,
    array_recipes,
    gradient_recipes,
    known_dtypes,
    shapes,
)
from sgd_ref.conformance.strategies.settings import SCALES, configs, learning_rates
from sgd_ref.validation import reject_value

NAMES = ("kernel", "bias", "table", "scale")
LARGE_SHAPES = ((65,), (129,), (5, 13), (8, 16), (3, 5, 7))
MAGNITUDES = (1.0, 0.25, 3.0)

# Three times that is still finite in float16.
LARGEST_FACTOR = 2.0**14


def features(**allowed: Collection[str]) -> st.SearchStrategy[dict[str, str]]:
    """Draw a combination of the feature axes.

    Parameters
    ----------
    **allowed : collection of str
        For any axis the values to choose from; all of them by default.

    Returns
    -------
    strategy of dict of str to str
        What ``make_case`` takes. Shrinks to the first value of each axis.

    Raises
    ------
    ValueError
        If there is no such axis, or a value is not one of its values.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(features(dtype=("float16", "bfloat16")), lambda drawn: True)["dtype"]
    'float16'
    """
    for axis, values in allowed.items():
        if axis not in AXES:
            reject_value("an axis", axis, f"one of {', '.join(AXES)}")
        if not values or not set(values) <= set(AXES[axis]):
            reject_value(axis, values, f"some of {', '.join(AXES[axis])}")
    drawn = st.tuples(*(st.sampled_from(tuple(allowed.get(axis, AXES[axis]))) for axis in AXES))
    return drawn.map(lambda values: dict(zip(AXES, values, strict=True)))


def cases(
    dtypes: Collection[DTypeLike] = DTYPES,
    config: st.SearchStrategy[dict[str, Any]] | None = None,
    missing: bool = True,
    sparse: bool = True,
    loss_scaling: bool = True,
    callable_rates: bool = True,
    finite: bool = False,
) -> st.SearchStrategy[Case]:
    """Draw a whole case that is valid and not degenerate.

    Parameters
    ----------
    dtypes : collection of dtype
        The variables of a case have one or several of them.
    config : strategy of dict, optional
        By default ``configs`` of the dtypes that the variables have.
    missing, sparse, loss_scaling, callable_rates : bool, default True
        Whether to draw also gradients that are None, gradients that are SparseRows, a LossScaleOptimizer
        around the optimizer, and learning rates that are callables.
    finite : bool, default False
        Whether to leave infinities and NaN out of variables and gradients.

    Returns
    -------
    strategy of Case
        With a fresh optimizer, one to four variables and nine to twelve calls. The id is a hash of the
        rest of the case: equal ids mean equal cases. Shrinks to one variable and plain descent.

    Raises
    ------
    ValueError
        If there is no such dtype.

    Examples
    --------
    >>> from hypothesis import find
    >>> case = find(cases(("bfloat16",), configs(momentum=0.5)), lambda case: len(case.variables) == 2)
    >>> case.names, case.config["momentum"], [variable.dtype.name for variable in case.variables]
    (('kernel', 'bias'), 0.5, ['bfloat16', 'bfloat16'])
    """
    return _case(
        known_dtypes(dtypes),
        config,
        missing=missing,
        sparse=sparse,
        loss_scaling=loss_scaling,
        callable_rates=callable_rates,
        finite=finite,
    )


@st.composite
def _case(
    draw: st.DrawFn,
    dtypes: list[np.dtype[Any]],
    configurations: st.SearchStrategy[dict[str, Any]] | None,
    *,
    missing: bool,
    sparse: bool,
    loss_scaling: bool,
    callable_rates: bool,
    finite: bool,
) -> Case:
    stream = NumberStream(f"drawn {draw(st.integers(0, 2**32 - 1))}")
    one_dtype = st.sampled_from(dtypes)
    layout = [(draw(one_dtype), draw(st.sampled_from(LARGE_SHAPES)))]
    layout += draw(st.lists(st.tuples(one_dtype, shapes()), max_size=len(NAMES) - 1))
    variables = [draw(array_recipes(dtype, shape, 2.0, finite))(stream) for dtype, shape in layout]
    config = draw(configs([dtype for dtype, _ in layout]) if configurations is None else configurations)
    scaling = None
    if loss_scaling and config["loss_scale_factor"] is None and draw(st.booleans()):
        scaling = LossScaling(draw(st.sampled_from(SCALES)), draw(st.integers(1, 4)))
    factor = config["loss_scale_factor"] or (1.0 if scaling is None else scaling.initial_scale)
    calls = []
    for call in range(draw(st.integers(FEWEST_CALLS, FEWEST_CALLS + 3))):
        magnitude = MAGNITUDES[call % len(MAGNITUDES)] * min(factor, LARGEST_FACTOR)
        recipes = [
            gradient_recipes(
                dtype,
                shape,
                magnitude,
                # Each call needs a gradient.
                missing and index != call % len(layout),
                # That of the large variable in the first call is surely not zero.
                sparse and (call, index) != (0, 0),
                finite,
            )
            for index, (dtype, shape) in enumerate(layout)
        ]
        calls.append(tuple(readonly_gradient(draw(recipe)(stream)) for recipe in recipes))
    rates = None
    if callable_rates and draw(st.booleans()):
        config = config | {"learning_rate": None}
        rates = tuple(draw(learning_rates()) for _ in calls)
    excluded = st.lists(st.sampled_from((*NAMES, "e", "x")), max_size=2, unique=True)
    case = Case(
        id="drawn",
        config=config,
        names=NAMES[: len(variables)],
        variables=tuple(readonly(variable) for variable in variables),
        gradients=tuple(calls),
        excluded_from_weight_decay=() if config["weight_decay"] is None else tuple(draw(excluded)),
        loss_scaling=scaling,
        learning_rate_calls=rates,
        finalize=draw(st.booleans()),
        notes="drawn by a strategy",
    )
    return replace(case, id=f"drawn/{hashlib.sha256(to_line(case_to_json(case))).hexdigest()[:16]}")
