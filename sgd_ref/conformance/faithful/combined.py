"""Whole implementations: several evaluations at once, as some libraries combine them."""

from __future__ import annotations

from sgd_ref.conformance.deviations.observed.accumulation import MeanByReciprocal
from sgd_ref.conformance.deviations.observed.averages import AveragesFused
from sgd_ref.conformance.deviations.observed.clipping import ClipnormByOneFactor
from sgd_ref.conformance.deviations.observed.decay import DecayFused
from sgd_ref.conformance.deviations.observed.update import UpdateFused
from sgd_ref.conformance.faithful import accumulation, averages, clipping, decay, rates, scaling, velocity
from sgd_ref.conformance.faithful.precision import StepInFloat64


class Contracted(
    UpdateFused,
    DecayFused,
    AveragesFused,
    MeanByReciprocal,
    ClipnormByOneFactor,
):
    """All changes together that XLA makes to a step compiled for a processor with fused multiply-add.

    ``fma(-learning_rate, g, w)``, ``fma(velocity, momentum, -(g * learning_rate))``,
    ``fma(-w, weight_decay * learning_rate, w)``, ``fma(ema_momentum, average, (1 - ema_momentum) * w)``,
    ``sum * (1 / N)`` and ``g * (clipnorm * (1 / max(norm, clipnorm)))``, in float32 and float64.
    """


class LoopOfTensors(
    velocity.RateFactoredVelocityFused,
    averages.AverageFusedWithWeights,
    scaling.UnscaleByReciprocal,
    clipping.ClipByQuotient,
    clipping.GlobalClipByQuotient,
    decay.DecayByFactor,
):
    """A user's code for PyTorch: a scaler, a clamped clipping factor, decay by a factor, fused sums.

    ``g * (1 / loss_scale)``, ``g * (clipnorm / max(norm, clipnorm))``, ``w * (1 - weight_decay *
    learning_rate)``, ``fma(momentum, t, g)``, ``fma(-learning_rate, t, w)``, and for the averages
    ``fma(1 - ema_momentum, w, ema_momentum * average)``.
    """


class ChainOfTransformations(
    accumulation.RunningMean,
    velocity.RateFactoredDecay,
    averages.AverageTowardsWeights,
    clipping.ClipNormalised,
    clipping.GlobalClipNormalised,
):
    """A user's code for Optax: a chain of transformations in ``MultiSteps``.

    ``mean + (g - mean) / k``, ``(g / norm) * clipnorm`` above a norm, ``momentum * t + g``,
    ``w - learning_rate * (t + weight_decay * w)``, ``average + (1 - ema_momentum) * (w - average)``.
    """


class EverythingInDouble(rates.RateInDouble, StepInFloat64):
    """A step in float64 with all settings and the learning rate as given; its results are rounded once.

    For variables of float64, only the learning rate differs from the definition.
    """
