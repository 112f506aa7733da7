"""Named cases: each is about one thing that implementations are known to get wrong or to do differently.

In each a small variable, the probe, meets the situation that the name says; an ordinary variable beside
it shows that everything else goes on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np

from sgd_ref.arithmetic.rounded import BFLOAT16, FLOAT32, FLOAT64, Array
from sgd_ref.conformance.case import Case, LossScaling, State
from sgd_ref.conformance.data import Numbers, readonly
from sgd_ref.conformance.degenerate import refuse_degenerate
from sgd_ref.gradients import SparseRows

FLOAT16 = np.dtype(np.float16)
COMPANION = (17, 4)
CALLS = 10

Gradient = Array | SparseRows | None

PLAIN_CONFIG: dict[str, Any] = {
    "learning_rate": 0.15625,
    "momentum": 0.0,
    "nesterov": False,
    "weight_decay": None,
    "clipnorm": None,
    "clipvalue": None,
    "global_clipnorm": None,
    "use_ema": False,
    "ema_momentum": 0.75,
    "ema_overwrite_frequency": None,
    "name": "SGD",
    "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
}


@cache
def named_cases() -> tuple[Case, ...]:
    """Return all named cases, always the same.

    >>> [case.id for case in named_cases()][:2]
    ['named/infinite-weight-without-decay', 'named/every-variable-excluded']
    """
    made = (*_decay(), *_update(), *_clipping(), *_averages(), *_accumulation(), *_scaling(), *_schedules())
    for case in made:
        refuse_degenerate(case)
    return made


def _decay() -> Iterable[Case]:
    yield _case(
        "infinite-weight-without-decay",
        "A weight_decay of 0.0 is set, so it is applied: infinity times 0 is NaN.",
        _floats(math.inf, 1.0, -math.inf, 0.5),
        lambda call: _floats(0.25, -0.5, 0.75, 1.0 + call),
        weight_decay=0.0,
    )
    yield _case(
        "every-variable-excluded",
        "Weight decay is set and every variable is excluded from it.",
        _floats(1.0, 2.0, -3.0),
        lambda call: _floats(0.25, -0.5, call),
        excluded=("probe", "companion"),
        weight_decay=0.0625,
    )
    yield _case(
        "exclusion-is-a-substring",
        "The strings of var_names are searched for as they are; 'pr.be' is no part of 'probe'.",
        _floats(1.0, 2.0, -3.0),
        lambda call: _floats(0.25, -0.5, call),
        excluded=("pr.be",),
        weight_decay=0.0625,
    )


def _update() -> Iterable[Case]:
    yield _case(
        "product-overflows",
        "learning_rate * g overflows although w - learning_rate * g would be finite in one rounding.",
        _floats(3e38, -3e38, 1.0),
        lambda call: _floats(1e38, -1e38, 0.5) if call == 0 else _floats(0.5, 0.25, 0.125 * call),
        learning_rate=4.0,
    )
    yield _case(
        "nesterov-adds-once",
        "w + (momentum * velocity - learning_rate * g) rounds the sum in parentheses before it meets w.",
        _floats(2.0**24, -(2.0**24), 2.0**24 + 2, 3.0),
        lambda call: _floats(-2.0, 2.0, -2.0 - call % 2, 0.5),
        learning_rate=0.5,
        momentum=0.5,
        nesterov=True,
    )
    yield _case(
        "update-below-half-a-unit",
        "In bfloat16 the update is too small to move the weight, but the velocity grows until it does.",
        _floats(1.0, -2.0, 4.0, dtype=BFLOAT16),
        lambda call: _floats(2.0**-8, 2.0**-8, 2.0**-12, dtype=BFLOAT16),
        momentum=0.875,
    )
    yield _case(
        "signed-zeros",
        "-0.0 - 0.0 stays -0.0; with momentum -0.0 + 0.0 is +0.0.",
        _floats(-0.0, -0.0, 0.0, 0.0),
        lambda call: _floats(0.0, -0.0, 0.0, -0.0),
    )
    yield _case(
        "float64-settings",
        "In float64 only the learning rate passes through float32; the other settings keep 53 bits.",
        _floats(1.0, -0.3, 2.5, 0.1, dtype=FLOAT64),
        lambda call: _floats(0.7, -0.2 * call, 0.11, -3.0, dtype=FLOAT64),
        learning_rate=0.1,
        momentum=0.9,
        weight_decay=0.05,
        clipvalue=0.3,
        use_ema=True,
        ema_momentum=0.95,
    )


def _clipping() -> Iterable[Case]:
    numbers = Numbers("clipping")
    ordinary = [numbers.array((40,), FLOAT32, 2.0) for _ in range(CALLS)]
    yield _case(
        "clipping-without-need",
        "With a norm far below clipnorm = 777.7 the formula still rounds (g * c) / c.",
        numbers.array((40,), FLOAT32, 1.0),
        lambda call: ordinary[call],
        clipnorm=777.7,
    )
    yield _case(
        "global-clipping-without-need",
        "With a norm far below global_clipnorm = 1777.7 every gradient is multiplied by c * (1 / c).",
        numbers.array((40,), FLOAT32, 1.0),
        lambda call: ordinary[call],
        global_clipnorm=1777.7,
    )
    yield _case(
        "squares-overflow",
        "The norm of gradients near 1e20 is finite though their squares are not.",
        np.zeros(40, FLOAT32),
        lambda call: ordinary[call] * np.float32(1e20),
        clipnorm=1.5,
    )
    yield _case(
        "squares-overflow-globally",
        "The global norm of gradients near 1e20 is finite though their squares are not.",
        np.zeros(40, FLOAT32),
        lambda call: ordinary[call] * np.float32(1e20),
        global_clipnorm=1.5,
    )
    yield _case(
        "squares-underflow",
        "Gradients near 1e-25 have a norm though their squares vanish in float32.",
        np.zeros(40, FLOAT32),
        lambda call: ordinary[call] * np.float32(1e-25),
        global_clipnorm=2.0**-84,
        companion_magnitude=2.0**-86,
    )
    yield _case(
        "squares-overflow-in-half",
        "The norm of (300, 400) is 500 in float16 too, where their squares overflow.",
        _floats(0.0, 0.5, dtype=FLOAT16),
        lambda call: _floats(300.0, 400.0 - call, dtype=FLOAT16),
        clipnorm=1.5,
    )
    yield _case(
        "non-finite-gradient-is-clipped",
        "A norm that is infinite makes finite elements 0 and infinite ones NaN; one that is NaN, all NaN.",
        _floats(1.0, 2.0, 3.0),
        lambda call: _floats(math.inf if call == 4 else 0.5, 1.0, math.nan if call == 8 else 0.25),
        clipnorm=1.5,
    )
    rows = [numbers.rows((12, 3), FLOAT32, 2.0) for _ in range(CALLS)]
    yield _case(
        "duplicate-rows-are-added-before-clipping",
        "Rows that occur twice in a sparse gradient are added first; their sum is what is clipped.",
        numbers.array((12, 3), FLOAT32, 1.0),
        lambda call: rows[call],
        clipvalue=0.625,
    )


def _averages() -> Iterable[Case]:
    yield _case(
        "overwrite-not-due",
        "Where no overwrite is due, infinities and -0.0 in the variables stay what they are.",
        _floats(math.inf, -0.0, 1.0, -math.inf),
        lambda call: _floats(0.0, 0.0, 0.5, 0.25),
        use_ema=True,
        ema_overwrite_frequency=4,
    )
    yield _case(
        "first-average-is-stored",
        "The first update stores the variables as averages; -0.0 stays -0.0.",
        _floats(-0.0, 0.0, 2.0),
        lambda call: _floats(0.0, 0.0, 0.5 * call),
        use_ema=True,
    )
    yield _case(
        "averages-while-accumulating",
        "Calls that accumulate are no updates: they neither average nor overwrite.",
        _floats(0.0, 1.0, -2.0),
        lambda call: _floats(-2.0, 0.5, 0.25 * call),
        use_ema=True,
        ema_overwrite_frequency=2,
        gradient_accumulation_steps=2,
    )
    yield _case(
        "averages-of-an-empty-matrix",
        "A variable of shape (0, 3) has an average like any other.",
        np.zeros((0, 3), FLOAT32),
        lambda call: np.zeros((0, 3), FLOAT32),
        use_ema=True,
    )


def _accumulation() -> Iterable[Case]:
    numbers = Numbers("accumulation")
    ordinary = [numbers.array((40,), FLOAT32, 2.0) for _ in range(CALLS)]
    yield _case(
        "missing-on-update-call",
        "A variable without a gradient at the end of its window is not updated; what it accumulated is "
        "dropped (contested).",
        _floats(0.0, 1.0),
        lambda call: None if call in (3, 7) else _floats(-1.0, 0.5 + call),
        gradient_accumulation_steps=2,
    )
    yield _case(
        "non-finite-in-one-window",
        "The accumulators are reset by storing zeros: NaN and infinity do not reach the next window.",
        _floats(0.0, 1.0, 2.0),
        lambda call: _floats(math.inf, math.nan, 1.0) if call == 4 else _floats(1.0, -0.5, 0.25 * call),
        gradient_accumulation_steps=2,
    )
    yield _case(
        "mean-of-three",
        "The mean is a division by 3, not a multiplication by the rounded 1 / 3.",
        np.zeros(40, FLOAT32),
        lambda call: ordinary[call],
        gradient_accumulation_steps=3,
    )
    yield _case(
        "narrower-gradient-is-accumulated",
        "A float16 gradient of a float32 variable is accumulated in float32.",
        _floats(1.0, 2.0, -1.0),
        lambda call: _floats(0.1, 2049.0 / 2048.0, 0.3 * call, dtype=FLOAT16),
        gradient_accumulation_steps=2,
    )
    yield _case(
        "sum-overflows-though-the-mean-fits",
        "In float16 the accumulator of 60000 and 60000 is infinite.",
        _floats(0.0, 1.0, dtype=FLOAT16),
        lambda call: _floats(60000.0, 0.5 + call, dtype=FLOAT16),
        gradient_accumulation_steps=2,
    )


def _scaling() -> Iterable[Case]:
    numbers = Numbers("scaling")
    ordinary = [numbers.array((40,), FLOAT32, 2.0) for _ in range(CALLS)]
    rows = [numbers.rows((12, 3), FLOAT32, 2000.0) for _ in range(CALLS)]
    yield _case(
        "unscale-by-three",
        "Unscaling is a division by 3, not a multiplication by the rounded 1 / 3.",
        np.zeros(40, FLOAT32),
        lambda call: ordinary[call],
        loss_scale_factor=3.0,
    )
    yield _case(
        "large-scale-of-half-gradients",
        "float16 gradients are unscaled in float32, where the scale 1e6 is finite.",
        _floats(0.5, -0.25, dtype=FLOAT16),
        lambda call: _floats(1000.0, 30000.0 - call, dtype=FLOAT16),
        loss_scale_factor=1e6,
    )
    yield _case(
        "half-gradient-of-a-wider-variable",
        "A float16 gradient of a float32 variable is widened before it is unscaled.",
        _floats(0.0, 1e-9),
        lambda call: _floats(6.2e-5, 7e-5 + 1e-5 * call, dtype=FLOAT16),
        loss_scale_factor=1024.0,
    )
    yield _case(
        "sparse-rows-are-unscaled",
        "A sparse gradient is divided by the loss scale like a dense one.",
        numbers.array((12, 3), FLOAT32, 1.0),
        lambda call: rows[call],
        loss_scale_factor=1024.0,
    )
    yield _case(
        "scale-stays-finite",
        "The loss scale does not double to infinity (contested).",
        _floats(1.0, 2.0),
        lambda call: _floats(2.0**124, -(2.0**120)),
        loss_scaling=LossScaling(2.0**124, 1),
        companion_magnitude=2.0**124,
    )
    yield _case(
        "scale-stays-normal",
        "The loss scale is not halved below the smallest normal float32 (contested).",
        _floats(1.0, 2.0),
        lambda call: _floats(math.inf if call < 6 else 2.0**-124, 2.0**-125),
        loss_scaling=LossScaling(2.0**-123, 4),
        companion_magnitude=2.0**-123,
    )


def _schedules() -> Iterable[Case]:
    for name, notes, first, t_mul, resumed_at in (
        ("thirteenth", "Restart 13 of the default t_mul = 2 happens, at step 8191.", 1, 2.0, 8187),
        ("third", "With t_mul = 1.5 there is a restart at step 160.", 64, 1.5, 156),
        ("first", "With t_mul = 1.25 there is a restart at step 1024.", 1024, 1.25, 1020),
        ("single-precision", "Steps beyond 2**24 are exact integers.", 1000, 1.0, 2**24 + 215),
    ):
        yield _scheduled(
            f"{name}-restart",
            notes,
            "CosineDecayRestarts",
            {
                "initial_learning_rate": 0.5,
                "first_decay_steps": first,
                "t_mul": t_mul,
                "m_mul": 1.0,
                "alpha": 0.125,
            },
            units=16,
            resumed_at=resumed_at,
        )
    yield _scheduled(
        "boundary-above-the-integers-of-32-bits",
        "A boundary of 3e9 lies ahead of every step here.",
        "PiecewiseConstantDecay",
        {"boundaries": [3_000_000_000], "values": [0.25, 0.5]},
    )
    yield _scheduled(
        "count-above-the-integers-of-32-bits",
        "The count of calls goes past 2**31.",
        "PiecewiseConstantDecay",
        {"boundaries": [100], "values": [0.25, 0.125]},
        resumed_at=2**31 - 4,
    )
    yield _scheduled(
        "polynomial-ends-at-its-end",
        "The polynomial ends exactly at end_learning_rate, and is never below it.",
        "PolynomialDecay",
        {"initial_learning_rate": 0.5, "decay_steps": 7, "end_learning_rate": 0.0, "power": 1.0},
        units=8,
    )
    yield _scheduled(
        "polynomial-cycle-at-a-multiple",
        "At a multiple of decay_steps a cyclic polynomial has its end value (contested).",
        "PolynomialDecay",
        {
            "initial_learning_rate": 0.5,
            "decay_steps": 7,
            "end_learning_rate": 0.0625,
            "power": 1.0,
            "cycle": True,
        },
        units=8,
        resumed_at=17,
    )
    yield _scheduled(
        "integer-rate-of-a-schedule",
        "A schedule whose initial learning rate is given as the integer 1 decays like that of 1.0.",
        "ExponentialDecay",
        {"initial_learning_rate": 1, "decay_steps": 4, "decay_rate": 0.5},
        units=8,
    )
    yield _scheduled(
        "warmup-from-the-integer-zero",
        "The warmup starts from the integer 0, as in an example of Keras' documentation.",
        "CosineDecay",
        {
            "initial_learning_rate": 0,
            "decay_steps": 16,
            "alpha": 0.25,
            "warmup_target": 0.25,
            "warmup_steps": 4,
        },
        units=12,
    )


def _scheduled(
    name: str,
    notes: str,
    class_name: str,
    schedule: dict[str, Any],
    units: int = 0,
    resumed_at: int | None = None,
) -> Case:
    return _case(
        name,
        notes,
        _floats(1.0, -2.0, 0.5),
        lambda call: _floats(0.5, 0.25, -0.125 * (call + 1)),
        learning_rate={"class_name": class_name, "config": schedule},
        units=units,
        state=None if resumed_at is None else State(calls=resumed_at),
    )


def _case(
    name: str,
    notes: str,
    probe: Array,
    probe_gradient: Callable[[int], Gradient],
    *,
    excluded: Sequence[str] = (),
    loss_scaling: LossScaling | None = None,
    state: State | None = None,
    units: int = 0,
    companion_magnitude: float = 1.0,
    **settings: Any,
) -> Case:
    numbers = Numbers(name)
    companion = numbers.array(COMPANION, probe.dtype, companion_magnitude if loss_scaling is None else 1.0)
    return Case(
        id=f"named/{name}",
        config=PLAIN_CONFIG | settings,
        names=("probe", "companion"),
        variables=(readonly(probe), readonly(companion)),
        gradients=tuple(
            (
                _readonly(probe_gradient(call)),
                readonly(numbers.array(COMPANION, probe.dtype, companion_magnitude)),
            )
            for call in range(CALLS)
        ),
        state=state,
        excluded_from_weight_decay=tuple(excluded),
        loss_scaling=loss_scaling,
        finalize=bool(settings.get("use_ema")),
        learning_rate_units=units,
        notes=notes,
    )


def _readonly(gradient: Gradient) -> Gradient:
    if isinstance(gradient, SparseRows):
        readonly(gradient.indices)
        readonly(gradient.values)
    elif gradient is not None:
        readonly(gradient)
    return gradient


def _floats(*values: float, dtype: np.dtype[Any] = FLOAT32) -> Array:
    return np.array(values, dtype)
