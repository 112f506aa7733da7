"""The possible results of one call for one variable: the stages of the optimizer on enclosures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT32, FLOAT64, Array
from sgd_ref.arithmetic.rounded import promoted
from sgd_ref.conformance.bounds import rule
from sgd_ref.conformance.bounds.enclosure import (
    Arithmetic,
    Enclosure,
    arithmetic_of,
    hull,
)
from sgd_ref.conformance.bounds.norm import norm
from sgd_ref.conformance.bounds.settings import Held
from sgd_ref.conformance.bounds.sums import sum_in_any_order
from sgd_ref.gradients import SparseRows


class Late(NamedTuple):
    """Terms, with factors and divisors that are still to be applied to their sum."""

    terms: tuple[Enclosure, ...]
    factors: rule.Factors


@dataclass(frozen=True)
class Prepared:
    """A gradient on its way to the update.

    Attributes
    ----------
    gradient : Enclosure
        The gradient after the stages so far.
    late : tuple of Late
        The same gradient before some factors, which the update may apply together with the rate. Empty if a
        later stage has already needed the product.
    layers : tuple of Enclosure
        Parts of a sparse gradient with repeated rows; no part has a row twice. Empty if an earlier stage
        needed their sum.
    scale : Enclosure or None
        The number by which the layers are still to be divided.
    """

    gradient: Enclosure
    late: tuple[Late, ...] = ()
    layers: tuple[Enclosure, ...] = ()
    scale: Enclosure | None = None

    def at(self, index: Array) -> Prepared:
        """Return only the chosen elements."""
        return Prepared(
            self.gradient[index],
            tuple(Late(tuple(term[index] for term in late.terms), late.factors) for late in self.late),
            tuple(layer[index] for layer in self.layers),
            self.scale,
        )


def prepared(gradient: Array | SparseRows, arithmetic: Arithmetic, loss_scale: float | None) -> Prepared:
    """Return a gradient, flat and dense, divided by the loss scale in its held form, if there is a scale.

    The quotient is computed in float32 at least, and then perhaps rounded. Rows that occur twice are added
    in any order, before or after.
    """
    return unscaled(layers_of(gradient, arithmetic), arithmetic, loss_scale)


def unscaled(layers: Sequence[Enclosure], arithmetic: Arithmetic, loss_scale: float | None) -> Prepared:
    """Return the sum of the layers of a gradient, divided by the loss scale if there is one."""
    total = sum_in_any_order(layers)
    several = tuple(layers) if len(layers) > 1 else ()
    if loss_scale is None:
        return Prepared(total, (), several)
    wide = [widened(layer) for layer in layers]
    single = wide[0].arithmetic
    scale = single.point(np.float64(loss_scale))
    ways = [rule.unscale(widened(total), scale)]
    if several:
        ways.append(sum_in_any_order([rule.unscale(layer, scale) for layer in wide]))
    rounded = _rounded(hull(*ways), arithmetic)
    late = Late((sum_in_any_order(wide),), rule.Factors((), (scale,)))
    return Prepared(rounded, (late,), tuple(wide) if several else (), scale)


def layers_of(gradient: Array | SparseRows, arithmetic: Arithmetic) -> list[Enclosure]:
    """Return flat and dense parts whose sum is the gradient; no part has a row twice."""
    return [arithmetic.point(layer.reshape(-1)) for layer in _layers(gradient)]


def _layers(gradient: Array | SparseRows) -> list[Array]:
    """Return dense arrays without repeated rows: the first occurrences, the second ones, and so on."""
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
    terms = tuple(part.gradient for part in window)
    gradient = rule.mean_of_accumulated(terms, steps)
    late = [Late(terms, rule.Factors((), (steps,)))]
    if all(part.late for part in window):
        # The loss scale is the same in all calls of a window, unless only the sum of the window is known.
        scaled = tuple(term for part in window for term in part.late[0].terms)
        number = scaled[0].arithmetic.point(np.float64(float(steps.lower[0])))
        late.append(Late(scaled, window[0].late[0].factors + rule.Factors((), (number,))))
        undivided = rule.late_gradient(scaled, late[1].factors)
        gradient = hull(gradient, _rounded(undivided, gradient.arithmetic))
    return Prepared(gradient, tuple(late))


def running_mean(total: Enclosure, calls: int, later: Sequence[Prepared | None]) -> Enclosure:
    """Return the mean of a window as a running mean."""
    return rule.running_mean(total, calls, [None if part is None else part.gradient for part in later])


def clipped(
    gradients: Sequence[Prepared | None],
    indices: Sequence[Array],
    held: Sequence[Held],
    held_in: Callable[[np.dtype[Any]], Held],
    is_norm_in_own_dtype: bool = False,
) -> list[Prepared | None]:
    """Return the chosen elements of all gradients, clipped by the clipping that is set.

    `held` has the settings for each variable, and `held_in` returns those for a dtype. The common norm is in
    the dtype that holds all gradients; or it is rounded to the dtype of each gradient, which is then clipped
    in that dtype.
    """
    common: dict[np.dtype[Any], list[rule.Factors]] = {}
    if held[0].global_clipnorm is not None:
        present = [part.gradient for part in gradients if part is not None]
        dtypes = {gradient.arithmetic.dtype: gradient.arithmetic for gradient in present}
        wide = promoted(list(dtypes))
        size = norm(present, wide)
        for dtype, arithmetic in dtypes.items():
            own = _rounded(size, arithmetic) if is_norm_in_own_dtype else size
            settings = held_in(own.arithmetic.dtype)
            limit, reciprocal = settings.global_clipnorm, settings.reciprocal_of_global_clipnorm
            assert limit is not None
            assert reciprocal is not None
            common[dtype] = rule.global_clipping(own, limit, reciprocal)
    return [
        None
        if part is None
        else _clipped(part, index, settings, common.get(part.gradient.arithmetic.dtype, ()))
        for part, index, settings in zip(gradients, indices, held, strict=True)
    ]


def _clipped(part: Prepared, index: Array, held: Held, common: Sequence[rule.Factors]) -> Prepared:
    chosen = part.at(index)
    if held.clipvalue is not None:
        return Prepared(rule.clip_by_value(chosen.gradient, held.clipvalue))
    if held.clipnorm is not None:
        size = norm([part.gradient], part.gradient.arithmetic.dtype)
        return _multiplied(chosen, [rule.clipping(size, held.clipnorm)])
    return _multiplied(chosen, common) if common else chosen


def _multiplied(part: Prepared, ways: Sequence[rule.Factors]) -> Prepared:
    """Return a gradient times the factors of clipping, in one of two ways.

    The hull covers both places of a rounding between these factors and those of earlier stages: the gradient
    may be rounded first, or all factors may be combined into one number that multiplies the sum later. The
    rate may join either product, so that both are kept as late terms.
    """
    sources = (Late((part.gradient,), rule.Factors()), *part.late)
    late = tuple(_in_common(source, factors) for source in sources for factors in ways)
    own = part.gradient.arithmetic
    products = [rule.late_gradient(source.terms, source.factors) for source in late]
    return Prepared(
        hull(*(x if x.arithmetic.dtype == own.dtype else _rounded(x, own) for x in products)), late
    )


def _in_common(late: Late, factors: rule.Factors) -> Late:
    """Return terms with additional factors, all in the narrowest arithmetic that holds both."""
    own, other = late.terms[0].arithmetic, factors.multipliers[0].arithmetic
    dtype = promoted([own.dtype, other.dtype])
    arithmetic = own if dtype == own.dtype else arithmetic_of(dtype, own.flushes)

    def in_it(numbers: Sequence[Enclosure]) -> tuple[Enclosure, ...]:
        return tuple(moved(number, arithmetic) for number in numbers)

    joined = late.factors + factors
    return Late(in_it(late.terms), rule.Factors(in_it(joined.multipliers), in_it(joined.divisors)))


@dataclass(frozen=True)
class Moment:
    """Some elements of a variable before a call, and its velocity after the call if that is known.

    Attributes
    ----------
    w, velocity : Enclosure
        The values before the call; the velocity is None without momentum.
    new_velocity : ndarray or None
        The velocity observed after the call, if this is the true state of the implementation.
    is_rate_constant : bool
        Whether the learning rate never changes, so that the velocity may be kept without it.
    is_decayed, is_nesterov : bool
        Whether weight decay applies to the variable, and whether Nesterov's update does.
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
    """Return the possible weight and velocity after the update, not yet stored."""
    weight_decay = held.weight_decay if moment.is_decayed else None
    g, w = prepared.gradient, moment.w
    step = rule.descent(g, learning_rate)
    steps = _descents(prepared, learning_rate)
    for late in prepared.late:
        rate = moved(learning_rate, late.terms[0].arithmetic)
        step = hull(step, _rounded(rule.late_descent(late.terms, rate, late.factors), w.arithmetic))
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
    """Return the same numbers, with half types widened to float32 for computing."""
    dtype = promoted([x.arithmetic.dtype, FLOAT32])
    return x if dtype == x.arithmetic.dtype else moved(x, arithmetic_of(dtype, x.arithmetic.flushes))


def moved(x: Enclosure, arithmetic: Arithmetic) -> Enclosure:
    """Return the same numbers in another arithmetic, exact or enclosed."""
    if arithmetic.dtype == x.arithmetic.dtype:
        return x
    if (arithmetic.dtype == FLOAT64) == (x.arithmetic.dtype == FLOAT64):
        return Enclosure(arithmetic, x.lower, x.upper, x.nan)
    ends = arithmetic.endpoints
    return Enclosure(arithmetic, ends.enclosing(x.lower)[0], ends.enclosing(x.upper)[1], x.nan)


def _descents(prepared: Prepared, learning_rate: Enclosure) -> list[Enclosure]:
    """Return the steps from the layers of a sparse gradient, which may be added to the weights one by one."""
    factors = rule.Factors((), () if prepared.scale is None else (prepared.scale,))
    return [
        _rounded(
            rule.late_descent([layer], moved(learning_rate, layer.arithmetic), factors),
            learning_rate.arithmetic,
        )
        for layer in prepared.layers
    ]


def _parts(prepared: Prepared, arithmetic: Arithmetic) -> list[Enclosure]:
    """Return the layers of a sparse gradient, unscaled, which may be added to a velocity one by one."""
    scale = prepared.scale
    return [
        _rounded(layer if scale is None else rule.unscale(layer, scale), arithmetic)
        for layer in prepared.layers
    ]


def _rounded(x: Enclosure, arithmetic: Arithmetic) -> Enclosure:
    """Return a result, perhaps of a wider dtype, unchanged or rounded to the dtype of the variable."""
    result = moved(x, arithmetic)
    return arithmetic.operation(result.lower, result.upper, result.nan)


def _moved_by_parts(
    moment: Moment,
    whole: Sequence[Enclosure],
    steps: Sequence[Enclosure],
    learning_rate: Enclosure,
    held: Held,
) -> list[Enclosure]:
    """Return the weight after adding the terms of a velocity one by one, without forming their sum.

    Sparse gradients are added to the weight row by row, even if a row occurs twice.
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
