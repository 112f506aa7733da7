"""The rule: the formulas of stochastic gradient descent, one function each, in the order of a step.

The same functions run on two kinds of NumPy arrays. On floats every operation rounds once to the dtype, and
the result *is* the definition to the last bit. On exact fractions nothing is rounded, and the result is the
exact value of the formula. If the order of two terms changes no bit, it is the order of the documentation.

Arguments of one call share one dtype: float16, bfloat16, float32, float64, or fractions. Arrays share one
shape, which is arbitrary; settings, norms and factors are single numbers, already rounded to the dtype.
Results have the shape and dtype of the arrays (or of the numbers, if only numbers are given), and no units;
nothing is written in place. The callers check the arguments. The only error here is a fraction divided by
zero; floats overflow and divide by zero as in IEEE 754.

``w`` is one variable and ``g`` its gradient, as in the documentation. The functions up to clipping spell out
the name ``gradient``. These names are keys of the golden data (``golden/stages``), so they must not change.

Sources. The documentation of ``optimizer_sgd`` (Keras) has the formulas of the update and the average, and
describes the rest in words. The core code of Keras 3.15.1 (``base_optimizer.py``, ``sgd.py``) decides the
points that the documentation leaves open: the order of operations, which the parentheses here show; the
formulas of decay and clipping; and the order of the stages. In ``base_optimizer.py``, ``apply`` unscales, and
``_backend_apply_gradients`` accumulates or takes the mean, then clips, decays, updates, averages and
overwrites. Each function names its part of either source.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Numbers = Any
"""An array of one dtype, of floats or of fractions."""
Number = Any
"""One number of the same kind."""


def unscale(gradient: Numbers, loss_scale_factor: Number) -> Numbers:
    """`loss_scale_factor`: undo the scaling of the loss, by division.

    Documentation: "the inverse of the scale factor will be multiplied by the gradients". Core code: a
    division instead, in `apply`.

    >>> unscale(np.array([4.0, -8.0]), 4.0)
    array([ 1., -2.])
    """
    return gradient / loss_scale_factor


def accumulate(gradient: Numbers, accumulator: Numbers) -> Numbers:
    """`gradient_accumulation_steps`: add to the sum of the gradients since the last update.

    Documentation: only the average is mentioned. Core code: a sum is kept, in
    `_backend_increment_gradient_accumulators`.

    >>> accumulate(np.array([1.0, 2.0]), np.array([3.0, 0.0]))
    array([4., 2.])
    """
    return gradient + accumulator


def mean_of_accumulated(gradient: Numbers, accumulator: Numbers, steps: Number) -> Numbers:
    """`gradient_accumulation_steps`: the average value of the gradients since the last update.

    Documentation: "the average value of the gradients since the last update". Core code: the last gradient
    is added first, then the sum is divided, in `_backend_apply_gradients`.

    >>> mean_of_accumulated(np.array([1.0, 2.0]), np.array([3.0, 0.0]), 2.0)
    array([2., 1.])
    """
    return (gradient + accumulator) / steps


def clip_by_norm(gradient: Numbers, norm: Number, clipnorm: Number) -> Numbers:
    """`clipnorm`: clip one gradient so that its norm is no higher than this value.

    Documentation: the norm is afterwards "no higher than this value". Core code: the formula, in
    `_clip_by_norm`; a gradient that needs no clipping is multiplied and divided, too.

    >>> clip_by_norm(np.array([3.0, 4.0]), norm=5.0, clipnorm=2.5)
    array([1.5, 2. ])
    """
    return gradient * clipnorm / np.maximum(norm, clipnorm)


def clip_by_value(gradient: Numbers, clipvalue: Number) -> Numbers:
    """`clipvalue`: clip each element to [-clipvalue, clipvalue]; NaN and -0.0 stay what they are.

    Documentation: "clipped to be no higher than this value", which has no lower limit. Core code: both
    limits, in `_clip_gradients`.

    >>> clip_by_value(np.array([2.0, 0.5, -2.0, -0.0, np.nan]), 1.0)
    array([ 1. ,  0.5, -1. , -0. ,  nan])
    """
    return np.where(gradient > clipvalue, clipvalue, np.where(gradient < -clipvalue, -clipvalue, gradient))


def global_clip_factor(norm: Number, clipnorm: Number, reciprocal_of_clipnorm: Number) -> Number:
    """`global_clipnorm`: the factor that brings the norm of all gradients down to this value.

    ``norm - norm`` is 0 for a finite norm and NaN for any other. It makes the factor NaN if the norm is
    infinite. Without it, the factor would be 0, and would turn all finite gradients into zeros.

    Documentation: the global norm is afterwards "no higher than this value". Core code: the formula, also for
    norms that are not finite, in `clip_by_global_norm`.

    >>> global_clip_factor(4.0, clipnorm=2.0, reciprocal_of_clipnorm=0.5)
    np.float64(0.5)
    """
    return clipnorm * np.minimum(1 / norm, reciprocal_of_clipnorm) + (norm - norm)


def clip_by_global_norm(gradient: Numbers, factor: Number) -> Numbers:
    """`global_clipnorm`: scale one gradient by the factor that all of them share.

    Documentation: as for `global_clip_factor`. Core code: `clip_by_global_norm`.

    >>> clip_by_global_norm(np.array([3.0, 4.0]), 0.5)
    array([1.5, 2. ])
    """
    return gradient * factor


def decay_weights(w: Numbers, weight_decay: Number, learning_rate: Number) -> Numbers:
    """`weight_decay`: shrink the weights directly, not by way of the gradient and the velocity.

    Documentation: "If set, weight decay is applied", and no more. Core code: the formula, multiplied from
    left to right, in `_apply_weight_decay`; also the place of decay, after clipping and before the update.

    >>> decay_weights(np.array([1.0, -2.0]), weight_decay=0.5, learning_rate=0.25)
    array([ 0.875, -1.75 ])
    """
    return w - w * weight_decay * learning_rate


def descend(w: Numbers, g: Numbers, learning_rate: Number) -> Numbers:
    """Update rule for parameter w with gradient g when `momentum` is 0.

    Documentation: the formula. Core code: the factors swapped, with equal bits, in `update_step` of `sgd.py`.

    >>> descend(np.array([1.0, -2.0]), np.array([2.0, 0.0]), 0.25)
    array([ 0.5, -2. ])
    """
    return w - learning_rate * g


def accelerate(velocity: Numbers, g: Numbers, momentum: Number, learning_rate: Number) -> Numbers:
    """Update rule for the velocity when `momentum` is larger than 0.

    Documentation: the formula. Core code: the factors swapped, with equal bits, in `update_step` of `sgd.py`.

    >>> accelerate(np.array([1.0, -2.0]), np.array([2.0, 0.0]), momentum=0.5, learning_rate=0.25)
    array([ 0., -1.])
    """
    return momentum * velocity - learning_rate * g


def move(w: Numbers, velocity: Numbers) -> Numbers:
    """Update rule for parameter w when `momentum` is larger than 0.

    Documentation: the formula. Core code: the same, in `update_step` of `sgd.py`.

    >>> move(np.array([1.0, -2.0]), np.array([0.5, -1.0]))
    array([ 1.5, -3. ])
    """
    return w + velocity


def move_nesterov(
    w: Numbers, velocity: Numbers, g: Numbers, momentum: Number, learning_rate: Number
) -> Numbers:
    """Update rule for parameter w when `nesterov` is True; `velocity` is the new one.

    Documentation: ``w + momentum * velocity - learning_rate * g``, which has other bits if it is evaluated
    from left to right. Core code: the parentheses, since `update_step` of `sgd.py` computes the difference
    first and adds it to w.

    >>> move_nesterov(np.array([1.0]), np.array([-2.0]), np.array([4.0]), momentum=0.5, learning_rate=0.25)
    array([-1.])
    """
    return w + (momentum * velocity - learning_rate * g)


def average(old_average: Numbers, w: Numbers, ema_momentum: Number) -> Numbers:
    """`use_ema`: exponential moving average of the weights, after the first update.

    Documentation: the formula, but nothing about the first average. Core code: in
    `_update_model_variables_moving_average` the first average is the formula with a momentum of 0. Here the
    first average is a copy of the weights. For finite weights, both differ only in the sign of a zero.

    >>> average(np.array([1.0, -2.0]), np.array([2.0, 2.0]), 0.75)
    array([ 1.25, -1.  ])
    """
    return ema_momentum * old_average + (1 - ema_momentum) * w
