"""Mistakes of weight decay: its place, its time and its amount."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.arithmetic.rounded import setting
from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.mistakes.mistake import documented, mistake
from sgd_ref.optimizer import SGD, Gradients, Values


class CoupledDecay(SGD):
    """The common base of mistakes that add ``weight_decay * w`` to gradients, not to variables."""

    def coupled(self, gradients: Gradients, variables: list[Array], call: Call) -> Gradients:
        """Return the gradients plus the decay."""
        weight_decay = self.settings.weight_decay
        if weight_decay is None:
            return gradients
        return [
            g + setting(weight_decay, w.dtype) * w if g is not None and applies else g
            for g, w, applies in zip(gradients, variables, call.state.decayed, strict=True)
        ]

    def decay(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Leave the variables alone."""
        return values


class DecayEntersVelocity(CoupledDecay):
    """``weight_decay * w`` is added to the gradient once it is clipped, and so enters the velocity.

    The documentation decays the weights directly. Evidence: doubts whether a decay was still decoupled,
    https://github.com/keras-team/keras/issues/19051.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update with coupled gradients."""
        return super().update(values, self.coupled(gradients, values.variables, call), call)


class DecayIsClipped(CoupledDecay):
    """``weight_decay * w`` is added to the gradient before clipping, so that a large weight is not decayed.

    The documentation decays the weights directly. Evidence: some optimizers of one framework clip before
    and some after, https://github.com/apache/mxnet/issues/9881.
    """

    def mean(self, values: Values, gradients: Gradients) -> tuple[Gradients, Values]:
        """Add the decay to the means."""
        means, reset = super().mean(values, gradients)
        return self.coupled(means, values.variables, self._call), reset

    def advance(self, values: Values, call: Call, loss_scale: float | np.float32 | None) -> Values:
        """Remember the call, which says which variables are decayed."""
        self._call = call
        return super().advance(values, call, loss_scale)


class DecayBeforeUnscaling(CoupledDecay):
    """``weight_decay * w`` is added to the scaled gradient, so that the decay is divided by the loss scale.

    Evidence: a hook that ran before the division, https://github.com/chainer/chainer/issues/7335.
    """

    def advance(self, values: Values, call: Call, loss_scale: float | np.float32 | None) -> Values:
        """Add the decay to the gradients before they are unscaled."""
        coupled = self.coupled(call.gradients, values.variables, call)
        return super().advance(values, call._replace(gradients=coupled), loss_scale)


class DecayMultipliesGradient(SGD):
    """The gradient is multiplied by ``1 + weight_decay * w``; the weights are not decayed.

    Evidence: ``*=`` on a sum, https://github.com/apache/mxnet/issues/8925.
    """

    def decay(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Leave the variables alone."""
        return values

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update with multiplied gradients."""
        weight_decay = self.settings.weight_decay
        if weight_decay is not None:
            gradients = [
                g * (1 + setting(weight_decay, w.dtype) * w) if g is not None and applies else g
                for g, w, applies in zip(gradients, values.variables, call.state.decayed, strict=True)
            ]
        return super().update(values, gradients, call)


class DecayTwice(SGD):
    """The weights are decayed twice in every update.

    Evidence: a list that was decayed once for each dtype in it,
    https://github.com/huggingface/pytorch-image-models/pull/2750.
    """

    def decay(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Decay, and decay again."""
        return super().decay(super().decay(values, gradients, call), gradients, call)


class DecayWithoutRate(SGD):
    """The weights shrink by ``weight_decay * w``, whatever the learning rate is.

    The definition: ``w * weight_decay * learning_rate``. Evidence:
    https://github.com/tensorflow/addons/issues/2282.
    """

    def decay(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Decay at a rate of 1."""
        return super().decay(values, gradients, call._replace(learning_rate=np.float32(1)))


class DecayWithFirstRate(SGD):
    """The weights are decayed with the learning rate of the first update, however the rate changes.

    The definition takes the rate of the call. Evidence: no report is known.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._first: np.float32 | None = None

    def decay(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Decay with the rate that was kept."""
        self._first = call.learning_rate if self._first is None else self._first
        return super().decay(values, gradients, call._replace(learning_rate=self._first))


class DecayWithPreviousRate(SGD):
    """The weights are decayed with the learning rate of the update before.

    The definition takes the rate of the call. Evidence: no report is known.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._rate_before: np.float32 | None = None

    def decay(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Decay with the rate that was kept, and keep this one."""
        previous = call.learning_rate if self._rate_before is None else self._rate_before
        self._rate_before = call.learning_rate
        return super().decay(values, gradients, call._replace(learning_rate=previous))


class DecayAfterUpdate(SGD):
    """The weights are decayed once they are updated.

    The core code decays before (`apply` in `keras/src/optimizers/base_optimizer.py`). Evidence:
    https://github.com/nntrainer/nntrainer/pull/1844.
    """

    def decay(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Leave the variables alone for now."""
        return values

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update, then decay."""
        return super().decay(super().update(values, gradients, call), gradients, documented(self, call))


class DecayGrowsWeights(SGD):
    """The sign is wrong: ``w + w * weight_decay * learning_rate``.

    Evidence: https://github.com/chainer/chainer/issues/261.
    """

    def decay(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Decay at the negative rate."""
        return super().decay(values, gradients, call._replace(learning_rate=-call.learning_rate))


class DecayIgnored(SGD):
    """`weight_decay` is accepted and does nothing.

    Evidence: https://github.com/kozistr/pytorch_optimizer/issues/517.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.settings = replace(self.settings, weight_decay=None)


class DecayWhileAccumulating(SGD):
    """The weights are decayed in every call, also in those that only accumulate.

    The documentation: variables "will be updated every `gradient_accumulation_steps` steps". Evidence:
    https://github.com/keras-team/keras/issues/19990.
    """

    def advance(self, values: Values, call: Call, loss_scale: float | np.float32 | None) -> Values:
        """Decay after accumulating, too."""
        advanced = super().advance(values, call, loss_scale)
        return self.decay(advanced, call.gradients, call) if self.accumulates(call) else advanced


class DecayWithoutMomentumSkipped(SGD):
    """Without momentum there is no weight decay.

    Evidence: a return that came too early, https://github.com/ml-explore/mlx/issues/440.
    """

    def decay(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Decay with momentum only."""
        return values if self.settings.momentum == 0 else super().decay(values, gradients, call)


class DecayOfSigns(SGD):
    """The weights shrink by ``sign(w) * weight_decay * learning_rate``, as with an L1 penalty.

    The definition: ``w * weight_decay * learning_rate``. Evidence: no report is known.
    """

    def decay(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Subtract the decay of a weight with the same sign and an absolute value of 1."""
        signs = [np.sign(w) for w in values.variables]
        shrunk = super().decay(replace(values, variables=signs), gradients, call)
        return replace(
            values,
            variables=[
                w - (sign - left)
                for w, sign, left in zip(values.variables, signs, shrunk.variables, strict=True)
            ],
        )


class DecayIsConstant(SGD):
    """The weights are all reduced by ``weight_decay * learning_rate``, whatever they are.

    The definition: ``w * weight_decay * learning_rate``. Evidence: no report is known.
    """

    def decayed(self, w: Array, weight_decay: Any, rate: Any) -> Any:
        """Subtract the same number from all weights."""
        return w - weight_decay * rate


class DecayStopsAtZero(SGD):
    """The factor ``1 - weight_decay * learning_rate`` is at least 0, so that no weight changes its sign.

    The definition subtracts the product from the weight, however large it is. In scikit-learn the factor is
    `max(0, 1.0 - eta * alpha)`, in `sklearn/linear_model/_sgd_fast.pyx.tp`. Evidence: no report is known.
    """

    def decayed(self, w: Array, weight_decay: Any, rate: Any) -> Any:
        """Decay to 0 at most."""
        return w * np.zeros_like(rate) if weight_decay * rate > 1 else super().decayed(w, weight_decay, rate)


class NegativeDecayIgnored(SGD):
    """Nothing decays unless the product of decay and learning rate is positive.

    The documentation has the same formula for all numbers. Evidence: no report is known.
    """

    def decayed(self, w: Array, weight_decay: Any, rate: Any) -> Any:
        """Decay by positive products only."""
        return super().decayed(w, weight_decay, rate) if weight_decay * rate > 0 else w


DECAY = (
    mistake("decay-enters-velocity", DecayEntersVelocity),
    mistake("decay-is-clipped", DecayIsClipped),
    mistake("decay-before-unscaling", DecayBeforeUnscaling),
    mistake("decay-multiplies-gradient", DecayMultipliesGradient),
    mistake("decay-twice", DecayTwice),
    mistake("decay-without-rate", DecayWithoutRate),
    mistake("decay-with-first-rate", DecayWithFirstRate),
    mistake("decay-with-previous-rate", DecayWithPreviousRate),
    mistake("decay-after-update", DecayAfterUpdate),
    mistake("decay-grows-weights", DecayGrowsWeights),
    mistake("decay-ignored", DecayIgnored),
    mistake("decay-while-accumulating", DecayWhileAccumulating),
    mistake("decay-skipped-without-momentum", DecayWithoutMomentumSkipped),
    mistake("decay-of-signs", DecayOfSigns),
    mistake("decay-is-constant", DecayIsConstant),
    mistake("decay-stops-at-zero", DecayStopsAtZero),
    mistake("negative-decay-ignored", NegativeDecayIgnored),
)
