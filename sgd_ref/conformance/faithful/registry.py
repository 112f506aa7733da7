"""All faithful variants by name."""

from __future__ import annotations

from sgd_ref.conformance import deviations
from sgd_ref.conformance.deviations.observed.subnormals import SubnormalsFlushed
from sgd_ref.conformance.faithful import (
    accumulation,
    averages,
    clipping,
    combined,
    decay,
    factors,
    hidden,
    norms,
    precision,
    rates,
    rows,
    scaling,
    update,
    velocity,
)
from sgd_ref.conformance.faithful.variant import Faithful

VELOCITIES = frozenset({"velocities"})
ACCUMULATORS = frozenset({"accumulators"})

OBSERVED = (
    "update-fused",
    "update-in-fused-steps",
    "half-update-in-blocks",
    "decay-fused",
    "decay-reassociated",
    "averages-fused",
    "half-averages-with-float32-momentum",
    "mean-by-reciprocal",
    "bfloat16-mean-by-reciprocal",
    "clipnorm-by-reciprocal",
    "clipnorm-by-one-factor",
    "global-clipnorm-not-rounded",
    "wide-unscaled-gradients",
    "scalar-gradients-in-float32",
    "rows-merged-late",
)
"""Deviations seen in a backend of Keras that are equal to the reference in real arithmetic.

Some other deviations of the kind "rounding" are not in this list, since each of them loses data somewhere, or
is not an evaluation of the formula.
"unscale-with-rate" and "single-unscale-by-reciprocal" form the reciprocal of the scale in float16, where it
can be 0. "unscale-by-reciprocal" computes in the dtype of a gradient that is narrower than its variable.
"clipnorm-not-rounded" uses two values of one setting within a formula, so that a gradient that needs no
clipping is scaled. "decay-by-one-factor" gives another special value for an infinite weight.
"norm-summed-in-another-order" and "schedule-in-float32" shift a result by one unit, even where no evaluation
can give this result. "rate-not-rounded" does for callables what `rate-in-double` does for every rate.
"""

_ALL = (
    *(Faithful(name, deviations.DEVIATIONS[name].optimizer) for name in OBSERVED),
    Faithful("descent-fused", update.DescentFused),
    Faithful("velocity-fused-with-momentum", update.VelocityFusedWithMomentum),
    Faithful("velocity-fused-with-rate", update.VelocityFusedWithRate),
    Faithful("nesterov-fused-with-momentum", update.NesterovFusedWithMomentum),
    Faithful("nesterov-fused-with-rate", update.NesterovFusedWithRate),
    Faithful("nesterov-gradient-first", update.NesterovGradientFirst),
    Faithful("nesterov-velocity-first", update.NesterovVelocityFirst),
    Faithful("nesterov-velocity-first-fused", update.NesterovVelocityFirstFused),
    Faithful("nesterov-from-both-velocities", update.NesterovFromBothVelocities),
    Faithful("nesterov-increment-from-both-velocities", update.NesterovIncrementFromBothVelocities),
    Faithful("velocity-negated", update.VelocityNegated),
    Faithful("every-product-fused", update.EveryProductFused),
    Faithful("rate-factored-velocity", velocity.RateFactoredVelocity, unreported=VELOCITIES),
    Faithful("rate-factored-velocity-fused", velocity.RateFactoredVelocityFused, unreported=VELOCITIES),
    Faithful("rate-factored-decay", velocity.RateFactoredDecay, unreported=VELOCITIES),
    Faithful("decay-rate-first", decay.DecayRateFirst),
    Faithful("decay-fused-with-rate", decay.DecayFusedWithRate),
    Faithful("decay-fused-with-weight-decay", decay.DecayFusedWithWeightDecay),
    Faithful("decay-by-factor", decay.DecayByFactor),
    Faithful("decay-by-product-of-doubles", decay.DecayByProductOfDoubles),
    Faithful("decay-added-last", decay.DecayAddedLast),
    Faithful("small-addends-first", decay.SmallAddendsFirst),
    Faithful("loss-meets-last-step", decay.LossMeetsLastStep),
    Faithful("loss-meets-velocity", decay.LossMeetsVelocity),
    Faithful("decay-with-gradient", decay.DecayWithGradient),
    Faithful("decay-with-fused-gradient", decay.DecayWithFusedGradient),
    Faithful("average-fused-with-weights", averages.AverageFusedWithWeights),
    Faithful("average-towards-weights", averages.AverageTowardsWeights),
    Faithful("average-towards-weights-fused", averages.AverageTowardsWeightsFused),
    Faithful("average-from-weights", averages.AverageFromWeights),
    Faithful("average-by-complements", averages.AverageByComplements),
    Faithful("average-from-weights-by-complement", averages.AverageFromWeightsByComplement),
    Faithful("average-from-weights-fused", averages.AverageFromWeightsFused),
    Faithful("average-less-difference", averages.AverageLessDifference),
    Faithful("average-with-complement-of-double", averages.AverageWithComplementOfDouble),
    Faithful("mean-of-quotients", accumulation.MeanOfQuotients),
    Faithful("mean-of-products", accumulation.MeanOfProducts),
    Faithful("mean-fused", accumulation.MeanFused),
    Faithful("mean-with-rate", accumulation.MeanWithRate),
    Faithful("quotients-accumulated", accumulation.QuotientsAccumulated, unreported=ACCUMULATORS),
    Faithful("products-accumulated", accumulation.ProductsAccumulated, unreported=ACCUMULATORS),
    Faithful("running-mean", accumulation.RunningMean, unreported=ACCUMULATORS),
    Faithful("gradients-added-backwards", accumulation.AddedBackwards, unreported=ACCUMULATORS),
    Faithful("gradients-added-smallest-first", accumulation.AddedSmallestFirst, unreported=ACCUMULATORS),
    Faithful("wide-accumulators", accumulation.WideAccumulators, unreported=ACCUMULATORS),
    Faithful("unscaled-at-the-end", accumulation.UnscaledAtTheEnd, unreported=ACCUMULATORS),
    Faithful("unscale-by-wide-reciprocal", scaling.UnscaleByReciprocal),
    Faithful("unscale-with-wide-rate", scaling.UnscaleWithRate),
    Faithful("unscale-with-clip", scaling.UnscaleWithClip),
    Faithful("clip-by-quotient", clipping.ClipByQuotient),
    Faithful("clip-normalised", clipping.ClipNormalised),
    Faithful("clip-by-reciprocal", clipping.ClipByReciprocal),
    Faithful("clip-by-reciprocal-first", clipping.ClipByReciprocalFirst),
    Faithful("clip-by-product-of-numbers", clipping.ClipByProductOfNumbers),
    Faithful("clip-above-only", clipping.ClipAboveOnly),
    Faithful("clip-by-excess", clipping.ClipByExcess),
    Faithful("global-clip-by-quotient", clipping.GlobalClipByQuotient),
    Faithful("global-clip-divided", clipping.GlobalClipDivided),
    Faithful("global-clip-normalised", clipping.GlobalClipNormalised),
    Faithful("global-clip-by-reciprocal", clipping.GlobalClipByReciprocal),
    Faithful("mean-clip-and-rate", factors.MeanClipAndRate),
    Faithful("scale-clip-and-rate", factors.ScaleClipAndRate),
    Faithful("norm-from-left", norms.NormFromLeft),
    Faithful("norm-from-right", norms.NormFromRight),
    Faithful("norm-fused", norms.NormFused),
    Faithful("norm-in-pairs", norms.NormInPairs),
    Faithful("norm-in-lanes", norms.NormInLanes),
    Faithful("norm-in-blocks", norms.NormInBlocks),
    Faithful("norm-in-double", norms.NormInDouble),
    Faithful("norm-of-norms", norms.NormOfNorms),
    Faithful("norm-scaled-by-largest", norms.NormScaledByLargest),
    Faithful("rows-added-backwards", rows.RowsAddedBackwards),
    Faithful("rows-added-in-double", rows.RowsAddedInDouble),
    Faithful("rate-in-double", rates.RateInDouble, double_rates=True),
    Faithful("schedule-in-single", rates.ScheduleInSingle),
    Faithful("schedule-in-double", rates.ScheduleInDouble),
    Faithful("step-in-float32", precision.StepInFloat32),
    Faithful("step-in-float64", precision.StepInFloat64),
    Faithful("step-in-extended", precision.StepInExtended),
    Faithful("stages-in-float32", precision.StagesInFloat32),
    Faithful("stages-in-float64", precision.StagesInFloat64),
    Faithful("formulas-in-float64", precision.FormulasInFloat64),
    Faithful("hidden-float64", hidden.HiddenFloat64, hidden_wider_state=True),
    Faithful("hidden-float32", hidden.HiddenFloat32, hidden_wider_state=True),
    Faithful("hidden-master-weights", hidden.HiddenMasterWeights, hidden_wider_state=True),
    Faithful("hidden-velocities", hidden.HiddenVelocities, hidden_wider_state=True),
    Faithful("hidden-averages", hidden.HiddenAverages, hidden_wider_state=True),
    Faithful("subnormals-flushed", SubnormalsFlushed, flushes_subnormals=True),
    Faithful("contracted", combined.Contracted),
    Faithful("loop-of-tensors", combined.LoopOfTensors, unreported=VELOCITIES),
    Faithful(
        "chain-of-transformations", combined.ChainOfTransformations, unreported=VELOCITIES | ACCUMULATORS
    ),
    Faithful("everything-in-double", combined.EverythingInDouble, double_rates=True),
)

FAITHFUL: dict[str, Faithful] = {variant.name: variant for variant in _ALL}
"""Every faithful variant, by its name."""
