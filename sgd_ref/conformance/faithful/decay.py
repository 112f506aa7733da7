"""Weight decay by other products, as a factor, and as one more addend of the update."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

import numpy as np

from sgd_ref.arithmetic.rounded import setting
from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.fused import fused_multiply_add
from sgd_ref.conformance.faithful.special_values import where_finite
from sgd_ref.optimizer import SGD, Gradients, Values
from sgd_ref.rule import Number, Numbers


class DecayRateFirst(SGD):
    """``w - (w * learning_rate) * weight_decay``: each operation rounded."""

    def decayed(self, w: Numbers, weight_decay: Number, rate: Number) -> Numbers:
        """Multiply by the rate first."""
        return w - w * rate * weight_decay


class DecayFusedWithRate(SGD):
    """``fma(-(w * weight_decay), learning_rate, w)``: the last product is not rounded."""

    def decayed(self, w: Numbers, weight_decay: Number, rate: Number) -> Numbers:
        """Fuse the product with the rate."""
        return fused_multiply_add(-(w * weight_decay), rate, w)


class DecayFusedWithWeightDecay(SGD):
    """``fma(-(w * learning_rate), weight_decay, w)``: the rate first, and the last product not rounded."""

    def decayed(self, w: Numbers, weight_decay: Number, rate: Number) -> Numbers:
        """Fuse the product with the weight decay."""
        return fused_multiply_add(-(w * rate), weight_decay, w)


class DecayByFactor(SGD):
    """``w * (1 - weight_decay * learning_rate)``: each operation rounded in the dtype of w.

    AdamW of PyTorch has ``p.mul_(1 - lr * weight_decay)``. An infinite weight becomes NaN, as in the
    definition.
    """

    def decayed(self, w: Numbers, weight_decay: Number, rate: Number) -> Numbers:
        """Multiply once."""
        definition = super().decayed(w, weight_decay, rate)
        return where_finite(w * (1 - weight_decay * rate), definition, w)


class DecayByProductOfDoubles(SGD):
    """``w - w * (weight_decay * learning_rate)``, where the settings are multiplied in double.

    Their product is rounded to the dtype of w once.
    """

    def decay(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Multiply by one setting."""
        if self.settings.weight_decay is None:
            return values
        product = self.settings.weight_decay * float(call.learning_rate)
        variables = [
            np.asarray(w - w * setting(product, w.dtype)) if gradient is not None and applies else w
            for w, gradient, applies in zip(values.variables, gradients, call.state.decayed, strict=True)
        ]
        return replace(values, variables=variables)


class DecayInUpdate(SGD):
    """The update itself decays the weights; its formulas ask ``decays`` whether the variables decay."""

    decays = False

    def is_left_to_update(self) -> bool:
        """Whether the update decays the weights if `weight_decay` is set."""
        return True

    def decay(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Leave the decay to the update."""
        return values if self.is_left_to_update() else super().decay(values, gradients, call)

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update the variables that decay together with their decay, and the others as defined."""
        if self.settings.weight_decay is None or not self.is_left_to_update():
            return super().update(values, gradients, call)
        applies = call.state.decayed
        others = [None if decays else g for g, decays in zip(gradients, applies, strict=True)]
        mine = [g if decays else None for g, decays in zip(gradients, applies, strict=True)]
        values = super().update(values, others, call)
        self.decays = True
        values = super().update(values, mine, call)
        self.decays = False
        return values


class DecayInTheSum(DecayInUpdate):
    """Decay and update are one sum: of w, of its loss by decay, and of one step, or two with `nesterov`.

    The loss is ``(w * weight_decay) * learning_rate``, where w is the weight before the update. The steps are
    ``-(learning_rate * g)``, the velocity, or ``momentum * velocity`` and ``-(learning_rate * g)``.
    """

    def descended(self, w: Numbers, g: Numbers, rate: Number) -> Numbers:
        """Sum with one step."""
        if not self.decays:
            return super().descended(w, g, rate)
        return self.summed(w, self.loss(w, rate), [-(rate * g)])

    def moved(
        self, w: Numbers, old: Numbers, new: Numbers, g: Numbers, momentum: Number, rate: Number
    ) -> Numbers:
        """Sum with one step."""
        if not self.decays:
            return super().moved(w, old, new, g, momentum, rate)
        return self.summed(w, self.loss(w, rate), [new])

    def moved_by_nesterov(
        self, w: Numbers, old: Numbers, new: Numbers, g: Numbers, momentum: Number, rate: Number
    ) -> Numbers:
        """Sum with two steps."""
        if not self.decays:
            return super().moved_by_nesterov(w, old, new, g, momentum, rate)
        return self.summed(w, self.loss(w, rate), [momentum * new, -(rate * g)])

    def loss(self, w: Numbers, rate: Number) -> Numbers:
        """``(w * weight_decay) * rate``."""
        return w * self.settings.rounded(w.dtype).weight_decay * rate

    @abstractmethod
    def summed(self, w: Numbers, loss: Numbers, steps: list[Numbers]) -> Numbers:
        """Return w minus its decay plus all steps, added in the order of the variant."""


class DecayAddedLast(DecayInTheSum):
    """``((w + step) + step) - (w * weight_decay) * learning_rate``: the addends are added to w one by one.

    The loss is that of the weights before the update, but it is subtracted last.
    """

    def summed(self, w: Numbers, loss: Numbers, steps: list[Numbers]) -> Numbers:
        """Add the steps one by one, then subtract the decay."""
        for step in steps:
            w = w + step
        return w - loss


class SmallAddendsFirst(DecayInTheSum):
    """``w + ((step + step) - (w * weight_decay) * learning_rate)``: w occurs in one addition only.

    Optax adds the whole update to the parameters at the end, in ``apply_updates``.
    """

    def summed(self, w: Numbers, loss: Numbers, steps: list[Numbers]) -> Numbers:
        """Add everything else before adding w."""
        total = steps[0]
        for step in steps[1:]:
            total = total + step
        return w + (total - loss)


class LossMeetsLastStep(DecayInTheSum):
    """``(w + momentum * velocity) - (learning_rate * g + (w * weight_decay) * learning_rate)``.

    With `nesterov`; with one step only, ``w + (step - (w * weight_decay) * learning_rate)``.
    """

    def summed(self, w: Numbers, loss: Numbers, steps: list[Numbers]) -> Numbers:
        """Add the other steps to w, then the last step minus the decay."""
        for step in steps[:-1]:
            w = w + step
        return w + (steps[-1] - loss)


class LossMeetsVelocity(DecayInTheSum):
    """``(w - learning_rate * g) + (momentum * velocity - (w * weight_decay) * learning_rate)``.

    With `nesterov`; with one step only, ``(step - (w * weight_decay) * learning_rate) + w``.
    """

    def summed(self, w: Numbers, loss: Numbers, steps: list[Numbers]) -> Numbers:
        """Add the other steps to w, then the first step minus the decay."""
        for step in steps[1:]:
            w = w + step
        return w + (steps[0] - loss)


class DecayWithGradient(DecayInUpdate):
    """``w - learning_rate * (g + weight_decay * w)`` without momentum: each operation rounded.

    Without momentum, weight decay and a penalty added to the gradient are the same. ``torch.optim.SGD`` and
    Optax evaluate them in this way. With momentum they differ, and the variant is the definition.
    """

    def is_left_to_update(self) -> bool:
        """Whether there is no momentum."""
        return self.settings.momentum == 0

    def descended(self, w: Numbers, g: Numbers, rate: Number) -> Numbers:
        """Add the penalty to the gradient."""
        if not self.decays:
            return super().descended(w, g, rate)
        return super().descended(w, g + self.settings.rounded(w.dtype).weight_decay * w, rate)


class DecayWithFusedGradient(DecayWithGradient):
    """``w - learning_rate * fma(weight_decay, w, g)`` without momentum, where the last product is fused, too.

    ``torch.optim.SGD`` has ``grad.add(param, alpha=weight_decay)`` and ``param.add_(grad, alpha=-lr)``.
    """

    def descended(self, w: Numbers, g: Numbers, rate: Number) -> Numbers:
        """Fuse both products."""
        if not self.decays:
            return super().descended(w, g, rate)
        penalised = fused_multiply_add(self.settings.rounded(w.dtype).weight_decay, w, g)
        return fused_multiply_add(-rate, penalised, w)
