"""The results of every stage of every call: the reference, with a record of its intermediate values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.base.call import Call
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.trajectories import reference
from sgd_ref.gradients import Gradient
from sgd_ref.loss_scale import LossScaleOptimizer
from sgd_ref.optimizer import SGD, Gradients, Values

Stage = tuple[Array | None, ...]
"""One array for each variable, or None for a variable that the stage leaves out; a value that all variables
share is one array of shape ()."""

LEARNING_RATE, LOSS_SCALE, GRADIENT, UNSCALED = "learning rate", "loss scale", "gradient", "unscaled gradient"
MEAN, ACCUMULATOR = "accumulated mean", "accumulator"
NORM, NORM_OF_ALL, CLIPPED = "norm", "norm of all", "clipped gradient"
DECAYED, VELOCITY, UPDATED = "decayed variable", "velocity", "updated variable"
AVERAGE, OVERWRITTEN = "average", "overwritten variable"

SHARED = (LEARNING_RATE, LOSS_SCALE, NORM_OF_ALL)
"""The stages that have one number for all variables."""


def stages(
    case: Case,
    optimizer_class: type[SGD] = SGD,
    wrapper_class: type[LossScaleOptimizer] = LossScaleOptimizer,
) -> list[dict[str, Stage]]:
    """Return the result of each stage of each call, in the order of the rule.

    Parameters
    ----------
    case : Case
        A whole case, or one call that starts from an observed state.
    optimizer_class, wrapper_class : type, optional
        Subclasses of SGD and of LossScaleOptimizer to run in their place.

    Returns
    -------
    list of dict of str to tuple
        For each call, the stages that take place in it. A call that is skipped because a gradient is not
        finite has no stage after the gradient.

    Examples
    --------
    >>> case = Case("a", {"learning_rate": 0.5}, ("w",), (np.ones(1),), ((np.array([4.0]),),))
    >>> for name, (values,) in stages(case)[0].items():
    ...     print(name, values)
    learning rate 0.5
    gradient [4.]
    updated variable [-1.]
    """
    recorded: list[dict[str, Stage]] = []
    recorder = type("Recorder", (_Recorder, optimizer_class), {"calls_recorded": recorded})
    trajectory = reference.run(case, recorder, wrapper_class)
    if case.loss_scaling is not None:
        resumed = None if case.state is None else case.state.loss_scale
        scale = np.float32(case.loss_scaling.initial_scale if resumed is None else resumed)
        for call, record in enumerate(trajectory[: len(recorded)]):
            recorded[call] = {LOSS_SCALE: (np.asarray(scale),), **recorded[call]}
            scale = record["loss_scale"]
    return recorded


class _Recorder(SGD):
    """Keeps what each stage returns; mixed into the class that computes it."""

    calls_recorded: ClassVar[list[dict[str, Stage]]]

    def validated(self, gradients: Sequence[Gradient], variables: Sequence[Array] | None = None) -> Call:
        call = super().validated(gradients, variables)
        self.calls_recorded.append({})
        self._note(LEARNING_RATE, [np.asarray(call.learning_rate)])
        self._note(GRADIENT, call.gradients)
        return call

    def _note(self, name: str, arrays: Sequence[Array | None]) -> None:
        copies = tuple(None if array is None else np.array(array) for array in arrays)
        self.calls_recorded[-1][name] = copies

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        unscaled = super().unscale(gradients, loss_scale)
        if loss_scale is not None:
            self._note(UNSCALED, unscaled)
        return unscaled

    def accumulate(self, values: Values, gradients: Gradients) -> Values:
        values = super().accumulate(values, gradients)
        self._note(ACCUMULATOR, values.accumulators)
        return values

    def mean(self, values: Values, gradients: Gradients) -> tuple[Gradients, Values]:
        means, values = super().mean(values, gradients)
        if self.settings.gradient_accumulation_steps is not None:
            self._note(MEAN, means)
            self._note(ACCUMULATOR, values.accumulators)
        return means, values

    def clip_by_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        self._note(NORM, [None if g is None else np.asarray(self.norm([g])) for g in gradients])
        return super().clip_by_norm(gradients, clipnorm)

    def clip_by_global_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        self._note(NORM_OF_ALL, [np.asarray(self.norm([g for g in gradients if g is not None]))])
        return super().clip_by_global_norm(gradients, clipnorm)

    def clip(self, gradients: Gradients) -> Gradients:
        clipped = super().clip(gradients)
        if self.settings.clips:
            self._note(CLIPPED, clipped)
        return clipped

    def decay(self, values: Values, gradients: Gradients, call: Call) -> Values:
        values = super().decay(values, gradients, call)
        if self.settings.weight_decay is not None:
            self._note(DECAYED, values.variables)
        return values

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        values = super().update(values, gradients, call)
        if self.settings.momentum != 0:
            self._note(VELOCITY, values.velocities)
        self._note(UPDATED, values.variables)
        return values

    def average(self, values: Values, call: Call) -> Values:
        values = super().average(values, call)
        if self.settings.use_ema:
            self._note(AVERAGE, values.averages)
        return values

    def overwrite(self, values: Values, call: Call) -> Values:
        frequency = self.settings.ema_overwrite_frequency
        values = super().overwrite(values, call)
        is_due = frequency is not None and (self.updates_before(call) + 1) % frequency == 0
        if self.settings.use_ema and is_due:
            self._note(OVERWRITTEN, values.variables)
        return values
