"""The update of one element through all stages: the rule again, in the form that kernels need.

A stage that is off runs nevertheless, with settings that change no bit: a gradient is multiplied by one,
divided by one, clipped to infinity. In float32 this costs nothing beside the memory traffic (measured: below
1 % for 32 M elements), and keeps the number of kernels small. In the half types each operation needs a
rounding. So the kernels of half types have a second loop without clipping and decay, twice as fast, for calls
with neither.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba_kernels.shared.inlining import inlined
from numba_kernels.shared.operations import Operations

NO_MOMENTUM, CLASSIC, NESTEROV = range(3)
PLAIN, DIVIDED, ACCUMULATED = range(3)
KERAS, PYTORCH = range(2)


class Variant(NamedTuple):
    """The features that have kernels of their own, since they change memory traffic or cost more than a flag.

    Attributes
    ----------
    momentum : int
        NO_MOMENTUM, CLASSIC or NESTEROV.
    gradient : int
        PLAIN: multiplied by one factor. DIVIDED: divided by the loss scale, and by the norm if each gradient
        is clipped by its own norm; a division takes longer than all other operations together. ACCUMULATED:
        divided in the same way, with the mean over a window between the two divisions.
    averages : bool
        Whether there are averages of the variables.
    rule : int
        KERAS: the rate is inside the velocity, and decay is subtracted from the variable. PYTORCH: the rate
        multiplies the velocity, and decay is added to the gradient.
    """

    momentum: int
    gradient: int
    averages: bool
    rule: int = KERAS

    @property
    def name(self) -> str:
        """The variant in words."""
        momentum = ("no_momentum", "momentum", "nesterov")[self.momentum]
        gradient = ("plain", "divided", "accumulated")[self.gradient]
        rule = ("", "_pytorch")[self.rule]
        return f"{momentum}_{gradient}" + ("_averages" if self.averages else "") + rule


VARIANTS = tuple(
    Variant(momentum, gradient, averages)
    for momentum in (NO_MOMENTUM, CLASSIC, NESTEROV)
    for gradient in (PLAIN, DIVIDED, ACCUMULATED)
    for averages in (False, True)
)
"""The variants of the rule of Keras."""

VARIANTS_OF_PYTORCH = tuple(variant._replace(rule=PYTORCH) for variant in VARIANTS)
"""The same of the rule of PyTorch, which only ``numba_kernels.torch`` offers."""


def gradient_transformation(operations: Operations, gradient: int) -> Any:
    """Return the function of kernels that transforms a given gradient into the gradient to be clipped."""
    _, add, _, divide = operations

    @inlined
    def transformed(g: Any, accumulator: Any, loss_scale: Any, steps: Any) -> Any:
        if gradient != PLAIN:
            g = divide(g, loss_scale)
        if gradient == ACCUMULATED:
            g = divide(add(g, accumulator), steps)
        return g

    return transformed


def clipping(operations: Operations, gradient: int, is_off: bool) -> Any:
    """Return the function of kernels that clips: by a factor, a divisor and a highest absolute value."""
    multiply, _, _, divide = operations

    @inlined
    def clipped(g: Any, factor: Any, divisor: Any, highest: Any) -> Any:
        if is_off:
            return g
        g = multiply(g, factor)
        if gradient != PLAIN:
            g = divide(g, divisor)
        # Comparisons with NaN are false, so that a NaN stays a NaN.
        raised = -highest if g < -highest else g
        return highest if g > highest else raised

    return clipped


def descent(operations: Operations, momentum_kind: int, has_decay: bool) -> Any:
    """Return the function of kernels that updates a variable and its velocity, after the decay."""
    multiply, add, subtract, _ = operations

    @inlined
    def descended(
        w: Any, v: Any, g: Any, decays: bool, weight_decay: Any, learning_rate: Any, momentum: Any
    ) -> Any:
        if has_decay:
            # The value is always computed and then selected: a branch here would prevent the vectorisation of
            # bfloat16.
            decayed = subtract(w, multiply(multiply(w, weight_decay), learning_rate))
            w = decayed if decays else w
        step = multiply(learning_rate, g)
        if momentum_kind == NO_MOMENTUM:
            return subtract(w, step), v
        v = subtract(multiply(momentum, v), step)
        if momentum_kind == NESTEROV:
            return add(w, subtract(multiply(momentum, v), step)), v
        return add(w, v), v

    return descended


def descent_of_pytorch(operations: Operations, momentum_kind: int, has_decay: bool) -> Any:
    """Return the same function for the rule of ``torch.optim.SGD``, where the velocity is a sum of gradients.

    The roundings are those of its code for single tensors, without a fused multiply-add.
    """
    multiply, add, subtract, _ = operations

    @inlined
    def descended(
        w: Any, v: Any, g: Any, decays: bool, weight_decay: Any, learning_rate: Any, momentum: Any
    ) -> Any:
        if has_decay:
            # Selected without a branch, as in `descent`.
            decayed = add(g, multiply(weight_decay, w))
            g = decayed if decays else g
        if momentum_kind != NO_MOMENTUM:
            v = add(multiply(momentum, v), g)
            g = add(g, multiply(momentum, v)) if momentum_kind == NESTEROV else v
        return subtract(w, multiply(learning_rate, g)), v

    return descended


def averaging(operations: Operations) -> Any:
    """Return the function of kernels for the average of a variable; the first update stores it."""
    multiply, add, _, _ = operations

    @inlined
    def averaged(average: Any, w: Any, is_first: bool, momentum: Any, complement: Any) -> Any:
        mean = add(multiply(momentum, average), multiply(complement, w))
        return w if is_first else mean

    return averaged


def element_update(operations: Operations, variant: Variant, clipped: Any, has_decay: bool) -> Any:
    """Return the function of kernels that takes one element through all stages of an update.

    It takes the numbers of the element and those of the call, and returns the variable, the velocity and the
    average. Numbers that the variant does not use may have any value.
    """
    has_average = variant.averages
    transformed = gradient_transformation(operations, variant.gradient)
    descending = (descent, descent_of_pytorch)[variant.rule]
    descended = descending(operations, variant.momentum, has_decay)
    averaged = averaging(operations)

    @inlined
    def updated(w: Any, g: Any, velocity: Any, average: Any, accumulator: Any, call: Any) -> Any:
        (loss_scale, steps), (factor, divisor, highest), (decays, weight_decay, learning_rate, momentum) = (
            call[:3]
        )
        g = transformed(g, accumulator, loss_scale, steps)
        g = clipped(g, factor, divisor, highest)
        w, velocity = descended(w, velocity, g, decays, weight_decay, learning_rate, momentum)
        if has_average:
            is_first_average, overwrites, ema_momentum, ema_complement = call[3]
            average = averaged(average, w, is_first_average, ema_momentum, ema_complement)
            w = average if overwrites else w
        return w, velocity, average

    return updated
