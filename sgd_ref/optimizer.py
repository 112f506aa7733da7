"""SGD: one step of the optimizer, stage by stage, with the formulas of ``rule.py``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sgd_ref import rule
from sgd_ref.arithmetic.formats import FLOAT32, Array
from sgd_ref.arithmetic.rounded import convert, promoted, setting
from sgd_ref.base.aliasing import memory_of
from sgd_ref.base.call import Call
from sgd_ref.base.optimizer import BaseSGD
from sgd_ref.norm import euclidean_norm
from sgd_ref.rule import Number, Numbers

Gradients = list[Array | None]


@dataclass(frozen=True)
class Values:
    """The arrays that a step reads and returns, in one list for each kind; stages never change an array."""

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
        arguments and is called once in each call of ``apply``, before anything is computed. If the callable
        writes into variables, state or gradients, the call of ``apply`` sees the new values. If it sets the
        learning rate, the new rate holds from the next call on.
    momentum : float, default 0.0
        In [0, 1]. With 0 there is no velocity.
    nesterov : bool, default False
        Whether to apply Nesterov momentum; without effect where `momentum` is 0.
    weight_decay : float, optional
        If set, even to 0.0, each update subtracts ``w * weight_decay * learning_rate`` from the weights.
    clipnorm, clipvalue, global_clipnorm : float, optional
        At most one of them: the highest norm of each gradient, the highest absolute value of each
        element, or the highest norm of all gradients together.
    use_ema : bool, default False
        Whether to keep exponential moving averages of the variables.
    ema_momentum : float, default 0.99
        In [0, 1]; ``new_average = ema_momentum * old_average + (1 - ema_momentum) * variable``.
    ema_overwrite_frequency : int, optional
        Every time this many updates were made, overwrite the variables with their averages.
    name : str, default "SGD"
        The first part of the names of the arrays of state.
    loss_scale_factor : float, optional
        The factor by which ``scale_loss`` multiplies the loss; ``apply`` divides the gradients by it.
    gradient_accumulation_steps : int, optional
        N, at least 2: update in every N-th call only, with the mean of the gradients since the last update.

    Raises
    ------
    TypeError, ValueError
        If a setting has the wrong type or value. The message names the setting, the value that was given, and
        what is accepted.

    Notes
    -----
    An optimizer does one thing at a time. While a thread is in a method that changes the optimizer, a second
    thread that calls such a method gets a RuntimeError at once. So does a callable learning rate that calls
    such a method. The method that is already running is not disturbed, and nothing is left half done. No
    thread ever waits for a lock. Each thread may have optimizers of its own, on variables of its own.

    Variables and gradients of a subclass of ndarray, such as ``np.memmap`` or ``np.matrix``, are read and
    written as the plain arrays in their memory; methods of the subclass are not called. Masked arrays are
    refused, since their masks would be ignored.

    A public attribute that the class does not declare, such as ``lr``, cannot be set.

    A setting may become 0 or infinite in the dtype of a variable. Then it is used as 0 or infinity, and the
    first such value of each setting and dtype gives a warning. A clipping or scale that becomes 0 or infinite
    is refused instead. ``sgd_ref/base/losses.py`` has the whole policy.

    Update rule for parameter w with gradient g, from the documentation of Keras::

        w <- w - learning_rate * g                                    momentum is 0
        velocity <- momentum * velocity - learning_rate * g           otherwise
        w <- w + velocity
        w <- w + momentum * velocity - learning_rate * g              with nesterov

    Extending
    ---------
    A subclass that deviates from the definition overrides one of the methods below and leaves the loop over
    variables and stages as it is. Methods never write into the arrays that they are given.

    The step, ``advance``: return the ``Values`` after a call.

    Stages, in their order: ``unscale`` returns gradients; ``accumulate`` returns values; ``mean`` returns
    both. ``clip`` calls one of ``clip_by_norm``, ``clip_by_value`` and ``clip_by_global_norm``; all four
    return gradients, and ``norm`` returns one number. ``decay``, ``update``, ``average`` and ``overwrite``
    return values. Only ``average`` and ``overwrite`` change a variable without a gradient (None).

    Formulas, each for one variable ``w`` and its gradient ``g``: ``unscaled``, ``mean_of``, ``clipped``,
    ``globally_clipped``, ``decayed``, ``descended``, ``accelerated``, ``moved``, ``moved_by_nesterov`` and
    ``averaged`` return an array. Most of them are functions of ``rule``; a method can override these, too.
    Arrays and numbers of one formula share a dtype, to which the settings and the rate are rounded.

    Counts and checks are those of ``BaseSGD``; its docstring says which of them a subclass may override.

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

    def perform(self, call: Call, loss_scale: float | np.float32 | None) -> None:
        """Make a checked call: compute all values, write them, and count the call."""
        state = call.state
        values = Values(memory_of(state.variables), state.velocities, state.averages, state.accumulators)
        with np.errstate(all="ignore"):
            advanced = self.advance(values, call, loss_scale)
        pairs = [
            *zip(values.variables, advanced.variables, strict=True),
            *zip(state.velocities, advanced.velocities, strict=True),
            *zip(state.averages, advanced.averages, strict=True),
            *zip(state.accumulators, advanced.accumulators, strict=True),
        ]
        before = [np.array(array) for array, _ in pairs]
        try:
            for array, result in pairs:
                array[...] = result
        # An interrupt may come between two writes, but no step may stay half made.
        except BaseException:
            for (array, _), old in zip(pairs, before, strict=True):
                array[...] = old
            raise
        state.calls += 1
        self._state = state

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

        def rounded(g: Array) -> Array:
            wide = promoted([g.dtype, FLOAT32])
            result = self.unscaled(convert(g, wide), setting(float(loss_scale), wide))
            return convert(np.asarray(result), g.dtype)

        return [None if g is None else rounded(g) for g in gradients]

    def accumulate(self, values: Values, gradients: Gradients) -> Values:
        """Add the gradients to the accumulators; a missing gradient adds nothing."""
        return replace(
            values,
            accumulators=[
                accumulator if g is None else rule.accumulate(g, accumulator)
                for g, accumulator in zip(gradients, values.accumulators, strict=True)
            ],
        )

    def mean(self, values: Values, gradients: Gradients) -> tuple[Gradients, Values]:
        """Take the mean of the gradients since the last update, and store zeros in every accumulator."""
        if self.settings.gradient_accumulation_steps is None:
            return gradients, values
        means = [
            None
            if g is None
            else self.mean_of(g, accumulator, self.settings.rounded(g.dtype).gradient_accumulation_steps)
            for g, accumulator in zip(gradients, values.accumulators, strict=True)
        ]
        return means, replace(values, accumulators=[np.zeros_like(array) for array in values.accumulators])

    def clip(self, gradients: Gradients) -> Gradients:
        """Clip the gradients by the clipping that is set."""
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
            None if g is None else self.clipped(g, self.norm([g]), setting(clipnorm, g.dtype))
            for g in gradients
        ]

    def clip_by_value(self, gradients: Gradients, clipvalue: float) -> Gradients:
        """Clip each element."""
        return [None if g is None else rule.clip_by_value(g, setting(clipvalue, g.dtype)) for g in gradients]

    def clip_by_global_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Clip all gradients by their common norm, in the narrowest dtype that holds them all."""
        present = [g for g in gradients if g is not None]
        wide = promoted([g.dtype for g in present])
        norm, limit, reciprocal = self.norm(present), setting(clipnorm, wide), setting(1 / clipnorm, wide)

        def rounded(g: Array) -> Array:
            result = self.globally_clipped(convert(g, wide), norm, limit, reciprocal)
            return convert(np.asarray(result), g.dtype)

        return [None if g is None else rounded(g) for g in gradients]

    def norm(self, gradients: list[Array]) -> Any:
        """Return the norm of all elements together, correctly rounded to the dtype that holds them all."""
        return euclidean_norm(gradients, promoted([g.dtype for g in gradients]))

    def decay(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Decay each variable that has a gradient and is not excluded."""
        if self.settings.weight_decay is None:
            return values
        return replace(
            values,
            variables=[
                self.decayed(w, self.settings.rounded(w.dtype).weight_decay, call.rate(w.dtype))
                if g is not None and applies
                else w
                for w, g, applies in zip(values.variables, gradients, call.state.decayed, strict=True)
            ],
        )

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update each variable that has a gradient, and its velocity."""
        variables, velocities = list(values.variables), list(values.velocities)
        move = self.moved_by_nesterov if self.settings.nesterov else self.moved
        for index, g in enumerate(gradients):
            if g is None:
                continue
            w, rate = variables[index], call.rate(g.dtype)
            if self.settings.momentum == 0:
                variables[index] = self.descended(w, g, rate)
                continue
            momentum = self.settings.rounded(g.dtype).momentum
            old = velocities[index]
            new = velocities[index] = self.accelerated(old, g, momentum, rate)
            variables[index] = move(w, old, new, g, momentum, rate)
        return replace(values, variables=variables, velocities=velocities)

    def average(self, values: Values, call: Call) -> Values:
        """Average all variables, also those without a gradient; the first average is a copy."""
        if not self.settings.use_ema:
            return values
        if self.updates_before(call) == 0:
            return replace(values, averages=list(values.variables))
        return replace(
            values,
            averages=[
                self.averaged(average, w, self.settings.rounded(average.dtype).ema_momentum)
                for average, w in zip(values.averages, values.variables, strict=True)
            ],
        )

    def overwrite(self, values: Values, call: Call) -> Values:
        """Overwrite the variables by their averages, in every `ema_overwrite_frequency`-th update."""
        frequency = self.settings.ema_overwrite_frequency
        if not self.settings.use_ema or frequency is None or (self.updates_before(call) + 1) % frequency:
            return values
        return replace(values, variables=list(values.averages))

    unscaled = staticmethod(rule.unscale)
    mean_of = staticmethod(rule.mean_of_accumulated)
    clipped = staticmethod(rule.clip_by_norm)

    def globally_clipped(
        self, g: Numbers, norm: Number, clipnorm: Number, reciprocal_of_clipnorm: Number
    ) -> Numbers:
        """``g * (clipnorm * min(1 / norm, 1 / clipnorm))``; NaN unless the norm is finite."""
        return rule.clip_by_global_norm(g, rule.global_clip_factor(norm, clipnorm, reciprocal_of_clipnorm))

    decayed = staticmethod(rule.decay_weights)
    descended = staticmethod(rule.descend)
    accelerated = staticmethod(rule.accelerate)

    def moved(
        self, w: Numbers, old: Numbers, new: Numbers, g: Numbers, momentum: Number, rate: Number
    ) -> Numbers:
        """``w + new``, where `old` and `new` are the velocities before and of this update."""
        return rule.move(w, new)

    def moved_by_nesterov(
        self, w: Numbers, old: Numbers, new: Numbers, g: Numbers, momentum: Number, rate: Number
    ) -> Numbers:
        """``w + (momentum * new - rate * g)``, where `old` and `new` are the velocities."""
        return rule.move_nesterov(w, new, g, momentum, rate)

    averaged = staticmethod(rule.average)
