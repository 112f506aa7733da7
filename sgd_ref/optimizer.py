"""SGD: one step of the optimizer, stage by stage, with the formulas of ``rule.py``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sgd_ref import rule
from sgd_ref.arithmetic.formats import FLOAT32, Array
from sgd_ref.arithmetic.rounded import convert, promoted, setting
from sgd_ref.base.call import Call
from sgd_ref.base.optimizer import BaseSGD
from sgd_ref.norm import euclidean_norm

Gradients = list[Array | None]


@dataclass(frozen=True)
class Values:
    """The arrays that a step reads and returns, one of each for each variable; stages never write them."""

    variables: list[Array]
    velocities: list[Array]
    averages: list[Array]
    accumulators: list[Array]


class SGD(BaseSGD):
    """Stochastic gradient descent with momentum, exactly as documented and to the last bit.

    Parameters
    ----------
    learning_rate : float, schedule or callable, default 0.01
        Rounded to float32. A schedule is read at the number of calls made before; a callable takes no
        arguments and is called once in each call of ``apply``.
    momentum : float, default 0.0
        In [0, 1]. With 0 there is no velocity.
    nesterov : bool, default False
        Whether to apply Nesterov momentum; without effect where `momentum` is 0.
    weight_decay : float, optional
        If set, also to 0.0, weights are decayed by ``w * weight_decay * learning_rate`` in each update.
    clipnorm, clipvalue, global_clipnorm : float, optional
        At most one of them: the highest norm of each gradient, the highest absolute value of each
        element, or the highest norm of all gradients together.
    use_ema : bool, default False
        Whether to keep exponential moving averages of the variables.
    ema_momentum : float, default 0.99
        In [0, 1]; ``new_average = ema_momentum * old_average + (1 - ema_momentum) * variable``.
    ema_overwrite_frequency : int, optional
        Overwrite the variables by their averages each time this many updates were made.
    name : str, default "SGD"
        The first part of the names of the arrays of state.
    loss_scale_factor : float, optional
        Gradients are divided by it, since ``scale_loss`` multiplied the loss by it.
    gradient_accumulation_steps : int, optional
        At least 2: update in every call of this number only, with the mean of the gradients since.

    Raises
    ------
    TypeError, ValueError
        If a setting has the wrong type or value; the message names it, what was given and what is
        accepted.

    Notes
    -----
    Update rule for parameter w with gradient g, as the documentation of Keras has it::

        w <- w - learning_rate * g                                    momentum is 0
        velocity <- momentum * velocity - learning_rate * g           otherwise
        w <- w + velocity
        w <- w + momentum * velocity - learning_rate * g              with nesterov

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([1.0, -2.0], "float32")
    >>> optimizer = SGD(learning_rate=0.5, momentum=0.5)
    >>> optimizer.apply([np.array([1.0, 1.0], "float32")], [w])
    >>> optimizer.apply([np.array([1.0, 1.0], "float32")], [w])
    >>> w
    array([-0.25, -3.25], dtype=float32)
    >>> optimizer.velocities
    [array([-0.75, -0.75], dtype=float32)]
    """

    def _step(self, call: Call, loss_scale: float | np.float32 | None) -> None:
        state = call.state
        values = Values(state.variables, state.velocities, state.averages, state.accumulators)
        with np.errstate(all="ignore"):
            advanced = self.advance(values, call, loss_scale)
        pairs = [
            *zip(state.variables, advanced.variables, strict=True),
            *zip(state.velocities, advanced.velocities, strict=True),
            *zip(state.averages, advanced.averages, strict=True),
            *zip(state.accumulators, advanced.accumulators, strict=True),
        ]
        before = [np.array(array) for array, _ in pairs]
        try:
            for array, result in pairs:
                array[...] = result
        # An interrupt may come between two writes; no step may stay half made.
        except BaseException:
            for (array, _), old in zip(pairs, before, strict=True):
                array[...] = old
            raise

    def advance(self, values: Values, call: Call, loss_scale: float | np.float32 | None) -> Values:
        """Return the values after one call: the whole step, stage by stage."""
        gradients = self.unscale(call.gradients, loss_scale)
        if self.accumulates(call):
            return self.accumulate(values, gradients)
        gradients, values = self.mean(values, gradients)
        gradients = self.clip(gradients)
        values = self.decay(values, gradients, call)
        values = self.update(values, gradients, call)
        values = self.average(values, call)
        return self.overwrite(values, call)

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Divide by the loss scale in float32 at least, and round once to the dtype of the variable."""
        if loss_scale is None:
            return gradients

        def unscaled(gradient: Array) -> Array:
            wide = promoted([gradient.dtype, FLOAT32])
            factor = setting(float(loss_scale), wide)
            return convert(np.asarray(rule.unscale(convert(gradient, wide), factor)), gradient.dtype)

        return [None if gradient is None else unscaled(gradient) for gradient in gradients]

    def accumulate(self, values: Values, gradients: Gradients) -> Values:
        """Add the gradients to the accumulators; a missing one adds nothing."""
        return replace(
            values,
            accumulators=[
                accumulator if gradient is None else rule.accumulate(gradient, accumulator)
                for gradient, accumulator in zip(gradients, values.accumulators, strict=True)
            ],
        )

    def mean(self, values: Values, gradients: Gradients) -> tuple[Gradients, Values]:
        """Take the mean over the window and reset every accumulator by storing zeros."""
        steps = self.settings.gradient_accumulation_steps
        if steps is None:
            return gradients, values
        means = [
            None
            if gradient is None
            else rule.mean_of_accumulated(gradient, accumulator, setting(steps, gradient.dtype))
            for gradient, accumulator in zip(gradients, values.accumulators, strict=True)
        ]
        return means, replace(values, accumulators=[np.zeros_like(array) for array in values.accumulators])

    def clip(self, gradients: Gradients) -> Gradients:
        """Clip by the one clipping that is set."""
        if self.settings.clipnorm is not None:
            return self.clip_by_norm(gradients, self.settings.clipnorm)
        if self.settings.clipvalue is not None:
            return self.clip_by_value(gradients, self.settings.clipvalue)
        if self.settings.global_clipnorm is not None:
            return self.clip_by_global_norm(gradients, self.settings.global_clipnorm)
        return gradients

    def clip_by_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Clip each gradient by its own norm."""
        return [
            None
            if gradient is None
            else rule.clip_by_norm(gradient, self.norm([gradient]), setting(clipnorm, gradient.dtype))
            for gradient in gradients
        ]

    def clip_by_value(self, gradients: Gradients, clipvalue: float) -> Gradients:
        """Clip each element."""
        return [
            None if gradient is None else rule.clip_by_value(gradient, setting(clipvalue, gradient.dtype))
            for gradient in gradients
        ]

    def clip_by_global_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Clip all gradients by their common norm, in the narrowest dtype that holds them all."""
        present = [gradient for gradient in gradients if gradient is not None]
        wide = promoted([gradient.dtype for gradient in present])
        factor = rule.global_clip_factor(
            self.norm(present), setting(clipnorm, wide), setting(1 / clipnorm, wide)
        )
        return [
            None
            if gradient is None
            else convert(
                np.asarray(rule.clip_by_global_norm(convert(gradient, wide), factor)), gradient.dtype
            )
            for gradient in gradients
        ]

    def norm(self, gradients: list[Array]) -> Any:
        """Return the norm of all elements together, correctly rounded to the dtype that holds them all."""
        return euclidean_norm(gradients, promoted([gradient.dtype for gradient in gradients]))

    def decay(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Decay each variable that has a gradient and is not excluded."""
        weight_decay = self.settings.weight_decay
        if weight_decay is None:
            return values

        def decayed(w: Array) -> Any:
            rate = setting(float(call.learning_rate), w.dtype)
            return rule.decay_weights(w, setting(weight_decay, w.dtype), rate)

        return replace(
            values,
            variables=[
                decayed(w) if gradient is not None and applies else w
                for w, gradient, applies in zip(values.variables, gradients, call.state.decayed, strict=True)
            ],
        )

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update each variable that has a gradient, and its velocity."""
        variables, velocities = list(values.variables), list(values.velocities)
        for index, gradient in enumerate(gradients):
            if gradient is None:
                continue
            w = variables[index]
            rate = setting(float(call.learning_rate), gradient.dtype)
            if self.settings.momentum == 0:
                variables[index] = rule.descend(w, gradient, rate)
                continue
            momentum = setting(self.settings.momentum, gradient.dtype)
            velocity = rule.accelerate(velocities[index], gradient, momentum, rate)
            velocities[index] = velocity
            if self.settings.nesterov:
                variables[index] = rule.move_nesterov(w, velocity, gradient, momentum, rate)
            else:
                variables[index] = rule.move(w, velocity)
        return replace(values, variables=variables, velocities=velocities)

    def average(self, values: Values, call: Call) -> Values:
        """Average all variables, also those without a gradient; the first update stores them."""
        if not self.settings.use_ema:
            return values
        if self.updates_before(call) == 0:
            return replace(values, averages=list(values.variables))
        return replace(
            values,
            averages=[
                rule.average(average, w, setting(self.settings.ema_momentum, average.dtype))
                for average, w in zip(values.averages, values.variables, strict=True)
            ],
        )

    def overwrite(self, values: Values, call: Call) -> Values:
        """Overwrite the variables by their averages each time enough updates were made."""
        frequency = self.settings.ema_overwrite_frequency
        if not self.settings.use_ema or frequency is None or (self.updates_before(call) + 1) % frequency:
            return values
        return replace(values, variables=list(values.averages))
