"""One bound for each formula of ``sgd_ref.rule``: all values that a faithful evaluation may give.

The functions stand in the order of ``sgd_ref/rule.py``, and a function that bounds one of its formulas has
the name of the formula. ``move`` also bounds ``decay_weights`` and ``descend``, since decay may be combined
with the update. The other functions bound a part that several formulas share, or a form that only other
implementations compute. Each function takes enclosures of one arithmetic, whose shapes broadcast, and returns
the hull of all evaluations that are equal in real numbers: every order of a sum or product, reciprocals,
factors that are formed first, and the forms that real implementations use. Every line of a hull is such a
form, and some faithful implementation needs it. Division has no line of its own: a reciprocal need not be
rounded, so that the product with it encloses the quotient. Likewise, a form that multiplies and divides by
the same number encloses the form without both.

The results are those of an operation, not yet stored in the dtype: `Enclosure.stored` rounds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sgd_ref.conformance.bounds.enclosure import Enclosure, hull
from sgd_ref.conformance.bounds.products import product_in_any_order
from sgd_ref.conformance.bounds.sums import sum_in_any_order


@dataclass(frozen=True, eq=False)
class Factors:
    """Single numbers by which a gradient is still to be multiplied and divided, in any order."""

    multipliers: tuple[Enclosure, ...] = ()
    divisors: tuple[Enclosure, ...] = ()

    def __add__(self, others: Factors) -> Factors:
        return Factors(self.multipliers + others.multipliers, self.divisors + others.divisors)


def unscale(gradient: Enclosure, loss_scale_factor: Enclosure) -> Enclosure:
    """`loss_scale_factor`: the quotient, or the product with the reciprocal."""
    return gradient * (1 / loss_scale_factor)


def accumulate(gradient: Enclosure, accumulator: Enclosure) -> Enclosure:
    """`gradient_accumulation_steps`: one sum."""
    return gradient + accumulator


def mean_of_accumulated(terms: Sequence[Enclosure], steps: Enclosure) -> Enclosure:
    """`gradient_accumulation_steps`: the sum of the gradients of a window, divided by the number of steps.

    If the value of the accumulator is known, `terms` are the last gradient and the accumulator; otherwise
    they are all gradients of the window. They may be added in any order, or be divided first.
    """
    reciprocal = 1 / steps
    parts = [term * reciprocal for term in terms]
    return hull(sum_in_any_order(terms) * reciprocal, sum_in_any_order(parts))


def running_mean(total: Enclosure, calls: int, later: Sequence[Enclosure | None]) -> Enclosure:
    """The mean of k gradients from the mean of the first k - 1, ``m + (g - m) / k``, as Optax accumulates.

    It begins with the mean of a total over some calls, and goes on with one gradient in each call; a missing
    gradient counts as 0.
    """
    mean = total * (1 / total.arithmetic.point(max(calls, 1)))
    zero = total.arithmetic.point(0)
    for count, gradient in enumerate(later, calls + 1):
        term = zero if gradient is None else gradient
        reciprocal = 1 / mean.arithmetic.point(count)
        before = mean.arithmetic.point(count - 1) / mean.arithmetic.point(count)
        mean = hull(mean + (term - mean) * reciprocal, mean * before + term * reciprocal)
    return mean


def clip_by_norm(gradient: Enclosure, norm: Enclosure, clipnorm: Enclosure) -> Enclosure:
    """`clipnorm`: the gradient times clipnorm over the larger of norm and clipnorm, in any order."""
    return late_gradient([gradient], clipping(norm, clipnorm))


def clipping(norm: Enclosure, clipnorm: Enclosure) -> Factors:
    """`clipnorm`: clipping as factors, which the stages around it may combine with their own factors."""
    return Factors((clipnorm,), (norm.at_least(clipnorm),))


def clip_by_value(gradient: Enclosure, clipvalue: Enclosure) -> Enclosure:
    """`clipvalue`: nothing is rounded."""
    return gradient.at_most(clipvalue).at_least(-clipvalue)


def clip_by_global_norm(
    gradient: Enclosure, norm: Enclosure, clipnorm: Enclosure, reciprocal_of_clipnorm: Enclosure
) -> Enclosure:
    """`global_clipnorm`: the gradient times ``clipnorm * min(1 / norm, 1 / clipnorm)``, in any order.

    The second reciprocal may be that of the unrounded setting, as in the definition. A norm that is not
    finite makes every element NaN.
    """
    ways = global_clipping(norm, clipnorm, reciprocal_of_clipnorm)
    return hull(*(late_gradient([gradient], factors) for factors in ways))


def global_clipping(norm: Enclosure, clipnorm: Enclosure, reciprocal_of_clipnorm: Enclosure) -> list[Factors]:
    """`global_clipnorm`: clipping as factors, in two ways if the norm may be below clipnorm, else in one."""
    is_infinite = np.asarray(norm.upper == np.inf, bool)
    is_finite = np.asarray(norm.lower < np.inf, bool)
    finite = Enclosure(
        norm.arithmetic,
        norm.lower,
        np.where(is_finite, norm.upper, -np.inf).astype(norm.upper.dtype),
        norm.nan | is_infinite,
    )
    ways = [clipping(finite, clipnorm)]
    if bool(np.asarray(norm.lower <= clipnorm.upper).all()):
        ways.append(Factors((clipnorm, reciprocal_of_clipnorm)))
    return ways


def descent(gradient: Enclosure, learning_rate: Enclosure) -> Enclosure:
    """The step ``-learning_rate * g`` that the update rules have in common: one product."""
    return -(learning_rate * gradient)


def late_gradient(gradients: Sequence[Enclosure], factors: Factors) -> Enclosure:
    """The gradient as a sum times one factor, which combines loss scale, number of steps and clipping.

    Every factor may be rounded, and so may the product of any of them. This product is formed before it
    multiplies the sum: ``g * (clipnorm / (max(norm, clipnorm) * loss_scale))``.
    """
    return product_in_any_order(sum_in_any_order(gradients), factors.multipliers, factors.divisors)


def late_descent(gradients: Sequence[Enclosure], learning_rate: Enclosure, factors: Factors) -> Enclosure:
    """The step from such a sum, where the factor may include the rate: ``g * (factor * rate)``.

    TensorFlow's Grappler clips by a common norm in this way, and XLA unscales in this way.
    """
    return -late_gradient(gradients, factors + Factors((learning_rate,)))


def accelerate(velocity: Enclosure, steps: Sequence[Enclosure], momentum: Enclosure) -> Enclosure:
    """The velocity: momentum times the old velocity, plus the step or its parts, in any order."""
    return sum_in_any_order([velocity * momentum, *steps])


def accelerate_without_rate(
    velocity: Enclosure, gradients: Sequence[Enclosure], momentum: Enclosure, learning_rate: Enclosure
) -> Enclosure:
    """The velocity as PyTorch and Optax keep it, ``-velocity / learning_rate``: a sum of gradients.

    `gradients` are one gradient, or the parts of a sparse gradient. The formula holds while the learning rate
    stays the same. The quotient is one of real numbers: no implementation computes it.
    """
    return sum_in_any_order([velocity.over(-learning_rate) * momentum, *gradients])


def move(
    w: Enclosure, terms: Sequence[Enclosure], learning_rate: Enclosure, weight_decay: Enclosure | None
) -> Enclosure:
    """The sum, in any order, of the weight, its decay and further terms.

    With decay this is ``w - w * weight_decay * learning_rate`` or ``w * (1 - weight_decay * learning_rate)``,
    and the further terms may be added before or after. A decay of 0 subtracts nothing, but infinity times 0
    is NaN. The second form would leave an infinite weight unchanged, like no decay at all.
    """
    if weight_decay is None:
        return sum_in_any_order([w, *terms])
    lost = product_in_any_order(w, [weight_decay, learning_rate])
    if bool(np.asarray((weight_decay.lower == 0) & (weight_decay.upper == 0)).all()):
        return sum_in_any_order([w, -lost, *terms])
    kept = w * (1 - learning_rate * weight_decay)
    return hull(sum_in_any_order([w, -lost, *terms]), sum_in_any_order([kept, *terms]))


def move_against(
    w: Enclosure, direction: Enclosure, learning_rate: Enclosure, weight_decay: Enclosure | None
) -> Enclosure:
    """The weight minus the learning rate times a direction, which may include the decay."""
    moved = move(w, [descent(direction, learning_rate)], learning_rate, weight_decay)
    if weight_decay is None:
        return moved
    return hull(moved, w - learning_rate * (direction + w * weight_decay))


def move_nesterov(
    w: Enclosure,
    velocity: Enclosure,
    old_velocity: Enclosure,
    step: Enclosure,
    momentum: Enclosure,
    learning_rate: Enclosure,
    weight_decay: Enclosure | None,
) -> Enclosure:
    """Nesterov's update from the new velocity and the step, or from the new and the old velocity.

    The second form is ``w - momentum * old_velocity + (1 + momentum) * velocity``, as in the notes of the
    Stanford course CS231n: https://cs231n.github.io/neural-networks-3/
    """
    one = w.arithmetic.point(1)
    return hull(
        move(w, [velocity * momentum, step], learning_rate, weight_decay),
        move(w, [-(old_velocity * momentum), velocity * (one + momentum)], learning_rate, weight_decay),
    )


def average(
    old_average: Enclosure, w: Enclosure, ema_momentum: Enclosure, complement: Enclosure
) -> Enclosure:
    """`use_ema`: the sum of both products, or a step from the average towards the weight or the reverse.

    The momentum may be computed as the complement of its complement, if a function takes the complement.
    """
    return hull(
        old_average * ema_momentum + w * complement,
        old_average * (1 - complement) + w * complement,
        old_average + complement * (w - old_average),
        w - (1 - complement) * (w - old_average),
    )
