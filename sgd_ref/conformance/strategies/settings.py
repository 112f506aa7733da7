"""Strategies for the settings of an optimizer and for learning-rate schedules."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from hypothesis import strategies as st

from sgd_ref.arithmetic.rounded import FORMATS
from sgd_ref.conformance.degenerate import FEWEST_CALLS
from sgd_ref.conformance.strategies.arrays import DTYPES, dtype_named
from sgd_ref.validation import reject_value

SCALES = (0.5, 3.0, 8.0, 96.0, 1024.0)

# Above the largest number below 1 in bfloat16 a setting would round to 1.
BELOW_ONE = 1 - 2.0**-8


def learning_rates() -> st.SearchStrategy[float]:
    return st.sampled_from((0.15625, 0.1, 1.5)) | st.floats(2.0**-10, BELOW_ONE)


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
            initial_learning_rate=learning_rates(),
            decay_steps=steps,
            decay_rate=factors,
            staircase=st.booleans(),
        ),
        _schedule(
            "InverseTimeDecay",
            initial_learning_rate=learning_rates(),
            decay_steps=steps,
            decay_rate=factors,
            staircase=st.booleans(),
        ),
        _schedule(
            "PolynomialDecay",
            initial_learning_rate=learning_rates(),
            decay_steps=steps,
            end_learning_rate=learning_rates(),
            power=st.sampled_from((1.0, 2.0, 0.5, 1.5)),
            cycle=st.booleans(),
        ),
        _schedule(
            "CosineDecay",
            initial_learning_rate=learning_rates(),
            decay_steps=steps,
            alpha=alphas,
            warmup_target=st.none() | learning_rates(),
            warmup_steps=st.integers(0, 4),
        ),
        _schedule(
            "CosineDecayRestarts",
            initial_learning_rate=learning_rates(),
            first_decay_steps=steps,
            t_mul=st.sampled_from((1.0, 2.0, 1.5)),
            m_mul=st.sampled_from((1.0, 0.5, 0.7)),
            alpha=alphas,
        ),
    )


@st.composite
def configs(draw: st.DrawFn, /, dtypes: Collection[str] = DTYPES, **fixed: Any) -> dict[str, Any]:
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
    forms = [FORMATS[dtype_named(name)] for name in dtypes]
    smallest = max(form.smallest_normal for form in forms)
    largest = min(form.largest for form in forms)
    limits = st.floats(0.125, 8.0) | st.floats(float(smallest), float(largest))
    clipping = draw(st.sampled_from((None, "clipnorm", "clipvalue", "global_clipnorm")))
    drawn = {
        "learning_rate": draw(learning_rates() | schedules()),
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


def _schedule(class_name: str, **settings: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"class_name": st.just(class_name), "config": st.fixed_dictionaries(settings)}
    )


@st.composite
def _piecewise(draw: st.DrawFn) -> dict[str, Any]:
    boundaries = sorted(draw(st.sets(st.integers(0, 12), min_size=1, max_size=3)))
    values = [draw(learning_rates()) for _ in range(len(boundaries) + 1)]
    return {"class_name": "PiecewiseConstantDecay", "config": {"boundaries": boundaries, "values": values}}
