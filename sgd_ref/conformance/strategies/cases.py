"""Strategies for combinations of features and for whole cases."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from sgd_ref.conformance.axes import AXES
from sgd_ref.conformance.case import Case, LossScaling
from sgd_ref.conformance.data import readonly
from sgd_ref.conformance.degenerate import FEWEST_CALLS
from sgd_ref.conformance.encoding import case_to_json, to_line
from sgd_ref.conformance.strategies.arrays import (
    DTYPES,
    draw_array,
    draw_gradient,
    dtype_named,
    shapes,
    stream_of_numbers,
)
from sgd_ref.conformance.strategies.settings import SCALES, configs, learning_rates
from sgd_ref.validation import reject_value

LARGE_SHAPES = ((65,), (129,), (5, 13), (8, 16), (3, 5, 7))
NAMES = ("kernel", "bias", "table", "scale")


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
            reject_value("axis", axis, f"one of {', '.join(AXES)}")
        for value in values:
            if value not in AXES[axis]:
                reject_value(axis, value, f"one of {', '.join(AXES[axis])}")
    return st.fixed_dictionaries(
        {axis: st.sampled_from(tuple(allowed.get(axis, values))) for axis, values in AXES.items()}
    )


@st.composite
def cases(
    draw: st.DrawFn,
    dtypes: Collection[str] = DTYPES,
    config: st.SearchStrategy[dict[str, Any]] | None = None,
    missing: bool = True,
    sparse: bool = True,
    loss_scaling: bool = True,
    callable_rates: bool = True,
    finite: bool = False,
) -> Case:
    """Draw a whole case that is valid and not degenerate.

    Parameters
    ----------
    dtypes : collection of str
        The variables of a case have one or several of them.
    config : strategy of dict, optional
        ``configs`` of the dtypes drawn by default.
    missing, sparse, loss_scaling, callable_rates : bool, default True
        Whether to draw also gradients that are None, gradients that are SparseRows, a LossScaleOptimizer
        around the optimizer, and learning rates that are callables.
    finite : bool, default False
        Whether to leave infinities and NaN out of variables and gradients.

    Returns
    -------
    strategy of Case
        With a fresh optimizer, one to four variables and nine to twelve calls. The id is a hash of the
        rest of the case: equal ids mean equal cases. Shrinks to one float16 variable and plain descent.

    Raises
    ------
    ValueError
        If there is no such dtype.

    Examples
    --------
    >>> from hypothesis import find
    >>> case = find(cases(("bfloat16",), configs(learning_rate=0.5)), lambda case: len(case.variables) == 2)
    >>> case.names, case.config["learning_rate"], [variable.dtype.name for variable in case.variables]
    (('kernel', 'bias'), 0.5, ['bfloat16', 'bfloat16'])
    """
    stream = draw(streams())
    one_dtype = st.sampled_from([dtype_named(name) for name in dtypes])
    layout = [(draw(st.sampled_from(LARGE_SHAPES)), draw(one_dtype))]
    layout += draw(st.lists(st.tuples(shapes(), one_dtype), max_size=len(NAMES) - 1))
    variables = [draw_array(draw, stream, shape, dtype, 2.0, finite) for shape, dtype in layout]
    chosen = draw(configs([dtype.name for _, dtype in layout]) if config is None else config)
    scaling = None
    if loss_scaling and chosen["loss_scale_factor"] is None and draw(st.booleans()):
        scaling = LossScaling(draw(st.sampled_from(SCALES)), draw(st.integers(1, 4)))
    scale = chosen["loss_scale_factor"] or (1.0 if scaling is None else scaling.initial_scale)
    calls = []
    for call in range(draw(st.integers(FEWEST_CALLS, FEWEST_CALLS + 3))):
        magnitude = scale * draw(st.sampled_from((1.0, 0.25, 3.0)))
        # A call needs a gradient, and a case one that is not zero.
        present = draw(st.integers(0, len(variables) - 1)) if call else 0
        calls.append(
            tuple(
                draw_gradient(
                    draw,
                    stream,
                    variable,
                    magnitude,
                    missing=missing and index != present,
                    sparse=sparse and (call, index) != (0, 0),
                    finite=finite,
                )
                for index, variable in enumerate(variables)
            )
        )
    rates = None
    if callable_rates and draw(st.booleans()):
        chosen = chosen | {"learning_rate": None}
        rates = tuple(draw(learning_rates()) for _ in calls)
    excluded = st.lists(st.sampled_from((*NAMES, "e", "x")), max_size=2, unique=True)
    case = Case(
        id="drawn",
        config=chosen,
        names=NAMES[: len(variables)],
        variables=tuple(readonly(variable) for variable in variables),
        gradients=tuple(calls),
        excluded_from_weight_decay=() if chosen["weight_decay"] is None else tuple(draw(excluded)),
        loss_scaling=scaling,
        learning_rate_calls=rates,
        finalize=draw(st.booleans()),
        notes="drawn by a strategy",
    )
    return replace(case, id=f"drawn/{hashlib.sha256(to_line(case_to_json(case))).hexdigest()[:16]}")
