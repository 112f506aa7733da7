"""Hypothesis strategies: features, arrays, gradients, configs and whole cases, for tests of your own.

There are two kinds of cases to draw. ``features().map(make_case)`` draws from the full tier, the product of
all axes with its fixed numbers. ``cases()`` draws everything: shapes, numbers, settings and schedules. No
case of either kind is degenerate. Some depend on contested questions; ``contested`` says on which.

Examples
--------
>>> from hypothesis import given, settings
>>> from sgd_ref.conformance import check, reference, strategies
>>> my_optimizer = reference.run
>>> @settings(max_examples=5, database=None, deadline=None)
... @given(strategies.cases(dtypes=("float32",), sparse=False))
... def test_my_optimizer(case):
...     assert check(my_optimizer, [case]).ok
>>> test_my_optimizer()
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from sgd_ref.arithmetic.rounded import FORMATS, Array, holds, setting
from sgd_ref.conformance.axes import AXES
from sgd_ref.conformance.case import Case, LossScaling
from sgd_ref.conformance.data import Numbers, readonly
from sgd_ref.conformance.degenerate import FEWEST_CALLS
from sgd_ref.conformance.encoding import case_to_json, to_line
from sgd_ref.gradients import SparseRows
from sgd_ref.validation import reject_value

try:
    from hypothesis import strategies as st
except ImportError as error:
    raise ImportError(
        "sgd_ref.conformance.strategies needs Hypothesis, which is not installed: pip install hypothesis"
    ) from error

DTYPES = tuple(dtype.name for dtype in FORMATS)
"""Names of the dtypes that are drawn unless others are asked for."""

LENGTHS = (0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129)
"""Numbers of elements on both sides of the sizes of vector registers."""

LARGE_SHAPES = ((65,), (129,), (5, 13), (8, 16), (3, 5, 7))
NAMES = ("kernel", "bias", "table", "scale")
SCALES = (0.5, 3.0, 8.0, 96.0, 1024.0)

# Above the largest number below 1 in bfloat16 a setting would round to 1.
BELOW_ONE = 1 - 2.0**-8

Dtypes = Collection[str]


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
    dtype = _dtype(dtype)
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
    return _array(draw, _stream(draw), drawn, _dtype(dtype), magnitude, finite)


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
    return _gradient(draw, _stream(draw), variable, magnitude, missing=missing, sparse=sparse, finite=finite)


def schedules() -> st.SearchStrategy[dict[str, Any]]:
    """Draw a learning-rate schedule as plain data, with periods that a few calls go through.

    Returns
    -------
    strategy of dict
        With "class_name" and "config", as in the config of an optimizer.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(schedules(), lambda schedule: schedule["class_name"] == "CosineDecay")["config"]["decay_steps"]
    1
    """
    steps, factors = st.integers(1, 12), st.floats(0.25, 1.5)
    alphas = st.sampled_from((0.0, 0.125, 0.1))
    return st.one_of(
        _piecewise(),
        _schedule(
            "ExponentialDecay",
            initial_learning_rate=_rates(),
            decay_steps=steps,
            decay_rate=factors,
            staircase=st.booleans(),
        ),
        _schedule(
            "InverseTimeDecay",
            initial_learning_rate=_rates(),
            decay_steps=steps,
            decay_rate=factors,
            staircase=st.booleans(),
        ),
        _schedule(
            "PolynomialDecay",
            initial_learning_rate=_rates(),
            decay_steps=steps,
            end_learning_rate=_rates(),
            power=st.sampled_from((1.0, 2.0, 0.5, 1.5)),
            cycle=st.booleans(),
        ),
        _schedule(
            "CosineDecay",
            initial_learning_rate=_rates(),
            decay_steps=steps,
            alpha=alphas,
            warmup_target=st.none() | _rates(),
            warmup_steps=st.integers(0, 4),
        ),
        _schedule(
            "CosineDecayRestarts",
            initial_learning_rate=_rates(),
            first_decay_steps=steps,
            t_mul=st.sampled_from((1.0, 2.0, 1.5)),
            m_mul=st.sampled_from((1.0, 0.5, 0.7)),
            alpha=alphas,
        ),
    )


@st.composite
def configs(draw: st.DrawFn, dtypes: Dtypes = DTYPES, **fixed: Any) -> dict[str, Any]:
    """Draw the settings of an optimizer, each in its range and none degenerate.

    Parameters
    ----------
    dtypes : collection of str
        Dtypes of the variables; no setting is lost when it is rounded to them.
    **fixed
        Values of settings that are not drawn, such as ``use_ema=False``.

    Returns
    -------
    strategy of dict
        With all keys of Keras' config. At most one clipping is set. Shrinks to plain descent.

    Raises
    ------
    ValueError
        If there is no such dtype or setting.

    Examples
    --------
    >>> from hypothesis import find
    >>> config = find(configs(momentum=0.5), lambda config: config["clipnorm"] is not None)
    >>> config["momentum"], config["clipvalue"], config["weight_decay"]
    (0.5, None, None)
    """
    forms = [FORMATS[_dtype(name)] for name in dtypes]
    smallest = max(form.smallest_normal for form in forms)
    largest = min(form.largest for form in forms)
    limits = st.floats(0.125, 8.0) | st.floats(float(smallest), float(largest))
    clipping = draw(st.sampled_from((None, "clipnorm", "clipvalue", "global_clipnorm")))
    drawn = {
        "learning_rate": draw(_rates() | schedules()),
        "momentum": draw(st.just(0.0) | st.floats(2.0**-6, BELOW_ONE)),
        "nesterov": draw(st.booleans()),
        "weight_decay": draw(st.none() | st.just(0.0) | st.floats(2.0**-10, 0.5)),
        "clipnorm": None,
        "clipvalue": None,
        "global_clipnorm": None,
        "use_ema": draw(st.booleans()),
        "ema_momentum": draw(st.floats(0.5625, BELOW_ONE) | st.floats(2.0**-6, 0.4375)),
        "ema_overwrite_frequency": draw(st.none() | st.integers(2, 4)),
        "name": "SGD",
        "loss_scale_factor": draw(st.none() | st.sampled_from(SCALES)),
        "gradient_accumulation_steps": draw(st.none() | st.integers(2, FEWEST_CALLS // 2)),
    }
    if clipping is not None:
        drawn[clipping] = draw(limits)
    for name in fixed:
        if name not in drawn:
            reject_value("setting", name, f"one of {', '.join(drawn)}")
    return drawn | fixed


@st.composite
def cases(
    draw: st.DrawFn,
    dtypes: Dtypes = DTYPES,
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
    stream = _stream(draw)
    one_dtype = st.sampled_from([_dtype(name) for name in dtypes])
    layout = [(draw(st.sampled_from(LARGE_SHAPES)), draw(one_dtype))]
    layout += draw(st.lists(st.tuples(shapes(), one_dtype), max_size=len(NAMES) - 1))
    variables = [_array(draw, stream, shape, dtype, 2.0, finite) for shape, dtype in layout]
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
                _gradient(
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
        rates = tuple(draw(_rates()) for _ in calls)
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


def _dtype(dtype: DTypeLike) -> np.dtype[Any]:
    by_name = {known.name: known for known in FORMATS}
    name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    if name not in by_name:
        reject_value("dtype", dtype, f"one of {', '.join(by_name)}")
    return by_name[name]


def _stream(draw: st.DrawFn) -> Numbers:
    return Numbers(f"drawn {draw(st.integers(0, 2**32 - 1))}")


def _array(
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


def _gradient(
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
        return readonly(_array(draw, stream, variable.shape, dtype, magnitude, finite))
    rows = st.integers(0, variable.shape[0] - 1) if variable.shape[0] else st.nothing()
    indices = draw(st.lists(rows, max_size=4))
    values = _array(draw, stream, (len(indices), *variable.shape[1:]), dtype, magnitude, finite)
    return SparseRows(readonly(np.array(indices, np.int64)), readonly(values), variable.shape)


def _rates() -> st.SearchStrategy[float]:
    return st.sampled_from((0.15625, 0.1, 1.5)) | st.floats(2.0**-10, BELOW_ONE)


def _schedule(class_name: str, **settings: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"class_name": st.just(class_name), "config": st.fixed_dictionaries(settings)}
    )


@st.composite
def _piecewise(draw: st.DrawFn) -> dict[str, Any]:
    boundaries = sorted(draw(st.sets(st.integers(0, 12), min_size=1, max_size=3)))
    values = [draw(_rates()) for _ in range(len(boundaries) + 1)]
    return {"class_name": "PiecewiseConstantDecay", "config": {"boundaries": boundaries, "values": values}}
