"""The rule says what the documentation says, and rounds after every operation, in the order written."""

from __future__ import annotations

import inspect
import math
import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pytest

from sgd_ref import rule
from sgd_ref.arithmetic import exact
from sgd_ref.arithmetic.formats import FORMATS, Array
from sgd_ref.arithmetic.rounded import convert, nearest, setting
from sgd_ref.conformance.catalogue.numbers import NumberStream

Dtype = np.dtype[Any]
Rule = Callable[..., Any]

every_dtype = pytest.mark.parametrize("dtype", FORMATS, ids=str)

ARRAYS = ("w", "g", "gradient", "velocity", "accumulator", "old_average")
FUNCTIONS: list[Rule] = [function for _, function in inspect.getmembers(rule, inspect.isfunction)]
every_function = pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)


class Documented(NamedTuple):
    """The words of the documentation, and the formula in them or that they describe."""

    words: str
    formula: str


# The names in the formulas are those of the arguments.
DOCUMENTED: dict[Rule, Documented] = {
    rule.descend: Documented("w <- w - learning_rate * g", "w - learning_rate * g"),
    rule.accelerate: Documented(
        "velocity <- momentum * velocity - learning_rate * g", "momentum * velocity - learning_rate * g"
    ),
    rule.move: Documented("w <- w + velocity", "w + velocity"),
    rule.move_nesterov: Documented(
        "w <- w + momentum * velocity - learning_rate * g", "w + momentum * velocity - learning_rate * g"
    ),
    rule.average: Documented(
        "new_average = ema_momentum * old_average + (1 - ema_momentum) * current_variable_value",
        "ema_momentum * old_average + (1 - ema_momentum) * w",
    ),
    rule.unscale: Documented(
        "the inverse of the scale factor will be multiplied by the gradients before updating variables",
        "1 / loss_scale_factor * gradient",
    ),
    rule.accumulate: Documented("the gradients since the last update", "accumulator + gradient"),
    rule.mean_of_accumulated: Documented(
        "using the average value of the gradients since the last update",
        "accumulator / steps + gradient / steps",
    ),
    rule.clip_by_norm: Documented(
        "the gradient of each weight is individually clipped so that its norm is no higher than this value",
        "gradient * min(1, clipnorm / norm)",
    ),
    rule.clip_by_value: Documented(
        "the gradient of each weight is clipped to be no higher than this value",
        "max(-clipvalue, min(clipvalue, gradient))",
    ),
    rule.global_clip_factor: Documented(
        "the gradient of all weights is clipped so that their global norm is no higher than this value",
        "min(1, clipnorm / norm)",
    ),
    rule.clip_by_global_norm: Documented("the gradient of all weights is clipped", "gradient * factor"),
    rule.decay_weights: Documented(
        "If set, weight decay is applied.", "w * (1 - weight_decay * learning_rate)"
    ),
}


def parameters(function: Rule) -> list[str]:
    return list(inspect.signature(function).parameters)


@pytest.fixture(autouse=True)
def _special_numbers_are_no_accidents() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def bits(array: Any) -> tuple[str, tuple[int, ...], bytes]:
    """The dtype, the shape and the bytes; NaN is NaN whatever its payload."""
    array = np.array(array)
    array[np.isnan(array)] = math.nan
    return array.dtype.name, array.shape, array.tobytes()


def test_every_function_of_the_rule_is_documented_here() -> None:
    assert set(DOCUMENTED) == set(FUNCTIONS)


@every_function
def test_formulas_are_those_of_the_documentation(function: Rule) -> None:
    words, formula = DOCUMENTED[function]
    _, sign, right = words.partition("<- " if "<-" in words else " = ")
    assert not sign or right.replace("current_variable_value", "w") == formula


@every_function
def test_on_fractions_the_rule_has_the_documented_value(function: Rule) -> None:
    stream = random.Random(function.__name__)
    for _ in range(20):
        arguments: dict[str, Any] = {}
        for name in parameters(function):
            if name in ARRAYS:
                elements = [Fraction(stream.randint(-300, 300), stream.randint(1, 97)) for _ in range(6)]
                arguments[name] = np.array(elements, object).reshape(2, 3)
            else:
                arguments[name] = Fraction(stream.randint(1, 300), stream.randint(1, 97))
        if function is rule.global_clip_factor:
            arguments["reciprocal_of_clipnorm"] = 1 / arguments["clipnorm"]
        result = np.asarray(function(**arguments), object)
        shape = (2, 3) if set(arguments) & set(ARRAYS) else ()
        assert result.shape == shape
        for index in np.ndindex(shape):
            names = {name: value[index] if name in ARRAYS else value for name, value in arguments.items()}
            expected = eval(DOCUMENTED[function].formula, {"min": min, "max": max}, names)  # noqa: S307
            assert type(result[index]) is Fraction
            assert result[index] == expected


def test_without_gradients_global_clipping_changes_nothing() -> None:
    clipnorm = Fraction(3)
    assert rule.global_clip_factor(exact.norm([]), clipnorm, 1 / clipnorm) == 1


# Each function in the words of NumPy, and other orders of the same formula that are not meant.
ORDERS: dict[str, tuple[Rule, dict[str, Rule]]] = {
    "unscale": (
        lambda gradient, loss_scale_factor: gradient / loss_scale_factor,
        {"by the reciprocal": lambda gradient, loss_scale_factor: gradient * (1 / loss_scale_factor)},
    ),
    "accumulate": (lambda gradient, accumulator: gradient + accumulator, {}),
    "mean_of_accumulated": (
        lambda gradient, accumulator, steps: (gradient + accumulator) / steps,
        {
            "by the reciprocal": lambda gradient, accumulator, steps: (gradient + accumulator) * (1 / steps),
            "divided first": lambda gradient, accumulator, steps: gradient / steps + accumulator / steps,
        },
    ),
    "clip_by_norm": (
        lambda gradient, norm, clipnorm: (gradient * clipnorm) / max(norm, clipnorm),
        {
            "one factor": lambda gradient, norm, clipnorm: gradient * (clipnorm / max(norm, clipnorm)),
            "divided first": lambda gradient, norm, clipnorm: gradient / max(norm, clipnorm) * clipnorm,
            "only where needed": lambda gradient, norm, clipnorm: gradient / norm * clipnorm,
        },
    ),
    "clip_by_value": (
        lambda gradient, clipvalue: np.array(
            [min(max(element, -clipvalue), clipvalue) for element in gradient], gradient.dtype
        ),
        {},
    ),
    "global_clip_factor": (
        lambda norm, clipnorm, reciprocal_of_clipnorm: clipnorm * min(1 / norm, reciprocal_of_clipnorm),
        {},
    ),
    "clip_by_global_norm": (lambda gradient, factor: gradient * factor, {}),
    "decay_weights": (
        lambda w, weight_decay, learning_rate: w - ((w * weight_decay) * learning_rate),
        {
            "settings first": lambda w, weight_decay, learning_rate: w - w * (weight_decay * learning_rate),
            "rate first": lambda w, weight_decay, learning_rate: w - w * learning_rate * weight_decay,
            "one factor": lambda w, weight_decay, learning_rate: w * (1 - weight_decay * learning_rate),
        },
    ),
    "descend": (lambda w, g, learning_rate: w - (learning_rate * g), {}),
    "accelerate": (
        lambda velocity, g, momentum, learning_rate: (momentum * velocity) - (learning_rate * g),
        {},
    ),
    "move": (lambda w, velocity: w + velocity, {}),
    "move_nesterov": (
        lambda w, velocity, g, momentum, learning_rate: w + ((momentum * velocity) - (learning_rate * g)),
        {
            "velocity first": lambda w, velocity, g, momentum, learning_rate: (
                w + momentum * velocity - learning_rate * g
            ),
            "gradient first": lambda w, velocity, g, momentum, learning_rate: (
                w - learning_rate * g + momentum * velocity
            ),
        },
    ),
    "average": (
        lambda old_average, w, ema_momentum: (ema_momentum * old_average) + ((1 - ema_momentum) * w),
        {
            "from the average": lambda old_average, w, ema_momentum: (
                old_average + (1 - ema_momentum) * (w - old_average)
            ),
            "from the weights": lambda old_average, w, ema_momentum: w - ema_momentum * (w - old_average),
            "three products": lambda old_average, w, ema_momentum: (
                ema_momentum * old_average + (w - ema_momentum * w)
            ),
        },
    ),
}
ONE_ROUNDING = {"unscale", "accumulate", "clip_by_value", "clip_by_global_norm", "move"}
SETTINGS = {
    "learning_rate": 0.7,
    "momentum": 0.9,
    "weight_decay": 0.6,
    "clipnorm": 1.7,
    "clipvalue": 0.6,
    "ema_momentum": 0.95,
    "loss_scale_factor": 3.0,
    "factor": 0.7,
    "steps": 3.0,
    "norm": 7.3,
}


def ordinary_arguments(function: Rule, dtype: Dtype) -> dict[str, Any]:
    numbers = NumberStream(f"order {function.__name__}")
    arguments: dict[str, Any] = {name: setting(value, dtype) for name, value in SETTINGS.items()}
    # Random numbers have a common grid in float64; without the products sums of them would not round.
    third = setting(1 / 3, dtype)
    arguments |= {name: numbers.array((512,), dtype, 5.0) * third for name in ARRAYS}
    arguments["reciprocal_of_clipnorm"] = setting(1 / SETTINGS["clipnorm"], dtype)
    return {name: arguments[name] for name in parameters(function)}


def test_every_function_has_its_order() -> None:
    assert {function.__name__ for function in FUNCTIONS} == set(ORDERS)


@every_dtype
@every_function
def test_roundings_are_in_the_order_written(function: Rule, dtype: Dtype) -> None:
    arguments = ordinary_arguments(function, dtype)
    written, others = ORDERS[function.__name__]
    result = function(**arguments)
    assert bits(result) == bits(written(**arguments))
    for name, other in others.items():
        assert bits(result) != bits(other(**arguments)), f"these numbers do not tell {name!r} apart"


@every_dtype
@every_function
def test_every_operation_rounds(function: Rule, dtype: Dtype) -> None:
    """No fused multiplication and addition, and no wider intermediate result."""
    arguments = ordinary_arguments(function, dtype)
    if function is rule.global_clip_factor:
        arguments["norm"] = NumberStream("norms").array((512,), dtype, 3.0) + setting(5.0, dtype)
    result = function(**arguments)
    exactly = {
        name: exact.exact(value) if np.ndim(value) else exact.number(float(value))
        for name, value in arguments.items()
    }
    once = [nearest(value, dtype) for value in function(**exactly)]
    assert (bits(np.array(once, dtype)) == bits(result)) == (function.__name__ in ONE_ROUNDING)


@every_dtype
def test_the_global_factor_is_a_product_with_the_smaller_reciprocal(dtype: Dtype) -> None:
    norms = NumberStream("norms").array((512,), dtype, 1.0) + setting(1.7, dtype)
    clipnorm, reciprocal = setting(1.7, dtype), setting(1 / 1.7, dtype)
    result = rule.global_clip_factor(norms, clipnorm, reciprocal)
    one = setting(1.0, dtype)
    assert bits(result) == bits(np.array([clipnorm * min(one / norm, reciprocal) for norm in norms], dtype))
    others = {
        "a quotient": [clipnorm / max(norm, clipnorm) for norm in norms],
        "at most one": [min(clipnorm * (one / norm), one) for norm in norms],
        "the reciprocal of the rounded setting": [
            clipnorm * min(one / norm, one / clipnorm) for norm in norms
        ],
    }
    if clipnorm * reciprocal == 1:
        del others["at most one"]
    if one / clipnorm == reciprocal:
        del others["the reciprocal of the rounded setting"]
    for name, other in others.items():
        assert bits(result) != bits(np.array(other, dtype)), f"these numbers do not tell {name!r} apart"


@every_dtype
def test_special_values(dtype: Dtype) -> None:
    smallest = float(FORMATS[dtype].smallest_normal * 2 / 2 ** FORMATS[dtype].precision)
    largest = float(FORMATS[dtype].largest)
    inf, nan = math.inf, math.nan

    def number(value: float) -> Any:
        return setting(value, dtype)

    def array(*values: float) -> Array:
        return convert(np.array(values, np.float64), dtype)

    results = [
        (rule.descend(array(-0.0, 0.0, -0.0), array(0.0, 0.0, -0.0), number(0.5)), [-0.0, 0.0, 0.0]),
        (rule.descend(array(largest, inf), array(-largest, inf), number(1.0)), [inf, nan]),
        (rule.descend(array(smallest, smallest), array(smallest, 0.5), number(1.0)), [0.0, -0.5]),
        # Half of the smallest number and three halves of it are ties: the even neighbours are 0 and 2.
        (rule.descend(array(0.0, 0.0), array(smallest, 3 * smallest), number(0.5)), [0.0, -2 * smallest]),
        (rule.move(array(-0.0, -0.0), array(-0.0, 0.0)), [-0.0, 0.0]),
        (rule.decay_weights(array(inf, -inf, -0.0), number(0.0), number(0.5)), [nan, nan, 0.0]),
        (rule.clip_by_value(array(nan, -0.0, 0.0, inf, -inf), number(0.5)), [nan, -0.0, 0.0, 0.5, -0.5]),
        (rule.clip_by_norm(array(inf, 1.0, -1.0), number(inf), number(1.0)), [nan, 0.0, -0.0]),
        (rule.clip_by_norm(array(0.0, -0.0), number(0.0), number(1.0)), [0.0, -0.0]),
        (rule.global_clip_factor(number(inf), number(1.0), number(1.0)), nan),
        (rule.global_clip_factor(number(nan), number(1.0), number(1.0)), nan),
        (rule.global_clip_factor(number(0.0), number(2.0), number(0.5)), 1.0),
        (rule.global_clip_factor(number(smallest), number(2.0), number(0.5)), 1.0),
        (rule.average(array(inf, nan), array(1.0, 1.0), number(0.5)), [inf, nan]),
        (rule.mean_of_accumulated(array(largest), array(largest), number(2.0)), [inf]),
        (rule.unscale(array(smallest, -0.0), number(2.0)), [0.0, -0.0]),
    ]
    for position, (result, expected) in enumerate(results):
        assert bits(result) == bits(convert(np.array(expected), dtype)), position
