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

Numbers = Any
"""An array of one dtype, of floats or of fractions."""
Number = Any
"""One number of the same arithmetic."""


def unscale(gradient: Numbers, loss_scale_factor: Number) -> Numbers:
    """`loss_scale_factor`: undo the scaling of the loss, by division."""
    return gradient / loss_scale_factor


def accumulate(gradient: Numbers, accumulator: Numbers) -> Numbers:
    """`gradient_accumulation_steps`: add to the sum of the gradients since the last update."""
    return gradient + accumulator


def mean_of_accumulated(gradient: Numbers, accumulator: Numbers, steps: Number) -> Numbers:
    """`gradient_accumulation_steps`: the average value of the gradients since the last update."""
    return (gradient + accumulator) / steps


def clip_by_norm(gradient: Numbers, norm: Number, clipnorm: Number) -> Numbers:
    """`clipnorm`: clip one gradient so that its norm is no higher than this value."""
    return gradient * clipnorm / np.maximum(norm, clipnorm)


def clip_by_value(gradient: Numbers, clipvalue: Number) -> Numbers:
    """`clipvalue`: clip each element to [-clipvalue, clipvalue]; NaN and -0.0 stay what they are."""
    return np.where(gradient > clipvalue, clipvalue, np.where(gradient < -clipvalue, -clipvalue, gradient))


def global_clip_factor(norm: Number, clipnorm: Number, reciprocal_of_clipnorm: Number) -> Number:
    """`global_clipnorm`: the factor that brings the norm of all gradients down to this value.

    ``norm - norm`` is 0 for a finite norm and makes the factor NaN for any other, so that one gradient
    that is not finite is not hidden as zeros in all the others.
    """
    return clipnorm * np.minimum(1 / norm, reciprocal_of_clipnorm) + (norm - norm)


def clip_by_global_norm(gradient: Numbers, factor: Number) -> Numbers:
    """`global_clipnorm`: scale one gradient by the factor that all of them share."""
    return gradient * factor


def decay_weights(w: Numbers, weight_decay: Number, learning_rate: Number) -> Numbers:
    """`weight_decay`: shrink the weights directly; the gradient and the velocity never see it."""
    return w - w * weight_decay * learning_rate


def descend(w: Numbers, g: Numbers, learning_rate: Number) -> Numbers:
    """Update rule for parameter w with gradient g when `momentum` is 0."""
    return w - learning_rate * g


def accelerate(velocity: Numbers, g: Numbers, momentum: Number, learning_rate: Number) -> Numbers:
    """Update rule for the velocity when `momentum` is larger than 0."""
    return momentum * velocity - learning_rate * g


def move(w: Numbers, velocity: Numbers) -> Numbers:
    """Update rule for parameter w when `momentum` is larger than 0."""
    return w + velocity


def move_nesterov(
    w: Numbers, velocity: Numbers, g: Numbers, momentum: Number, learning_rate: Number
) -> Numbers:
    """Update rule for parameter w when `nesterov` is True; `velocity` is the new one."""
    return w + (momentum * velocity - learning_rate * g)


def average(old_average: Numbers, w: Numbers, ema_momentum: Number) -> Numbers:
    """`use_ema`: exponential moving average of the weights, after the first update."""
    return ema_momentum * old_average + (1 - ema_momentum) * w
