"""What one call may make of one variable: the stages of the optimizer on enclosures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sgd_ref.arithmetic.rounded import FLOAT32, FLOAT64, Array, promoted
from sgd_ref.conformance.bounds import rule
from sgd_ref.conformance.bounds.enclosure import (
    Arithmetic,
    Enclosure,
    arithmetic_of,
    hull,
    product_in_any_order,
    sum_in_any_order,
)
from sgd_ref.conformance.bounds.norm import norm
from sgd_ref.conformance.bounds.settings import Held
from sgd_ref.gradients import SparseRows


@dataclass(frozen=True)
class Prepared:
    """A gradient on its way to the update.

    Attributes
    ----------
    gradient : Enclosure
        After every stage so far.
    late : tuple of Enclosure
        Terms whose sum, once divided, is the same gradient; empty where that is not open any more.
    divisors : tuple of Enclosure
        What their sum is still to be divided by.
    layers : tuple of Enclosure
        Parts of a sparse gradient that has rows more than once, each part at most once; in half types
        not yet divided by the loss scale, nor rounded. Empty where their sum was needed in between.
    """

    gradient: Enclosure
    late: tuple[Enclosure, ...] = ()
    divisors: tuple[Enclosure, ...] = ()
    layers: tuple[Enclosure, ...] = ()

    def at(self, index: Array) -> Prepared:
        """Return the chosen elements alone."""
        return Prepared(
            self.gradient[index],
            tuple(term[index] for term in self.late),
            self.divisors,
            tuple(layer[index] for layer in self.layers),
        )


def prepared(gradient: Array | SparseRows, arithmetic: Arithmetic, loss_scale: float | None) -> Prepared:
    """Return a gradient, flat and dense, divided by the loss scale if there is one.

    The quotient is computed in float32 at least, and then perhaps rounded. Rows that occur twice are added
    in any order, before or after.
    """
    layers = [arithmetic.point(layer.reshape(-1)) for layer in _layers(gradient)]
    total = sum_in_any_order(layers)
    several = tuple(layers) if len(layers) > 1 else ()
    if loss_scale is None:
        return Prepared(total, (total,), (), several)
    wide = [widened(layer) for layer in layers]
    single = wide[0].arithmetic
    scale = single.point(np.float64(loss_scale if single.dtype == FLOAT64 else np.float32(loss_scale)))
    ways = [rule.unscale(widened(total), scale)]
    if several:
        ways.append(sum_in_any_order([rule.unscale(layer, scale) for layer in wide]))
    quotient = hull(*ways)
    rounded = arithmetic.operation(quotient.lower, quotient.upper, quotient.nan)
    return Prepared(rounded, (sum_in_any_order(wide),), (scale,), tuple(wide) if several else ())


def _layers(gradient: Array | SparseRows) -> list[Array]:
    """Return dense arrays of which no one needs a row twice: the first occurrences, the second, and so on."""
    if not isinstance(gradient, SparseRows):
        return [np.asarray(gradient)]
    layers = [np.zeros(gradient.shape, gradient.dtype)]
    seen: dict[int, int] = {}
    for index, row in zip(gradient.indices.tolist(), gradient.values, strict=True):
        position = seen.get(index, 0)
        seen[index] = position + 1
        if position == len(layers):
            layers.append(np.zeros(gradient.shape, gradient.dtype))
        layers[position][index] = row
    return layers


def mean(window: Sequence[Prepared], steps: Enclosure) -> Prepared:
    """Return the mean of a window of gradients, or of one gradient and the known sum of the others."""
    gradient = rule.mean_of_accumulated([part.gradient for part in window], steps)
    late = tuple(term for part in window for term in part.late)
    if not late or any(not part.late for part in window):
        return Prepared(gradient)
    number = late[0].arithmetic.point(_number(steps))
    divisors = window[0].divisors
    if divisors:
        total = sum_in_any_order(late)
        undivided = product_in_any_order(total, (), (*divisors, number))
        arithmetic = gradient.arithmetic
        gradient = hull(gradient, arithmetic.operation(undivided.lower, undivided.upper, undivided.nan))
    return Prepared(gradient, late, (*divisors, number))


def clipped(
    gradients: Sequence[Prepared | None], held: Sequence[Held], held_in: Callable[[np.dtype[Any]], Held]
) -> list[Prepared | None]:
    """Return the gradients of all variables clipped by the one clipping that is set.

    `held` are the settings for each variable, `held_in` gives those for a dtype.
    """
    own = held[0]
    if own.clipnorm is None and own.clipvalue is None and own.global_clipnorm is None:
        return list(gradients)
    common: tuple[Enclosure, Held] | None = None
    if own.global_clipnorm is not None:
        present = [part.gradient for part in gradients if part is not None]
        dtype = promoted([gradient.arithmetic.dtype for gradient in present])
        common = norm(present, dtype), held_in(dtype)
    return [
        None if part is None else Prepared(_clipped(part.gradient, settings, common))
        for part, settings in zip(gradients, held, strict=True)
    ]


def _clipped(gradient: Enclosure, held: Held, common: tuple[Enclosure, Held] | None) -> Enclosure:
    arithmetic = gradient.arithmetic
    if held.clipvalue is not None:
        return rule.clip_by_value(gradient, held.clipvalue)
    if held.clipnorm is not None:
        return rule.clip_by_norm(gradient, norm([gradient], arithmetic.dtype), held.clipnorm)
    assert common is not None
    size, wide = common
    limit, reciprocal = wide.global_clipnorm, wide.reciprocal_of_global_clipnorm
    assert limit is not None
    assert reciprocal is not None
    result = rule.clip_by_global_norm(moved(gradient, size.arithmetic), size, limit, reciprocal)
    if size.arithmetic.dtype == arithmetic.dtype:
        return result
    back = moved(result, arithmetic)
    return arithmetic.operation(back.lower, back.upper, back.nan)


@dataclass(frozen=True)
class Moment:
    """A variable before a call, some elements of it, and what is known of its velocity afterwards.

    Attributes
    ----------
    w, velocity : Enclosure
        Before the call; the velocity is None without momentum.
    new_velocity : ndarray or None
        The velocity that was observed after the call, if it is the state of the implementation.
    is_rate_constant : bool
        Whether the learning rate never changes, so that the velocity may be kept without it.
    is_decayed, is_nesterov : bool
        Whether weight decay applies to the variable, and Nesterov's update.
    """

    w: Enclosure
    velocity: Enclosure | None
    new_velocity: Array | None
    is_rate_constant: bool
    is_decayed: bool
    is_nesterov: bool


def updated(
    moment: Moment, prepared: Prepared, learning_rate: Enclosure, held: Held
) -> tuple[Enclosure, Enclosure | None]:
    """Return what weight and velocity may be after the update, not yet stored."""
    weight_decay = held.weight_decay if moment.is_decayed else None
    g, w = prepared.gradient, moment.w
    step = rule.descent(g, learning_rate)
    steps = _descents(prepared, learning_rate)
    if prepared.late and prepared.divisors:
        wide = prepared.late[0].arithmetic
        late = rule.late_descent(prepared.late, moved(learning_rate, wide), prepared.divisors)
        back = moved(late, w.arithmetic)
        step = hull(step, w.arithmetic.operation(back.lower, back.upper, back.nan))
    if moment.velocity is None or held.momentum is None:
        plain = rule.move(w, [step], learning_rate, weight_decay)
        if steps:
            plain = hull(plain, rule.move(w, steps, learning_rate, weight_decay))
        return hull(plain, rule.move_against(w, g, learning_rate, weight_decay)), None
    velocity = rule.accelerate(moment.velocity, [step], held.momentum)
    if steps:
        step = hull(step, sum_in_any_order(steps))
        velocity = hull(velocity, rule.accelerate(moment.velocity, steps, held.momentum))
    without_rate = None
    if moment.new_velocity is None and moment.is_rate_constant:
        without_rate = hull(
            *(
                rule.accelerate_without_rate(moment.velocity, terms, held.momentum, learning_rate)
                for terms in ([g], _parts(prepared, g.arithmetic))
                if terms
            )
        )
        velocity = hull(velocity, rule.descent(without_rate, learning_rate))
    used = velocity if moment.new_velocity is None else velocity.rounded_to(moment.new_velocity)
    if moment.is_nesterov:
        result = rule.move_nesterov(
            w, used, moment.velocity, step, held.momentum, learning_rate, weight_decay
        )
        ahead = None if without_rate is None else g + held.momentum * without_rate
    else:
        result = rule.move(w, [used], learning_rate, weight_decay)
        ahead = without_rate
    if moment.new_velocity is None:
        result = hull(result, *_moved_by_parts(moment, [step], steps, learning_rate, held))
    if ahead is not None:
        result = hull(result, rule.move_against(w, ahead, learning_rate, weight_decay))
    return result, velocity


def widened(x: Enclosure) -> Enclosure:
    """Return the same numbers where half types compute in float32."""
    dtype = promoted([x.arithmetic.dtype, FLOAT32])
    return x if dtype == x.arithmetic.dtype else moved(x, arithmetic_of(dtype, x.arithmetic.flushes))


def moved(x: Enclosure, arithmetic: Arithmetic) -> Enclosure:
    """Return the same numbers in another arithmetic, which holds them exactly or encloses them."""
    if arithmetic.dtype == x.arithmetic.dtype:
        return x
    if (arithmetic.dtype == FLOAT64) == (x.arithmetic.dtype == FLOAT64):
        return Enclosure(arithmetic, x.lower, x.upper, x.nan)
    ends = arithmetic.endpoints
    return Enclosure(arithmetic, ends.enclosing(x.lower)[0], ends.enclosing(x.upper)[1], x.nan)


def _descents(prepared: Prepared, learning_rate: Enclosure) -> list[Enclosure]:
    """Return the steps of the layers of a sparse gradient, which may be added to the weights one by one."""
    arithmetic = learning_rate.arithmetic
    steps = []
    for layer in prepared.layers:
        rate = moved(learning_rate, layer.arithmetic)
        step = moved(rule.late_descent([layer], rate, prepared.divisors), arithmetic)
        steps.append(arithmetic.operation(step.lower, step.upper, step.nan))
    return steps


def _parts(prepared: Prepared, arithmetic: Arithmetic) -> list[Enclosure]:
    """Return the layers of a sparse gradient, unscaled, which may be added to a velocity one by one."""
    parts = []
    for layer in prepared.layers:
        unscaled = moved(
            rule.unscale(layer, prepared.divisors[0]) if prepared.divisors else layer, arithmetic
        )
        parts.append(arithmetic.operation(unscaled.lower, unscaled.upper, unscaled.nan))
    return parts


def _moved_by_parts(
    moment: Moment,
    whole: Sequence[Enclosure],
    steps: Sequence[Enclosure],
    learning_rate: Enclosure,
    held: Held,
) -> list[Enclosure]:
    """Return the weight moved by the terms of a velocity, of which nobody sees the sum.

    Sparse gradients are added to the weight row by row, also where a row occurs twice.
    """
    assert moment.velocity is not None
    assert held.momentum is not None
    weight_decay = held.weight_decay if moment.is_decayed else None
    kept = moment.velocity * held.momentum
    if moment.is_nesterov:
        ahead = [kept * held.momentum, *steps, *(step * held.momentum for step in steps)]
        return [rule.move(moment.w, ahead, learning_rate, weight_decay)] if steps else []
    ways = (whole, steps) if steps else (whole,)
    return [rule.move(moment.w, [kept, *terms], learning_rate, weight_decay) for terms in ways]


def _number(steps: Enclosure) -> np.float64:
    return np.float64(float(steps.lower[0]))
