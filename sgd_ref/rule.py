"""The rule: the formulas of stochastic gradient descent, one function each, in the order of a step.

The text runs unchanged on NumPy arrays of floats, where every operation rounds once to the dtype and
the result *is* the definition to the last bit, and on arrays of exact fractions, where it says what the
formula means. Arguments of one call share one dtype; settings are already rounded to it. Sums and
products that could be swapped without changing a bit stand as the documentation writes them.

Sources: the documentation of ``optimizer_sgd`` (Keras) for what is computed; the code of Keras 3.15.1
(``base_optimizer.py``, ``sgd.py``) for the order of operations, which parentheses show.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sgd_ref.arithmetic.rounded import Array


def unscale(gradient: Array, loss_scale_factor: Any) -> Array:
    """`loss_scale_factor`: undo the scaling of the loss, by division."""
    return gradient / loss_scale_factor


def accumulate(gradient: Array, accumulator: Array) -> Array:
    """`gradient_accumulation_steps`: add to the sum of the gradients since the last update."""
    return gradient + accumulator


def mean_of_accumulated(gradient: Array, accumulator: Array, steps: Any) -> Array:
    """`gradient_accumulation_steps`: the average value of the gradients since the last update."""
    return (gradient + accumulator) / steps


def clip_by_norm(gradient: Array, norm: Any, clipnorm: Any) -> Array:
    """`clipnorm`: clip one gradient so that its norm is no higher than this value."""
    return gradient * clipnorm / np.maximum(norm, clipnorm)


def clip_by_value(gradient: Array, clipvalue: Any) -> Array:
    """`clipvalue`: clip each element to [-clipvalue, clipvalue]; NaN and -0.0 stay what they are."""
    return np.where(gradient > clipvalue, clipvalue, np.where(gradient < -clipvalue, -clipvalue, gradient))


def global_clip_factor(norm: Any, clipnorm: Any, reciprocal_of_clipnorm: Any) -> Any:
    """`global_clipnorm`: the factor that brings the norm of all gradients down to this value.

    ``norm - norm`` is 0 for a finite norm and makes the factor NaN for any other, so that one gradient
    that is not finite is not hidden as zeros in all the others.
    """
    return clipnorm * np.minimum(1 / norm, reciprocal_of_clipnorm) + (norm - norm)


def clip_by_global_norm(gradient: Array, factor: Any) -> Array:
    """`global_clipnorm`: scale one gradient by the factor that all of them share."""
    return gradient * factor


def decay_weights(w: Array, weight_decay: Any, learning_rate: Any) -> Array:
    """`weight_decay`: shrink the weights directly; the gradient and the velocity never see it."""
    return w - w * weight_decay * learning_rate


def descend(w: Array, g: Array, learning_rate: Any) -> Array:
    """Update rule for parameter w with gradient g when `momentum` is 0."""
    return w - learning_rate * g


def accelerate(velocity: Array, g: Array, momentum: Any, learning_rate: Any) -> Array:
    """Update rule for the velocity when `momentum` is larger than 0."""
    return momentum * velocity - learning_rate * g


def move(w: Array, velocity: Array) -> Array:
    """Update rule for parameter w when `momentum` is larger than 0."""
    return w + velocity


def move_nesterov(w: Array, velocity: Array, g: Array, momentum: Any, learning_rate: Any) -> Array:
    """Update rule for parameter w when `nesterov` is True; `velocity` is the new one."""
    return w + (momentum * velocity - learning_rate * g)


def average(old_average: Array, w: Array, ema_momentum: Any) -> Array:
    """`use_ema`: exponential moving average of the weights, after the first update."""
    return ema_momentum * old_average + (1 - ema_momentum) * w
