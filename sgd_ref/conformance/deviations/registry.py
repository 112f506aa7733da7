"""All known deviations by name, and any number of them at once."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from typing import Any

from sgd_ref.conformance.deviations.deviation import Deviation
from sgd_ref.conformance.deviations.mistakes import MISTAKES
from sgd_ref.conformance.deviations.observed import (
    accumulation,
    averages,
    clipping,
    counting,
    decay,
    precision,
    rows,
    scalars,
    scaling,
    schedules,
    subnormals,
    update,
)
from sgd_ref.loss_scale import LossScaleOptimizer
from sgd_ref.optimizer import SGD
from sgd_ref.validation import reject_value

COUNT_WRAPS = "count-wraps"
RATE_FROZEN = "rate-frozen"
RATE_NOT_ROUNDED = "rate-not-rounded"
SCHEDULE_IN_FLOAT32 = "schedule-in-float32"
SCALE_WITHOUT_LIMITS = "scale-without-limits"
RATE_OUTSIDE_VELOCITY = "rate-outside-velocity"
NORM_IN_ANOTHER_ORDER = "norm-summed-in-another-order"

# If two deviations override the same stage, the first one takes effect first.
_ALL = (
    Deviation(
        "subnormals-flushed", "contradiction", subnormals.SubnormalsFlushed, subnormals.LossScaleFlushed
    ),
    Deviation(COUNT_WRAPS, "contradiction", counting.CountWraps),
    Deviation(RATE_FROZEN, "contradiction", schedules.RateFrozen),
    Deviation(RATE_NOT_ROUNDED, "rounding", precision.RateNotRounded),
    Deviation("restart-missed", "contradiction", schedules.RestartMissed),
    Deviation("quotient-in-float32", "contradiction", schedules.QuotientInFloat32),
    Deviation("quotient-by-reciprocal", "contradiction", schedules.QuotientByReciprocal),
    Deviation("polynomial-remainder-fused", "contradiction", schedules.PolynomialRemainderFused),
    Deviation("boundary-wraps", "contradiction", schedules.BoundaryWraps),
    Deviation("settings-become-integers", "contradiction", schedules.SettingsBecomeIntegers),
    Deviation(SCHEDULE_IN_FLOAT32, "rounding", schedules.RateInFloat32),
    Deviation("averages-on-every-call", "contradiction", averages.AveragesOnEveryCall),
    Deviation("first-average-computed", "contradiction", averages.FirstAverageComputed),
    Deviation("overwrite-blends", "contradiction", averages.OverwriteBlends),
    Deviation("average-by-difference", "rounding", averages.AverageByDifference),
    Deviation("averages-fused", "rounding", averages.AveragesFused),
    Deviation("half-averages-with-float32-momentum", "rounding", averages.HalfAveragesWithFloat32Momentum),
    Deviation(
        "accumulator-kept-without-gradient", "contradiction", accumulation.AccumulatorKeptWithoutGradient
    ),
    Deviation(
        "accumulator-used-without-gradient", "contradiction", accumulation.AccumulatorUsedWithoutGradient
    ),
    Deviation("accumulator-reset-by-multiplication", "contradiction", accumulation.ResetByMultiplication),
    Deviation("mean-by-reciprocal", "rounding", accumulation.MeanByReciprocal),
    Deviation("bfloat16-mean-by-reciprocal", "rounding", accumulation.BfloatMeanByReciprocal),
    Deviation("unscale-with-rate", "rounding", scaling.UnscaleWithRate),
    Deviation("unscale-by-reciprocal", "rounding", scaling.UnscaleByReciprocal),
    Deviation("float16-unscale-by-reciprocal", "contradiction", scaling.Float16UnscaleByReciprocal),
    Deviation("single-unscale-by-reciprocal", "rounding", scaling.SingleUnscaleByReciprocal),
    Deviation("reciprocal-of-scale-in-float32", "contradiction", scaling.ReciprocalOfScaleInSingle),
    Deviation("bfloat16-unscale-by-reciprocal", "contradiction", scaling.BfloatUnscaleByReciprocal),
    Deviation("unscale-in-dtype-of-gradient", "contradiction", scaling.UnscaleInDtypeOfGradient),
    Deviation("quotient-in-dtype-of-gradient", "contradiction", scaling.QuotientInDtypeOfGradient),
    Deviation("wide-unscaled-gradients", "rounding", scaling.WideUnscaledGradients),
    Deviation(SCALE_WITHOUT_LIMITS, "contradiction", wrapper=scaling.ScaleWithoutLimits),
    Deviation("scalar-gradients-in-float32", "rounding", scalars.ScalarGradientsInFloat32),
    Deviation("rows-merged-late", "rounding", rows.RowsMergedLate),
    Deviation("rows-clipped-one-by-one", "contradiction", rows.RowsClippedOneByOne),
    Deviation("clipping-through-float32", "contradiction", clipping.ClippingThroughFloat32),
    Deviation("clipnorm-by-reciprocal", "rounding", clipping.ClipnormByReciprocal),
    Deviation("clipnorm-by-one-factor", "rounding", clipping.ClipnormByOneFactor),
    Deviation("clipnorm-not-rounded", "rounding", clipping.ClipnormNotRounded),
    Deviation("global-clipnorm-not-rounded", "rounding", clipping.GlobalClipnormNotRounded),
    Deviation("global-clip-with-rate", "rounding", clipping.GlobalClipWithRate),
    Deviation(NORM_IN_ANOTHER_ORDER, "rounding", clipping.NormInAnotherOrder),
    Deviation("norm-of-half-norms", "rounding", clipping.NormOfHalfNorms),
    Deviation("norm-of-rounded-squares", "contradiction", clipping.NormOfRoundedSquares),
    Deviation("exclusion-by-pattern", "contradiction", decay.ExclusionByPattern),
    Deviation("zero-decay-skipped", "contradiction", decay.ZeroDecaySkipped),
    Deviation("decay-by-one-factor", "rounding", decay.DecayByOneFactor),
    Deviation("decay-factor-in-single", "contradiction", decay.DecayFactorInSingle),
    Deviation("decay-fused", "rounding", decay.DecayFused),
    Deviation("decay-reassociated", "rounding", decay.DecayReassociated),
    Deviation("update-fused", "rounding", update.UpdateFused),
    Deviation("update-in-fused-steps", "rounding", update.UpdateInFusedSteps),
    Deviation("half-update-in-blocks", "rounding", update.HalfUpdateInBlocks),
    Deviation("momentum-through-float32", "contradiction", precision.MomentumThroughFloat32),
    Deviation("averaging-through-float32", "contradiction", precision.AveragingThroughFloat32),
    *MISTAKES,
)

DEVIATIONS: dict[str, Deviation] = {deviation.name: deviation for deviation in _ALL}
"""Every known deviation, in the order in which `compose` lets them take effect."""


def check_known(argument: str, name: str) -> None:
    """Check that a name is that of a known deviation.

    Parameters
    ----------
    argument : str
        The argument that holds the name, for the message.
    name : str
        The name to check.

    Raises
    ------
    ValueError
        If there is no such deviation; the message has the names that are most like it.

    Examples
    --------
    >>> check_known("by_design", "ascends")
    """
    if name not in DEVIATIONS:
        similar = ", ".join(get_close_matches(name, DEVIATIONS, 3, 0.0))
        listed = "sgd-ref golden list -k deviation/"
        reject_value(argument, name, f"names of deviations, such as {similar} ({listed} shows all)")


def is_contradiction(name: str) -> bool:
    """Whether a known deviation contradicts the documentation; the other deviations only round differently.

    >>> is_contradiction("ascends"), is_contradiction("update-fused")
    (True, False)
    """
    return DEVIATIONS[name].kind == "contradiction"


def compose(
    names: Iterable[str],
    base: type[SGD] = SGD,
    wrapper: type[LossScaleOptimizer] = LossScaleOptimizer,
) -> tuple[type[SGD], type[LossScaleOptimizer]]:
    """Return the optimizer, and the wrapper for dynamic loss scaling, that have some deviations at once.

    Parameters
    ----------
    names : iterable of str
        Names of deviations, in any order; none gives the reference itself.
    base : subclass of SGD, optional
        The optimizer that deviates: the reference, or a faithful variant.
    wrapper : subclass of LossScaleOptimizer, optional
        The same for dynamic loss scaling.

    Raises
    ------
    ValueError
        If there is no deviation of one of the names.

    Examples
    --------
    >>> optimizer_class, wrapper_class = compose(["subnormals-flushed", "decay-reassociated"])
    >>> issubclass(optimizer_class, SGD), issubclass(wrapper_class, LossScaleOptimizer)
    (True, True)
    """
    chosen = frozenset(names)
    for name in sorted(chosen):
        check_known("names", name)
    hashable: Any = wrapper
    return _composed(chosen, base, hashable)


@cache
def _composed(
    names: frozenset[str], base: type[SGD], wrapper: type[LossScaleOptimizer]
) -> tuple[type[SGD], type[LossScaleOptimizer]]:
    chosen = [deviation for name, deviation in DEVIATIONS.items() if name in names]
    # Where the rate is outside, the other deviations act on the sums.
    chosen.sort(key=lambda deviation: deviation.name != RATE_OUTSIDE_VELOCITY)
    optimizers = [deviation.optimizer for deviation in chosen if deviation.optimizer is not SGD]
    wrappers = [d.wrapper for d in chosen if d.wrapper is not LossScaleOptimizer]
    return type("Deviating", (*optimizers, base), {}), type("Deviating", (*wrappers, wrapper), {})
