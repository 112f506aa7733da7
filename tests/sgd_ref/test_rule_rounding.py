"""The rule and a whole step on rounded numbers stay within their own roundings of the exact values.

How near is derived here: a ball is a number with a bound on how far rounding may have led away from it,
and each operation on balls adds half a unit in the last place for its own rounding, in the order written.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgd_ref import SGD, rule
from sgd_ref.arithmetic import exact
from sgd_ref.arithmetic.formats import FLOAT32, FORMATS, Array, Format
from sgd_ref.arithmetic.rounded import promoted, setting
from sgd_ref.base.call import Call
from sgd_ref.conformance import Case, strategies
from sgd_ref.conformance.trajectories import reference
from sgd_ref.optimizer import Gradients, Values

Dtype = np.dtype[Any]
Rule = Callable[..., Any]

every_dtype = pytest.mark.parametrize("dtype", FORMATS, ids=str)
drawn = settings(deadline=None, print_blob=True, max_examples=30)

ARRAYS = ("w", "g", "gradient", "velocity", "accumulator", "old_average")
FUNCTIONS: list[Rule] = [function for _, function in inspect.getmembers(rule, inspect.isfunction)]


@pytest.fixture(autouse=True)
def _special_numbers_are_no_accidents() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def parameters(function: Rule) -> list[str]:
    return list(inspect.signature(function).parameters)


@dataclass(frozen=True)
class Ball:
    """All that a computation in a format may arrive at: within `error` of the exact `value`.

    `overflows` tells that something on the way may have passed the largest number.
    """

    value: Fraction
    error: Fraction
    form: Format
    overflows: bool = False

    def __neg__(self) -> Ball:
        return Ball(-self.value, self.error, self.form, self.overflows)

    def __add__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: (a.value + b.value, a.error + b.error))

    def __sub__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: (a.value - b.value, a.error + b.error))

    def __rsub__(self, other: int) -> Any:
        return self._exactly(other) - self

    def __mul__(self, other: Any) -> Any:
        def product(a: Ball, b: Ball) -> tuple[Fraction, Fraction]:
            return a.value * b.value, abs(a.value) * b.error + abs(b.value) * a.error + a.error * b.error

        return self._with(other, product)

    def __truediv__(self, other: Any) -> Any:
        def quotient(a: Ball, b: Ball) -> tuple[Fraction, Fraction]:
            value = a.value / b.value
            return value, (a.error + abs(value) * b.error) / (abs(b.value) - b.error)

        return self._with(other, quotient)

    def __rtruediv__(self, other: int) -> Any:
        return math.inf if self.value == 0 else self._exactly(other) / self

    # Rounding keeps the order of numbers, so that the larger of two is also the one that is computed.
    def __le__(self, other: Any) -> bool:
        return bool(self.value <= value_of(other))

    def __ge__(self, other: Any) -> bool:
        return bool(self.value >= value_of(other))

    def __lt__(self, other: Any) -> bool:
        return bool(self.value < value_of(other))

    def __gt__(self, other: Any) -> bool:
        return bool(self.value > value_of(other))

    def rounded_to(self, form: Format) -> Ball:
        return rounded(self.value, self.error, form, self.overflows)

    def holds(self, number: Any) -> bool:
        """Whether a computation may have arrived at this number."""
        beyond = abs(self.value) - self.error >= threshold_of_overflow(self.form)
        if not np.isfinite(number):
            return self.overflows
        return not beyond and abs(Fraction(float(number)) - self.value) <= self.error

    def _exactly(self, number: int) -> Ball:
        return Ball(Fraction(number), Fraction(0), self.form)

    def _with(self, other: Any, operation: Callable[[Ball, Ball], tuple[Fraction, Fraction]]) -> Any:
        if not isinstance(other, Ball):
            return NotImplemented
        return rounded(*operation(self, other), self.form, self.overflows or other.overflows)


def value_of(number: Any) -> Any:
    return number.value if isinstance(number, Ball) else number


def rounded(value: Fraction, error: Fraction, form: Format, overflows: bool) -> Ball:
    """The ball after one more rounding, which changes nothing where the format has the number itself."""
    half_unit = half_unit_in_the_last_place(abs(value) + error, form)
    if error or value % (2 * half_unit):
        error += half_unit
    return Ball(value, error, form, overflows or abs(value) + error >= threshold_of_overflow(form))


def half_unit_in_the_last_place(magnitude: Fraction, form: Format) -> Fraction:
    exponent = form.minimum_exponent
    if magnitude >= form.smallest_normal:
        exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
        exponent -= magnitude < Fraction(2) ** exponent
    return Fraction(2) ** (exponent - form.precision)


def threshold_of_overflow(form: Format) -> Fraction:
    return form.largest + half_unit_in_the_last_place(form.largest, form)


def ball(number: Any, dtype: Dtype | None = None) -> Ball:
    """One number of a dtype, of its own by default, without any error."""
    return Ball(Fraction(float(number)), Fraction(0), FORMATS[np.dtype(dtype or number.dtype)])


def balls(array: Array, dtype: Dtype | None = None) -> Array:
    made = np.empty(array.shape, object)
    for index in np.ndindex(array.shape):
        made[index] = ball(array[index], dtype or array.dtype)
    return made


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Fraction(1), Fraction(1, 2**11)),
        (Fraction(2) - Fraction(1, 2**20), Fraction(1, 2**11)),
        (Fraction(2), Fraction(1, 2**10)),
        (Fraction(1, 2**14), Fraction(1, 2**25)),
        (Fraction(1, 2**15), Fraction(1, 2**25)),
        (Fraction(0), Fraction(1, 2**25)),
    ],
)
def test_half_units_of_float16(value: Fraction, expected: Fraction) -> None:
    assert half_unit_in_the_last_place(value, FORMATS[np.dtype(np.float16)]) == expected


@st.composite
def arguments_of_the_rule(draw: st.DrawFn, dtype: Dtype, numbers: st.SearchStrategy[Any]) -> dict[str, Any]:
    """All arguments that the functions of the rule have, as rounded numbers."""
    arguments = {name: np.array(draw(st.lists(numbers, min_size=4, max_size=4)), dtype) for name in ARRAYS}
    positive = numbers.map(abs).filter(lambda number: number > 0)
    limits = positive.filter(lambda number: number >= float(FORMATS[dtype].smallest_normal))
    clipnorm = draw(limits)
    return arguments | {
        "learning_rate": draw(numbers),
        "momentum": draw(numbers.map(abs).filter(lambda number: number <= 1)),
        "ema_momentum": draw(numbers.map(abs).filter(lambda number: number <= 1)),
        "weight_decay": draw(numbers),
        "norm": draw(numbers.map(abs)),
        "clipnorm": clipnorm,
        "clipvalue": draw(limits),
        "reciprocal_of_clipnorm": setting(1 / float(clipnorm), dtype),
        "factor": draw(numbers.map(abs)),
        "loss_scale_factor": draw(positive),
        "steps": setting(draw(st.integers(2, 5)), dtype),
    }


def assert_the_bound_holds(function: Rule, arguments: dict[str, Any]) -> list[Ball]:
    used = {name: arguments[name] for name in parameters(function)}
    with np.errstate(all="ignore"):
        results = np.asarray(function(**used))
    bounds = np.asarray(function(**{n: balls(a) if np.ndim(a) else ball(a) for n, a in used.items()}), object)
    assert results.shape == bounds.shape
    pairs = list(zip(results.ravel(), bounds.ravel(), strict=True))
    for result, bound in pairs:
        assert bound.holds(result), (function.__name__, used, result, bound)
    return [bound for _, bound in pairs]


@every_dtype
@drawn
@given(data=st.data())
def test_rounded_results_are_within_their_roundings_of_the_exact_ones(
    dtype: Dtype, data: st.DataObject
) -> None:
    arguments = data.draw(arguments_of_the_rule(dtype, strategies.numbers(dtype, finite=True)))
    for function in FUNCTIONS:
        assert_the_bound_holds(function, arguments)


@every_dtype
@drawn
@given(data=st.data())
def test_without_any_rounding_results_are_exact(dtype: Dtype, data: st.DataObject) -> None:
    # Two bits in each number: no product of three has more than the eight bits of bfloat16.
    small = st.sampled_from((0.0, 0.5, -0.5, 1.0, -1.0, 1.5, -1.5, 2.0, -3.0)).map(
        lambda number: setting(number, dtype)
    )
    arguments = data.draw(arguments_of_the_rule(dtype, small))
    powers = st.sampled_from((0.5, 1.0, 2.0, 4.0)).map(lambda number: setting(number, dtype))
    for name in ("norm", "clipnorm", "loss_scale_factor", "steps"):
        arguments[name] = data.draw(powers)
    arguments["reciprocal_of_clipnorm"] = 1 / arguments["clipnorm"]
    for function in FUNCTIONS:
        bounds = assert_the_bound_holds(function, arguments)
        assert {bound.error for bound in bounds} == {0}, function.__name__


class HeldAgainstTheBound(SGD):
    """The optimizer, each stage of which is held against the rule on balls at the same rounded inputs."""

    checked = 0

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        results = super().unscale(gradients, loss_scale)
        for result, gradient in zip(results, gradients, strict=True):
            if gradient is not None and loss_scale is not None:
                wide = promoted([gradient.dtype, FLOAT32])
                self.hold(result, wide, rule.unscale, gradient, setting(float(loss_scale), wide))
            else:
                assert result is gradient
        return results

    def accumulate(self, values: Values, gradients: Gradients) -> Values:
        result = super().accumulate(values, gradients)
        for new, old, gradient in zip(result.accumulators, values.accumulators, gradients, strict=True):
            if gradient is None:
                assert new is old
            else:
                self.hold(new, new.dtype, rule.accumulate, gradient, old)
        return result

    def mean(self, values: Values, gradients: Gradients) -> tuple[Gradients, Values]:
        means, result = super().mean(values, gradients)
        steps = self.gradient_accumulation_steps
        if steps is None:
            assert means is gradients
            assert result is values
            return means, result
        for new, old, gradient in zip(means, values.accumulators, gradients, strict=True):
            if gradient is None:
                assert new is None
            else:
                arguments = (gradient, old, setting(steps, old.dtype))
                self.hold(new, old.dtype, rule.mean_of_accumulated, *arguments)
        assert not any(array.any() for array in result.accumulators)
        return means, result

    def clip_by_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        results = super().clip_by_norm(gradients, clipnorm)
        for result, gradient in zip(results, gradients, strict=True):
            if gradient is not None:
                limit = setting(clipnorm, gradient.dtype)
                self.hold(result, gradient.dtype, rule.clip_by_norm, gradient, self.norm([gradient]), limit)
        return results

    def clip_by_value(self, gradients: Gradients, clipvalue: float) -> Gradients:
        results = super().clip_by_value(gradients, clipvalue)
        for result, gradient in zip(results, gradients, strict=True):
            if gradient is not None:
                limit = setting(clipvalue, gradient.dtype)
                self.hold(result, gradient.dtype, rule.clip_by_value, gradient, limit)
        return results

    def clip_by_global_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        results = super().clip_by_global_norm(gradients, clipnorm)
        present = [gradient for gradient in gradients if gradient is not None]
        wide = promoted([gradient.dtype for gradient in present])

        def clipped(gradient: Any, norm: Any, limit: Any, reciprocal: Any) -> Any:
            return rule.clip_by_global_norm(gradient, rule.global_clip_factor(norm, limit, reciprocal))

        settings = setting(clipnorm, wide), setting(1 / clipnorm, wide)
        for result, gradient in zip(results, gradients, strict=True):
            if gradient is not None:
                self.hold(result, wide, clipped, gradient, self.norm(present), *settings)
        return results

    def norm(self, gradients: list[Array]) -> Any:
        result = super().norm(gradients)
        if all(np.isfinite(gradient).all() for gradient in gradients):
            exactly = exact.norm([exact.exact(gradient) for gradient in gradients])
            form = FORMATS[promoted([gradient.dtype for gradient in gradients])]
            assert rounded(Fraction(exactly), Fraction(0), form, overflows=False).holds(result)
        else:
            assert not np.isfinite(result)
        return result

    def decay(self, values: Values, gradients: Gradients, call: Call) -> Values:
        result = super().decay(values, gradients, call)
        for index, (new, old) in enumerate(zip(result.variables, values.variables, strict=True)):
            if self.weight_decay is None or gradients[index] is None or not call.state.decayed[index]:
                assert new is old
            else:
                rates = setting(self.weight_decay, old.dtype), setting(float(call.learning_rate), old.dtype)
                self.hold(new, old.dtype, rule.decay_weights, old, *rates)
        return result

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        result = super().update(values, gradients, call)
        for index, gradient in enumerate(gradients):
            new, old = result.variables[index], values.variables[index]
            if gradient is None:
                assert new is old
                continue
            dtype = old.dtype
            momentum, rate = setting(self.momentum, dtype), setting(float(call.learning_rate), dtype)
            if self.momentum == 0:
                self.hold(new, dtype, rule.descend, old, gradient, rate)
                continue
            velocity = result.velocities[index]
            before = values.velocities[index]
            self.hold(velocity, dtype, rule.accelerate, before, gradient, momentum, rate)
            if self.nesterov:
                self.hold(new, dtype, rule.move_nesterov, old, velocity, gradient, momentum, rate)
            else:
                self.hold(new, dtype, rule.move, old, velocity)
        return result

    def average(self, values: Values, call: Call) -> Values:
        result = super().average(values, call)
        if not self.use_ema:
            assert result is values
            return result
        window = self.gradient_accumulation_steps or 1
        pairs = zip(result.averages, values.averages, values.variables, strict=True)
        for new, old, variable in pairs:
            if call.state.calls < window:
                assert new is variable
            else:
                self.hold(new, old.dtype, rule.average, old, variable, setting(self.ema_momentum, old.dtype))
        return result

    def hold(self, result: Array | None, dtype: Dtype, function: Rule, *arguments: Any) -> None:
        """Compare some elements, among finite numbers, with the rule on balls of a dtype."""
        assert result is not None
        for position in np.unique(np.linspace(0, result.size - 1, min(result.size, 5)).astype(int)):
            numbers = [np.ravel(value)[position if np.ndim(value) else 0] for value in arguments]
            # A variable without axes is not a setting, but has one element as well.
            if np.isfinite(np.array(numbers, np.float64)).all():
                bound = function(*(ball(number, dtype) for number in numbers))
                bound = np.asarray(bound, object)[()].rounded_to(FORMATS[result.dtype])
                assert bound.holds(result.ravel()[position]), (function.__name__, numbers, bound)
                type(self).checked += 1


@drawn
@given(case=strategies.cases())
def test_every_stage_of_a_step_stays_within_its_bound(case: Case) -> None:
    HeldAgainstTheBound.checked = 0
    reference.run(case, HeldAgainstTheBound)
    assert HeldAgainstTheBound.checked > 0
