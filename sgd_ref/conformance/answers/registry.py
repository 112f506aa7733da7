"""All answers by question; the first answer to each question is that of the reference."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from sgd_ref.conformance.answers import gradients, norms, scales, schedules, windows
from sgd_ref.conformance.answers.answer import Answer
from sgd_ref.conformance.deviations.observed.accumulation import (
    AccumulatorKeptWithoutGradient,
    AccumulatorUsedWithoutGradient,
)
from sgd_ref.conformance.deviations.observed.scaling import ScaleWithoutLimits

_ALL = (
    Answer(
        "missing-on-update-call",
        "dropped",
        "a variable whose gradient is missing when its window ends is not updated, and what it has "
        "accumulated is dropped",
    ),
    Answer(
        "missing-on-update-call",
        "kept",
        "the variable is not updated, and what it has accumulated joins the next window",
        optimizer=AccumulatorKeptWithoutGradient,
        walk=windows.KeptWithoutGradient,
    ),
    Answer(
        "missing-on-update-call",
        "used",
        "the variable is updated by the mean of its window, in which the missing gradient counts as zero",
        optimizer=AccumulatorUsedWithoutGradient,
        walk=windows.UsedWithoutGradient,
    ),
    Answer(
        "polynomial-cycle-at-multiple",
        "end-of-cycle",
        "at an exact multiple of decay_steps a cyclic PolynomialDecay has its end value",
    ),
    Answer(
        "polynomial-cycle-at-multiple",
        "start-of-next-cycle",
        "at an exact multiple of decay_steps the next cycle of a cyclic PolynomialDecay begins",
        optimizer=schedules.BeginsNextCycle,
    ),
    Answer(
        "restarts-lowered-to-a-minimum",
        "minimum-stays",
        "m_mul lowers the part of the cosine above the minimum alpha, not the minimum",
    ),
    Answer(
        "restarts-lowered-to-a-minimum",
        "minimum-lowered",
        "m_mul lowers the whole period, the minimum alpha included",
        optimizer=schedules.LowersMinimum,
    ),
    Answer(
        "wide-global-norm",
        "widest-dtype",
        "over mixed dtypes the global norm and its factor are formed in the narrowest dtype that holds all",
    ),
    Answer(
        "wide-global-norm",
        "own-dtype",
        "the global norm of mixed dtypes is rounded to the dtype of each gradient, which is clipped in it",
        optimizer=norms.NormInOwnDtype,
        walk=norms.NormInOwnDtypes,
    ),
    Answer(
        "narrow-gradient-of-float64",
        "widened-first",
        "a gradient is widened to the dtype of its variable before it is unscaled",
    ),
    Answer(
        "narrow-gradient-of-float64",
        "unscaled-first",
        "a gradient is unscaled in its own dtype and then widened",
        optimizer=gradients.UnscaledBeforeWidening,
        walk=gradients.UnscaledBeforeWidenings,
    ),
    Answer(
        "narrow-duplicate-rows",
        "widened-first",
        "rows that occur twice are added in the dtype of the variable",
    ),
    Answer(
        "narrow-duplicate-rows",
        "added-first",
        "rows that occur twice are added in their own dtype and then widened",
        optimizer=gradients.RowsAddedBeforeWidening,
        walk=gradients.RowsAddedBeforeWidenings,
    ),
    Answer(
        "loss-scale-at-a-limit",
        "limited",
        "the loss scale neither doubles to infinity nor halves below the smallest normal float32",
    ),
    Answer(
        "loss-scale-at-a-limit",
        "unlimited",
        "the loss scale doubles to infinity, and halves through the subnormal numbers to zero",
        wrapper=ScaleWithoutLimits,
    ),
    Answer(
        "loss-scale-at-a-limit",
        "limited-above",
        "the loss scale does not double to infinity, and halves through the subnormal numbers to zero",
        wrapper=scales.LimitedAbove,
    ),
    Answer(
        "growth-counter-past-its-end",
        "grows-at-once",
        "a growth counter that is at or above dynamic_growth_steps doubles the loss scale in the next finite "
        "call",
    ),
    Answer(
        "growth-counter-past-its-end",
        "counts-on",
        "the loss scale doubles only where the growth counter is equal to dynamic_growth_steps; from a "
        "counter beyond, only after a call was skipped",
        wrapper=scales.GrowsAtTheNumberAlone,
    ),
)

ANSWERS: dict[str, tuple[Answer, ...]] = {
    question: tuple(answer for answer in _ALL if answer.question == question)
    for question in dict.fromkeys(answer.question for answer in _ALL)
}
"""The answers to each question, by its name; the answer of the reference comes first."""


def combinations(questions: Sequence[str]) -> list[tuple[Answer, ...]]:
    """Return every choice of one answer to each question; the choice of the reference comes first.

    Examples
    --------
    >>> combinations([])
    [()]
    >>> [answer.name for (answer,) in combinations(["missing-on-update-call"])]
    ['dropped', 'kept', 'used']
    """
    return list(product(*(ANSWERS[question] for question in questions)))
