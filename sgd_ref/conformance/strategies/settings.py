"""Strategies for the settings of an optimizer and for learning-rate schedules."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import DTypeLike

from sgd_ref.arithmetic.formats import FORMATS
from sgd_ref.base.configuration import KEYS
from sgd_ref.base.settings import CLIPPINGS
from sgd_ref.conformance.catalogue.degenerate import FEWEST_CALLS
from sgd_ref.conformance.strategies.arrays import DTYPES, known_dtypes
from sgd_ref.validation import reject_value

SCALES = (0.5, 3.0, 8.0, 96.0, 1024.0, 1e5)

# In bfloat16 a larger number below 1 would round to 1.
BELOW_ONE = 1 - 2.0**-8


@cache
def learning_rates() -> st.SearchStrategy[float]:
    """Draw a constant learning rate: positive, not 1, and not lost in any dtype.

    >>> from hypothesis import find
    >>> find(learning_rates(), lambda rate: rate > 1)
    1.5
    """
    return st.sampled_from((0.15625, 0.1, 1.5)) | st.floats(2.0**-10, BELOW_ONE)


@cache
def schedules() -> st.SearchStrategy[dict[str, Any]]:
    """Draw a learning-rate schedule as plain data, with periods that a few calls go through.

    Returns
    -------
    strategy of dict
        With "class_name" and "config", as in the config of an optimizer.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(schedules(), lambda schedule: schedule["class_name"] == "CosineDecay")["config"]["alpha"]
    0.0
    """
    rates, steps = learning_rates(), st.integers(1, 12)
    start = {"initial_learning_rate": rates}
    decay = start | {
        "decay_steps": steps,
        "decay_rate": st.floats(0.25, 1.5),
        "staircase": st.booleans(),
    }
    polynomial = start | {
        "decay_steps": steps,
        "end_learning_rate": rates,
        "power": st.sampled_from((1.0, 2.0, 0.5, 1.5)),
        "cycle": st.booleans(),
    }
    cosine = start | {"alpha": st.sampled_from((0.0, 0.125, 0.1))}
    warmup = {"decay_steps": steps, "warmup_target": st.none() | rates, "warmup_steps": st.integers(0, 4)}
    restarts = {
        "first_decay_steps": steps,
        "t_mul": st.sampled_from((1.0, 2.0, 1.5)),
        "m_mul": st.sampled_from((1.0, 0.5, 0.7)),
    }
    return st.one_of(
        _pieces().map(lambda config: {"class_name": "PiecewiseConstantDecay", "config": config}),
        _schedule("ExponentialDecay", decay),
        _schedule("InverseTimeDecay", decay),
        _schedule("PolynomialDecay", polynomial),
        _schedule("CosineDecay", cosine | warmup),
        _schedule("CosineDecayRestarts", cosine | restarts),
    )


def configs(dtypes: Collection[DTypeLike] = DTYPES, **fixed: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Draw the settings of an optimizer, each in its range and none degenerate.

    Parameters
    ----------
    dtypes : collection of dtype
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
    for name in fixed:
        if name not in KEYS:
            reject_value("a setting", name, f"one of {', '.join(KEYS)}")
    return _config(known_dtypes(dtypes), fixed)


@st.composite
def _config(draw: st.DrawFn, dtypes: list[np.dtype[Any]], fixed: dict[str, Any]) -> dict[str, Any]:
    smallest = max(FORMATS[dtype].smallest_normal for dtype in dtypes)
    largest = min(FORMATS[dtype].largest for dtype in dtypes)
    limits = st.floats(0.125, 8.0) | st.floats(float(smallest), float(largest))
    drawn: dict[str, Any] = {
        "learning_rate": draw(learning_rates() | schedules()),
        "momentum": draw(st.just(0.0) | st.floats(2.0**-6, BELOW_ONE)),
        "nesterov": draw(st.booleans()),
        "weight_decay": draw(st.none() | st.just(0.0) | st.floats(2.0**-10, 0.5)),
        **dict.fromkeys(CLIPPINGS),
        "use_ema": draw(st.booleans()),
        # With 1/2 the two factors of an average could not be told apart.
        "ema_momentum": draw(st.floats(0.5625, BELOW_ONE) | st.floats(2.0**-6, 0.4375)),
        "ema_overwrite_frequency": draw(st.none() | st.integers(2, 4)),
        "name": "SGD",
        "loss_scale_factor": draw(st.none() | st.sampled_from(SCALES)),
        "gradient_accumulation_steps": draw(st.none() | st.integers(2, FEWEST_CALLS // 2)),
    }
    clipping = draw(st.none() | st.sampled_from(CLIPPINGS))
    if clipping is not None and all(fixed.get(name) is None for name in CLIPPINGS):
        drawn[clipping] = draw(limits)
    return drawn | fixed


def _schedule(
    class_name: str, config: dict[str, st.SearchStrategy[Any]]
) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"class_name": st.just(class_name), "config": st.fixed_dictionaries(config)})


@st.composite
def _pieces(draw: st.DrawFn) -> dict[str, Any]:
    boundaries = sorted(draw(st.sets(st.integers(0, 12), min_size=1, max_size=3)))
    return {"boundaries": boundaries, "values": [draw(learning_rates()) for _ in range(len(boundaries) + 1)]}
