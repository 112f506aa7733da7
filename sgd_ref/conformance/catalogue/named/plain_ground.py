"""Cases of single settings, with each value that distinguishes dtypes and formulas.

Implementations with few features can answer these cases, too. Some values are trivial on purpose.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, FORMATS, Array
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.conformance.catalogue.case import Case, State
from sgd_ref.conformance.catalogue.named.building import PLAIN_CONFIG
from sgd_ref.conformance.catalogue.numbers import NumberStream, readonly, readonly_gradient

ALL = (FLOAT32, FLOAT64, FLOAT16, BFLOAT16)
SHORT = (FLOAT32, FLOAT16, BFLOAT16)
"""The dtypes to which a setting is rounded. A learning rate, a float32, can be a subnormal number of them."""

SINGLE_AND_WIDER = (FLOAT32, FLOAT64)
MOST = (FLOAT32, FLOAT64, BFLOAT16)

PREFIX = "named/alone/"
CALLS = 9
SHAPES: dict[str, tuple[int, ...]] = {"kernel": (9, 8), "bias": (5,)}

UPDATE = ("ascends", "updated-twice")
RATE = (*UPDATE, "rate-left-out-without-momentum")
MOMENTUM = (*UPDATE, "velocity-not-kept", "moves-against-velocity")
CLIPPING = ("clipping-ignored",)
AVERAGES = ("finalize-ignored",)
SCALING = ("loss-scale-kept", "unscaled-twice", "scaled-again")

Settings = Mapping[str, Any]
Numbers = Callable[[NumberStream, str, np.dtype[Any], int], Array | None]
"""Makes an array, from a stream, the name and dtype of a variable, and a call; -1 is the variable itself."""


@dataclass(frozen=True)
class Row:
    """One setting with one value, in some dtypes.

    Attributes
    ----------
    notes : str
        A description of the value.
    settings : callable
        A function from a dtype to the settings that are not plain.
    exposes : tuple of str
        The known deviations that the row is for.
    dtypes : tuple of dtype
        The dtypes of the variables, with a case for each.
    numbers : callable
        The function that makes variables and gradients.
    rates : tuple of float or None
        The values that a callable learning rate returns in turn, repeatedly.
    calls_before : int
        Calls made before the case.
    """

    notes: str
    settings: Callable[[np.dtype[Any]], Settings]
    exposes: tuple[str, ...]
    dtypes: tuple[np.dtype[Any], ...] = ALL
    numbers: Numbers | None = None
    rates: tuple[float, ...] | None = None
    calls_before: int = 0


def tie(value: float, units: int) -> Callable[[np.dtype[Any]], float]:
    """Return a function from a dtype to a number halfway between two of its numbers.

    >>> tie(0.5, 1)(FLOAT16) == 0.5 + 2**-12
    True
    """
    return lambda dtype: value * (1 + units * 2.0 ** -FORMATS[dtype].precision)


def subnormal(dtype: np.dtype[Any]) -> float:
    """Return a subnormal number of a dtype."""
    return 0.75 * _smallest(dtype)


def fixed(**settings: Any) -> Callable[[np.dtype[Any]], Settings]:
    """Return a function that returns the same settings for every dtype."""
    return lambda _: settings


def _smallest(dtype: np.dtype[Any]) -> float:
    return float(FORMATS[dtype].smallest_normal)


def ordinary(numbers: NumberStream, name: str, dtype: np.dtype[Any], _: int) -> Array:
    """Return numbers of magnitudes up to 1."""
    return numbers.array(SHAPES[name], dtype, 1.0)


def larger(exponent: Callable[[np.dtype[Any]], int]) -> Numbers:
    """Return numbers with gradients that are larger by a power of two."""

    def made(numbers: NumberStream, name: str, dtype: np.dtype[Any], call: int) -> Array:
        return numbers.array(SHAPES[name], dtype, 1.0 if call < 0 else math.ldexp(1.0, exponent(dtype)))

    return made


def _of_subnormal(dtype: np.dtype[Any]) -> int:
    """Return the exponent of a gradient whose product with a subnormal rate is an ordinary number."""
    return 13 if dtype == FLOAT16 else 125


def falling_into_place(numbers: NumberStream, name: str, dtype: np.dtype[Any], call: int) -> Array:
    """Return large integers as weights. The first step moves them to 0, so only the velocity remains."""
    large = math.ldexp(1.0, _of_subnormal(dtype) - 5)
    signs = numbers.array(SHAPES[name], FLOAT64, 8.0)
    if call == 0 or call < 0:
        integers = np.arange(1, signs.size + 1).reshape(SHAPES[name]) % 16 + 1
        return convert(integers * large * (2.0 if call == 0 else 1.0), dtype)
    return convert(signs / 1024, dtype)


def tiny(numbers: NumberStream, name: str, dtype: np.dtype[Any], call: int) -> Array:
    """Return weights near the smallest normal number."""
    magnitude = _smallest(dtype) * (4 if call < 0 else 8)
    return convert(numbers.array(SHAPES[name], FLOAT64, 1.0) * magnitude, dtype)


def some_infinite(numbers: NumberStream, name: str, dtype: np.dtype[Any], call: int) -> Array:
    """Return weights, some of which are infinite, NaN or negative zero."""
    array = ordinary(numbers, name, dtype, call)
    if call < 0:
        array.reshape(-1)[:5] = np.array([np.inf, -0.0, -np.inf, np.nan, 0.0], dtype)
    return array


def infinite_in_windows(numbers: NumberStream, name: str, dtype: np.dtype[Any], call: int) -> Array:
    """Return gradients, some infinite in the first call of a window, which clipping makes finite."""
    array = ordinary(numbers, name, dtype, call)
    if call >= 0 and call % 2 == 0:
        array.reshape(-1)[call % 5 :: 5] = np.array(math.inf if call % 4 else -math.inf, dtype)
    return array


def still_bias(numbers: NumberStream, name: str, dtype: np.dtype[Any], call: int) -> Array | None:
    """Return negative zeros for the bias, which has no gradient in any call."""
    array = ordinary(numbers, name, dtype, call)
    if name != "bias":
        return array
    return None if call >= 0 else np.full_like(array, -0.0)


def late_bias(numbers: NumberStream, name: str, dtype: np.dtype[Any], call: int) -> Array:
    """Return zeros for the bias, whose gradients are zeros in the first three calls."""
    array = ordinary(numbers, name, dtype, call)
    return np.zeros_like(array) if name == "bias" and call < 3 else array


def zeros_at_times(numbers: NumberStream, name: str, dtype: np.dtype[Any], call: int) -> Array:
    """Return gradients that are zeros in every third call, those of the bias in every second one."""
    array = ordinary(numbers, name, dtype, call)
    return np.zeros_like(array) if call >= 0 and call % (2 if name == "bias" else 3) == 0 else array


def nan_at_times(numbers: NumberStream, name: str, dtype: np.dtype[Any], call: int) -> Array:
    """Return gradients with an element that is NaN, from the third call on."""
    array = ordinary(numbers, name, dtype, call)
    if call >= 2:
        array.reshape(-1)[call % array.size] = np.array(math.nan, dtype)
    return array


CLIPPED_AFTER_UNSCALING = "Gradients are unscaled before they are clipped, without accumulation."

ROWS: dict[str, Row] = {
    "rate-decimal": Row("No narrower dtype has 0.1.", fixed(learning_rate=0.1), RATE),
    "rate-tie": Row(
        "The rate, a float32, is halfway between two numbers of the dtype.",
        lambda dtype: {"learning_rate": tie(0.125, 3)(dtype)},
        RATE,
        SHORT,
    ),
    "rate-subnormal": Row(
        "The rate is a subnormal number.",
        lambda dtype: {"learning_rate": subnormal(dtype)},
        RATE,
        SHORT,
        numbers=larger(_of_subnormal),
    ),
    "rate-negative": Row("A negative rate ascends.", fixed(learning_rate=-0.1), RATE),
    "rate-called": Row(
        "A callable returns 0.0, 1.0 and -0.25 among others.",
        fixed(learning_rate=None),
        (*RATE, "callable-one-call-late"),
        rates=(0.3, 0.0, 1.0, 0.1, 0.0, -0.25),
    ),
    "momentum-decimal": Row("No narrower dtype has 0.9.", fixed(momentum=0.9), MOMENTUM),
    "momentum-tie": Row(
        "Momentum is halfway between two numbers of the dtype.",
        lambda dtype: {"momentum": tie(0.75, 1)(dtype)},
        MOMENTUM,
        SHORT,
    ),
    "momentum-subnormal": Row(
        "Momentum is a subnormal number, and the first velocity large.",
        lambda dtype: {"momentum": subnormal(dtype), "learning_rate": 0.5},
        UPDATE,
        SHORT,
        numbers=falling_into_place,
    ),
    "momentum-one": Row("A momentum of 1 keeps all of the velocity.", fixed(momentum=1.0), MOMENTUM),
    "nesterov-decimal": Row(
        "No narrower dtype has 0.9.", fixed(momentum=0.9, nesterov=True), (*UPDATE, "nesterov-ignored")
    ),
    "nesterov-without-momentum": Row(
        "Nesterov's update without momentum is the plain one.",
        fixed(momentum=0.0, nesterov=True),
        RATE,
        SINGLE_AND_WIDER,
    ),
    "decay-decimal": Row(
        "No narrower dtype has 0.13.", fixed(weight_decay=0.13), ("decay-ignored", "decay-twice")
    ),
    "decay-tie": Row(
        "The decay is halfway between two numbers of the dtype.",
        lambda dtype: {"weight_decay": tie(0.125, 3)(dtype)},
        ("decay-ignored", "decay-twice"),
        SHORT,
    ),
    "decay-zero": Row(
        "A decay of 0 is a decay: infinity times 0 is NaN.",
        fixed(weight_decay=0.0),
        ("zero-decay-skipped",),
        numbers=some_infinite,
    ),
    "decay-above-one": Row(
        "The product of decay and rate is above 1, so that weights change their signs.",
        fixed(weight_decay=3.0, learning_rate=0.5),
        ("decay-ignored", "decay-stops-at-zero"),
        MOST,
    ),
    "decay-called": Row(
        "A decay, and a callable that returns 0.0 and -0.25 among others.",
        fixed(learning_rate=None, weight_decay=0.13),
        ("decay-ignored", "negative-decay-ignored"),
        MOST,
        rates=(0.3, 0.0, 1.0, -0.25),
    ),
    "clipnorm-of-zeros": Row(
        "The norm of a gradient is 0 at times.",
        fixed(clipnorm=0.7),
        ("clipping-ignored", "zero-norm-makes-nan"),
        SINGLE_AND_WIDER,
        zeros_at_times,
    ),
    "clipvalue-of-nan": Row(
        "NaN is not above the limit.",
        fixed(clipvalue=0.3),
        ("clipping-ignored", "nan-clipped-to-the-limit"),
        MOST,
        nan_at_times,
    ),
    "averages-of-zeros": Row(
        "An average is 0 as long as its variable is.",
        fixed(use_ema=True, ema_momentum=0.75),
        ("finalize-ignored", "zero-average-starts-anew"),
        MOST,
        late_bias,
    ),
    "scale-below-one": Row(
        "A scale may be below 1.",
        fixed(loss_scale_factor=0.3),
        (*SCALING, "scale-below-one-ignored"),
        MOST,
    ),
    "clipnorm-decimal": Row("No narrower dtype has 0.7.", fixed(clipnorm=0.7), CLIPPING),
    "clipvalue-decimal": Row("No narrower dtype has 0.3.", fixed(clipvalue=0.3), CLIPPING),
    "clipvalue-tie": Row(
        "The limit is halfway between two numbers of the dtype.",
        lambda dtype: {"clipvalue": tie(0.25, 1)(dtype)},
        CLIPPING,
        SHORT,
    ),
    "clipvalue-smallest": Row(
        "The limit is hardly above the smallest normal number.",
        lambda dtype: {"clipvalue": 1.375 * _smallest(dtype), "learning_rate": 0.5},
        CLIPPING,
        numbers=tiny,
    ),
    "global-clipnorm-decimal": Row("No narrower dtype has 0.7.", fixed(global_clipnorm=0.7), CLIPPING),
    "averages-decimal": Row("No narrower dtype has 0.95.", fixed(use_ema=True, ema_momentum=0.95), AVERAGES),
    "averages-low": Row(
        "Below one half, 1 - ema_momentum is rounded.", fixed(use_ema=True, ema_momentum=0.3), AVERAGES
    ),
    "averages-zero": Row(
        "With 0 an average is the variable.",
        fixed(use_ema=True, ema_momentum=0.0, ema_overwrite_frequency=2),
        ("averages-with-factors-exchanged",),
        SINGLE_AND_WIDER,
    ),
    "averages-one": Row(
        "With 1 an average stays what it first was.",
        fixed(use_ema=True, ema_momentum=1.0),
        (*AVERAGES, "averages-with-factors-exchanged"),
    ),
    "first-average-copied": Row(
        "The first average of -0.0 is -0.0, which overwrites the variable.",
        fixed(use_ema=True, ema_momentum=0.75, ema_overwrite_frequency=1),
        ("first-average-computed",),
        numbers=still_bias,
    ),
    "scale-decimal": Row(
        "No narrower dtype has 3.3.", fixed(loss_scale_factor=3.3), SCALING, numbers=larger(lambda dtype: 2)
    ),
    "scale-tie": Row(
        "The scale is halfway between two numbers of the dtype.",
        lambda dtype: {"loss_scale_factor": tie(3.0, 1)(dtype)},
        SCALING,
        SHORT,
        larger(lambda dtype: 2),
    ),
    "mean-of-three": Row(
        "No dtype has 1/3.",
        fixed(gradient_accumulation_steps=3),
        ("sum-instead-of-mean", "accumulator-not-reset"),
    ),
    "infinity-clipped-in-windows": Row(
        "Clipping takes an infinite mean to a finite limit, and the next window begins with zeros.",
        fixed(gradient_accumulation_steps=2, clipvalue=0.5),
        ("accumulator-reset-by-multiplication", "infinity-in-running-mean"),
        numbers=infinite_in_windows,
    ),
    "clipnorm-after-unscaling": Row(
        CLIPPED_AFTER_UNSCALING,
        fixed(clipnorm=0.7, loss_scale_factor=1024.0),
        ("clipped-before-unscaling",),
        numbers=larger(lambda dtype: 10),
    ),
    "clipvalue-after-unscaling": Row(
        CLIPPED_AFTER_UNSCALING,
        fixed(clipvalue=0.3, loss_scale_factor=1024.0),
        ("clipped-before-unscaling",),
        numbers=larger(lambda dtype: 10),
    ),
    "global-clipnorm-after-unscaling": Row(
        CLIPPED_AFTER_UNSCALING,
        fixed(global_clipnorm=0.7, loss_scale_factor=1024.0),
        ("clipped-before-unscaling",),
        numbers=larger(lambda dtype: 10),
    ),
    "count-passes-31-bits": Row(
        "The rate is that of 2**31 calls, not again that of the first.",
        fixed(
            learning_rate={
                "class_name": "PiecewiseConstantDecay",
                "config": {"boundaries": [5], "values": [0.5, 0.125]},
            }
        ),
        ("count-wraps",),
        calls_before=2**31 - 4,
    ),
}
"""The rows, by the first part of the names of their cases."""


def cases() -> Iterator[Case]:
    """Yield the cases."""
    for name, row in ROWS.items():
        for dtype in row.dtypes:
            yield _case(name, row, dtype)


def _case(name: str, row: Row, dtype: np.dtype[Any]) -> Case:
    numbers, make = NumberStream(f"{PREFIX}{name}"), row.numbers or ordinary
    settings = row.settings(dtype)
    made = [make(numbers, label, dtype, -1) for label in SHAPES]
    variables = tuple(readonly(variable) for variable in made if variable is not None)
    gradients = tuple(
        tuple(readonly_gradient(make(numbers, label, dtype, call)) for label in SHAPES)
        for call in range(CALLS)
    )
    rates = row.rates
    return Case(
        id=f"{PREFIX}{name}/{dtype.name}",
        config=PLAIN_CONFIG | dict(settings),
        names=tuple(SHAPES),
        variables=variables,
        gradients=gradients,
        state=State(calls=row.calls_before) if row.calls_before else None,
        learning_rate_calls=None
        if rates is None
        else tuple(rates[call % len(rates)] for call in range(CALLS)),
        finalize=bool(settings.get("use_ema")),
        exposes=row.exposes,
        notes=row.notes,
    )
